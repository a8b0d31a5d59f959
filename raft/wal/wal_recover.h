/* Recovery's own state, shared by its two files. */
#ifndef CAIRN_WAL_RECOVER_H
#define CAIRN_WAL_RECOVER_H

#include "raft/wal/wal_replay.h"

#define RECOVERY_NAME "recovery.tmp"

struct found {
    uint64_t sequence;
    bool ready;    /* ready-*.log */
    bool examined; /* @identity says what the file itself says */
    struct wal_identity identity;
    struct wal_file *file; /* it counts: in its slot */
};

struct recover {
    struct wal *wal;
    struct wal_recovery *recovery;
    char *errmsg;
    struct found *found;
    size_t n_found;
    size_t found_capacity;
    int status; /* of listing */
    struct wal_image image;
    uint64_t image_sequence; /* which file it holds; 0: none */
    struct wal_replay replay;
    size_t base; /* in found: the newest file with a whole checkpoint */
    /* the last whole flush: all before it was synced, it itself perhaps not */
    size_t tail;
    uint64_t tail_position;
    struct wal_name tail_prev;
};

/* Says what went wrong in errmsg; returns @rv. */
int wal_recover_fail(struct recover *r, int rv, const char *what, uint64_t sequence);
/* The file's bytes into r->image, and what it says it is. */
int wal_recover_examine(struct recover *r, struct found *f) MUST_USE;

/* wal_fresh.c */
int wal_fresh_begin(struct recover *r, bool is_new) MUST_USE;
int wal_fresh_open_files(struct recover *r) MUST_USE; /* those that count, for readers */
void wal_fresh_tidy_up(struct recover *r);

#endif
