/* What the records of the stream make of the groups: recovery's second half. */
#ifndef CAIRN_WAL_REPLAY_H
#define CAIRN_WAL_REPLAY_H

#include "raft/wal/wal_scan.h"

/* Corruption that may have touched entries of a group; decided on at the end, when it is known what is still kept. */
struct wal_suspicion {
    uint64_t file; /* sequence */
    uint64_t group;
    uint64_t replica;
    uint64_t index_min;
    uint64_t index_max;
    bool all; /* nobody knows which */
};

struct wal_replay {
    struct wal *wal;
    struct wal_recovery *recovery;
    struct wal_file *file; /* whose records come */
    /* Older than the checkpoint that recovery starts from: only entries count, and what the checkpoint does not have
     * is dead. From the checkpoint on every record means what it meant when it was written. */
    bool old;
    struct wal_suspicion *suspicions;
    size_t n_suspicions;
    size_t suspicions_capacity;
    uint32_t damages; /* corrupt places met in @file */
    bool all_damaged;
    uint64_t *dropped; /* sequences of files */
    size_t n_dropped;
    size_t dropped_capacity;
    uint64_t entries_max; /* more than the files have room for is no log of ours */
    struct uuid uuid;           /* of the checkpoint */
    struct wal_disk_live *live; /* of the checkpoint */
    uint32_t n_live;
    int status; /* sticky: ERR_NOMEM */
};

/* The flush that @scan found, whole or damaged. */
void wal_replay_flush(struct wal_replay *replay, const struct wal_scan *scan);
void wal_replay_damage(struct wal_replay *replay, const struct wal_scan *scan);
/* The checkpoint that recovery starts from: makes the groups. */
void wal_replay_checkpoint(struct wal_replay *replay, const struct wal_scan *scan);
void wal_replay_file_lost(struct wal_replay *replay);
/* Decides who is damaged, and makes the state what later records are written from. */
void wal_replay_finish(struct wal_replay *replay);
void wal_replay_close(struct wal_replay *replay);

#endif
