/* The one table of error codes. Every int that a function of ours returns is 0 or one of these; the numbers are also
 * what the native protocol carries, so they are never reused or renumbered. */
#ifndef CAIRN_BASE_ERR_H
#define CAIRN_BASE_ERR_H

#include <stdbool.h>

#define MUST_USE __attribute__((warn_unused_result))

/* X(name, number, retriable, text) */
#define ERR_TABLE(X)                                                                                                   \
    X(ERR_NOMEM, 1, true, "out of memory")                                                                             \
    X(ERR_INVALID, 2, false, "invalid argument")                                                                       \
    X(ERR_MALFORMED, 3, false, "malformed bytes")                                                                      \
    X(ERR_CORRUPT, 4, false, "corrupt data")                                                                           \
    X(ERR_IO, 5, false, "input/output error")                                                                          \
    X(ERR_NO_SPACE, 6, true, "no space left for new records")                                                          \
    X(ERR_NOT_FOUND, 7, false, "not found")                                                                            \
    X(ERR_EXISTS, 8, false, "already exists")                                                                          \
    X(ERR_BUSY, 9, true, "a limit is reached, try again")                                                              \
    X(ERR_SHUTDOWN, 10, true, "shutting down")                                                                         \
    X(ERR_CANCELLED, 11, true, "cancelled")                                                                            \
    X(ERR_TIMEOUT, 12, true, "timed out")                                                                              \
    X(ERR_TOO_BIG, 13, false, "larger than the limit")                                                                 \
    X(ERR_VERSION, 14, false, "version not supported")                                                                 \
    X(ERR_UNKNOWN_CALL, 15, false, "call not known")                                                                   \
    X(ERR_NOT_LEADER, 16, true, "not the leader of this partition")                                                    \
    X(ERR_LEADER_NOT_READY, 17, true, "no leader is ready to serve yet")                                               \
    X(ERR_UNKNOWN_OUTCOME, 18, true, "the outcome is not known")                                                       \
    X(ERR_UNKNOWN_TOPIC, 19, true, "topic or partition not known")                                                     \
    X(ERR_TOPIC_EXISTS, 20, false, "a topic of this name exists")                                                      \
    X(ERR_INVALID_TOPIC, 21, false, "topic name not allowed")                                                          \
    X(ERR_INVALID_PARTITIONS, 22, false, "number of partitions not allowed")                                           \
    X(ERR_INVALID_REPLICAS, 23, false, "number of replicas not allowed")                                               \
    X(ERR_INVALID_CONFIG, 24, false, "configuration value not allowed")                                                \
    X(ERR_OFFSET_OUT_OF_RANGE, 25, false, "offset out of range")                                                       \
    X(ERR_INVALID_RECORD, 26, false, "record batch not allowed")                                                       \
    X(ERR_BATCH_TOO_BIG, 27, false, "record batch larger than max.message.bytes")                                      \
    X(ERR_OUT_OF_ORDER_SEQUENCE, 28, false, "sequence number out of order")                                            \
    X(ERR_PRODUCER_FENCED, 29, false, "producer epoch is older than the newest one seen")                              \
    X(ERR_DUPLICATE_SEQUENCE, 30, false, "sequence number older than the remembered ones")                             \
    X(ERR_CLUSTER_MISMATCH, 31, false, "another cluster's id")                                                         \
    X(ERR_NODE_MISMATCH, 32, false, "another node's id")                                                               \
    X(ERR_NOT_FORMED, 33, true, "the cluster is not formed yet")                                                       \
    X(ERR_CLOSED, 34, true, "connection closed")                                                                       \
    X(ERR_REFUSED, 35, false, "refused")                                                                               \
    X(ERR_DISK_WIPED, 36, false, "this node's id is known but its disk is empty")                                      \
    X(ERR_STALE_BOOT, 37, false, "boot counter lower than seen before")                                                \
    X(ERR_TORN, 38, false, "torn at the end")                                                                          \
    X(ERR_UNSUPPORTED_CODEC, 39, false, "compression codec not supported")                                             \
    X(ERR_BUFFER_FULL, 40, true, "the buffer is full")                                                                 \
    X(ERR_CONFIG, 41, false, "wrong configuration")                                                                    \
    X(ERR_NOT_COORDINATOR, 42, true, "not the coordinator of this consumer group")                                     \
    X(ERR_INVALID_GROUP, 43, false, "consumer group's name not allowed")                                               \
    X(ERR_GROUP_NOT_FOUND, 44, false, "consumer group not known")                                                      \
    X(ERR_GROUP_FULL, 45, false, "the consumer group's limit of members is reached")                                   \
    X(ERR_NON_EMPTY_GROUP, 46, false, "the consumer group has members")                                                \
    X(ERR_UNKNOWN_MEMBER, 47, false, "not a member of the consumer group")                                             \
    X(ERR_MEMBER_ID_REQUIRED, 48, false, "join again with the member id given")                                        \
    X(ERR_ILLEGAL_GENERATION, 49, false, "not the consumer group's generation")                                        \
    X(ERR_REBALANCE, 50, false, "the consumer group rebalances, join again")                                           \
    X(ERR_FENCED_INSTANCE, 51, false, "another member has taken over this group.instance.id")                          \
    X(ERR_INCONSISTENT_PROTOCOL, 52, false, "no protocol in common with the consumer group")                           \
    X(ERR_INVALID_SESSION_TIMEOUT, 53, false, "session timeout outside of the limits")                                 \
    X(ERR_SUBSCRIBED, 54, false, "the consumer group is subscribed to the topic")                                      \
    X(ERR_OFFSET_METADATA_TOO_BIG, 55, false, "metadata of a committed offset larger than the limit")

enum {
    ERR_OK = 0,
#define X(name, number, retriable, text) name = number,
    ERR_TABLE(X)
#undef X
};

/* The symbol, e.g. "NOT_LEADER"; "UNKNOWN_ERROR" for a number that is not in the table. Static storage. */
const char *err_name(int err);

/* One sentence part for people. Static storage. */
const char *err_text(int err);

/* True where the same call may succeed later or elsewhere. */
bool err_retriable(int err);

/* Map an errno value to a code of the table. */
int err_from_errno(int errnum);

/* Text for people travels in its owner's buffer of this size, wrapped on the way up. */
#define ERRMSG_SIZE 256

#endif
