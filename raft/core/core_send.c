/* libraft's outgoing messages as ours. */
#include <string.h>

#include "raft/core/core_internal.h"

/* Rule 21, for one slow follower while the others commit: libraft sends it an empty message with every submit. Heartbeats
 * go out all the same, at most half a beat late. */
static bool too_soon(struct core *core, uint64_t to, bool empty)
{
    for (uint32_t i = 0; i < core->config.n; i++) {
        if (core->config.members[i].id == to) {
            struct core_sent *sent = &core->sent[i];
            if (empty && core->proposing && sent->id == to && sent->at + core->raft.heartbeat_timeout / 2 > core->now &&
                RULE(core, RULE_QUIET_SUBMIT)) {
                return true;
            }
            sent->id = to;
            sent->at = core->now;
            return false;
        }
    }
    return false;
}

/* Terms are copied now, not when the message leaves (rule 3); many terms make several messages. */
static void send_append(struct core *core, struct core_message *m, const struct raft_append_entries *from)
{
    struct core_append *a = &m->append;
    uint32_t left = from->n_entries;

    if (too_soon(core, m->to, left == 0)) {
        return;
    }

    m->type = CORE_APPEND;
    m->version = from->version;
    m->term = from->term;
    a->prev_index = from->prev_log_index;
    a->prev_term = from->prev_log_term;
    a->commit = from->leader_commit;
    do {
        a->n = trail_runs(&core->raft.trail, a->prev_index + 1, left, a->runs, CORE_APPEND_RUNS_MAX, &a->n_runs);
        left -= a->n;
        core_emit(core, m);
        if (left > 0) {
            a->prev_index += a->n;
            a->prev_term = a->runs[a->n_runs - 1].term;
        }
    } while (left > 0);
}

static void send_install(struct core *core, struct core_message *m, const struct raft_install_snapshot *from)
{
    const struct core_snapshot_meta *snapshot = core->snapshot;

    assert(snapshot != NULL && snapshot->index == from->last_index && snapshot->term == from->last_term);
    m->type = CORE_INSTALL;
    m->version = from->version;
    m->term = from->term;
    m->install.last_index = snapshot->index;
    m->install.last_term = snapshot->term;
    m->install.config_index = snapshot->config_index;
    m->install.config = snapshot->config;
    core_emit(core, m);
}

/* A refused AppendEntries makes libraft's leader go back one entry a round trip. Say how far it may go: to the last entry of
 * ours that can be its own, by term; never below what is committed, which matches. Only a hint: the leader's own check
 * decides. */
static uint64_t append_hint(const struct core *core, const struct raft_append_entries_result *from)
{
    uint64_t last = from->last_log_index;
    uint64_t floor;

    if (last > trail_last(&core->raft.trail) || last <= core->commit) {
        return last;
    }
    floor = trail_floor(&core->raft.trail, last, core->prev_term);
    return floor > core->commit ? floor : core->commit;
}

static void send_vote_result(struct core *core, struct core_message *m, const struct raft_request_vote_result *from)
{
    m->type = CORE_VOTE_RESULT;
    m->version = from->version;
    m->term = from->term;
    m->vote_result.granted = from->vote_granted;
    m->vote_result.pre_vote = from->pre_vote;
    m->vote_result.features = from->features;
    m->vote_result.capacity = from->capacity;
    /* Rule 14: else a candidate with the longer log and the lower term never learns of the higher one, and nobody wins. */
    if (from->pre_vote && !from->vote_granted && from->term < core->raft.current_term && RULE(core, 14)) {
        m->term = core->raft.current_term;
    }
    core_emit(core, m);
}

static void send_one(struct core *core, struct core_message *m, const struct raft_message *from)
{
    switch (from->type) {
    case RAFT_APPEND_ENTRIES:
        send_append(core, m, &from->append_entries);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
        m->type = CORE_APPEND_RESULT;
        m->version = from->append_entries_result.version;
        m->term = from->append_entries_result.term;
        m->append_result.rejected = from->append_entries_result.rejected;
        m->append_result.last = from->append_entries_result.last_log_index;
        if (m->append_result.rejected > 0) {
            m->append_result.last = append_hint(core, &from->append_entries_result);
        }
        m->append_result.features = from->append_entries_result.features;
        m->append_result.capacity = from->append_entries_result.capacity;
        break;
    case RAFT_REQUEST_VOTE:
        m->type = CORE_VOTE;
        m->version = from->request_vote.version;
        m->term = from->request_vote.term;
        m->vote.candidate = from->request_vote.candidate_id;
        m->vote.last_index = from->request_vote.last_log_index;
        m->vote.last_term = from->request_vote.last_log_term;
        m->vote.disrupt = from->request_vote.disrupt_leader;
        m->vote.pre_vote = from->request_vote.pre_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        send_vote_result(core, m, &from->request_vote_result);
        return;
    case RAFT_INSTALL_SNAPSHOT:
        send_install(core, m, &from->install_snapshot);
        return;
    case RAFT_TIMEOUT_NOW:
        m->type = CORE_TIMEOUT_NOW;
        m->version = from->timeout_now.version;
        m->term = from->timeout_now.term;
        m->timeout_now.last_index = from->timeout_now.last_log_index;
        m->timeout_now.last_term = from->timeout_now.last_log_term;
        break;
    default:
        return;
    }
    core_emit(core, m);
}

void core_send_update(struct core *core, const struct raft_message *messages, unsigned n)
{
    struct core_message m;

    for (unsigned i = 0; i < n; i++) {
        if (messages[i].server_id == 0) {
            core->counters.messages_ignored++; /* rule 15: the leader was cleared under libraft's feet */
            continue;
        }
        m.from = core->raft.id;
        m.to = messages[i].server_id;
        send_one(core, &m, &messages[i]);
    }
}
