/* One core, with producers, consumers or both on it, as a kind of workload client. */
#include "tests/sim/real_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 5
#define PRODUCERS_MAX 2

struct real {
    struct real_driver driver;
    struct client_tick tick;
    unsigned n_producers;
    struct real_producer *producers[PRODUCERS_MAX];
    struct real_consumer *consumer; /* NULL: none */
};

static void tick(void *data)
{
    struct real *r = data;

    for (unsigned i = 0; i < r->n_producers; i++) {
        real_producer_tick(r->producers[i]);
    }
    if (r->consumer != NULL) {
        real_consumer_tick(r->consumer);
    }
}

static void after_turn(struct real_driver *d)
{
    struct real *r = container_of(d, struct real, driver);

    for (unsigned i = 0; i < r->n_producers; i++) {
        real_producer_after_turn(r->producers[i]);
    }
}

static void *start(struct env *env, struct workload *w, bool produces, bool consumes)
{
    char addresses[ORACLE_NODES_MAX][CLIENT_ADDRESS_SIZE];
    struct real *r = calloc(1, sizeof *r);
    struct core_config config;
    unsigned first;

    assert(r != NULL);
    core_config_init(&config);
    config.client_id = "sim";
    config.bootstrap = addresses;
    /* Two of them at least: one may have lost its disk for good. */
    config.bootstrap_count = (unsigned)real_draw(env, w->n_nodes > 1 ? 2 : 1, w->n_nodes);
    first = (unsigned)real_draw(env, 0, w->n_nodes - 1);
    for (unsigned i = 0; i < config.bootstrap_count; i++) {
        snprintf(addresses[i], sizeof addresses[i], "n%u:9092", 1 + (first + i) % w->n_nodes);
    }
    if (real_draw(env, 0, 1) == 0) {
        config.connect_timeout_ms = (uint32_t)real_draw(env, 200, 2000);
        config.request_timeout_ms = (uint32_t)real_draw(env, 1500, 6000);
        config.metadata_max_age_ms = (uint32_t)real_draw(env, 500, 20000);
    }
    real_driver_start(&r->driver, env, &config, after_turn);
    r->n_producers = produces ? (unsigned)real_draw(env, 1, PRODUCERS_MAX) : 0;
    for (unsigned i = 0; i < r->n_producers; i++) {
        r->producers[i] = real_producer_new(&r->driver, w);
    }
    r->consumer = consumes ? real_consumer_new(&r->driver, w) : NULL;
    client_tick_start(&r->tick, env, TICK_MS, tick, r);
    return r;
}

static void *start_producer(struct env *env, struct workload *w)
{
    return start(env, w, true, false);
}

static void *start_consumer(struct env *env, struct workload *w)
{
    return start(env, w, false, true);
}

static void *start_both(struct env *env, struct workload *w)
{
    return start(env, w, true, true);
}

static void abandon(void *client)
{
    struct real *r = client;

    r->driver.dead = true;
    for (unsigned i = 0; i < r->n_producers; i++) {
        real_producer_abandon(r->producers[i]);
    }
    if (r->consumer != NULL) {
        real_consumer_abandon(r->consumer);
    }
    real_driver_abandon(&r->driver);
    free(r);
}

static bool is_fresh(const void *client)
{
    const struct real *r = client;
    bool fresh = r->consumer == NULL || real_consumer_moves(r->consumer);

    for (unsigned i = 0; i < r->n_producers; i++) {
        fresh = fresh && real_producer_fresh(r->producers[i]);
    }
    return fresh;
}

static bool is_idle(const void *client)
{
    const struct real *r = client;
    bool idle = r->consumer == NULL || real_consumer_moves(r->consumer);

    for (unsigned i = 0; i < r->n_producers; i++) {
        idle = idle && real_producer_idle(r->producers[i]);
    }
    return idle;
}

static void describe(const void *client, char *out, size_t size)
{
    const struct real *r = client;
    size_t n = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < r->n_producers; i++) {
        n += real_producer_describe(r->producers[i], out + n, size - n);
    }
    if (r->consumer != NULL) {
        n += real_consumer_describe(r->consumer, out + n, size - n);
    }
    real_driver_describe(&r->driver, out + n, size - n);
}

const struct client_kind client_real_producer = {"real producer", start_producer, abandon, is_fresh, is_idle, describe};
const struct client_kind client_real_consumer = {"real consumer", start_consumer, abandon, is_fresh, is_idle, describe};
const struct client_kind client_real_both = {"real client", start_both, abandon, is_fresh, is_idle, describe};
