/* The shard log: one append stream that all groups of a shard share, and the only thing on the path to an
 * acknowledgement. One flush (write + sync) at the end of a turn makes the entries and hard state of all groups
 * durable. Until segments exist it is also where the data lives: it keeps, per group, where each live entry stands.
 *
 * All calls are for the shard's loop thread. A failed write or sync is final: env_fatal (I7). */
#ifndef CAIRN_WAL_H
#define CAIRN_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "proto/base/uuid.h"
#include "raft/env/env.h"

struct wal;
struct wal_group; /* one replica's part of the log: hard state, CREATED record, the places of its entries */

struct wal_params {
    struct env *env;
    const char *dir;           /* exists; owned by this wal alone */
    struct buf_pool *pool;     /* buffers for reads */
    uint32_t shard;            /* for log lines and headers */
    uint64_t file_size_bytes;  /* preallocated size of a file, e.g. 64 MiB; a multiple of 4096, room for the largest entry */
    uint64_t size_max_bytes;   /* all files together; beyond it wal_accepts() says ERR_NO_SPACE */
    uint64_t reserve_bytes;    /* free disk space (and part of size_max) kept for hard state, metadata, carrying forward */
    uint64_t cache_max_bytes;  /* recent entries kept in memory for readers and peers */
    uint32_t inline_max_bytes; /* a flush of up to this size may run on the loop itself when the log is idle; 0: the
                                * default (WAL_INLINE_MAX_BYTES), 1: never */
};

/* What recovery did, for the log line and for tests. */
struct wal_recovery {
    uint64_t files;
    uint64_t flushes;
    uint64_t entries;           /* live */
    uint64_t bytes_read;
    uint64_t torn_bytes;        /* discarded behind the last whole flush: never acknowledged */
    uint64_t stale_records;     /* of a recycled file's earlier life, met and refused */
    uint64_t groups_damaged;    /* corruption before the tail: these replicas must not vote or lead again (I6) */
    bool all_damaged;           /* it could not be pinned on groups: every one is damaged, others may be lost without a
                                 * trace. The log has a new wal_uuid, so what was bound to the old one is never founded
                                 * again here */
    struct uuid wal_uuid;       /* identity of this shard log; part of the disk's identity */
};

/* Open the log in @params->dir, or make an empty one. Reads past the page cache, decides torn tail against corruption
 * (I6), rewrites and syncs the live tail into a fresh file before it returns. Groups are then found by wal_group_*().
 * Corruption that cannot be pinned on groups damages every one of them (all_damaged); the log opens all the same, so
 * that they can be replaced from their peers.
 * Errors: ERR_CORRUPT there are files but not one readable, ERR_VERSION, ERR_IO, ERR_NO_SPACE, ERR_NOMEM,
 * ERR_INVALID a parameter. @errmsg holds ERRMSG_SIZE. */
int wal_open(const struct wal_params *params, struct wal **out, struct wal_recovery *recovery, char *errmsg) MUST_USE;

/* Stop: everything queued is flushed, then @closed runs. */
void wal_close(struct wal *wal, void (*closed)(void *data), void *data);
/* Drop everything without touching the disk (a simulated crash, or after a failed start). */
void wal_abandon(struct wal *wal);

/* ---- groups --------------------------------------------------------------------------------------------------- */

struct wal_group_info {
    uint64_t group;
    uint64_t replica;
    uint64_t incarnation;
    uint64_t term;        /* hard state */
    uint64_t vote;
    uint64_t first_index; /* first kept entry; last_index + 1 when there is none */
    uint64_t last_index;  /* 0 when the log is empty */
    bool founder;         /* CREATED as a founding replica (entry 1 was written locally) or as an empty one */
    bool damaged;         /* corrupt before the tail: stop, never vote or lead under this replica id */
    bool tombstone;       /* deleted; only the record that it was stands */
};

struct wal_group *wal_group_find(struct wal *wal, uint64_t group);
void wal_group_each(struct wal *wal, void (*each)(void *data, struct wal_group *g), void *data);
void wal_group_info(const struct wal_group *g, struct wal_group_info *info);
/* Term of a kept entry; 0 when @index is not kept. */
uint64_t wal_group_term(const struct wal_group *g, uint64_t index);
uint8_t wal_group_kind(const struct wal_group *g, uint64_t index);
uint32_t wal_group_length(const struct wal_group *g, uint64_t index); /* payload bytes */

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* One durable step of a group. The caller embeds it and keeps it, and the entries' references, until @done. Writes of
 * one group complete in order; @done runs on the loop's thread after the flush that held it, never inside a call. */
struct wal_write {
    struct wal_group *group;
    bool has_hard_state;
    uint64_t term;
    uint64_t vote;
    struct entry **entries; /* with index, term and group set; consecutive; everything kept at or above the first one's
                             * index is replaced at once (for wal_read and the accessors, now; on disk, by this write) */
    uint32_t n_entries;
    void (*done)(struct wal_write *write);
    struct list link; /* the wal's */
    void *impl[4];
};

/* Make a group known: a CREATED record (with @write's hard state and entries, if any) in the next flush.
 * Errors: ERR_EXISTS (a live group or a tombstone of this id), ERR_NOMEM. */
int wal_group_create(struct wal *wal, uint64_t group, uint64_t replica, bool founder, struct wal_write *write,
                     struct wal_group **out) MUST_USE;

/* Queue a write. It leaves at the end of this turn, or behind the flush under way. */
void wal_append(struct wal *wal, struct wal_write *write);

/* A snapshot replaces the log: everything kept is dead at once, the log goes on at @next_index, and the group's
 * incarnation is raised, so that no older record of it counts any more. @write carries @done and, if it has one, a hard
 * state; no entries. The snapshot must be durable before this call. */
void wal_group_install(struct wal *wal, struct wal_group *g, uint64_t next_index, struct wal_write *write);

/* Delete a group: its entries are dead at once, a TOMBSTONE record stands until wal_tombstone_forget(). @write carries
 * only @done. @g is invalid after the call, but its id stays refused. */
void wal_group_delete(struct wal *wal, struct wal_group *g, struct wal_write *write);
void wal_tombstone_forget(struct wal *wal, uint64_t group);

/* Entries below @index are no longer needed (retention): their space can be reclaimed. In memory at once; the record of
 * it goes with the next flush. */
void wal_group_trim(struct wal *wal, struct wal_group *g, uint64_t index);

/* What the group holds has turned out to be corrupt: as if recovery had found it, now and after each restart. Nothing may be
 * appended to it any more; what it has can be read and deleted. Durable within WAL_CLOSING_DELAY_MS. */
void wal_group_damage(struct wal *wal, struct wal_group *g);

/* ERR_NO_SPACE when new records must be refused (size bound or disk nearly full), else 0. Never refuses hard state. */
int wal_accepts(const struct wal *wal) MUST_USE;

/* ---- reading -------------------------------------------------------------------------------------------------- */

#define WAL_READ_ENTRIES_MAX 512

/* Read entries [first, first + n) of a group: as many, in order, as are kept, at most n_max and at least one, adding up
 * to at most bytes_max payload bytes (the first always comes). From memory where they are cached, else by a worker,
 * checksums verified. Embedded by the caller, kept until @done. */
struct wal_read {
    uint64_t group;
    uint64_t first;
    uint32_t n_max; /* <= WAL_READ_ENTRIES_MAX */
    uint32_t bytes_max;
    /* results: */
    struct entry **entries; /* n references, the caller's to release, array too (free()) */
    uint32_t n;
    void (*done)(struct wal_read *read, int status); /* 0; ERR_NOT_FOUND not kept (any more); ERR_CORRUPT; ERR_IO */
    void *impl[24];
};

/* Returns true when it was answered from memory: the results are filled and @done will NOT run. Otherwise @done runs
 * later, exactly once (also when the group is deleted meanwhile). An entry replaced meanwhile is never returned under
 * its successor's index: what comes is what stood there at the call, or ERR_NOT_FOUND. */
bool wal_read(struct wal *wal, struct wal_read *read);

/* The cached entry, borrowed, or NULL (then wal_read it). */
struct entry *wal_cached(const struct wal_group *g, uint64_t index);

/* Memory is short: let go of the oldest cached entries that are durable, down to @max_bytes. A small entry can hold a large
 * receive buffer, which the cache's own limit does not count. */
void wal_cache_shrink(struct wal *wal, uint64_t max_bytes);

/* ---- counters ------------------------------------------------------------------------------------------------- */

struct wal_stats {
    uint64_t flushes;
    uint64_t flush_bytes;
    uint64_t flush_ns;        /* in write + sync */
    uint64_t inline_flushes;  /* done on the loop itself, because it was idle */
    uint64_t records;
    uint64_t files;
    uint64_t files_recycled;
    uint64_t bytes_live;
    uint64_t bytes_carried;   /* COPY records written */
    uint64_t bytes_total;     /* all files */
    uint64_t cache_bytes;
    uint64_t cache_misses;    /* reads that went to a worker */
};

void wal_stats(const struct wal *wal, struct wal_stats *stats);

#endif
