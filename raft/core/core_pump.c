/* One raft_step() and everything that its update asks for. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/core/core_internal.h"

int core_enter(struct core *core)
{
    uint64_t now = *core->now_ms;
    assert(!core->busy); /* an up-call moved the core */
    if (core->failed) {
        return ERR_SHUTDOWN;
    }
    if (now > core->now || !RULE(core, 20)) {
        core->now = now;
    }
    core->busy = true;
    return 0;
}

int core_fail(struct core *core)
{
    core->failed = true;
    core_held_clear(core);
    return ERR_SHUTDOWN;
}

static enum core_role role_of(const struct core *core)
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

/* A hand-over waits until the target has the whole log (rule 18), is fired once, and ends by a limit. */
static int advance_transfer(struct core *core)
{
    raft_index match = 0;
    struct raft_event event;

    if (!core_is_leader(core)) {
        core->transfer.target = 0;
        return 0;
    }
    if (core->transfer.fired) {
        if (raft_transferee(&core->raft) == 0) {
            core->transfer.target = 0; /* libraft has given up */
        }
        return 0;
    }
    if (raft_match_index(&core->raft, core->transfer.target, &match) != 0 || core->now >= core->transfer.deadline) {
        core->transfer.target = 0;
        return 0;
    }
    if (RULE(core, 18) && match != trail_last(&core->raft.trail)) {
        return 0;
    }
    core->transfer.fired = true;
    memset(&event, 0, sizeof event);
    event.type = RAFT_TRANSFER;
    event.transfer.server_id = core->transfer.target;
    return core_step(core, &event, NULL, NULL);
}

int core_leave(struct core *core, int rv)
{
    /* libraft only appends a barrier when it sees something uncommitted; we want one in every term. */
    if (!core->failed && core->barrier_due && core_is_leader(core)) {
        core->barrier_due = false;
        if (core_barrier_step(core, NULL) != 0) {
            rv = ERR_SHUTDOWN;
        }
    }
    if (!core->failed && core->transfer.target != 0 && advance_transfer(core) != 0) {
        rv = ERR_SHUTDOWN;
    }
    if (!core->failed) {
        enum core_role role = role_of(core);
        uint64_t leader = core_leader(core);
        if (role != core->role || leader != core->leader || core->raft.current_term != core->term) {
            core->role = role;
            core->leader = leader;
            core->term = core->raft.current_term;
            core->ops->state_changed(core);
        }
    }
    core->busy = false;
    return rv;
}

/* The entries of an update. libraft hands back the array that we gave it, a part of it, or its own barrier. */
static int collect_entries(struct core *core, const struct raft_update *update, const struct core_step_entries *given,
                           struct core_write *write, struct entry **barrier)
{
    write->first = update->entries.index;
    write->n = update->entries.n;
    if (update->entries.batch == &core->raft.barrier) {
        raft_free(core->raft.barrier.batch);
        *barrier = entry_new(ENTRY_BARRIER, NULL, NULL, 0);
        if (*barrier == NULL) {
            return core_fail(core);
        }
        (*barrier)->group = core->group;
        (*barrier)->base_offset = -1;
        (*barrier)->index = write->first;
        (*barrier)->term = core->raft.current_term;
        write->entries = barrier;
        core->barrier_due = false;
        return 0;
    }
    if (given == NULL || update->entries.batch < given->shadow || update->entries.batch + write->n > given->shadow + given->n) {
        return core_fail(core);
    }
    write->entries = given->entries + (update->entries.batch - given->shadow);
    /* What libraft believes an entry's place to be is checked once more before it goes to disk. */
    for (size_t i = 0; i < write->n; i++) {
        if (write->entries[i]->index != write->first + i || write->entries[i]->term == 0) {
            return core_fail(core);
        }
    }
    return 0;
}

/* Take an install over from libraft's update: our copy lives until the write is durable. */
static void collect_install(struct core *core, struct raft_update *update, struct core_write *write)
{
    assert(core->install == NULL && core->offer != NULL && core->offer->index == update->snapshot.metadata.index);
    raft_configuration_close(&update->snapshot.metadata.configuration);
    core->install = core->offer;
    core->offer = NULL;
    write->install = core->install;
    core->counters.installs++;
    core_changes_truncate(core, 0);
}

static int update_write(struct core *core, struct raft_update *update, const struct core_step_entries *given)
{
    struct core_write write;
    struct entry *barrier = NULL;
    int rv = 0;

    memset(&write, 0, sizeof write);
    if ((update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) != 0) {
        write.has_hard_state = true;
        write.term = core->raft.current_term;
        write.vote = MUTANT(VOTE_NOT_PERSISTED) ? 0 : core->raft.voted_for;
    }
    if ((update->flags & RAFT_UPDATE_SNAPSHOT) != 0) {
        collect_install(core, update, &write);
    }
    if ((update->flags & RAFT_UPDATE_ENTRIES) != 0) {
        rv = collect_entries(core, update, given, &write, &barrier);
    }
    if (rv == 0) {
        rv = core_write_out(core, &write);
    }
    entry_release(barrier);
    return rv;
}

int core_feed_change(struct core *core, const struct core_change_record *change)
{
    struct raft_event event;

    memset(&event, 0, sizeof event);
    event.type = RAFT_CONFIGURATION;
    event.configuration.index = change->index;
    if (core_config_to_raft(&change->config, &event.configuration.conf) != 0) {
        return core_fail(core);
    }
    core->change_applied = change->index;
    core->counters.changes++;
    return core_step(core, &event, NULL, NULL); /* owns the configuration from here */
}

/* Rule 5: each change as soon as it commits, before any other event. */
static int feed_committed_changes(struct core *core)
{
    for (uint32_t i = 0; i < core->changes_n; i++) {
        const struct core_change_record *change = &core->changes[i];
        if (change->index > core->commit) {
            break;
        }
        if (change->index > core->change_applied && RULE(core, 5)) {
            int rv = core_feed_change(core, change);
            if (rv != 0) {
                return rv;
            }
        }
    }
    return 0;
}

/* What a majority of the voters holds, whatever its term. */
static uint64_t majority_match(const struct core *core)
{
    size_t quorum = core_config_voters(&core->config) / 2 + 1;
    uint64_t best = 0;

    for (uint32_t i = 0; i < core->config.n; i++) {
        raft_index at;
        size_t n = 0;
        if (core->config.members[i].role != CORE_VOTER || raft_match_index(&core->raft, core->config.members[i].id, &at) != 0) {
            continue;
        }
        for (uint32_t k = 0; k < core->config.n; k++) {
            raft_index other;
            n += core->config.members[k].role == CORE_VOTER &&
                 raft_match_index(&core->raft, core->config.members[k].id, &other) == 0 && other >= at;
        }
        best = n >= quorum && at > best ? at : best;
    }
    return best;
}

/* Rules 4 and 7. */
static void advance_commit(struct core *core)
{
    uint64_t commit = raft_commit_index(&core->raft);
    if (core->install != NULL && RULE(core, 7)) {
        return;
    }
    if (core_is_leader(core) && MUTANT(COMMIT_EARLIER_TERM)) {
        uint64_t match = majority_match(core);
        commit = match > commit ? match : commit;
    }
    if (commit > core->commit || (!RULE(core, 4) && commit != core->commit)) {
        core->commit = commit;
        core->ops->commit(core, commit);
    }
}

/* Rule 15: a node that was added or promoted may be needed for a quorum before it knows; its vote counts only where a
 * candidate's configuration has it as a voter. libraft looks its own role up in r->configuration: let that say voter for
 * this one RequestVote, which neither reads nor changes it otherwise. */
static int raft_step_as(struct core *core, struct raft_event *event, struct raft_update *update)
{
    struct raft_configuration saved = core->raft.configuration;
    struct raft_server self = {.id = core->raft.id, .address = core->raft.address, .role = RAFT_VOTER};
    int rv;

    if (!core->vote_as_voter) {
        return raft_step(&core->raft, event, update);
    }
    core->vote_as_voter = false;
    core->raft.configuration.servers = &self;
    core->raft.configuration.n = 1;
    rv = raft_step(&core->raft, event, update);
    core->raft.configuration = saved;
    return rv;
}

int core_step(struct core *core, struct raft_event *event, const struct core_step_entries *entries, bool *persists)
{
    struct raft_update update;
    unsigned short state = core->raft.state;
    int rv;

    assert(core->busy && !core->failed);
    event->time = core->now;
    event->capacity = 0;
    update.flags = 0;
    core->counters.steps++;
    rv = raft_step_as(core, event, &update);
    if (rv != 0) {
        core->step_failed = true;
        return core_fail(core); /* rule 20: nothing of its state can be trusted now */
    }
    if (persists != NULL) {
        *persists = (update.flags & RAFT_UPDATE_ENTRIES) != 0;
    }
    if (core->raft.state != state) {
        core->counters.elections += core->raft.state == RAFT_CANDIDATE;
        core->counters.leaderships += core_is_leader(core);
        core->barrier_due = core_is_leader(core);
        core->caught_up = 0;
    }
    if ((update.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR | RAFT_UPDATE_ENTRIES | RAFT_UPDATE_SNAPSHOT)) != 0) {
        rv = update_write(core, &update, entries);
        if (rv != 0) {
            return rv;
        }
    }
    core_config_refresh(core);
    if ((update.flags & RAFT_UPDATE_MESSAGES) != 0) {
        core_send_update(core, update.messages.batch, update.messages.n);
    }
    advance_commit(core);
    if (core->change_applied < core->commit && core->changes_n > 0) {
        rv = feed_committed_changes(core);
        if (rv != 0) {
            return rv;
        }
    }
    return rv;
}
