#include "node/shard/shard.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/shard/shard_internal.h"

/* ---- crossing over ------------------------------------------------------------------------------------------------ */

/* A message of a peer for a shard that is not the hub's, or of such a shard for a peer: copied, references taken. */
struct crossing {
    struct env_message message;
    struct shard *shard;
    uint32_t node;
    bool urgent;
    uint64_t group;
    uint32_t size;
    uint32_t n;
    uint8_t *header;
    struct entry *entries[];
};

static struct crossing *crossing_new(struct shard *shard, uint32_t node, uint64_t group, const uint8_t *header,
                                     size_t size, struct entry *const *entries, size_t n)
{
    struct crossing *c = malloc(sizeof *c + n * sizeof c->entries[0] + size);
    if (c == NULL) {
        return NULL;
    }
    c->shard = shard;
    c->node = node;
    c->group = group;
    c->size = (uint32_t)size;
    c->n = (uint32_t)n;
    c->header = (uint8_t *)&c->entries[n];
    memcpy(c->header, header, size);
    for (size_t i = 0; i < n; i++) {
        c->entries[i] = entry_acquire(entries[i]);
    }
    return c;
}

static void crossing_free(struct crossing *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        entry_release(c->entries[i]);
    }
    free(c);
}

static void deliver_incoming(struct env_message *message)
{
    struct crossing *c = container_of(message, struct crossing, message);
    group_host_receive(c->shard->host, c->node, c->group, c->header, c->size, c->entries, c->n);
    crossing_free(c);
}

static void deliver_outgoing(struct env_message *message)
{
    struct crossing *c = container_of(message, struct crossing, message);
    struct shards *set = c->shard->set;
    (void)set->ops.send(set->data, c->node, c->urgent, c->group, c->header, c->size, c->entries, c->n);
    crossing_free(c);
}

void shards_receive(struct shards *set, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                    struct entry **entries, size_t n)
{
    struct shard *shard = shards_of_group(set, group);
    struct crossing *c;
    if (shard_is_hub(shard)) {
        group_host_receive(shard->host, node, group, header, size, entries, n);
        return;
    }
    c = crossing_new(shard, node, group, header, size, entries, n);
    if (c == NULL) {
        return; /* as if the network had lost it */
    }
    c->message.run = deliver_incoming;
    env_post(shard->env, &c->message);
}

static int host_send(void *data, uint32_t node, bool urgent, uint64_t group, const uint8_t *header, size_t size,
                     struct entry *const *entries, size_t n)
{
    struct shard *shard = data;
    struct shards *set = shard->set;
    struct crossing *c;
    if (shard_is_hub(shard)) {
        return set->ops.send(set->data, node, urgent, group, header, size, entries, n);
    }
    c = crossing_new(shard, node, group, header, size, entries, n);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->urgent = urgent;
    c->message.run = deliver_outgoing;
    env_post(set->env, &c->message);
    return 0;
}

struct leader_note {
    struct env_message message;
    struct shards *set;
    uint64_t group;
    uint64_t term;
    uint32_t node;
};

static void deliver_leader(struct env_message *message)
{
    struct leader_note *note = container_of(message, struct leader_note, message);
    note->set->ops.leader(note->set->data, note->group, note->term, note->node);
    free(note);
}

static void host_leader(void *data, struct group *g, uint64_t term, uint32_t node)
{
    struct shard *shard = data;
    struct leader_note *note;
    if (shard_is_hub(shard)) {
        shard->set->ops.leader(shard->set->data, group_id(g), term, node);
        return;
    }
    note = malloc(sizeof *note);
    if (note == NULL) {
        return; /* soft state: the next change or a client's retry mends it */
    }
    note->message.run = deliver_leader;
    note->set = shard->set;
    note->group = group_id(g);
    note->term = term;
    note->node = node;
    env_post(shard->set->env, &note->message);
}

static void op_run(struct env_message *message)
{
    struct shard_op *op = container_of(message, struct shard_op, message);
    op->run(op->shard, op);
}

static void op_done(struct env_message *message)
{
    struct shard_op *op = container_of(message, struct shard_op, message);
    op->done(op);
}

void shards_submit(struct shards *set, uint64_t group, struct shard_op *op)
{
    shards_submit_to(set, shards_of_group(set, group)->id, op);
}

void shards_submit_to(struct shards *set, uint32_t id, struct shard_op *op)
{
    struct shard *shard = shards_at(set, id);
    op->shard = shard;
    if (shard_is_hub(shard)) {
        op->run(shard, op);
        return;
    }
    op->message.run = op_run;
    env_post(shard->env, &op->message);
}

void shard_op_complete(struct shard_op *op)
{
    struct shard *shard = op->shard;
    if (shard_is_hub(shard)) {
        op->done(op);
        return;
    }
    op->message.run = op_done;
    env_post(shard->set->env, &op->message);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

/* Cached entries keep alive the buffers that they came in, 128 KiB for perhaps 100 bytes. Were that memory never given back,
 * clients and peers would be read no further for good: without new entries a cache does not forget old ones. */
static void relieve(struct shard *shard)
{
    struct wal_stats stats;
    if (shard->set->memory_pressure_bytes == 0 ||
        buf_pool_bytes_out(shard->set->pool) <= shard->set->memory_pressure_bytes) {
        return;
    }
    wal_stats(shard->wal, &stats);
    wal_cache_shrink(shard->wal, stats.cache_bytes - stats.cache_bytes / 8);
}

static void shard_turn(struct env_hook *hook)
{
    struct shard *shard = container_of(hook, struct shard, hook);
    partition_wake_dirty(shard);
    group_runtime_wake_dirty(shard);
    relieve(shard);
}

static int open_dir(struct env *env, const char *path, char *errmsg)
{
    int rv = env_dir_make(env, path);
    if (rv != 0 && rv != ERR_EXISTS) {
        snprintf(errmsg, ERRMSG_SIZE, "cannot make %s: %s; check the owner and the permissions of its parent", path,
                 err_text(rv));
        return rv;
    }
    return 0;
}

/* Recovery runs on the hub's thread before the other loops start: start-up is the one moment when nothing else waits. */
static int shard_recover(const struct shards_params *params, struct shard *shard, char *errmsg)
{
    struct wal_params wal_params = {
        .env = shard->env,
        .pool = params->pool,
        .shard = shard->id,
        .file_size_bytes = params->log_file_bytes,
        .size_max_bytes = params->log_max_bytes,
        .reserve_bytes = params->log_reserve_bytes,
        .cache_max_bytes = params->cache_max_bytes,
    };
    char path[ENV_PATH_MAX];
    char cause[ERRMSG_SIZE];
    int rv;

    if (snprintf(path, sizeof path, "%s/shard-%u", params->dir, shard->id) >= (int)sizeof path) {
        snprintf(errmsg, ERRMSG_SIZE, "the path of the data directory is too long");
        return ERR_INVALID;
    }
    rv = open_dir(shard->env, path, errmsg);
    if (rv != 0) {
        return rv;
    }
    shard->log_max_bytes = params->log_max_bytes;
    wal_params.dir = path;
    rv = wal_open(&wal_params, &shard->wal, &shard->recovery, cause);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "open the shard log in %.100s: %.120s", path, cause);
    }
    return rv;
}

static int shard_resume(const struct shards_params *params, struct shard *shard, char *errmsg)
{
    struct group_host_params host_params = {
        .env = shard->env,
        .pool = params->pool,
        .node = params->node,
        .election_timeout_ms = params->election_timeout_ms,
        .heartbeat_ms = params->heartbeat_ms,
        .send = host_send,
        .leader = host_leader,
        .data = shard,
    };
    int rv;

    host_params.wal = shard->wal;
    rv = group_host_open(&host_params, &shard->host);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "open the groups of shard %u: %s", shard->id, err_text(rv));
        return rv;
    }
    shard->hook.run = shard_turn;
    env_hook_add_at(shard->env, &shard->hook, ENV_PHASE_WAKE);
    rv = partition_resume_all(shard);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "resume the replicas of shard %u: %s", shard->id, err_text(rv));
    }
    return rv;
}

static void shard_entry(struct env *loop, void *data)
{
    /* Nothing: everything was opened by the hub, and the loop's first turn takes it from here. */
}

static int make_shard(struct shards *set, uint32_t id)
{
    struct shard *shard = calloc(1, sizeof *shard);
    int rv;
    if (shard == NULL) {
        return ERR_NOMEM;
    }
    shard->set = set;
    shard->id = id;
    list_init(&shard->dirty);
    list_init(&shard->dirty_runtimes);
    list_init(&shard->readers);
    list_init(&shard->hook.link);
    codec_scratch_init(&shard->scratch, 0);
    if (id == 0) {
        shard->env = set->env;
    } else {
        rv = env_loop_new(set->env, &shard->env);
        if (rv != 0) {
            free(shard);
            return rv;
        }
    }
    set->shards[id] = shard;
    return 0;
}

static void shard_free(struct shard *shard)
{
    codec_scratch_close(&shard->scratch);
    free(shard);
}

static void drop_all(struct shards *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct shard *shard = set->shards[i];
        if (shard == NULL) {
            continue;
        }
        if (shard->wal != NULL) {
            wal_abandon(shard->wal); /* first: it lets go of writes that the groups own */
        }
        partition_close_all(shard, true);
        if (shard->host != NULL) {
            env_hook_remove(&shard->hook);
            group_host_abandon(shard->host);
        }
        group_runtime_abandon_all(shard);
        if (i > 0) {
            env_loop_free(shard->env);
        }
        shard_free(shard);
    }
    free(set);
}

int shards_open(const struct shards_params *params, struct shards **out, char *errmsg)
{
    struct shards *set;
    int rv = ERR_NOMEM;

    assert(params->count >= 1 && params->count <= SHARDS_MAX);
    set = calloc(1, sizeof *set);
    if (set == NULL) {
        goto err;
    }
    set->env = params->env;
    set->ops = *params->ops;
    set->data = params->data;
    set->pool = params->pool;
    set->memory_pressure_bytes = params->memory_pressure_bytes;
    coordinator_config_default(&set->groups);
    if (params->groups != NULL) {
        set->groups = *params->groups;
    }
    set->count = params->count;
    set->node = params->node;
    for (uint32_t i = 0; i < set->count; i++) {
        rv = make_shard(set, i);
        if (rv != 0) {
            goto err_after_set;
        }
    }
    for (uint32_t i = 0; i < set->count; i++) {
        rv = shard_recover(params, set->shards[i], errmsg);
        if (rv != 0) {
            goto err_told;
        }
    }
    rv = params->ops->recovered != NULL ? params->ops->recovered(params->data, set, errmsg) : 0;
    if (rv != 0) {
        goto err_told;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        rv = shard_resume(params, set->shards[i], errmsg);
        if (rv != 0) {
            goto err_told;
        }
    }
    for (uint32_t i = 1; i < set->count; i++) {
        if (env_loop_start(set->shards[i]->env, shard_entry, set->shards[i]) != 0) {
            env_fatal(set->env, "cannot start a shard's thread: too many threads, or no memory");
        }
    }
    *out = set;
    return 0;
err_told:
    drop_all(set);
    return rv;
err_after_set:
    drop_all(set);
err:
    snprintf(errmsg, ERRMSG_SIZE, "open the shards: %s", err_text(rv));
    return rv;
}

void shards_abandon(struct shards *set)
{
    drop_all(set);
}

/* ---- orderly stop: on each loop end the groups, flush the log; then join the loops ---------------------------------- */

struct stop_note {
    struct env_message message;
    struct shard *shard;
};

static void all_stopped(struct shards *set)
{
    void (*closed)(void *data) = set->closed;
    void *data = set->closed_data;
    for (uint32_t i = 0; i < set->count; i++) {
        if (i > 0) {
            env_loop_stop(set->shards[i]->env);
            env_loop_free(set->shards[i]->env);
        }
        shard_free(set->shards[i]);
    }
    free(set);
    closed(data);
}

static void shard_stopped(struct env_message *message)
{
    struct stop_note *note = container_of(message, struct stop_note, message);
    struct shards *set = note->shard->set;
    free(note);
    set->closing--;
    if (set->closing == 0) {
        all_stopped(set);
    }
}

static void wal_closed(void *data)
{
    struct stop_note *note = data;
    note->message.run = shard_stopped;
    env_post(note->shard->set->env, &note->message);
}

static void shard_stop(struct env_message *message)
{
    struct stop_note *note = container_of(message, struct stop_note, message);
    struct shard *shard = note->shard;
    partition_close_all(shard, false);
    env_hook_remove(&shard->hook);
    group_host_close(shard->host);
    wal_close(shard->wal, wal_closed, note);
}

void shards_close(struct shards *set, void (*closed)(void *data), void *data)
{
    set->closed = closed;
    set->closed_data = data;
    set->closing = set->count;
    for (uint32_t i = 0; i < set->count; i++) {
        struct stop_note *note = malloc(sizeof *note);
        if (note == NULL) {
            env_fatal(set->env, "out of memory while stopping");
        }
        note->shard = set->shards[i];
        note->message.run = shard_stop;
        env_post(set->shards[i]->env, &note->message);
    }
}

struct hand_over_note {
    struct env_message message;
    struct shard *shard;
};

static void hand_over_group(void *data, struct group *g)
{
    struct group_info info;
    group_info(g, &info);
    if (info.leading) {
        int rv = group_transfer(g, 0);
        if (rv != 0) { /* best effort: who cannot be handed over is elected anew */
            return;
        }
    }
}

static void shard_hand_over(struct env_message *message)
{
    struct hand_over_note *note = container_of(message, struct hand_over_note, message);
    group_host_each(note->shard->host, hand_over_group, NULL);
    free(note);
}

void shards_hand_over(struct shards *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct hand_over_note *note = malloc(sizeof *note);
        if (note == NULL) {
            return;
        }
        note->shard = set->shards[i];
        note->message.run = shard_hand_over;
        env_post(set->shards[i]->env, &note->message);
    }
}

/* ---- accessors ------------------------------------------------------------------------------------------------------ */

uint32_t shards_count(const struct shards *set)
{
    return set->count;
}

struct shard *shards_at(struct shards *set, uint32_t i)
{
    assert(i < set->count);
    return set->shards[i];
}

struct shard *shards_of_group(struct shards *set, uint64_t group)
{
    return set->shards[group % set->count];
}

struct env *shard_env(struct shard *shard)
{
    return shard->env;
}

struct wal *shard_wal(struct shard *shard)
{
    return shard->wal;
}

struct group_host *shard_host(struct shard *shard)
{
    return shard->host;
}

const struct wal_recovery *shard_recovery(const struct shard *shard)
{
    return &shard->recovery;
}

static void count_group(void *data, struct group *g)
{
    struct shard_stats *stats = data;
    struct group_info info;
    group_info(g, &info);
    stats->groups++;
    stats->leading += info.leading;
    stats->ready += info.ready;
    stats->failed += info.failed;
}

void shard_stats_run(struct shard *shard, struct shard_op *op)
{
    struct shard_stats_op *stats_op = container_of(op, struct shard_stats_op, op);
    struct wal_stats wal;
    wal_stats(shard->wal, &wal);
    stats_op->stats = shard->stats;
    stats_op->stats.log_bytes = wal.bytes_total;
    stats_op->stats.log_bytes_max = shard->log_max_bytes;
    group_host_each(shard->host, count_group, &stats_op->stats);
    group_runtime_count(shard, &stats_op->stats);
    stats_op->stats.failed += (uint32_t)shard->recovery.groups_damaged;
    shard_op_complete(op);
}
