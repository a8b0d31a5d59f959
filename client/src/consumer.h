/* What the files of the public consumer share. */
#ifndef CAIRN_CLIENT_SRC_CONSUMER_H
#define CAIRN_CLIENT_SRC_CONSUMER_H

#include "client/src/client.h"
#include "client/src/core/consumer.h"
#include "proto/record/record_iter.h"

struct cairn_records {
    struct chunk *chunk; /* NULL: none */
    char topic[CLIENT_TOPIC_NAME_MAX + 1];
    int32_t partition;
    uint64_t generation;
    const uint8_t *next; /* the next batch */
    size_t left;         /* bytes from there on */
    int64_t wanted;      /* records below were given before */
    bool in_batch;
    struct record_iter iter;
    struct codec_scratch scratch;
    int err; /* a batch cannot be read; the next poll tells */
};

struct cairn_consumer {
    struct consumer_host host;
    struct cairn_client *client;
    struct consumer *core;
    struct consumer_config config;
    uv_mutex_t mutex; /* of what the core shares */
    uv_cond_t changed;
    struct cairn_records records;
    bool in_callback; /* of a rebalance */
    void (*rebalanced)(void *arg, struct cairn_consumer *consumer, enum cairn_rebalance what,
                       const struct cairn_topic_partition *partitions, size_t count);
    void *rebalanced_arg;
    int rv; /* of consumer_new on the loop thread */
};

/* Unlock the consumer's mutex; the core takes a turn where @wake. */
void consumer_unlock_and_wake(struct cairn_consumer *c, bool wake);

/* What cairn_records_next has given counts as processed. Locked. */
void consumer_records_mark(struct cairn_consumer *c);

/* Whatever the group has for the program; locked, unlocked during the callback. Errors: what poll is to tell. */
int consumer_group_events(struct cairn_consumer *c, bool *wake, struct cairn_error *error) MUST_USE;

/* Leave the group in an orderly way, if in one. */
void consumer_group_leave(struct cairn_consumer *c);

/* The options of groups: parsed to config->group. */
int consumer_group_options(struct cairn_consumer *c, const char *id, const char *instance, const char *assignors,
                           struct cairn_error *error) MUST_USE;

#endif
