/* Arbitrary requests to the Kafka door of a real node on the simulated world. The input is a list of requests whose
 * headers are made right, so that what lies behind them is reached. Nothing may crash, every request gets its answer,
 * in order, or the session ends, and afterwards the node serves a client that behaves.
 *
 * One node is made once and asked again and again: what one input leaves behind, the next one meets. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/group_limits.h"
#include "proto/kafka/messages/create_partitions.h"
#include "proto/kafka/messages/create_topics.h"
#include "proto/kafka/messages/metadata.h"
#include "tests/unit/node/kafka_door.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS_MAX 64
#define INPUTS_A_NODE 500 /* then a fresh one: a log that only grows makes the rest slow */
#define BATCH_ROOM 600

/* A request in the input: key, version, flags, length of the message (2 bytes), the message. Flag 2: a valid batch
 * follows the message; 4: what looks like the topic's id is made it (16 bytes behind 0xff 0x10); 8: the client goes
 * after this one. */
#define REQUEST_FIXED 5

static struct door d;
static struct uuid topic;
static unsigned inputs;

static void node_ready(void)
{
    int rv;
    if (inputs++ % INPUTS_A_NODE != 0) {
        return;
    }
    if (inputs > 1) {
        door_close(&d);
    }
    door_defaults(&d);
    d.shards = 2;
    door_open(&d, 1);
    rv = door_create_topic(&d, "t", 2, 1, &topic);
    assert(rv == 0);
    (void)rv;
}

static void put_topic(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i + 18 <= size; i++) {
        if (bytes[i] == 0xff && bytes[i + 1] == 0x10) {
            memcpy(bytes + i + 2, topic.bytes, 16);
        }
    }
}

/* One request out of the input; returns what it used. */
static size_t send_request(struct kafka_door *k, const uint8_t *in, size_t size)
{
    uint8_t batch[BATCH_ROOM];
    size_t message = (size_t)in[3] | (size_t)(in[4] & 0x0f) << 8;
    size_t extra = 0;
    int16_t key = in[0];
    uint8_t *bytes;

    if (message > size - REQUEST_FIXED) {
        message = size - REQUEST_FIXED;
    }
    if (key == KAFKA_API_CREATE_TOPICS || key == KAFKA_API_CREATE_PARTITIONS) {
        return REQUEST_FIXED + message; /* thousands of partitions in one input take longer than a fuzzer waits */
    }
    if ((in[2] & 2) != 0) {
        extra = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);
    }
    bytes = malloc(message + extra + 1);
    assert(bytes != NULL);
    memcpy(bytes, in + REQUEST_FIXED, message);
    memcpy(bytes + message, batch, extra);
    if ((in[2] & 4) != 0) {
        put_topic(bytes, message);
    }
    kafka_door_send_bytes(k, key, in[1], bytes, message + extra);
    free(bytes);
    return REQUEST_FIXED + message;
}

static void check_node(void)
{
    struct kafka_metadata_request m;
    struct kafka_metadata_response r;
    struct kafka_door good;
    bool there = false;
    kafka_door_open(&good, &d, 1);
    kafka_metadata_request_init(&m);
    m.topics_count = -1;
    kafka_door_ask(&good, KAFKA_API_METADATA, 12, &m, &r);
    assert(r.brokers_count == 1);
    for (int32_t i = 0; i < r.topics_count && !there; i++) {
        there = r.topics[i].name.length == 1 && r.topics[i].name.data[0] == 't';
    }
    kafka_door_close(&good);
    if (!there) { /* the input has deleted it */
        int rv = door_create_topic(&d, "t", 2, 1, &topic);
        assert(rv == 0);
        (void)rv;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kafka_door k;
    unsigned n = 0;
    size_t at = 0;
    bool gone = false;

    node_ready();
    kafka_door_open(&k, &d, 1);
    while (n++ < REQUESTS_MAX && size - at >= REQUEST_FIXED && !k.ended && !gone) {
        gone = (data[at + 2] & 8) != 0;
        at += send_request(&k, data + at, size - at);
    }
    /* Joins and syncs wait for other members, which are gone after their sessions at the latest; nothing else waits so
     * long. */
    if (!gone && !k.ended && !kafka_door_settle(&k, GROUP_SESSION_TIMEOUT_MAX_MS + SERVICE_TIMEOUT_MAX_MS + 10000)) {
        abort();
    }
    kafka_door_close(&k);
    check_node();
    return 0;
}
