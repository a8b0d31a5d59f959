/* The table of the native protocol's calls: numbers and the versions of each that this build speaks. Numbers are never
 * reused; a version is added when a message changes in a way that an older side would misread. */
#ifndef CAIRN_NATIVE_CALLS_H
#define CAIRN_NATIVE_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

#define CALL_PEER_FIRST 64 /* calls from here on are between nodes only */

/* X(name, number, version min, version max) */
#define CALL_TABLE(X)                                                                                                  \
    X(HELLO, 1, 1, 1)                                                                                                  \
    X(METADATA, 2, 1, 1)                                                                                               \
    X(PRODUCE, 3, 1, 1)                                                                                                \
    X(FETCH, 4, 1, 1)                                                                                                  \
    X(LIST_OFFSETS, 5, 1, 1)                                                                                           \
    X(INIT_PRODUCER_ID, 6, 1, 1)                                                                                       \
    X(CREATE_TOPIC, 7, 1, 1)                                                                                           \
    X(DELETE_TOPIC, 8, 1, 1)                                                                                           \
    X(LIST_TOPICS, 9, 1, 1)                                                                                            \
    X(DESCRIBE_TOPIC, 10, 1, 1)                                                                                        \
    X(CLUSTER_STATUS, 11, 1, 1)                                                                                        \
    X(FIND_COORDINATOR, 12, 1, 1)                                                                                      \
    X(JOIN_GROUP, 13, 1, 1)                                                                                            \
    X(SYNC_GROUP, 14, 1, 1)                                                                                            \
    X(GROUP_HEARTBEAT, 15, 1, 1)                                                                                       \
    X(LEAVE_GROUP, 16, 1, 1)                                                                                           \
    X(COMMIT_OFFSETS, 17, 1, 1)                                                                                        \
    X(FETCH_OFFSETS, 18, 1, 1)                                                                                         \
    X(LIST_GROUPS, 19, 1, 1)                                                                                           \
    X(DESCRIBE_GROUPS, 20, 1, 1)                                                                                       \
    X(DELETE_GROUPS, 21, 1, 1)                                                                                         \
    X(DELETE_OFFSETS, 22, 1, 1)                                                                                        \
    X(GROUP_LAG, 23, 1, 1)                                                                                             \
    X(PEER_HELLO, 64, 1, 1)                                                                                            \
    X(PEER_RAFT, 65, 1, 1)                                                                                             \
    X(PEER_LEADERS, 66, 1, 1)                                                                                          \
    X(FORM, 67, 1, 1)                                                                                                  \
    X(JOIN, 68, 1, 1)                                                                                                  \
    X(METADATA_PROPOSE, 69, 1, 1)                                                                                      \
    X(ALLOCATE, 70, 1, 1)                                                                                              \
    X(PEER_LOG_ENDS, 71, 1, 1)

enum call {
#define X(name, number, version_min, version_max) CALL_##name = number,
    CALL_TABLE(X)
#undef X
};

/* The symbol, e.g. "PRODUCE"; "UNKNOWN_CALL" for a number that is not in the table. Static storage. */
const char *call_name(uint16_t call);

/* Whether this build speaks @version of @call. Errors: ERR_UNKNOWN_CALL, ERR_VERSION. */
int call_check(uint16_t call, uint16_t version) MUST_USE;

static inline bool call_is_peer(uint16_t call)
{
    return call >= CALL_PEER_FIRST;
}

#endif
