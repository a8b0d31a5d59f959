/* Whole nodes on the simulated world, and connections that speak raw frames to them: for the tests of the front door and of
 * what stands behind it. One thread, virtual time. */
#ifndef CAIRN_TESTS_DOOR_H
#define CAIRN_TESTS_DOOR_H

#include "node/node.h"
#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "proto/native/native.pb-c.h"
#include "tests/sim/world.h"

#define DOOR_NODES_MAX 3

struct door_node {
    struct door *door;
    struct sim_node *machine;
    struct env *env;
    struct node *node; /* NULL: not running */
    unsigned id;
    bool stopping;
    bool stopped;
};

struct door {
    struct sim_world *world;
    unsigned n;
    struct door_node nodes[DOOR_NODES_MAX];
    struct sim_node *machine; /* the client's */
    struct list conns;
    uint32_t correlation;
    unsigned closed_lines; /* client_closed in the nodes' logs */
    char closed_line[512]; /* the last one */
    /* set before door_open() */
    uint64_t seed;
    unsigned shards;
    uint64_t memory_max_bytes;
    uint64_t cache_bytes;
    uint32_t connections_max;
    uint32_t idle_timeout_ms;
};

struct door_answer {
    struct list link;
    struct frame_header header;
    uint8_t *message;
    uint8_t *payload;
};

struct door_conn {
    struct list link;
    struct door *door;
    struct env_conn *socket;
    struct frame_reader reader;
    struct list answers;
    unsigned n_answers; /* ever */
    bool deaf;          /* does not read */
    bool connected;
    bool ended;
};

void door_defaults(struct door *d);
void door_open(struct door *d, unsigned nodes); /* formed, with a metadata leader */
void door_close(struct door *d);
void door_stop(struct door *d, unsigned id);    /* orderly */
void door_kill(struct door *d, unsigned id);
void door_start(struct door *d, unsigned id);

struct door_conn *door_connect(struct door *d, unsigned id);
void door_disconnect(struct door_conn *c);
void door_forget(struct door *d); /* frees all connections; they are disconnected, and that has been done */
void door_listen(struct door_conn *c); /* deaf no more */
void door_bytes(struct door_conn *c, const void *bytes, size_t size);
uint32_t door_send(struct door_conn *c, uint16_t call, const ProtobufCMessage *message, const void *payload, size_t size);
/* The answer, which the caller frees; NULL: none within @limit_ms, or the connection has ended. */
struct door_answer *door_wait(struct door_conn *c, uint32_t correlation, uint64_t limit_ms);
void door_answer_free(struct door_answer *a);
bool door_until(struct door *d, bool (*holds)(void *data), void *data, uint64_t limit_ms);
bool door_until_ended(struct door_conn *c, uint64_t limit_ms);
void door_run(struct door *d, uint64_t ms);

/* ---- whole calls --------------------------------------------------------------------------------------------- */

int door_create_topic(struct door *d, const char *name, uint32_t partitions, uint32_t replication, struct uuid *id);
int door_delete_topic(struct door *d, const char *name);
unsigned door_leader(struct door *d, const struct uuid *topic, uint32_t partition); /* waits for one; 0: none */

/* A batch of one record of @size bytes; @producer -1: not idempotent. Returns bytes used at @out (size + 200 have room). */
size_t door_batch(uint8_t *out, size_t capacity, int64_t producer, int16_t epoch, int32_t sequence, size_t size,
                  int64_t timestamp);
uint32_t door_send_produce(struct door_conn *c, const struct uuid *topic, uint32_t partition, const void *batch,
                           size_t size, uint32_t timeout_ms);
/* Error of the one partition (or of the frame), -1: no answer. @offset may be NULL. */
int door_wait_produce(struct door_conn *c, uint32_t correlation, uint64_t limit_ms, int64_t *offset);
int door_produce(struct door_conn *c, const struct uuid *topic, uint32_t partition, size_t size);

struct door_fetch {
    uint32_t partition;
    int64_t offset;
    uint32_t part_max_bytes;
    uint32_t max_wait_ms;
    uint32_t min_bytes;
    uint32_t max_bytes;
    uint32_t times; /* the partition is named so often; 0: once */
};
uint32_t door_send_fetch(struct door_conn *c, const struct uuid *topic, const struct door_fetch *fetch);
/* As door_wait_produce; @bytes: of the payload. */
int door_wait_fetch(struct door_conn *c, uint32_t correlation, uint64_t limit_ms, size_t *bytes, int64_t *high_watermark);
int door_list_offset(struct door_conn *c, const struct uuid *topic, uint32_t partition, int64_t time_ms, int64_t *offset);

#endif
