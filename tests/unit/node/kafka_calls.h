/* Whole calls of Kafka's clients at a node on the simulated world, for the tests of the front door: one node, a topic
 * "t" of two partitions, and a session. */
#ifndef CAIRN_TESTS_KAFKA_CALLS_H
#define CAIRN_TESTS_KAFKA_CALLS_H

#include "proto/kafka/messages/fetch.h"
#include "proto/kafka/messages/list_offsets.h"
#include "proto/kafka/messages/metadata.h"
#include "proto/kafka/messages/produce.h"
#include "tests/unit/node/kafka_door.h"

#define NEWEST INT16_MAX /* version */
#define BATCH_ROOM 4096

extern struct door d;
extern struct kafka_door k;
extern struct uuid topic;

/* What a Fetch of one partition asks; zero limits: 1 MiB. @leader_epoch -1: it knows none. */
struct fetch {
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch;
    int32_t max_wait_ms, min_bytes, max_bytes, part_max_bytes;
    int8_t isolation_level;
};

/* @version, or the API's newest where it is above. */
int16_t version_of(int16_t key, int16_t version);
int setup(void **state);
int teardown(void **state);
/* Each in any version up to NEWEST; the answer's one partition, good until the next call. acks 0: nothing is waited
 * for. */
struct kafka_produce_response_partition produce(int16_t version, const char *name, int32_t partition, int16_t acks,
                                                const void *records, size_t size);
int64_t produce_one(int32_t partition, size_t size, int64_t timestamp);
struct kafka_fetch_response_partition fetch_as(int16_t version, const struct fetch *f, const char *name,
                                               const struct uuid *id);
struct kafka_fetch_response_partition fetch(const struct fetch *f);
struct kafka_list_offsets_response_partition list_offset(int16_t version, int32_t partition, int64_t timestamp);
struct kafka_metadata_response_topic metadata(int16_t version, const char *name, bool create);

#endif
