/* Arbitrary requests to a real node on the simulated world. The input is a list of frames whose header checksums are made
 * right, so that what lies behind them is reached. Nothing may crash, every request gets exactly one answer or the
 * connection is closed, and afterwards the node serves a client that behaves.
 *
 * One node is made once and asked again and again: what one input leaves behind, the next one meets. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/group_limits.h"
#include "proto/base/crc32c.h"
#include "tests/unit/node/door.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS_MAX 64
#define BATCH_ROOM 600
#define INPUTS_A_NODE 500 /* then a fresh one: a log that only grows makes the rest slow */

/* A frame in the input: call, version, flags, length of the message (2 bytes), then the message and, with flag 1, a payload of
 * one byte's length; flag 2: the topic's real id is written over the first 16 bytes that look like one (0x0a 0x10); flag 4: the
 * payload is a valid batch instead; flag 8: a response, 16: no checksum. */
#define FRAME_FIXED 5

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

static void put_topic(uint8_t *message, size_t size)
{
    for (size_t i = 0; i + 18 <= size; i++) {
        if (message[i] == 0x0a && message[i + 1] == 0x10) {
            memcpy(message + i + 2, topic.bytes, 16);
        }
    }
}

/* One frame out of the input; returns what it used. */
static size_t send_frame(struct door_conn *c, const uint8_t *in, size_t size, uint32_t correlation)
{
    struct frame_header h = {.kind = FRAME_REQUEST, .call = in[0], .call_version = in[1], .correlation = correlation};
    uint8_t batch[BATCH_ROOM];
    uint8_t flags = in[2];
    size_t message = (size_t)in[3] | (size_t)(in[4] & 0x0f) << 8;
    size_t used = FRAME_FIXED;
    size_t payload = 0;
    const uint8_t *from = NULL;
    uint8_t *frame;

    if (message > size - used) {
        message = size - used;
    }
    used += message;
    if ((flags & 4) != 0) {
        payload = door_batch(batch, sizeof batch, 1 + flags % 3, 0, correlation % 8, 100, 1000 + correlation);
        from = batch;
    } else if ((flags & 1) != 0 && used < size) {
        payload = in[used] < size - used - 1 ? in[used] : size - used - 1;
        used++;
        from = in + used;
        used += payload;
    }
    h.kind = (flags & 8) != 0 ? FRAME_RESPONSE : FRAME_REQUEST;
    h.message_length = (uint32_t)message;
    h.payload_length = (uint32_t)payload;
    frame = malloc(FRAME_HEADER_SIZE + message + payload);
    assert(frame != NULL);
    frame_encode_header(&h, frame);
    memcpy(frame + FRAME_HEADER_SIZE, in + FRAME_FIXED, message);
    if (payload > 0) {
        memcpy(frame + FRAME_HEADER_SIZE + message, from, payload);
    }
    if ((flags & 2) != 0) {
        put_topic(frame + FRAME_HEADER_SIZE, message);
    }
    if ((flags & 16) != 0) {
        frame[FRAME_HEADER_SIZE - 1] ^= 1;
    }
    door_bytes(c, frame, FRAME_HEADER_SIZE + message + payload);
    free(frame);
    return used;
}

struct wanted {
    struct door_conn *c;
    unsigned n;
};

static bool all_answered(void *data)
{
    struct wanted *w = data;
    return w->c->ended || w->c->n_answers >= w->n;
}

static void check_answers(struct door_conn *c, unsigned n)
{
    uint8_t seen[REQUESTS_MAX] = {0};
    struct list *pos;
    while ((pos = list_pop_front(&c->answers)) != NULL) {
        struct door_answer *a = list_entry(pos, struct door_answer, link);
        assert(a->header.correlation < n && !seen[a->header.correlation]);
        seen[a->header.correlation] = 1;
        door_answer_free(a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wanted w;
    struct door_conn *good;
    size_t at = 0;
    int rv;

    node_ready();
    w.c = door_connect(&d, 1);
    w.n = 0;
    while (w.n < REQUESTS_MAX && size - at >= FRAME_FIXED) {
        at += send_frame(w.c, data + at, size - at, w.n++);
    }
    /* No verb waits longer than SERVICE_TIMEOUT_MAX_MS, and calls to the metadata group a little more; joins and syncs wait for
     * other members, which are gone after their sessions at the latest. */
    if (!door_until(&d, all_answered, &w, GROUP_SESSION_TIMEOUT_MAX_MS + SERVICE_TIMEOUT_MAX_MS + 10000)) {
        abort();
    }
    door_run(&d, 5);
    check_answers(w.c, w.n);
    door_disconnect(w.c);
    good = door_connect(&d, 1);
    rv = door_list_offset(good, &topic, 0, -1, &(int64_t){0});
    if (rv == ERR_UNKNOWN_TOPIC) { /* the input has deleted it */
        rv = door_create_topic(&d, "t", 2, 1, &topic);
    }
    assert(rv == 0 || rv == ERR_LEADER_NOT_READY || rv == ERR_TOPIC_EXISTS);
    door_disconnect(good);
    door_run(&d, 5);
    door_forget(&d);
    return 0;
}
