/* From what is durable to a running core: the runs of terms come from the shard log's index, the membership changes (they
 * are rare) and the last entry (for its time) are read. Messages that come meanwhile are dropped. */
#include "raft/group/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void load_drop(struct group *g)
{
    struct group_load *load = g->load;

    if (load == NULL) {
        return;
    }
    for (size_t i = 0; i < load->got; i++) {
        entry_release(load->entries[i]);
    }
    free(load->entries);
    free(load->indexes);
    free(load);
    g->load = NULL;
}

static int want(struct group_load *load, uint64_t index)
{
    uint64_t *bigger;

    if (load->n >= CHANGES_MAX) {
        return ERR_TOO_BIG;
    }
    if ((load->n & (load->n - 1)) == 0) { /* a power of two: full */
        bigger = realloc(load->indexes, (load->n == 0 ? 1 : 2 * load->n) * sizeof(*bigger));
        if (bigger == NULL) {
            return ERR_NOMEM;
        }
        load->indexes = bigger;
    }
    load->indexes[load->n++] = index;
    return 0;
}

/* Runs of terms of [first, last]. */
static int load_runs(const struct wal_group *wal, uint64_t first, uint64_t last, struct core_run **out, size_t *n_out)
{
    struct core_run *runs = NULL;
    size_t capacity = 0;
    size_t n = 0;

    for (uint64_t index = first; index <= last; index++) {
        uint64_t term = wal_group_term(wal, index);
        if (n > 0 && runs[n - 1].term == term) {
            runs[n - 1].last = index;
            continue;
        }
        if (n == capacity) {
            struct core_run *bigger;
            capacity = capacity == 0 ? 16 : 2 * capacity;
            bigger = realloc(runs, capacity * sizeof(*runs));
            if (bigger == NULL) {
                free(runs);
                return ERR_NOMEM;
            }
            runs = bigger;
        }
        runs[n].term = term;
        runs[n].last = index;
        n++;
    }
    *out = runs;
    *n_out = n;
    return 0;
}

/* Everything has been read. */
static int open_core(struct group *g)
{
    struct group_load *load = g->load;
    struct group_host *host = g->host;
    struct wal_group_info info;
    struct core_start start;
    struct core_run *runs = NULL;
    char address[CORE_ADDRESS_SIZE];
    size_t n_changes = load->n;
    int rv;

    wal_group_info(g->wal, &info);
    if (load->n > 0) {
        g->time_ms = load->entries[load->n - 1]->time_ms;
        if (load->entries[load->n - 1]->kind != ENTRY_CHANGE) {
            n_changes--;
        }
    }
    memset(&start, 0, sizeof(start));
    if (info.last_index >= info.first_index) {
        rv = load_runs(g->wal, info.first_index, info.last_index, &runs, &start.n_runs);
        if (rv != 0) {
            return rv;
        }
    }
    snprintf(address, sizeof(address), "%" PRIu32 ".%" PRIu64, host->params.node, g->replica);
    start.group = g->id;
    start.replica = g->replica;
    start.address = address;
    start.random_seed = (uint32_t)env_random(host->env);
    start.now_ms = &host->now_ms;
    start.election_timeout_ms = host->params.election_timeout_ms;
    start.heartbeat_ms = host->params.heartbeat_ms;
    start.first_election_timeout_ms = g->preferred ? GROUP_TICK_MS : 0;
    start.term = info.term;
    start.vote = info.vote;
    start.first = info.first_index;
    start.runs = runs;
    start.changes = load->entries;
    start.n_changes = n_changes;
    g->preferred = false; /* for the founding only */
    g->state = GROUP_OPEN;
    g->state_changed = true;
    host_now(host);
    rv = core_open(&start, &group_core_ops, g, &g->core);
    free(runs);
    return rv;
}

static void load_next(struct group *g);

static void load_ended(struct group *g, int rv)
{
    if (rv != 0) {
        char text[ERRMSG_SIZE];
        snprintf(text, sizeof(text), "load the replica: %s", err_text(rv));
        g->core = NULL;
        g->state = GROUP_LOADING;
        load_drop(g);
        group_fail(g, rv, text);
        return;
    }
    load_drop(g);
    group_dirty(g);
    group_after(g);
}

static void on_read(struct group_io *io, int status)
{
    struct group *g = io->group;
    struct group_load *load = g->load;

    if (load == NULL || g->state != GROUP_LOADING) {
        return;
    }
    if (status == ERR_CORRUPT) {
        wal_group_damage(g->host->wal, g->wal);
    }
    if (status == 0 && (io->read.n != 1 || io->read.entries[0]->index != load->indexes[load->got])) {
        status = ERR_CORRUPT;
    }
    if (status != 0) {
        load_ended(g, status == ERR_NOT_FOUND ? ERR_CORRUPT : status);
        return;
    }
    load->entries[load->got++] = entry_acquire(io->read.entries[0]);
    load_next(g);
}

static void load_next(struct group *g)
{
    struct group_load *load = g->load;

    if (load->got == load->n) {
        load_ended(g, open_core(g));
        return;
    }
    if (io_start(g, load->indexes[load->got], 1, on_read, NULL) == NULL) {
        load_ended(g, ERR_NOMEM);
    }
}

void load_start(struct group *g)
{
    struct wal_group_info info;
    struct group_load *load;
    int rv = ERR_NOMEM;

    g->state = GROUP_LOADING;
    wal_group_info(g->wal, &info);
    load = calloc(1, sizeof(*load));
    if (load == NULL) {
        goto err;
    }
    g->load = load;
    for (uint64_t index = info.first_index; index <= info.last_index; index++) {
        if (wal_group_kind(g->wal, index) == ENTRY_CHANGE || index == info.last_index) {
            rv = want(load, index);
            if (rv != 0) {
                goto err;
            }
        }
    }
    rv = ERR_NOMEM;
    load->entries = calloc(load->n + 1, sizeof(*load->entries));
    if (load->entries == NULL) {
        goto err;
    }
    load_next(g);
    return;
err:
    load_ended(g, rv);
}
