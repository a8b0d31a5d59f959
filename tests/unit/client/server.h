/* The cluster of world.h on real loopback sockets, one thread, for tests of the library as programs use it. */
#ifndef TESTS_CLIENT_SERVER_H
#define TESTS_CLIENT_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/client/world.h"

#define SERVER_LINKS_MAX 64

struct server_link {
    int fd; /* -1: free */
    uint32_t node;
    struct frame_reader reader;
    struct world_link *link;
};

struct server {
    struct world world;
    pthread_mutex_t mutex; /* of the world, for tests that look at it or change it */
    pthread_t thread;
    _Atomic bool stopping;
    int listeners[WORLD_NODES + 1];
    struct server_link links[SERVER_LINKS_MAX];
    char bootstrap[64];
};

void server_start(struct server *s, uint32_t partitions, uint64_t seed);
void server_stop(struct server *s);
/* Break all connections to @node. */
void server_cut(struct server *s, uint32_t node);

#endif
