/* Open, close, time and the accessors. */
#include "raft/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/core/core_internal.h"

/* We read struct raft's public parts and rely on what the library does inside: exactly this release, which the
 * simulation has run. A newer one needs that again. */
#define CORE_LIBRAFT_VERSION 2201
static_assert(RAFT_VERSION_NUMBER == CORE_LIBRAFT_VERSION, "run tests/sim/core with this libraft, then raise the number");

/* Debian's build does not export it: then it is a null pointer and the probe below has to do. */
#pragma weak raft_version_number

/* The loaded library fills our header's struct as 0.22.1 does: layout and defaults. */
static bool library_probe(void)
{
    struct raft *r = calloc(1, sizeof *r);
    bool same;

    if (r == NULL || raft_init(r, NULL, NULL, 77, "1.77") != 0) {
        free(r);
        return false;
    }
    same = r->id == 77 && r->address != NULL && strcmp(r->address, "1.77") == 0 && r->election_timeout == 1000 &&
           r->heartbeat_timeout == 100 && r->install_snapshot_timeout == 30000 && r->state == RAFT_FOLLOWER && !r->pre_vote &&
           r->max_catch_up_rounds == 10 && r->max_catch_up_round_duration == 5000 && r->max_inflight_entries == 32 &&
           r->capacity_threshold == 0 && r->trail.records == NULL && r->update == NULL && r->messages == NULL;
    raft_seed(r, 4711);
    same = same && r->random == 4711;
    r->tracer = NULL;
    raft_close(r, NULL);
    free(r);
    return same;
}

/* libraft's unwinding after a failed allocation frees some things twice (restoring a configuration does): without memory
 * it is better to stop than to go on with a damaged heap. What is durable is not touched. */
static void *heap_checked(void *pointer)
{
    if (pointer == NULL) {
        fprintf(stderr, "error out_of_memory in=libraft\n");
        abort();
    }
    return pointer;
}

static void *heap_malloc(void *data, size_t size)
{
    return heap_checked(malloc(size > 0 ? size : 1));
}

static void heap_free(void *data, void *pointer)
{
    free(pointer);
}

static void *heap_calloc(void *data, size_t n, size_t size)
{
    return heap_checked(calloc(n > 0 ? n : 1, size > 0 ? size : 1));
}

static void *heap_realloc(void *data, void *pointer, size_t size)
{
    return heap_checked(realloc(pointer, size > 0 ? size : 1));
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
    return heap_checked(aligned_alloc(alignment, size));
}

static void heap_aligned_free(void *data, size_t alignment, void *pointer)
{
    free(pointer);
}

static const struct raft_heap heap = {NULL,         heap_malloc,        heap_free,        heap_calloc,
                                      heap_realloc, heap_aligned_alloc, heap_aligned_free};

int core_check_library(char *errmsg)
{
    int version = raft_version_number != NULL ? raft_version_number() : CORE_LIBRAFT_VERSION;
    if (version == CORE_LIBRAFT_VERSION && library_probe()) {
        raft_heap_set((struct raft_heap *)(uintptr_t)&heap); /* only read */
        return 0;
    }
    snprintf(errmsg, ERRMSG_SIZE,
             "the loaded libraft is not the 0.22.1 that this program was built and simulated with (it says %d.%d.%d): "
             "install that one",
             version / 10000, version / 100 % 100, version % 100);
    return ERR_VERSION;
}

static bool address_valid(const char *address)
{
    size_t length;
    if (address == NULL) {
        return false;
    }
    length = strnlen(address, CORE_ADDRESS_SIZE);
    return length > 0 && length < CORE_ADDRESS_SIZE;
}

static bool snapshot_valid(const struct core_start *s)
{
    const struct core_snapshot_meta *meta = s->snapshot;
    return meta->index > 0 && meta->index <= CORE_INDEX_MAX && meta->term > 0 && meta->term <= s->term &&
           meta->config_index > 0 && meta->config_index <= meta->index && meta->config.n > 0 &&
           meta->config.n <= CORE_MEMBERS_MAX;
}

/* Rule 8, as far as the log's shape goes. */
static bool log_valid(const struct core_start *s)
{
    uint64_t snapshot_index = s->snapshot != NULL ? s->snapshot->index : 0;
    uint64_t last = s->first - 1;
    uint64_t term = 0;

    if (s->first == 0 || s->first > snapshot_index + 1) {
        return false;
    }
    for (size_t i = 0; i < s->n_runs; i++) {
        const struct core_run *run = &s->runs[i];
        if (run->last <= last || run->term <= term || run->term > s->term || run->last > CORE_INDEX_MAX) {
            return false;
        }
        if (snapshot_index > last && snapshot_index <= run->last && run->term != s->snapshot->term) {
            return false;
        }
        last = run->last;
        term = run->term;
    }
    return last >= snapshot_index && last - s->first + 1 <= CORE_TRAIL_ENTRIES_MAX;
}

static bool changes_valid(const struct core_start *s)
{
    uint64_t last = s->runs[s->n_runs - 1].last;
    uint64_t index = s->first - 1;
    struct core_config config;

    for (size_t i = 0; i < s->n_changes; i++) {
        const struct entry *e = s->changes[i];
        if (e->kind != ENTRY_CHANGE || e->index <= index || e->index > last ||
            core_config_decode(e->data, e->length, &config) != 0) {
            return false;
        }
        index = e->index;
    }
    return s->snapshot != NULL || (s->n_changes > 0 && s->changes[0]->index == 1);
}

static int check_start(const struct core_start *s)
{
    if (s->replica == 0 || !address_valid(s->address) || s->now_ms == NULL || s->inflight_entries > CORE_APPEND_ENTRIES_MAX) {
        return ERR_INVALID;
    }
    if (s->term > CORE_TERM_MAX || (s->term == 0 && (s->vote != 0 || s->snapshot != NULL || s->n_runs > 0))) {
        return ERR_CORRUPT;
    }
    if (s->snapshot != NULL && !snapshot_valid(s)) {
        return ERR_CORRUPT;
    }
#ifdef CAIRN_CORE_RULE_SWITCHES
    if ((s->rules_off & (1u << 8)) != 0) {
        return 0;
    }
#endif
    if (s->n_runs == 0) {
        return s->n_changes == 0 ? 0 : ERR_CORRUPT;
    }
    return log_valid(s) && changes_valid(s) ? 0 : ERR_CORRUPT;
}

/* libraft wants an array of all entries, of which it reads the terms and the changes. Freed by it on error: so both are
 * raft_malloc'ed. */
static int start_entries(const struct core_start *s, struct raft_entry **out, unsigned *n)
{
    size_t count = s->n_runs == 0 ? 0 : s->runs[s->n_runs - 1].last - s->first + 1;
    struct raft_entry *entries;
    size_t change = 0;
    size_t run = 0;
    void *batch;

    *out = NULL;
    *n = 0;
    if (count == 0) {
        return 0;
    }
    entries = raft_calloc(count, sizeof *entries);
    batch = raft_malloc(1);
    if (entries == NULL || batch == NULL) {
        raft_free(entries);
        raft_free(batch);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t index = s->first + i;
        while (index > s->runs[run].last) {
            run++;
        }
        entries[i].term = s->runs[run].term;
        entries[i].type = RAFT_COMMAND;
        entries[i].batch = batch;
        if (change < s->n_changes && s->changes[change]->index == index) {
            entries[i].type = RAFT_CHANGE;
            entries[i].buf.base = (void *)(uintptr_t)s->changes[change]->data;
            entries[i].buf.len = s->changes[change]->length;
            change++;
        }
    }
    *out = entries;
    *n = (unsigned)count;
    return 0;
}

static void configure(struct core *core, const struct core_start *s)
{
    uint32_t election = s->election_timeout_ms != 0 ? s->election_timeout_ms : CORE_ELECTION_TIMEOUT_MS;

    core->raft.tracer = NULL; /* rule 19: else to stderr by an environment variable */
    raft_seed(&core->raft, s->random_seed);
    raft_set_election_timeout(&core->raft, s->first_election_timeout_ms != 0 ? s->first_election_timeout_ms : election);
    raft_set_heartbeat_timeout(&core->raft, s->heartbeat_ms != 0 ? s->heartbeat_ms : CORE_HEARTBEAT_MS);
    raft_set_install_snapshot_timeout(&core->raft, CORE_INSTALL_TIMEOUT_MS);
    raft_set_pre_vote(&core->raft, true);
    raft_set_max_catch_up_rounds(&core->raft, CORE_CATCH_UP_ROUNDS);
    raft_set_max_catch_up_round_duration(&core->raft, CORE_CATCH_UP_ROUND_MS);
    core->inflight_max = s->inflight_entries != 0 ? s->inflight_entries : CORE_INFLIGHT_ENTRIES;
    raft_set_max_inflight_entries(&core->raft, core->inflight_max);
}

static int remember_start(struct core *core, const struct core_start *s)
{
    uint64_t config_index = 0;

    if (s->snapshot != NULL) {
        core->snapshot = malloc(sizeof *core->snapshot);
        if (core->snapshot == NULL) {
            return ERR_NOMEM;
        }
        *core->snapshot = *s->snapshot;
        config_index = s->snapshot->config_index;
    }
    core->change_applied = config_index;
    for (size_t i = 0; i < s->n_changes; i++) {
        int rv = s->changes[i]->index > config_index ? core_changes_record(core, s->changes[i]) : 0;
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int step_start(struct core *core, const struct core_start *s)
{
    struct raft_snapshot_metadata metadata;
    struct raft_entry *entries;
    struct raft_event event;
    unsigned n;
    void *batch;
    int rv;

    rv = start_entries(s, &entries, &n);
    if (rv != 0) {
        return rv;
    }
    batch = n > 0 ? entries[0].batch : NULL;
    memset(&event, 0, sizeof event);
    event.type = RAFT_START;
    event.start.term = s->term;
    event.start.voted_for = s->vote;
    /* Rule 8. */
    event.start.start_index = n > 0 ? s->first : s->snapshot != NULL ? s->snapshot->index + 1 : 1;
    event.start.entries = entries;
    event.start.n_entries = n;
    if (s->snapshot != NULL) {
        metadata.index = s->snapshot->index;
        metadata.term = s->snapshot->term;
        metadata.configuration_index = s->snapshot->config_index;
        rv = core_config_to_raft(&s->snapshot->config, &metadata.configuration);
        if (rv != 0) {
            raft_free(batch);
            raft_free(entries);
            return rv;
        }
        event.start.metadata = &metadata; /* the configuration is libraft's from here */
    }
    core->step_failed = false;
    rv = core_step(core, &event, NULL, NULL);
    if (!core->step_failed) {
        raft_free(batch);
        raft_free(entries);
    }
    return rv;
}

int core_open(const struct core_start *s, const struct core_ops *ops, void *data, struct core **out)
{
    struct core *core;
    int rv = check_start(s);

    if (rv != 0) {
        return rv;
    }
    core = calloc(1, sizeof *core); /* rule 19: libraft leaves fields as they are */
    if (core == NULL) {
        return ERR_NOMEM;
    }
    core->ops = ops;
    core->data = data;
    core->now_ms = s->now_ms;
    core->group = s->group;
    core->role = CORE_FOLLOWER;
    core->term = s->term;
    core->config_stale = true;
#ifdef CAIRN_CORE_RULE_SWITCHES
    core->rules_off = s->rules_off;
#endif
    if (raft_init(&core->raft, NULL, NULL, s->replica, s->address) != 0) {
        free(core);
        return ERR_NOMEM;
    }
    configure(core, s);
    rv = remember_start(core, s);
    if (rv == 0) {
        *out = core;
        rv = core_enter(core);
        assert(rv == 0);
        rv = step_start(core, s);
        core->raft.election_timeout = s->election_timeout_ms != 0 ? s->election_timeout_ms : CORE_ELECTION_TIMEOUT_MS;
        rv = core_leave(core, rv);
    }
    if (rv != 0) {
        *out = NULL;
        core_close(core);
        return rv == ERR_SHUTDOWN ? ERR_NOMEM : rv;
    }
    return 0;
}

void core_close(struct core *core)
{
    if (core == NULL) {
        return;
    }
    assert(!core->busy);
    core_held_clear(core);
    raft_close(&core->raft, NULL);
    free(core->writes);
    free(core->changes);
    free(core->snapshot);
    free(core->install);
    free(core);
}

uint64_t core_timeout_ms(const struct core *core)
{
    uint64_t timeout = raft_timeout(&core->raft);
    if (timeout < core->tick_at) {
        timeout = core->tick_at;
    }
    if (core->transfer.target != 0 && !core->transfer.fired && core->transfer.deadline < timeout) {
        timeout = core->transfer.deadline;
    }
    return timeout;
}

void core_forget_leader(struct core *core)
{
    assert(core->raft.state == RAFT_FOLLOWER);
    raft_free(core->raft.follower_state.current_leader.address);
    core->raft.follower_state.current_leader.address = NULL;
    core->raft.follower_state.current_leader.id = 0;
}

int core_tick(struct core *core)
{
    struct raft_event event;
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    /* Rule 19: fed early it demotes followers to probing. */
    if ((core->now < raft_timeout(&core->raft) && RULE(core, 19)) || core->now < core->tick_at) {
        return core_leave(core, 0);
    }
    core->tick_at = core->now + 1;
    /* Rule 15: a non-voter's timer that fires means that its leader is gone; libraft would go on to refuse its vote. */
    if (core->raft.state == RAFT_FOLLOWER && !core_self_votes(core) && RULE(core, 15)) {
        core_forget_leader(core);
    }
    memset(&event, 0, sizeof event);
    event.type = RAFT_TIMEOUT;
    rv = core_step(core, &event, NULL, NULL);
    return core_leave(core, rv);
}

void *core_data(const struct core *core)
{
    return core->data;
}

bool core_failed(const struct core *core)
{
    return core->failed;
}

uint64_t core_replica(const struct core *core)
{
    return core->raft.id;
}

enum core_role core_role(const struct core *core)
{
    switch (core->raft.state) {
    case RAFT_LEADER:
        return CORE_LEADER;
    case RAFT_CANDIDATE:
        return CORE_CANDIDATE;
    default:
        return CORE_FOLLOWER;
    }
}

uint64_t core_term(const struct core *core)
{
    return core->raft.current_term;
}

/* A vote may raise a follower's term; libraft then still names the leader of the term before. */
uint64_t core_leader(const struct core *core)
{
    uint64_t id;
    switch (core->raft.state) {
    case RAFT_LEADER:
        return core->raft.id;
    case RAFT_FOLLOWER:
        id = core->raft.follower_state.current_leader.id;
        return core->led_by.id == id && core->led_by.term == core->raft.current_term ? id : 0;
    default:
        return 0;
    }
}

uint64_t core_commit(const struct core *core)
{
    return core->commit;
}

uint64_t core_first(const struct core *core)
{
    return core->raft.trail.offset + 1;
}

uint64_t core_last(const struct core *core)
{
    return trail_last(&core->raft.trail);
}

uint64_t core_stored(const struct core *core)
{
    return core->raft.last_stored;
}

uint64_t core_term_at(const struct core *core, uint64_t index)
{
    return trail_term(&core->raft.trail, index);
}

uint64_t core_snapshot_index(const struct core *core)
{
    return core->snapshot != NULL ? core->snapshot->index : 0;
}

uint64_t core_inflight(const struct core *core)
{
    uint64_t last = trail_last(&core->raft.trail);
    return last > core->commit ? last - core->commit : 0;
}

const struct core_config *core_config(const struct core *core)
{
    return &core->config;
}

bool core_config_committed(const struct core *core)
{
    return core->raft.configuration_uncommitted_index == 0;
}

const struct core_counters *core_counters(const struct core *core)
{
    return &core->counters;
}
