/* Who this data directory is: the file `identity`, replaced whole and synced at every change, and the directory's lock.
 * What stands here decides whether a replica may be founded, so nothing is said to a peer before it is durable.
 *
 * Synchronous file calls: for start-up and for the few steps of a first start. Hub thread. */
#ifndef CAIRN_CONTROL_IDENTITY_H
#define CAIRN_CONTROL_IDENTITY_H

#include "node/control/seed_list.h"

#define IDENTITY_FILE_MAX_BYTES (256u << 10)

struct identity {
    struct env *env;
    char dir[ENV_PATH_MAX];
    struct env_lock *lock;
    /* what the file says */
    uint32_t node;
    struct uuid disk_id;
    uint32_t shards;
    uint64_t boot;
    struct seed_list pledge;   /* n 0: none */
    struct uuid cluster_id;    /* nil: not formed */
    struct seed_list founders; /* with a cluster id: the list whose hash it is */
    uint64_t metadata_replica; /* 0: none yet */
    bool founder;
    uint32_t n_wals; /* 0 (this disk's logs are not noted yet) or @shards */
    struct uuid wal_uuids[SHARDS_MAX];
};

struct identity_params {
    struct env *env;
    const char *dir; /* made if its parent exists */
    uint32_t node;
    uint32_t shards;
    bool forget_pledge;
};

/* Lock the directory, read the identity or make a new one, count this start; durable when it returns.
 * Errors, with one line in @errmsg that says what to do: ERR_CONFIG, ERR_BUSY, ERR_CORRUPT, ERR_VERSION, ERR_IO, ... */
int identity_open(struct identity *id, const struct identity_params *params, char *errmsg) MUST_USE;
void identity_close(struct identity *id); /* releases the lock */

static inline bool identity_formed(const struct identity *id)
{
    return !uuid_is_nil(&id->cluster_id);
}

/* The shard logs that were found: noted on the first start, compared on later ones.
 * Errors: ERR_DISK_WIPED a log is another one than before, ERR_IO. */
int identity_check_wals(struct identity *id, const struct uuid *uuids, uint32_t n, char *errmsg) MUST_USE;

/* Each is durable at return. A failure leaves it unknown what stands on disk: the node must end (I7). */
int identity_write_pledge(struct identity *id, const struct seed_list *list) MUST_USE;
/* Founding: the hash of @founders is the cluster's id. @replica 0: a seed behind the first five, to get one later. */
int identity_write_formed(struct identity *id, const struct seed_list *founders, uint64_t replica,
                          bool founder) MUST_USE;
int identity_write_replica(struct identity *id, uint64_t replica) MUST_USE;

#endif
