/* Produce requests: which batches they carry. Private to the producer's files. */
#ifndef CAIRN_CLIENT_PRODUCER_BUILD_H
#define CAIRN_CLIENT_PRODUCER_BUILD_H

#include "client/src/core/conn.h"
#include "client/src/core/producer.h"

/* request->extra: one for each piece of the payload. */
struct producer_entry {
    struct batch *batch;
    uint32_t attempt;
};

struct producer_build {
    struct conn *conn;
    struct meta_node *node;
    unsigned round; /* of the builds of one connection: sent in this order */
    bool alone;     /* carries one partition's batch only */
    uint32_t count;
    size_t bytes;
};

struct producer_pick {
    struct batch *batch;
    size_t build; /* index */
};

void producer_release(struct request *r);

#endif
