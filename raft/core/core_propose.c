/* What a leader is asked to do: entries, barriers, membership changes, catch-up, hand-over. */
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/core/core_internal.h"

static enum raft_entry_type type_of(const struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_BARRIER:
        return RAFT_BARRIER;
    case ENTRY_CHANGE:
        return RAFT_CHANGE;
    default:
        return RAFT_COMMAND;
    }
}

int core_propose(struct core *core, struct entry **entries, size_t n)
{
    struct raft_entry stack[CORE_SHADOW_STACK];
    struct raft_entry *shadow = stack;
    struct core_step_entries given;
    struct raft_event event;
    uint64_t index = trail_last(&core->raft.trail) + 1;
    int rv;

    assert(core_is_leader(core) && core->raft.leader_state.transferee == 0);
    if (n > CORE_SHADOW_STACK) {
        shadow = raft_malloc(n * sizeof *shadow);
        if (shadow == NULL) {
            return core_fail(core);
        }
    }
    for (size_t i = 0; i < n; i++) {
        entries[i]->index = index + i;
        entries[i]->term = core->raft.current_term;
        shadow[i].term = core->raft.current_term;
        shadow[i].type = type_of(entries[i]);
        shadow[i].buf.base = (void *)(uintptr_t)entries[i]->data; /* only read */
        shadow[i].buf.len = entries[i]->length;
        shadow[i].batch = entries[i]; /* never NULL, never freed: ours on every path */
    }
    memset(&event, 0, sizeof event);
    event.type = RAFT_SUBMIT;
    event.submit.entries = shadow;
    event.submit.n = (unsigned)n;
    given.shadow = shadow;
    given.entries = entries;
    given.n = n;
    core->proposing = true;
    rv = core_step(core, &event, &given, NULL);
    core->proposing = false;
    if (shadow != stack) {
        raft_free(shadow);
    }
    return rv;
}

static int propose_own(struct core *core, struct entry *entry, uint64_t *index)
{
    int rv;

    entry->group = core->group;
    entry->base_offset = -1;
    rv = core_propose(core, &entry, 1);
    if (rv == 0 && index != NULL) {
        *index = entry->index;
    }
    entry_release(entry);
    return rv;
}

int core_barrier_step(struct core *core, uint64_t *index)
{
    struct entry *entry = entry_new(ENTRY_BARRIER, NULL, NULL, 0);
    if (entry == NULL) {
        return core_fail(core);
    }
    return propose_own(core, entry, index);
}

/* May this core be asked for entries now? */
static int may_propose(const struct core *core)
{
    if (!core_is_leader(core)) {
        return ERR_NOT_LEADER;
    }
    return core->transfer.target != 0 ? ERR_BUSY : 0;
}

size_t core_submit_room(const struct core *core)
{
    uint64_t inflight = core_inflight(core);
    size_t room;
    if (core->failed || may_propose(core) != 0) {
        return 0;
    }
    if (!RULE(core, 21)) {
        return CORE_APPEND_ENTRIES_MAX;
    }
    /* Rule 21: libraft would take more, and send an empty message to every follower. */
    room = inflight < core->inflight_max ? core->inflight_max - inflight : 0;
    return room < CORE_APPEND_ENTRIES_MAX ? room : CORE_APPEND_ENTRIES_MAX;
}

int core_submit(struct core *core, struct entry **entries, size_t n)
{
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    if (n == 0) {
        return core_leave(core, 0);
    }
    if (n > CORE_APPEND_ENTRIES_MAX) {
        return core_leave(core, ERR_TOO_BIG);
    }
    for (size_t i = 0; i < n; i++) {
        if (entries[i]->kind == ENTRY_BARRIER || entries[i]->kind == ENTRY_CHANGE) {
            return core_leave(core, ERR_INVALID);
        }
    }
    rv = may_propose(core);
    if (rv == 0 && n > core_submit_room(core)) {
        rv = ERR_BUSY;
    }
    if (rv == 0) {
        rv = core_propose(core, entries, n);
    }
    return core_leave(core, rv);
}

int core_barrier(struct core *core, uint64_t *index)
{
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    rv = may_propose(core);
    if (rv == 0) {
        rv = core_barrier_step(core, index);
    }
    return core_leave(core, rv);
}

bool core_leader_ready(const struct core *core)
{
    return !core->failed && core_is_leader(core) && trail_term(&core->raft.trail, core->commit) == core->raft.current_term;
}

/* Rule 16, all but the shape of the new configuration. */
static int may_change(const struct core *core)
{
    int rv = may_propose(core);
    if (rv != 0) {
        return rv;
    }
    if (core->raft.configuration_uncommitted_index != 0 || core->raft.leader_state.promotee_id != 0) {
        return ERR_BUSY;
    }
    if (!core_leader_ready(core) && RULE(core, 16) && !MUTANT(CHANGE_WITHOUT_BARRIER)) {
        return ERR_LEADER_NOT_READY; /* the single-server-change bug of 2015 */
    }
    return 0;
}

static bool caught_up(const struct core *core, uint64_t replica)
{
    uint64_t match;
    return core_catch_up_status(core, replica) == CORE_CATCH_UP_DONE ||
           (core_match(core, replica, &match) == 0 && match >= core->commit);
}

/* The others keep their order (libraft copies progress by position when the number stays the same). */
static int changed_config(const struct core *core, enum core_change_kind kind, uint64_t replica, const char *address,
                          struct core_config *out)
{
    const struct core_member *member = core_config_find(&core->config, replica);
    size_t at;

    *out = core->config;
    if (core_config_voters(out) < 2 && RULE(core, RULE_LONE_VOTER)) {
        return ERR_REFUSED; /* a lone voter elects itself without a new term */
    }
    if (kind == CORE_ADD_LEARNER) {
        return address == NULL ? ERR_INVALID : core_config_add(out, replica, CORE_LEARNER, address);
    }
    if (member == NULL) {
        return ERR_NOT_FOUND;
    }
    at = (size_t)(member - core->config.members);
    if (kind == CORE_PROMOTE) {
        if (member->role == CORE_VOTER) {
            return ERR_EXISTS;
        }
        out->members[at].role = CORE_VOTER;
        return caught_up(core, replica) ? 0 : ERR_BUSY;
    }
    if (kind != CORE_REMOVE) {
        return ERR_INVALID;
    }
    if (replica == core->raft.id && RULE(core, RULE_SELF_REMOVE)) {
        /* Its log would be the longest and have itself as no member: it would not stand for election, and not vote for
         * the others, who may still need its vote (dissertation 4.2.2; libraft has no answer). */
        return ERR_REFUSED;
    }
    out->n--;
    memmove(&out->members[at], &out->members[at + 1], (out->n - at) * sizeof out->members[0]);
    return core_config_voters(out) < 2 && RULE(core, RULE_LONE_VOTER) ? ERR_REFUSED : 0;
}

static int change_entry(const struct core_config *config, struct entry **out)
{
    size_t size = core_config_encoded_size(config);
    struct buf *buf = buf_new(NULL, size);
    int rv;

    if (buf == NULL) {
        return ERR_NOMEM;
    }
    rv = core_config_encode(config, buf->data, size);
    if (rv == 0) {
        *out = entry_new(ENTRY_CHANGE, buf, buf->data, (uint32_t)size);
        rv = *out == NULL ? ERR_NOMEM : 0;
    }
    buf_release(buf);
    return rv;
}

int core_change(struct core *core, enum core_change_kind kind, uint64_t replica, const char *address, uint64_t *index)
{
    struct core_config config;
    struct entry *entry;
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    rv = may_change(core);
    if (rv == 0) {
        rv = changed_config(core, kind, replica, address, &config);
    }
    if (rv == 0) {
        rv = change_entry(&config, &entry);
    }
    if (rv == 0) {
        rv = propose_own(core, entry, index);
    }
    return core_leave(core, rv);
}

int core_bootstrap_entry(uint64_t group, const struct core_config *config, struct entry **out)
{
    int rv;

    if (config->n == 0 || core_config_voters(config) != config->n) {
        return ERR_INVALID; /* founders are voters */
    }
    rv = change_entry(config, out);
    if (rv == 0) {
        (*out)->group = group;
        (*out)->index = 1;
        (*out)->term = 1;
        (*out)->base_offset = -1;
    }
    return rv;
}

int core_match(const struct core *core, uint64_t replica, uint64_t *out)
{
    raft_index match;
    if (core->failed || !core_is_leader(core)) {
        return ERR_NOT_LEADER;
    }
    if (raft_match_index(&core->raft, replica, &match) != 0) {
        return ERR_NOT_FOUND;
    }
    *out = match;
    return 0;
}

enum core_catch_up_status core_catch_up_status(const struct core *core, uint64_t replica)
{
    int status;
    if (core->failed || !core_is_leader(core) || raft_catch_up(&core->raft, replica, &status) != 0) {
        return CORE_CATCH_UP_NONE;
    }
    if (core->caught_up == replica) {
        return CORE_CATCH_UP_DONE;
    }
    switch (status) {
    case RAFT_CATCH_UP_RUNNING:
        return CORE_CATCH_UP_RUNNING;
    case RAFT_CATCH_UP_ABORTED:
        return CORE_CATCH_UP_ABORTED;
    case RAFT_CATCH_UP_FINISHED:
        return CORE_CATCH_UP_DONE;
    default:
        return CORE_CATCH_UP_NONE;
    }
}

/* Rule 17. */
int core_catch_up(struct core *core, uint64_t replica)
{
    const struct core_member *member;
    struct raft_event event;
    uint64_t match = 0;
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    member = core_config_find(&core->config, replica);
    if (!core_is_leader(core)) {
        rv = ERR_NOT_LEADER;
    } else if (member == NULL) {
        rv = ERR_NOT_FOUND;
    } else if (member->role != CORE_LEARNER) {
        rv = ERR_INVALID;
    } else if (core->raft.leader_state.promotee_id != 0) {
        rv = ERR_BUSY;
    } else {
        rv = core_match(core, replica, &match);
    }
    if (rv != 0) {
        return core_leave(core, rv);
    }
    core->caught_up = 0;
    if (match == trail_last(&core->raft.trail) && RULE(core, 17)) {
        core->caught_up = replica; /* libraft would wait for progress that never comes */
        return core_leave(core, 0);
    }
    memset(&event, 0, sizeof event);
    event.type = RAFT_CATCH_UP;
    event.catch_up.server_id = replica;
    return core_leave(core, core_step(core, &event, NULL, NULL));
}

static uint64_t furthest_voter(const struct core *core)
{
    uint64_t best = 0;
    uint64_t best_match = 0;
    for (uint32_t i = 0; i < core->config.n; i++) {
        const struct core_member *m = &core->config.members[i];
        uint64_t match = 0;
        if (m->id == core->raft.id || m->role != CORE_VOTER || core_match(core, m->id, &match) != 0) {
            continue;
        }
        if (best == 0 || match > best_match) {
            best = m->id;
            best_match = match;
        }
    }
    return best;
}

int core_transfer(struct core *core, uint64_t replica)
{
    const struct core_member *member;
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    rv = may_propose(core);
    if (rv != 0) {
        return core_leave(core, rv);
    }
    if (replica == 0) {
        replica = furthest_voter(core);
    }
    member = core_config_find(&core->config, replica);
    if (member == NULL) {
        return core_leave(core, ERR_NOT_FOUND);
    }
    if (replica == core->raft.id || member->role != CORE_VOTER) {
        return core_leave(core, ERR_INVALID);
    }
    core->transfer.target = replica;
    core->transfer.fired = false;
    core->transfer.deadline = core->now + core->raft.election_timeout;
    return core_leave(core, 0); /* which fires it when the target has everything */
}

uint64_t core_transferee(const struct core *core)
{
    return core->failed ? 0 : core->transfer.target;
}
