/* The real client in the simulation: libcairn's core (client/src/core) run by a driver on the simulated environment, in
 * programs that send, read, seek, flush, close and open as an application would. They know only what the library tells
 * them; that goes to oracles of their own (real_client_oracle.c), beside the readers of client_consumer.c. */
#ifndef CAIRN_SIM_REAL_CLIENT_H
#define CAIRN_SIM_REAL_CLIENT_H

#include "client/src/core/core.h"
#include "tests/sim/client.h"

/* ---- the driver (real_client_driver.c): what driver_uv.c is with libuv --------------------------------------------- */

struct real_driver {
    struct client_io io;
    struct core core;
    struct env *env;
    struct env_hook hook;
    struct timer timer;
    uint64_t deadline_ns; /* what the core asked for */
    uint64_t armed_ns;    /* what the timer is set to; UINT64_MAX: nothing */
    bool dead;            /* the machine is: touch nothing of the environment */
    unsigned drops;       /* connections that ended */
    uint64_t frozen_ns;   /* until then the process is stopped: the core takes no turn */
    struct list links;    /* connections */
    void (*after_turn)(struct real_driver *d);
};

/* Turns of the core come at the end of each of the loop's turns. @config is copied. */
void real_driver_start(struct real_driver *d, struct env *env, const struct core_config *config,
                       void (*after_turn)(struct real_driver *d));
/* The machine died. Producers and consumers are closed already; frees all that is left. */
void real_driver_abandon(struct real_driver *d);
void real_driver_describe(const struct real_driver *d, char *out, size_t size);

/* ---- producers and consumers (real_client_producer.c, real_client_consumer.c) -------------------------------------- */

struct real_producer;
struct real_consumer;

struct real_producer *real_producer_new(struct real_driver *d, struct workload *w);
void real_producer_tick(struct real_producer *p);
void real_producer_abandon(struct real_producer *p);
/* After each turn of the core the topics' ids and what was acknowledged are looked at: an answer is about the id of its time,
 * not of the time when it is told. */
void real_producer_after_turn(struct real_producer *p);
bool real_producer_fresh(const struct real_producer *p);
bool real_producer_idle(const struct real_producer *p);
size_t real_producer_describe(const struct real_producer *p, char *out, size_t size);

struct real_consumer *real_consumer_new(struct real_driver *d, struct workload *w);
void real_consumer_tick(struct real_consumer *c);
void real_consumer_abandon(struct real_consumer *c);
/* In each partition something has come since the first call after healing, and again since the first one after the end of
 * the workload; or nothing is left to come. */
bool real_consumer_moves(struct real_consumer *c);
size_t real_consumer_describe(const struct real_consumer *c, char *out, size_t size);

static inline uint64_t real_draw(struct env *env, uint64_t low, uint64_t high)
{
    return low + (uint64_t)(((unsigned __int128)env_random(env) * (high - low + 1)) >> 64);
}

/* ---- oracles ------------------------------------------------------------------------------------------------------- */

/* All that one producer sends to one topic's name, numbered 0, 1, ... in the order of the calls, over all partitions and
 * over all topics that have had the name. */
struct real_stream;

/* @topic_goes: it may be deleted, and made again. */
struct real_stream *real_stream_new(struct oracle *o, unsigned topic, bool topic_goes);
uint32_t real_stream_id(const struct real_stream *s); /* as it stands in values: oracle_value() */
uint32_t real_stream_next(const struct real_stream *s);
/* The library has taken the next record. */
void real_stream_sent(struct real_stream *s);
/* What became of record @seq. @part is the partition it went to (NULL: of which topic is not certain); @offset -1: it is
 * there, nobody knows where. */
void real_stream_acked(struct oracle *o, struct real_stream *s, uint32_t seq, struct oracle_part *part, int64_t offset);
void real_stream_unknown(struct oracle *o, struct real_stream *s, uint32_t seq);
/* "Failed", for certain: it is not in the log, and never will be. */
void real_stream_failed(struct oracle *o, struct real_stream *s, uint32_t seq, int error);

/* The library gave whole batches from offset @begin on; @end is where it says that they end. */
void real_reader_got(struct oracle *o, struct oracle_reader *r, const uint8_t *bytes, size_t size, int64_t begin, int64_t end);

#endif
