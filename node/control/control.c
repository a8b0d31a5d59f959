#include "node/control/control.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"

/* ---- what comes from below ----------------------------------------------------------------------------------- */

static void on_message(void *data, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                       struct entry **entries, size_t n)
{
    struct control *c = data;
    if (control_is_formed(c) && !c->closing) {
        shards_receive(c->shards, node, group, header, size, entries, n);
    }
}

static void on_control(void *data, uint32_t node, uint16_t call, const uint8_t *message, size_t size)
{
    struct control *c = data;
    if (c->closing || c->refused) {
        return;
    }
    switch (call) {
    case CALL_FORM:
        formation_receive(c, node, message, size);
        return;
    case CALL_JOIN:
    case CALL_METADATA_PROPOSE:
        control_calls_receive(c, node, call, message, size);
        return;
    case CALL_PEER_LEADERS:
        leaders_receive(c, node, message, size);
        return;
    case CALL_PEER_LOG_ENDS:
        log_ends_receive(c, node, message, size);
        return;
    default:
        return; /* a newer node's: it falls back when no answer comes */
    }
}

static const struct transport_ops transport_ops = {
    .message = on_message,
    .control = on_control,
    .link = control_peers_link,
    .admit = control_peers_admit,
    .refused = control_peers_refused,
};

static int on_send(void *data, uint32_t node, bool urgent, uint64_t group, const uint8_t *header, size_t size,
                   struct entry *const *entries, size_t n)
{
    struct control *c = data;
    uint8_t rest[GROUP_MESSAGE_MAX];
    size_t rest_size;
    int rv;
    if (c->transport == NULL || c->refused) {
        return ERR_CLOSED;
    }
    rv = transport_send(c->transport, node, urgent ? TRANSPORT_URGENT : TRANSPORT_DATA, group, header, size, entries, n);
    if (rv == ERR_BUSY && n > 0 && group_message_strip(header, size, rest, &rest_size) == 0) {
        int told = transport_send(c->transport, node, TRANSPORT_URGENT, group, rest, rest_size, NULL, 0);
        (void)told; /* a heartbeat that is lost as well is repeated as well */
    }
    return rv;
}

static void on_leader(void *data, uint64_t group, uint64_t term, uint32_t node)
{
    leaders_note(data, group, term, node);
}

static void on_replica_failed(void *data, uint64_t group, uint64_t replica, int err)
{
    reconcile_failed(data, group, replica, err);
}

/* ---- turns --------------------------------------------------------------------------------------------------- */

void control_wake(struct control *c)
{
    if (!c->woken) {
        c->woken = true;
        env_wake(c->env);
    }
}

void control_refuse(struct control *c, int err, const char *text)
{
    char quoted[2 * ERRMSG_SIZE];
    if (c->refused) {
        return;
    }
    c->refused = true;
    c->refusal = err;
    snprintf(c->refusal_text, sizeof c->refusal_text, "%s", text);
    log_event(c->env->logger, LOG_ERROR, "node_refused", "node=%u err=%s text=%s", c->node, err_name(err),
              log_quote(quoted, sizeof quoted, c->refusal_text));
    control_wake(c);
}

void control_on_refused(struct control *c, void (*cb)(void *data, int err, const char *text), void *data)
{
    c->on_refused = cb;
    c->on_refused_data = data;
    if (c->refused) {
        control_wake(c);
    }
}

void control_became_formed(struct control *c)
{
    c->became_formed = true;
    control_wake(c);
}

/* Peers of a formed cluster: the founders, until the metadata knows better. */
static void note_founders(struct control *c)
{
    for (uint32_t i = 0; i < c->id.founders.n; i++) {
        const struct seed *founder = &c->id.founders.seeds[i];
        const struct seed *configured = seed_list_find(&c->formation.seeds, founder->node);
        if (founder->node != c->node && control_peers_find(c, founder->node) == NULL &&
            control_peers_note(c, founder->node, configured != NULL ? configured->address : founder->address) == NULL) {
            log_event(c->env->logger, LOG_WARN, "founder_not_dialled", "node=%u", founder->node);
        }
    }
}

static void be_formed(struct control *c)
{
    char errmsg[ERRMSG_SIZE] = "";
    note_founders(c);
    transport_set_cluster(c->transport, &c->id.cluster_id);
    if (c->metadata.group == NULL && metadata_open(c, errmsg) != 0) {
        control_refuse(c, ERR_CORRUPT, errmsg);
    }
}

static void control_turn(struct env_hook *hook)
{
    struct control *c = container_of(hook, struct control, hook);
    if (!c->woken) {
        return;
    }
    c->woken = false;
    if (c->closing) {
        return;
    }
    if (c->refused) {
        if (c->on_refused != NULL && !c->refusal_told) {
            c->refusal_told = true;
            c->on_refused(c->on_refused_data, c->refusal, c->refusal_text);
        }
        return;
    }
    if (c->became_formed) {
        c->became_formed = false;
        be_formed(c);
    }
    control_peers_turn(c);
    formation_turn(c);
    metadata_turn(c);
    control_calls_turn(c); /* its callbacks may close this node */
    if (c->closing) {
        return;
    }
    reconcile_turn(c);
    leaders_turn(c);
}

static void control_tick(struct timer *timer)
{
    struct control *c = container_of(timer, struct control, tick);
    uint64_t now_ms = env_now_ms(c->env);

    env_timer_start(c->env, &c->tick, CONTROL_TICK_MS);
    if (!c->refused) {
        control_peers_tick(c, now_ms);
        formation_tick(c, now_ms);
        join_tick(c, now_ms);
        metadata_tick(c, now_ms);
        members_tick(c);
        control_calls_tick(c, now_ms);
        if (c->closing) { /* its callbacks may close this node */
            return;
        }
        reconcile_tick(c, now_ms);
        replace_tick(c, now_ms);
        leaders_tick(c, now_ms);
        forget_tick(c, now_ms);
        log_ends_tick(c, now_ms);
        if (c->closing) {
            return;
        }
    }
    balance_tick(c, now_ms); /* last: at its end the owner may close this node */
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static int take_params(struct control *c, const struct control_params *params, char *errmsg)
{
    c->env = params->env;
    c->pool = params->pool;
    c->node = params->node;
    c->default_partitions = params->default_partitions;
    c->default_replication = params->default_replication;
    if (params->rack != NULL && strlen(params->rack) >= sizeof c->rack) {
        snprintf(errmsg, ERRMSG_SIZE, "rack: %.40s... is too long; allowed: up to %zu bytes", params->rack,
                 sizeof c->rack - 1);
        return ERR_CONFIG;
    }
    snprintf(c->rack, sizeof c->rack, "%s", params->rack == NULL ? "" : params->rack);
    if (params->n_listeners > METADATA_LISTENERS_MAX || params->n_seeds > CONTROL_SEEDS_MAX) {
        snprintf(errmsg, ERRMSG_SIZE, "listeners or seeds: too many; allowed: %d and %d", METADATA_LISTENERS_MAX,
                 CONTROL_SEEDS_MAX);
        return ERR_CONFIG;
    }
    c->n_listeners = params->n_listeners;
    memcpy(c->listeners, params->listeners, sizeof c->listeners);
    /* What others dial: as told, else as the seeds have it, else as bound (below). */
    for (uint32_t i = 0; i < params->n_seeds && params->peer_advertised == NULL; i++) {
        if (params->seeds[i].node == params->node) {
            snprintf(c->advertised, sizeof c->advertised, "%s", params->seeds[i].address);
        }
    }
    if (params->peer_advertised != NULL) {
        snprintf(c->advertised, sizeof c->advertised, "%s", params->peer_advertised);
    }
    return 0;
}

/* Before any replica is resumed: are these the logs, and is this the metadata replica, that the identity speaks of? */
static int on_recovered(void *data, struct shards *set, char *errmsg)
{
    struct control *c = data;
    struct uuid wals[SHARDS_MAX];
    int rv;

    for (uint32_t i = 0; i < shards_count(set); i++) {
        wals[i] = shard_recovery(shards_at(set, i))->wal_uuid;
    }
    rv = identity_check_wals(&c->id, wals, shards_count(set), errmsg);
    return rv != 0 ? rv : metadata_check_log(c, shard_wal(shards_at(set, 0)), errmsg);
}

static const struct shards_ops shards_ops = {
    .send = on_send,
    .leader = on_leader,
    .failed = on_replica_failed,
    .recovered = on_recovered,
};

static int open_shards(struct control *c, const struct control_params *params, char *errmsg)
{
    struct shards_params shards_params = {
        .env = c->env,
        .dir = params->data_dir,
        .count = params->shards,
        .node = c->node,
        .pool = c->pool,
        .log_file_bytes = params->log_file_bytes,
        .log_max_bytes = params->log_max_bytes / params->shards,
        .log_reserve_bytes = params->log_reserve_bytes,
        .cache_max_bytes = params->cache_max_bytes / params->shards,
        .memory_pressure_bytes = params->peer_receive_max_bytes / 8 * 5, /* before clients wait, and long before peers do */
        .election_timeout_ms = params->election_timeout_ms,
        .heartbeat_ms = params->heartbeat_ms,
        .groups = params->groups,
        .ops = &shards_ops,
        .data = c,
    };
    return shards_open(&shards_params, &c->shards, errmsg);
}

static bool wildcard(const char *address)
{
    return strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
}

static int open_transport(struct control *c, const struct control_params *params, char *errmsg)
{
    struct transport_identity self = {
        .node = c->node, .disk_id = c->id.disk_id, .cluster_id = c->id.cluster_id, .boot = c->id.boot};
    struct transport_params transport_params = {
        .env = c->env,
        .pool = c->pool,
        .self = &self,
        .listen_address = params->peer_listen,
        .receive_max_bytes = params->peer_receive_max_bytes,
        .ops = &transport_ops,
        .data = c,
    };
    int rv;

    if (c->advertised[0] == '\0' && wildcard(params->peer_listen)) {
        snprintf(errmsg, ERRMSG_SIZE,
                 "peer.listen: %.64s is every address of this machine, which peers cannot dial; give "
                 "peer.advertised too",
                 params->peer_listen);
        return ERR_CONFIG;
    }
    snprintf(self.peer_address, sizeof self.peer_address, "%s", c->advertised);
    rv = transport_open(&transport_params, &c->transport, errmsg);
    if (rv == 0 && c->advertised[0] == '\0') {
        snprintf(c->advertised, sizeof c->advertised, "%s", transport_address(c->transport));
    }
    return rv;
}

static void dial_first_peers(struct control *c)
{
    for (uint32_t i = 0; i < c->formation.seeds.n; i++) {
        const struct seed *seed = &c->formation.seeds.seeds[i];
        if (seed->node != c->node && control_peers_note(c, seed->node, seed->address) == NULL) {
            log_event(c->env->logger, LOG_WARN, "seed_not_dialled", "node=%u", seed->node);
        }
    }
    if (control_is_formed(c)) {
        note_founders(c);
    }
}

static void control_free(struct control *c)
{
    reconcile_free(c);
    replace_free(c);
    balance_free(c);
    control_calls_free(c);
    leaders_free(c);
    log_ends_free(c);
    forget_free(c);
    control_peers_free(c);
    metadata_fsm_free(c->metadata.fsm);
    free(c);
}

int control_open(const struct control_params *params, struct control **out, char *errmsg)
{
    struct identity_params identity = {.env = params->env,
                                       .dir = params->data_dir,
                                       .node = params->node,
                                       .shards = params->shards,
                                       .forget_pledge = params->forget_pledge};
    struct control *c = calloc(1, sizeof *c);
    char text[UUID_TEXT_SIZE];
    int rv = ERR_NOMEM;

    snprintf(errmsg, ERRMSG_SIZE, "out of memory");
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->env = params->env;
    control_calls_init(c);
    leaders_init(c);
    log_ends_init(c);
    forget_init(c);
    replace_init(c);
    balance_init(c);
    list_init(&c->reconcile.operations);
    timer_init(&c->tick, control_tick);
    c->metadata.fsm = metadata_fsm_new();
    if (c->metadata.fsm == NULL) {
        goto err_after_alloc;
    }
    rv = take_params(c, params, errmsg);
    if (rv != 0) {
        goto err_after_alloc;
    }
    rv = identity_open(&c->id, &identity, errmsg);
    if (rv != 0) {
        goto err_after_alloc;
    }
    rv = formation_open(c, params, errmsg);
    if (rv != 0) {
        goto err_after_identity;
    }
    rv = open_transport(c, params, errmsg); /* nobody is heard before this turn has ended */
    if (rv != 0) {
        goto err_after_identity;
    }
    rv = open_shards(c, params, errmsg);
    if (rv != 0) {
        goto err_after_transport;
    }
    dial_first_peers(c);
    if (control_is_formed(c)) {
        rv = metadata_open(c, errmsg);
        if (rv != 0) {
            goto err_after_shards;
        }
    }
    c->hook.run = control_turn;
    env_hook_add_at(c->env, &c->hook, ENV_PHASE_DECIDE);
    env_timer_start(c->env, &c->tick, CONTROL_TICK_MS);
    reconcile_open(c);
    control_wake(c);
    log_event(c->env->logger, LOG_INFO, "node_opened", "node=%u disk=%s boot=%llu formed=%d pledged=%d peer=%s",
              c->node, uuid_format(&c->id.disk_id, text), (unsigned long long)c->id.boot, control_is_formed(c),
              c->id.pledge.n > 0, c->advertised);
    *out = c;
    return 0;
err_after_shards: /* replicas are being resumed, on loops that run: out of memory is all that leads here */
    env_fatal(c->env, errmsg);
err_after_transport:
    transport_close(c->transport, NULL, NULL); /* ends by itself */
err_after_identity:
    identity_close(&c->id);
err_after_alloc:
    control_free(c);
    return rv;
}

/* The order of an end: no new work; the metadata group; everybody who waits; the logs; the links; the lock. */
static void links_closed(void *data)
{
    struct control *c = data;
    void (*closed)(void *data) = c->closed;
    void *closed_data = c->closed_data;

    identity_close(&c->id);
    control_free(c);
    if (closed != NULL) {
        closed(closed_data);
    }
}

static void logs_closed(void *data)
{
    struct control *c = data;
    c->shards = NULL;
    transport_close(c->transport, links_closed, c);
}

void control_close(struct control *c, void (*closed)(void *data), void *data)
{
    assert(!c->closing);
    c->closing = true;
    c->closed = closed;
    c->closed_data = data;
    env_timer_stop(c->env, &c->tick);
    env_hook_remove(&c->hook);
    c->metadata.leading = false;
    c->metadata.ready = false;
    if (c->metadata.group != NULL) {
        group_close(c->metadata.group);
        c->metadata.group = NULL;
    }
    control_calls_end(c);
    log_ends_end(c);
    shards_close(c->shards, logs_closed, c);
}

void control_abandon(struct control *c)
{
    shards_abandon(c->shards);
    transport_abandon(c->transport);
    control_free(c);
}

/* ---- accessors ----------------------------------------------------------------------------------------------- */

bool control_formed(const struct control *c)
{
    return control_is_formed(c);
}

const struct uuid *control_cluster_id(const struct control *c)
{
    return &c->id.cluster_id;
}

uint32_t control_node(const struct control *c)
{
    return c->node;
}

struct shards *control_shards(struct control *c)
{
    return c->shards;
}

struct transport *control_transport(struct control *c)
{
    return c->transport;
}

const char *control_peer_address(const struct control *c)
{
    return transport_address(c->transport);
}
