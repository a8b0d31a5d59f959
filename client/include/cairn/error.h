/* What every call of libcairn answers with: 0 or one of these codes, and text that says what was wrong, where, and
 * what to do.
 *
 *     struct cairn_error error;
 *     if (cairn_client_open("127.0.0.1:7400", NULL, &client, &error) != 0) {
 *         fprintf(stderr, "%s\n", error.text);
 *     }
 */
#ifndef CAIRN_ERROR_H
#define CAIRN_ERROR_H

#include <stdbool.h>

#include <cairn/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers never change and are never reused. */
enum cairn_code {
    CAIRN_OK = 0,
    CAIRN_ERR_NOMEM = 1,
    CAIRN_ERR_INVALID = 2,   /* an argument is not allowed */
    CAIRN_ERR_MALFORMED = 3, /* the other side sent garbage */
    CAIRN_ERR_CORRUPT = 4,   /* a record batch does not have the checksum that it names */
    CAIRN_ERR_IO = 5,
    CAIRN_ERR_NO_SPACE = 6, /* the node's disk is nearly full; consuming and deleting still work */
    CAIRN_ERR_NOT_FOUND = 7,
    CAIRN_ERR_EXISTS = 8,
    CAIRN_ERR_BUSY = 9,
    CAIRN_ERR_SHUTDOWN = 10,
    CAIRN_ERR_CANCELLED = 11,
    CAIRN_ERR_TIMEOUT = 12,
    CAIRN_ERR_TOO_BIG = 13,
    CAIRN_ERR_VERSION = 14,
    CAIRN_ERR_UNKNOWN_CALL = 15,
    CAIRN_ERR_NOT_LEADER = 16,
    CAIRN_ERR_LEADER_NOT_READY = 17,
    CAIRN_ERR_UNKNOWN_OUTCOME = 18, /* it may have happened or not: never to be read as "failed" */
    CAIRN_ERR_UNKNOWN_TOPIC = 19,
    CAIRN_ERR_TOPIC_EXISTS = 20,
    CAIRN_ERR_INVALID_TOPIC = 21,
    CAIRN_ERR_INVALID_PARTITIONS = 22,
    CAIRN_ERR_INVALID_REPLICAS = 23,
    CAIRN_ERR_INVALID_CONFIG = 24,
    CAIRN_ERR_OFFSET_OUT_OF_RANGE = 25,
    CAIRN_ERR_INVALID_RECORD = 26,
    CAIRN_ERR_BATCH_TOO_BIG = 27,
    CAIRN_ERR_OUT_OF_ORDER_SEQUENCE = 28,
    CAIRN_ERR_PRODUCER_FENCED = 29,
    CAIRN_ERR_DUPLICATE_SEQUENCE = 30,
    CAIRN_ERR_CLUSTER_MISMATCH = 31,
    CAIRN_ERR_NODE_MISMATCH = 32,
    CAIRN_ERR_NOT_FORMED = 33,
    CAIRN_ERR_CLOSED = 34,
    CAIRN_ERR_REFUSED = 35,
    CAIRN_ERR_DISK_WIPED = 36,
    CAIRN_ERR_STALE_BOOT = 37,
    CAIRN_ERR_TORN = 38,
    CAIRN_ERR_UNSUPPORTED_CODEC = 39,
    CAIRN_ERR_BUFFER_FULL = 40, /* the producer's buffer_max_bytes are in use: send again later */
    CAIRN_ERR_CONFIG = 41,      /* an option or its value is not allowed */
    CAIRN_ERR_NOT_COORDINATOR = 42,
    CAIRN_ERR_INVALID_GROUP = 43,
    CAIRN_ERR_GROUP_NOT_FOUND = 44,
    CAIRN_ERR_GROUP_FULL = 45,
    CAIRN_ERR_NON_EMPTY_GROUP = 46,
    CAIRN_ERR_UNKNOWN_MEMBER = 47,
    CAIRN_ERR_MEMBER_ID_REQUIRED = 48,
    CAIRN_ERR_ILLEGAL_GENERATION = 49,
    CAIRN_ERR_REBALANCE = 50,
    CAIRN_ERR_FENCED_INSTANCE = 51,
    CAIRN_ERR_INCONSISTENT_PROTOCOL = 52,
    CAIRN_ERR_INVALID_SESSION_TIMEOUT = 53,
    CAIRN_ERR_SUBSCRIBED = 54,
    CAIRN_ERR_OFFSET_METADATA_TOO_BIG = 55
};

#define CAIRN_ERROR_TEXT_SIZE 256

/* Filled only when a call fails; the caller's own memory. Every parameter of this type may be NULL. */
struct cairn_error {
    int code; /* enum cairn_code */
    char text[CAIRN_ERROR_TEXT_SIZE];
};

/* The symbol ("NOT_LEADER") and a sentence part ("not the leader of this partition"). Static storage, any thread. */
CAIRN_API const char *cairn_error_name(int code);
CAIRN_API const char *cairn_error_text(int code);

/* Whether the same call may succeed later. */
CAIRN_API bool cairn_error_retriable(int code);

#ifdef __cplusplus
}
#endif

#endif
