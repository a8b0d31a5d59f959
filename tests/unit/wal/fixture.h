/* A shard log on a simulated machine: its disk outlives crashes, time is virtual, every write can be the last one. */
#ifndef CAIRN_TEST_WAL_FIXTURE_H
#define CAIRN_TEST_WAL_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "raft/wal/wal.h"
#include "tests/sim/world.h"

#define FX_DIR "/wal"
#define FX_ENTRIES_MAX 64
#define SIM_SECTOR 512u

struct fx {
    struct sim_world *world;
    struct sim_node *node;
    struct buf_pool *pool;
    struct wal_params params;
    struct wal *wal; /* NULL: not running */
    struct wal_recovery recovery;
    int open_status;
    char errmsg[ERRMSG_SIZE];
    enum sim_end ended;
    bool closed;
    uint64_t completed; /* writes so far */
};

/* A write with its entries and its fate. The fixture frees it with fx_write_free(). */
struct fx_write {
    struct wal_write write;
    struct entry *entries[FX_ENTRIES_MAX];
    bool done;
    uint64_t order; /* the how-manieth it was to complete */
    struct fx *fx;
};

void fx_init(struct fx *fx, uint64_t seed);
void fx_free(struct fx *fx);
void fx_start(struct fx *fx);           /* boots and opens the log; fx->open_status says how it went */
void fx_open(struct fx *fx);            /* the same, and it must be well */
/* Boots, and dies at the @ops-th change of the disk, or (if the log opens first) some time later. */
void fx_start_and_crash(struct fx *fx, uint64_t ops, enum sim_end how);
void fx_crash(struct fx *fx, enum sim_end how);
void fx_reopen(struct fx *fx);          /* power cut, boot, open */
void fx_close(struct fx *fx);           /* orderly */
void fx_settle(struct fx *fx);          /* a few virtual seconds */
bool fx_call(struct fx *fx, void (*fn)(struct fx *fx, void *arg), void *arg); /* on the loop; false: it died of it */

/* What stands in the entry (group, index, term): @size bytes that follow from them. */
struct entry *fx_entry(struct fx *fx, uint64_t group, uint64_t index, uint64_t term, uint32_t size);
bool fx_entry_right(const struct entry *entry, uint64_t group, uint64_t index, uint64_t term);

struct fx_write *fx_write_new(struct fx *fx);
void fx_write_free(struct fx_write *w); /* not while it is queued in a running log */
bool fx_wait(struct fx *fx, struct fx_write *w); /* false: the program ended first */

/* Each of these queues, waits until it is durable, and frees. */
void fx_create(struct fx *fx, uint64_t group, uint64_t replica, bool founder);
void fx_append(struct fx *fx, uint64_t group, uint64_t first, uint32_t n, uint64_t term, uint32_t size);
void fx_hard_state(struct fx *fx, uint64_t group, uint64_t term, uint64_t vote);
void fx_delete(struct fx *fx, uint64_t group);
void fx_forget(struct fx *fx, uint64_t group);
void fx_install(struct fx *fx, uint64_t group, uint64_t next);
void fx_trim(struct fx *fx, uint64_t group, uint64_t index);
/* Queues only. */
struct fx_write *fx_append_start(struct fx *fx, uint64_t group, uint64_t first, uint32_t n, uint64_t term,
                                 uint32_t size);

struct wal_group_info fx_info(struct fx *fx, uint64_t group); /* .group 0: not there */
/* Read [first, ...); returns the status; entries are checked against @term_of (NULL: against the index's terms). */
int fx_read(struct fx *fx, uint64_t group, uint64_t first, uint32_t n_max, uint32_t bytes_max, uint32_t *n);
void fx_assert_log(struct fx *fx, uint64_t group, uint64_t first, uint64_t last); /* exactly these, all readable */
struct wal_stats fx_stats(struct fx *fx);

/* The newest (0), second newest (1), ... file of the log; its path. False: there are not so many. */
bool fx_file(struct fx *fx, unsigned back, char *path);
void fx_flip(struct fx *fx, const char *path, uint64_t offset);

#endif
