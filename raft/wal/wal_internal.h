/* The shard log's own structs, shared by its files and by nothing else. */
#ifndef CAIRN_WAL_INTERNAL_H
#define CAIRN_WAL_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "raft/wal/wal.h"
#include "raft/wal/wal_format.h"
#include "raft/wal/wal_limits.h"

/* ---- index: where each kept entry of a group stands -------------------------------------------------------------- */

#define WAL_AT_NONE UINT32_MAX         /* recovery has not met it (yet) */
#define WAL_AT_QUEUE (UINT32_MAX - 1u) /* only in memory */

struct wal_item {
    uint64_t term;
    uint32_t length;
    uint32_t file;     /* slot, or WAL_AT_* */
    uint32_t position; /* of the record's local header in the file */
    uint8_t kind;
};
static_assert(sizeof(struct wal_item) <= 32, "ten million entries take 320 MB at most");

/* Items of [first, last] in chunks of WAL_CHUNK_ITEMS, so that growing never copies. */
struct wal_index {
    struct wal_item **chunks;
    size_t capacity; /* of @chunks */
    size_t begin;    /* the first one in use */
    size_t count;
    uint64_t first;
    uint64_t last; /* first - 1: empty */
};

/* References to the entries [first, last of the index], a power of two of places by index. */
struct wal_recent {
    struct entry **ring;
    size_t capacity;
    uint64_t first; /* above the index's last: none */
};

/* What a group's records say, up to some point of the stream. */
struct wal_state {
    uint64_t incarnation;
    uint64_t term;
    uint64_t vote;
    uint64_t first;
    uint64_t last;
    uint32_t flags; /* enum wal_state_flags */
};

struct wal_group {
    UT_hash_handle hh;       /* in wal.groups, by id; not once it is forgotten */
    struct list link;        /* in wal.streamed while the stream has it */
    uint64_t group;
    uint64_t replica;
    struct wal_state now;    /* as callers see it; .first and .last are the index's */
    struct wal_state logged; /* as the records encoded so far have it */
    struct wal_index index;
    struct wal_recent recent;
    uint32_t refs;           /* table, stream, queued writes, cache's fifo */
    uint64_t flush_id;       /* the last flush that listed it ... */
    uint32_t flush_slot;     /* ... and where */
    uint64_t range_file;     /* sequence of the last file that noted a range of it ... */
    uint32_t range_slot;     /* ... and where */
};

int wal_index_reset(struct wal_index *index, uint64_t first);
void wal_index_close(struct wal_index *index);
struct wal_item *wal_index_at(const struct wal_index *index, uint64_t i); /* NULL: not kept */
int wal_index_push(struct wal_index *index, struct wal_item **out) MUST_USE; /* the item behind the last; ERR_NOMEM */
void wal_index_truncate(struct wal_index *index, uint64_t last);
void wal_index_trim(struct wal_index *index, uint64_t first); /* beyond the last: empty from there on */

int wal_recent_push(struct wal_recent *recent, uint64_t last, struct entry *entry) MUST_USE; /* takes a reference */
struct entry *wal_recent_at(const struct wal_recent *recent, uint64_t last, uint64_t i);

/* ---- files ------------------------------------------------------------------------------------------------------- */

enum wal_file_state {
    WAL_FILE_CURRENT,
    WAL_FILE_SEALED,
    WAL_FILE_DROPPING, /* the DROP record is queued */
    WAL_FILE_DROPPED   /* durable: it no longer counts, and goes once nobody reads it */
};

/* Which entries of a group may stand in a file. */
struct wal_range {
    uint64_t group;
    uint64_t index_min;
    uint64_t index_max;
};

struct wal_file {
    struct env_file *file;
    enum wal_file_state state;
    uint32_t slot;
    uint32_t pins; /* reads under way */
    uint64_t sequence;
    uint64_t generation;
    uint64_t salt;
    uint32_t seed;
    uint64_t size;
    uint64_t fresh_end;  /* behind its checkpoint */
    uint64_t end;        /* where the next flush goes */
    uint64_t synced_end; /* everything before it is durable */
    struct wal_name last; /* its last flush */
    uint32_t damages;    /* corrupt places that recovery has dealt with */
    bool new_damage;     /* recovery met more than that */
    bool carry_failed;
    uint64_t live_bytes;
    uint64_t live_entries;
    struct wal_range *ranges;
    uint32_t n_ranges;
    uint32_t ranges_capacity;
};

/* ---- queue and flush --------------------------------------------------------------------------------------------- */

/* What is queued, behind wal_write.impl. */
enum wal_op {
    WAL_OP_APPEND,
    WAL_OP_CREATE,
    WAL_OP_INSTALL,
    WAL_OP_DELETE,
    WAL_OP_COPY,
    WAL_OP_TRIM, /* from here on the log's own, which wait for the next flush, or for the closing one */
    WAL_OP_FORGET,
    WAL_OP_DAMAGE,
    WAL_OP_DROP
};

static inline bool wal_op_lazy(uint8_t op)
{
    return op >= WAL_OP_TRIM;
}

struct wal_write_impl {
    uint8_t op;
    bool head_done;  /* the records before the entries are encoded */
    uint32_t cursor; /* entries encoded */
    uint64_t value;  /* INSTALL: next index; TRIM: first index; DROP: slot */
    uint64_t founder;
};
static_assert(sizeof(struct wal_write_impl) <= sizeof(((struct wal_write *)0)->impl), "wal_write.impl is too small");

static inline struct wal_write_impl *wal_write_impl(struct wal_write *write)
{
    return (struct wal_write_impl *)(void *)write->impl;
}

/* From where to where an entry is carried. */
struct wal_move {
    uint32_t from;    /* position in the file of the copy's slot */
    uint32_t to_slot; /* WAL_AT_NONE: not written, it was dead by then */
    uint32_t to;
};

/* Entries that are carried. Until their flush is durable the old place is the one to read from. */
struct wal_copy {
    struct wal_write write;
    struct wal *wal;
    uint32_t slot;
    struct wal_move *moves; /* of the entries */
};

/* One write to the file and what comes of it. One at a time, so its memory is reused. */
struct wal_flush {
    struct env_work work;
    struct wal *wal;
    bool running;
    bool is_switch; /* header and checkpoint of the next file */
    struct wal_file *file;
    uint64_t id;
    uint64_t offset;
    uint64_t size; /* with padding */
    struct wal_name name;
    struct list done; /* writes that are complete with it */
    uint64_t n_records;
    uint64_t started_ns;
    uint8_t *staging;
    size_t staging_capacity;
    struct wal_disk_group *groups;
    uint32_t n_groups;
    uint32_t groups_capacity;
    struct iovec iov[ENV_IOV_MAX];
    size_t n_iov;
};

/* A place in the cache's order of leaving. */
struct wal_fifo_item {
    struct wal_group *group;
    uint64_t index;
};

struct wal {
    struct wal_params params;
    char *dir;
    struct env *env;
    struct env_hook hook;
    struct timer closing_timer;
    struct timer tick;
    struct uuid uuid;
    uint32_t inline_max_bytes;

    struct wal_group *groups;  /* uthash */
    struct list streamed;
    size_t n_streamed;

    struct list queue; /* wal_write.link */
    uint64_t queue_bytes;
    uint32_t n_eager; /* writes in it that somebody waits for */
    struct wal_flush flush;
    struct list completing; /* writes of the last flush whose @done is still to run */
    struct wal_group *completing_group;
    struct wal_name chain; /* the last flush encoded */
    uint64_t flush_ns_average;
    uint64_t flushed_last_ns;
    bool closed_off; /* the last flush was a closing one: nothing is behind it */

    struct wal_file **slots; /* by slot; NULL: free */
    uint32_t n_slots;
    struct wal_file *current;
    struct wal_file *next; /* prepared, not yet begun; in no slot */
    bool preparing;
    bool stalled; /* the queue waits for @next */
    bool started; /* its first turn has come. No work before that: a start that fails in the same turn may drop everything */
    bool reclaim_due;
    bool carry_due; /* worth looking for a file to carry forward */
    uint64_t file_sequence_last; /* of all names ever given */
    uint64_t ready[WAL_READY_FILES_MAX];
    uint32_t n_ready;
    uint32_t ready_coming; /* being renamed or filled */
    uint64_t disk_free; /* sampled */
    bool sampling;
    uint64_t switched_ns;
    uint64_t file_took_ns; /* to fill the file before the current one */

    struct wal_fifo_item *fifo;
    size_t fifo_begin;
    size_t fifo_count;
    size_t fifo_capacity;

    struct {
        bool active;
        bool waiting; /* for a read or a write */
        struct wal_file *file;
        uint32_t range;
        uint64_t index; /* next to look at in the range; 0: its beginning */
    } carry;

    struct list unfounded; /* reads that will be answered without one, at the end of the turn */
    struct list job_list;
    uint32_t jobs; /* on workers: those of the list and the flush */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    struct wal_stats stats;
};

/* wal.c */
void wal_hook_run(struct env_hook *hook);
struct wal_group *wal_group_new(struct wal *wal, uint64_t group, uint64_t replica); /* in the table; NULL: no memory */
void wal_group_ref(struct wal_group *g);
void wal_group_unref(struct wal_group *g);
void wal_enqueue(struct wal *wal, struct wal_write *write, enum wal_op op);
void wal_fatal_nomem(struct wal *wal) __attribute__((noreturn));
void wal_maybe_closed(struct wal *wal);
void wal_free(struct wal *wal);

/* wal_cache.c */
void wal_item_dead(struct wal *wal, const struct wal_item *item);
void wal_item_alive(struct wal *wal, const struct wal_item *item);
void wal_group_drop_above(struct wal *wal, struct wal_group *g, uint64_t last);  /* entries above @last are gone */
void wal_group_drop_below(struct wal *wal, struct wal_group *g, uint64_t first); /* entries below @first are gone */
void wal_group_drop_all(struct wal *wal, struct wal_group *g, uint64_t next);    /* all are, and the next is @next */
void wal_cache_push(struct wal *wal, struct wal_group *g, const struct entry *entry); /* which is in g->recent already */
void wal_cache_forget(struct wal *wal, struct wal_group *g);
void wal_cache_evict(struct wal *wal);

/* wal_flush.c */
void wal_flush_start(struct wal *wal, bool may_inline); /* if there is something to flush and no flush under way */
void wal_flush_close_off(struct wal *wal);
void wal_closing_fire(struct timer *timer);

void wal_own_writes_free(struct wal *wal); /* what is queued and ours, at the end */

/* wal_job.c: work of the pool. Its memory is the log's, freed by @destroy after @complete, or when all is abandoned. */
struct wal_job {
    struct env_work work;
    struct list link;
    struct wal *wal;
    void (*complete)(struct wal_job *job); /* on the loop */
    void (*destroy)(struct wal_job *job);
};
void wal_job_start(struct wal *wal, struct wal_job *job, void (*run)(struct env_work *work),
                   void (*complete)(struct wal_job *job), void (*destroy)(struct wal_job *job));
void wal_jobs_abandon(struct wal *wal);

/* wal_files.c */
void wal_path(const struct wal *wal, const char *kind, uint64_t sequence, char path[ENV_PATH_MAX]);
struct wal_file *wal_file_new(uint64_t sequence, uint64_t size); /* in no slot, not open; NULL: out of memory */
void wal_file_set_salt(struct wal_file *file, uint64_t salt);
int wal_file_add(struct wal *wal, struct wal_file *file) MUST_USE; /* gives it a slot. Errors: ERR_NOMEM */
void wal_file_remove(struct wal *wal, struct wal_file *file);      /* from its slot */
void wal_file_free(struct wal *wal, struct wal_file *file);        /* closes it */
/* Entries of @g in [index_min, index_max] may stand in @file. Errors: ERR_NOMEM */
int wal_file_note(struct wal_file *file, struct wal_group *g, uint64_t index_min, uint64_t index_max) MUST_USE;
void wal_file_unpin(struct wal *wal, struct wal_file *file);
void wal_reclaim(struct wal *wal);
void wal_dropped(struct wal *wal, struct wal_file *file);

/* wal_pool.c */
uint64_t wal_file_size_due(const struct wal *wal); /* of the next file to be made */
void wal_prepare_next(struct wal *wal);
void wal_retire(struct wal *wal, struct wal_file *file); /* to the pool of ready files, or off the disk */
void wal_tick_fire(struct timer *timer);

/* wal_carry.c */
void wal_carry_step(struct wal *wal);
void wal_copy_settle(struct wal_copy *copy); /* durable: the new places count */
void wal_copy_free(struct wal_copy *copy);

/* wal_read.c: read consecutive entries by a worker */
struct wal_read_job {
    struct wal_job job;
    uint64_t group;
    uint64_t first;
    uint32_t n;
    struct wal_item *items;
    struct wal_file **files; /* of each item; pinned */
    struct entry **entries;  /* results; whoever takes them leaves NULL */
    int status;
    void (*done)(struct wal_read_job *job); /* on the loop */
    void *data;
};
/* The entries [first, first + n), each of which stands in a file. Errors: ERR_NOMEM */
int wal_read_job_new(struct wal *wal, const struct wal_group *g, uint64_t first, uint32_t n,
                     struct wal_read_job **out) MUST_USE;
void wal_read_job_start(struct wal_read_job *job);
void wal_read_answer_unfounded(struct wal *wal);

/* wal_recover.c */
int wal_recover(struct wal *wal, struct wal_recovery *recovery, char *errmsg) MUST_USE;

#endif
