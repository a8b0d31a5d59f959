/* Whole calls of the group APIs at nodes on the simulated world, for the tests of the front door. */
#ifndef CAIRN_TESTS_KAFKA_GROUP_CALLS_H
#define CAIRN_TESTS_KAFKA_GROUP_CALLS_H

#include "node/service/service_group.h"
#include "proto/kafka/messages/delete_groups.h"
#include "proto/kafka/messages/describe_groups.h"
#include "proto/kafka/messages/find_coordinator.h"
#include "proto/kafka/messages/heartbeat.h"
#include "proto/kafka/messages/join_group.h"
#include "proto/kafka/messages/leave_group.h"
#include "proto/kafka/messages/list_groups.h"
#include "proto/kafka/messages/offset_commit.h"
#include "proto/kafka/messages/offset_delete.h"
#include "proto/kafka/messages/offset_fetch.h"
#include "proto/kafka/messages/sync_group.h"
#include "tests/unit/node/kafka_door.h"

#define BYTES(s) ((struct kafka_bytes){(const uint8_t *)(s), (int32_t)strlen(s)})

extern struct door d;
extern struct kafka_door k;
extern struct uuid topic;

/* @version, or the nearest one that the API has. */
int16_t version_near(int16_t key, int16_t version);
void assert_text(struct kafka_string s, const char *text);
void copy_text(struct kafka_string s, char *out);
struct kafka_find_coordinator_response_coordinator ask_find(struct kafka_door *at, int16_t version, const char *group,
                                                            int8_t type);
void ask_join_send(struct kafka_door *at, int16_t version, const char *group, const char *member, const char *instance);
void ask_join_wait(struct kafka_door *at, int16_t version, struct kafka_join_group_response *r);
/* A whole join of a new member of a new group: it leads. Returns the generation. */
int32_t ask_join(int16_t version, const char *group, char member[GROUP_MEMBER_ID_MAX + 1]);
/* An int16_t is the error code. */
int16_t ask_sync(int16_t version, const char *group, const char *member, int32_t generation);
int16_t ask_heartbeat(struct kafka_door *at, int16_t version, const char *group, const char *member,
                      int32_t generation);
int16_t ask_leave(int16_t version, const char *group, const char *member);
void ask_commit(struct kafka_door *at, int16_t version, const char *group, const char *member, int32_t generation,
                struct kafka_string metadata, int16_t codes[3]);
struct kafka_offset_fetch_response_group_partition ask_fetch(struct kafka_door *at, int16_t version, const char *group,
                                                             int32_t partition, int16_t *top);
struct kafka_describe_groups_response_group ask_describe(int16_t version, const char *group);
/* How many there are. */
int32_t ask_list(int16_t version, const char *state, const char *type);
int16_t ask_delete_group(int16_t version, const char *group);
/* For cmocka: the cluster of a test. */
int open_one_node(void **state);
int open_three_nodes(void **state);
int close_nodes(void **state);

#endif
