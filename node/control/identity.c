#include "node/control/identity.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/base/cursor.h"
#include "proto/base/mutant.h"

#define IDENTITY_MAGIC 0x44494e43u /* "CNID" */
#define IDENTITY_VERSION 1
#define IDENTITY_HEADER_SIZE 16 /* u32 magic | u32 version | u32 length | u32 crc32c of the message */
#define PATH_MAX_BYTES (ENV_PATH_MAX + 32)

static void path_of(const struct identity *id, const char *name, char out[PATH_MAX_BYTES])
{
    snprintf(out, PATH_MAX_BYTES, "%s/%s", id->dir, name);
}

/* ---- the file ------------------------------------------------------------------------------------------------ */

static int write_file(struct identity *id, const uint8_t *data, size_t size)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    char path[PATH_MAX_BYTES];
    char temporary[PATH_MAX_BYTES];
    struct env_file *file;
    int rv;

    path_of(id, "identity", path);
    path_of(id, "identity.new", temporary);
    rv = env_file_open(id->env, temporary, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file);
    if (rv != 0) {
        return rv;
    }
    rv = env_file_write(id->env, file, &iov, 1, 0, ENV_SYNC_NONE);
    if (rv == 0 && !MUTANT(IDENTITY_NOT_SYNCED)) {
        rv = env_file_sync(id->env, file);
    }
    env_file_close(id->env, file);
    if (rv == 0) {
        rv = env_path_rename(id->env, temporary, path);
    }
    return rv != 0 ? rv : env_dir_sync(id->env, id->dir);
}

static void put_uuid(ProtobufCBinaryData *out, struct uuid *u)
{
    if (!uuid_is_nil(u)) {
        out->data = u->bytes;
        out->len = sizeof u->bytes;
    }
}

/* @next becomes what the directory says; *id is changed only when that is durable. */
static int store(struct identity *id, struct identity *next)
{
    Cairn__Cluster__NodeIdentity m = CAIRN__CLUSTER__NODE_IDENTITY__INIT;
    ProtobufCBinaryData wals[SHARDS_MAX];
    struct seed_messages *lists = calloc(2, sizeof *lists);
    struct writer w;
    uint8_t *data = NULL;
    size_t length;
    int rv = ERR_NOMEM;

    if (lists == NULL) {
        return ERR_NOMEM;
    }
    m.node = next->node;
    put_uuid(&m.disk_id, &next->disk_id);
    m.shards = next->shards;
    m.boot = next->boot;
    seed_list_messages(&next->pledge, &lists[0]);
    m.pledge = lists[0].pointers;
    m.n_pledge = next->pledge.n;
    put_uuid(&m.cluster_id, &next->cluster_id);
    seed_list_messages(&next->founders, &lists[1]);
    m.founders = lists[1].pointers;
    m.n_founders = next->founders.n;
    m.metadata_replica = next->metadata_replica;
    m.founder = next->founder;
    for (uint32_t i = 0; i < next->n_wals; i++) {
        wals[i].data = next->wal_uuids[i].bytes;
        wals[i].len = sizeof next->wal_uuids[i].bytes;
    }
    m.wal_uuids = wals;
    m.n_wal_uuids = next->n_wals;

    length = cairn__cluster__node_identity__get_packed_size(&m);
    assert(length + IDENTITY_HEADER_SIZE <= IDENTITY_FILE_MAX_BYTES);
    data = malloc(IDENTITY_HEADER_SIZE + length);
    if (data == NULL) {
        goto out;
    }
    cairn__cluster__node_identity__pack(&m, data + IDENTITY_HEADER_SIZE);
    writer_init(&w, data, IDENTITY_HEADER_SIZE);
    writer_u32(&w, IDENTITY_MAGIC);
    writer_u32(&w, IDENTITY_VERSION);
    writer_u32(&w, (uint32_t)length);
    writer_u32(&w, crc32c(0, data + IDENTITY_HEADER_SIZE, length));
    rv = write_file(next, data, IDENTITY_HEADER_SIZE + length);
    if (rv == 0) {
        *id = *next;
    }
out:
    free(data);
    free(lists);
    return rv;
}

static int get_uuid(const ProtobufCBinaryData *in, struct uuid *out)
{
    memset(out, 0, sizeof *out);
    if (in->len == 0) {
        return 0;
    }
    if (in->len != sizeof out->bytes) {
        return ERR_CORRUPT;
    }
    memcpy(out->bytes, in->data, sizeof out->bytes);
    return 0;
}

/* Everything that the checksum cannot promise: an identity of ours makes sense. */
static int take(struct identity *id, const Cairn__Cluster__NodeIdentity *m)
{
    id->node = m->node;
    id->shards = m->shards;
    id->boot = m->boot;
    id->metadata_replica = m->metadata_replica;
    id->founder = m->founder;
    if (get_uuid(&m->disk_id, &id->disk_id) != 0 || get_uuid(&m->cluster_id, &id->cluster_id) != 0 ||
        seed_list_decode(m->pledge, m->n_pledge, &id->pledge) != 0 ||
        seed_list_decode(m->founders, m->n_founders, &id->founders) != 0) {
        return ERR_CORRUPT;
    }
    if (m->n_wal_uuids != 0 && m->n_wal_uuids != m->shards) {
        return ERR_CORRUPT;
    }
    if (id->node == 0 || uuid_is_nil(&id->disk_id) || id->shards == 0 || id->shards > SHARDS_MAX || id->boot == 0) {
        return ERR_CORRUPT;
    }
    if (identity_formed(id)) {
        struct uuid hash = seed_list_hash(&id->founders);
        if (!seed_list_complete(&id->founders) || !uuid_equal(&hash, &id->cluster_id)) {
            return ERR_CORRUPT;
        }
    }
    id->n_wals = (uint32_t)m->n_wal_uuids;
    for (uint32_t i = 0; i < id->n_wals; i++) {
        if (get_uuid(&m->wal_uuids[i], &id->wal_uuids[i]) != 0) {
            return ERR_CORRUPT;
        }
    }
    return 0;
}

static int parse(struct identity *id, const uint8_t *data, size_t size)
{
    Cairn__Cluster__NodeIdentity *m;
    const uint8_t *message;
    struct cursor c;
    uint32_t version;
    uint32_t length;
    uint32_t crc;
    int rv;

    cursor_init(&c, data, size);
    if (cursor_u32(&c) != IDENTITY_MAGIC) {
        return ERR_CORRUPT;
    }
    version = cursor_u32(&c);
    length = cursor_u32(&c);
    crc = cursor_u32(&c);
    if (!cursor_failed(&c) && version != IDENTITY_VERSION) {
        return ERR_VERSION;
    }
    message = cursor_bytes(&c, length);
    if (cursor_failed(&c) || cursor_left(&c) != 0 || crc32c(0, message, length) != crc) {
        return ERR_CORRUPT;
    }
    m = cairn__cluster__node_identity__unpack(NULL, length, message);
    if (m == NULL) {
        return ERR_CORRUPT;
    }
    rv = take(id, m);
    cairn__cluster__node_identity__free_unpacked(m, NULL);
    return rv;
}

/* ERR_NOT_FOUND: there is none. */
static int load(struct identity *id)
{
    char path[PATH_MAX_BYTES];
    struct env_file *file;
    uint8_t *data;
    uint64_t size;
    size_t n = 0;
    int rv;

    path_of(id, "identity", path);
    rv = env_file_open(id->env, path, ENV_OPEN_READ, &file);
    if (rv != 0) {
        return rv;
    }
    rv = env_file_size(id->env, file, &size);
    if (rv != 0) {
        goto out;
    }
    if (size > IDENTITY_FILE_MAX_BYTES) {
        rv = ERR_CORRUPT;
        goto out;
    }
    data = malloc(size + 1);
    if (data == NULL) {
        rv = ERR_NOMEM;
        goto out;
    }
    rv = env_file_read(id->env, file, data, size, 0, &n);
    if (rv == 0) {
        rv = parse(id, data, n);
    }
    free(data);
out:
    env_file_close(id->env, file);
    return rv;
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

static void note_log(void *data, const char *name)
{
    bool *found = data;
    if (strncmp(name, "shard-", 6) == 0) {
        *found = true;
    }
}

static int make(struct identity *id, const struct identity_params *params, char *errmsg)
{
    struct identity next = *id;
    bool has_logs = false;
    int rv = env_dir_list(id->env, id->dir, note_log, &has_logs);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "cannot list %.120s: %s", id->dir, err_text(rv));
        return rv;
    }
    if (has_logs) { /* the identity is made durable before the first log */
        snprintf(errmsg, ERRMSG_SIZE,
                 "%.100s holds logs but no identity file: restore it, or empty the directory to start as a new node id",
                 id->dir);
        return ERR_CORRUPT;
    }
    next.node = params->node;
    next.shards = params->shards;
    next.boot = 1;
    next.disk_id = uuid_from_random(env_random(id->env), env_random(id->env));
    rv = store(id, &next);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "cannot write the identity file in %.100s: %s", id->dir, err_text(rv));
    }
    return rv;
}

static int resume(struct identity *id, const struct identity_params *params, char *errmsg)
{
    struct identity next = *id;
    char disk[UUID_TEXT_SIZE];
    int rv;

    if (id->node != params->node) {
        snprintf(errmsg, ERRMSG_SIZE, "node.id: %u given, but %.100s belongs to node %u; allowed: %u", params->node,
                 id->dir, id->node, id->node);
        return ERR_CONFIG;
    }
    if (id->shards != params->shards) {
        snprintf(errmsg, ERRMSG_SIZE,
                 "shards: %u given, but %.100s was made with %u and that cannot change; allowed: %u", params->shards,
                 id->dir, id->shards, id->shards);
        return ERR_CONFIG;
    }
    if (params->forget_pledge) {
        if (identity_formed(id)) {
            snprintf(errmsg, ERRMSG_SIZE, "--forget-pledge: this node is part of cluster %s already; start without it",
                     uuid_format(&id->cluster_id, disk));
            return ERR_CONFIG;
        }
        if (id->pledge.n > 0) {
            log_event(id->env->logger, LOG_WARN, "pledge_forgotten", "node=%u seeds=%u", id->node, id->pledge.n);
        }
        next.pledge.n = 0;
    }
    next.boot++;
    rv = store(id, &next);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "cannot write the identity file in %.100s: %s", id->dir, err_text(rv));
    }
    return rv;
}

/* The directory itself must outlive a power cut, or all that is durable in it goes with its name. */
static int make_dir(struct identity *id)
{
    char parent[PATH_MAX_BYTES];
    char *slash;
    int rv = env_dir_make(id->env, id->dir);

    if (rv != 0 && rv != ERR_EXISTS) {
        return rv;
    }
    snprintf(parent, sizeof parent, "%s", id->dir);
    for (slash = parent + strlen(parent) - 1; slash > parent && *slash == '/'; slash--) {
        *slash = '\0';
    }
    slash = strrchr(parent, '/');
    if (slash == NULL) {
        return env_dir_sync(id->env, ".");
    }
    slash[slash == parent ? 1 : 0] = '\0';
    return env_dir_sync(id->env, parent);
}

static int lock_dir(struct identity *id, char *errmsg)
{
    char path[PATH_MAX_BYTES];
    int rv = make_dir(id);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "data.dir: cannot make %.120s: %s; its parent must exist and be writable",
                 id->dir, err_text(rv));
        return rv;
    }
    path_of(id, "lock", path);
    rv = env_lock_acquire(id->env, path, &id->lock);
    if (rv == ERR_BUSY) {
        snprintf(errmsg, ERRMSG_SIZE, "data.dir: %.120s is in use by another process", id->dir);
    } else if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "data.dir: cannot lock %.120s: %s", path, err_text(rv));
    }
    return rv;
}

int identity_open(struct identity *id, const struct identity_params *params, char *errmsg)
{
    int rv;

    memset(id, 0, sizeof *id);
    id->env = params->env;
    if (params->node == 0) {
        snprintf(errmsg, ERRMSG_SIZE, "node.id: 0 given; allowed: 1 to 4294967295");
        return ERR_CONFIG;
    }
    if (params->shards == 0 || params->shards > SHARDS_MAX) {
        snprintf(errmsg, ERRMSG_SIZE, "shards: %u given; allowed: 1 to %d", params->shards, SHARDS_MAX);
        return ERR_CONFIG;
    }
    if (params->dir[0] == '\0' || snprintf(id->dir, sizeof id->dir, "%s", params->dir) >= ENV_PATH_MAX - 64) {
        snprintf(errmsg, ERRMSG_SIZE, "data.dir: empty or too long; allowed: a path of up to %d bytes",
                 ENV_PATH_MAX - 65);
        return ERR_CONFIG;
    }
    rv = lock_dir(id, errmsg);
    if (rv != 0) {
        return rv;
    }
    rv = load(id);
    if (rv == ERR_NOT_FOUND) {
        rv = make(id, params, errmsg);
    } else if (rv == 0) {
        rv = resume(id, params, errmsg);
    } else if (rv == ERR_VERSION) {
        snprintf(errmsg, ERRMSG_SIZE, "%.120s/identity was written by a newer version of this program", id->dir);
    } else {
        snprintf(errmsg, ERRMSG_SIZE,
                 "%.120s/identity cannot be used (%s): restore it, or replace this node by one "
                 "with an empty directory and a new id",
                 id->dir, err_text(rv));
    }
    if (rv != 0) {
        identity_close(id);
    }
    return rv;
}

void identity_close(struct identity *id)
{
    if (id->lock != NULL) {
        env_lock_release(id->env, id->lock);
        id->lock = NULL;
    }
}

/* ---- changes ------------------------------------------------------------------------------------------------- */

int identity_check_wals(struct identity *id, const struct uuid *uuids, uint32_t n, char *errmsg)
{
    struct identity next = *id;
    int rv;

    assert(n == id->shards);
    for (uint32_t i = 0; i < id->n_wals; i++) {
        if (!uuid_equal(&uuids[i], &id->wal_uuids[i])) {
            snprintf(
                errmsg, ERRMSG_SIZE,
                "the log in %.80s/shard-%u is not the one this node had: its replicas have lost what they promised; "
                "replace this node by one with an empty directory and a new id",
                id->dir, i);
            return ERR_DISK_WIPED;
        }
    }
    if (id->n_wals == n) {
        return 0;
    }
    next.n_wals = n;
    memcpy(next.wal_uuids, uuids, n * sizeof uuids[0]);
    rv = store(id, &next);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "cannot write the identity file in %.100s: %s", id->dir, err_text(rv));
    }
    return rv;
}

int identity_write_pledge(struct identity *id, const struct seed_list *list)
{
    struct identity next = *id;
    assert(!identity_formed(id) && id->pledge.n == 0 && seed_list_complete(list));
    next.pledge = *list;
    return store(id, &next);
}

int identity_write_formed(struct identity *id, const struct seed_list *founders, uint64_t replica, bool founder)
{
    struct identity next = *id;
    assert(!identity_formed(id) && seed_list_complete(founders) && (!founder || replica != 0));
    next.founders = *founders;
    next.cluster_id = seed_list_hash(founders);
    next.metadata_replica = replica;
    next.founder = founder;
    return store(id, &next);
}

int identity_write_replica(struct identity *id, uint64_t replica)
{
    struct identity next = *id;
    assert(identity_formed(id) && id->metadata_replica == 0 && replica != 0);
    next.metadata_replica = replica;
    return store(id, &next);
}
