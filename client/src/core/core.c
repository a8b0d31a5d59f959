#include "client/src/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/call.h"
#include "client/src/core/conn.h"
#include "client/src/core/consumer.h"
#include "client/src/core/producer.h"

void core_config_init(struct core_config *config)
{
    memset(config, 0, sizeof *config);
    config->connect_timeout_ms = CONN_CONNECT_TIMEOUT_MS;
    config->request_timeout_ms = CONN_REQUEST_TIMEOUT_MS;
    config->metadata_max_age_ms = META_MAX_AGE_MS;
    config->pool_keep_bytes = PRODUCER_BUFFER_MAX_BYTES;
}

int core_init(struct core *core, struct client_io *io, const struct core_config *config, uint64_t seed)
{
    size_t bootstrap_bytes = config->bootstrap_count * sizeof config->bootstrap[0];

    if (config->bootstrap_count == 0 || config->bootstrap_count > CLIENT_BOOTSTRAP_MAX) {
        return ERR_INVALID;
    }
    memset(core, 0, sizeof *core);
    core->io = io;
    core->config = *config;
    snprintf(core->client_id, sizeof core->client_id, "%s", config->client_id != NULL ? config->client_id : "");
    core->config.client_id = core->client_id;
    core->config.bootstrap = malloc(bootstrap_bytes);
    if (core->config.bootstrap == NULL) {
        return ERR_NOMEM;
    }
    memcpy(core->config.bootstrap, config->bootstrap, bootstrap_bytes);
    core->pool = buf_pool_new(config->pool_keep_bytes);
    if (core->pool == NULL) {
        free(core->config.bootstrap);
        return ERR_NOMEM;
    }
    rng_init(&core->rng, seed);
    core->bootstrap_next = (unsigned)rng_below(&core->rng, config->bootstrap_count);
    core->deadline_ns = UINT64_MAX;
    core->timer_ns = UINT64_MAX;
    list_init(&core->conns);
    list_init(&core->calls);
    list_init(&core->producers);
    list_init(&core->consumers);
    meta_init(&core->meta);
    return 0;
}

void core_shutdown(struct core *core)
{
    calls_shutdown(core);
    list_for_each_safe (pos, &core->conns) {
        conn_drop(list_entry(pos, struct conn, link), ERR_SHUTDOWN);
    }
    conns_tick(core);
}

bool core_closed(const struct core *core)
{
    return list_empty(&core->conns);
}

void core_free(struct core *core)
{
    meta_close(core);
    buf_pool_free(core->pool);
    free(core->config.bootstrap);
}

uint64_t core_backoff_ns(struct core *core, unsigned attempts, uint32_t min_ms, uint32_t max_ms)
{
    uint64_t ms = (uint64_t)min_ms << (attempts < 16 ? attempts : 16);
    uint64_t ns = (ms < max_ms ? ms : max_ms) * NS_PER_MS;

    return ns - ns / 8 + rng_below(&core->rng, ns / 4);
}

void core_turn(struct core *core, uint64_t now_ns)
{
    core->now_ns = now_ns;
    core->deadline_ns = UINT64_MAX;
    conns_tick(core);
    list_for_each_safe (pos, &core->producers) {
        producer_turn(list_entry(pos, struct producer, link));
    }
    list_for_each_safe (pos, &core->consumers) {
        consumer_turn(list_entry(pos, struct consumer, link));
    }
    meta_turn(core);
    calls_turn(core);
    conns_flush(core);
    if (core->deadline_ns != core->timer_ns) {
        core->timer_ns = core->deadline_ns;
        core->io->timer(core->io, core->deadline_ns);
    }
}
