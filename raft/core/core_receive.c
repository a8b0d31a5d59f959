/* Messages from peers: every field is checked before libraft sees it (its assertions are compiled out in Debian's
 * build), and the rules about what it may see at all are applied. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/core/core_internal.h"

/* A received AppendEntries on its way to libraft. */
struct append {
    const struct core_message *message;
    uint64_t prev_index;
    uint64_t prev_term;
    struct entry *const *entries;
    uint32_t n;
};

static bool term_valid(uint64_t term)
{
    return term > 0 && term <= CORE_TERM_MAX;
}

static bool append_valid(const struct core_message *m, struct entry *const *entries)
{
    const struct core_append *a = &m->append;
    uint64_t term = a->prev_term;
    struct core_config config;

    if (a->prev_index > CORE_INDEX_MAX || a->commit > CORE_INDEX_MAX || a->n > CORE_APPEND_ENTRIES_MAX ||
        (a->prev_index == 0) != (a->prev_term == 0) || a->prev_term > m->term || (a->n > 0 && entries == NULL)) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        const struct entry *e = entries[i];
        if (e == NULL || e->index != a->prev_index + 1 + i || e->term < term || !term_valid(e->term) ||
            (e->term > m->term && !MUTANT(LATER_TERM_UNDER_EARLIER)) ||
            e->kind < ENTRY_BARRIER || e->kind > ENTRY_COMMAND || (e->length > 0 && e->data == NULL)) {
            return false;
        }
        if (e->kind == ENTRY_CHANGE && core_config_decode(e->data, e->length, &config) != 0) {
            return false;
        }
        if (e->index == 1 && e->kind != ENTRY_CHANGE) {
            return false;
        }
        term = e->term;
    }
    return true;
}

static bool config_valid(const struct core_config *given)
{
    struct core_config config = {.n = 0};
    if (given->n == 0 || given->n > CORE_MEMBERS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < given->n; i++) {
        const struct core_member *m = &given->members[i];
        if (core_config_add(&config, m->id, (enum core_member_role)m->role, m->address) != 0) {
            return false;
        }
    }
    return core_config_voters(&config) > 0;
}

static bool install_valid(const struct core_message *m)
{
    const struct core_install *i = &m->install;
    return i->last_index > 0 && i->last_index <= CORE_INDEX_MAX && term_valid(i->last_term) && i->last_term <= m->term &&
           i->config_index > 0 && i->config_index <= i->last_index && config_valid(&i->config);
}

static bool message_valid(const struct core *core, const struct core_message *m, struct entry *const *entries)
{
    if (m->from == 0 || m->from == core->raft.id || !term_valid(m->term)) {
        return false;
    }
    switch (m->type) {
    case CORE_APPEND:
        /* Two leaders in one term cannot be. */
        return append_valid(m, entries) && !(core_is_leader(core) && m->term == core->raft.current_term);
    case CORE_APPEND_RESULT:
        return m->append_result.rejected <= CORE_INDEX_MAX && m->append_result.last <= CORE_INDEX_MAX;
    case CORE_VOTE:
        return m->vote.candidate == m->from && m->vote.last_index <= CORE_INDEX_MAX && m->vote.last_term <= m->term &&
               (m->vote.last_index == 0) == (m->vote.last_term == 0);
    case CORE_VOTE_RESULT:
        return true;
    case CORE_INSTALL:
        return install_valid(m) && !(core_is_leader(core) && m->term == core->raft.current_term);
    case CORE_TIMEOUT_NOW:
        return m->timeout_now.last_index <= CORE_INDEX_MAX && m->timeout_now.last_term <= m->term;
    default:
        return false;
    }
}

/* The address in messages is only stored by libraft, as the leader's; we keep members by id. */
static void message_init(struct raft_message *out, enum raft_message_type type, const struct core_message *m)
{
    out->type = type;
    out->server_id = m->from;
    out->server_address = "";
}

static int step_message(struct core *core, struct raft_message *message, const struct core_step_entries *entries,
                        bool *persists)
{
    struct raft_event event;

    memset(&event, 0, sizeof event);
    event.type = RAFT_RECEIVE;
    event.receive.message = message;
    return core_step(core, &event, entries, persists);
}

/* Rule 10: libraft would answer an older term with uninitialised memory. */
static void answer_older_term(struct core *core, const struct core_message *m, uint64_t index)
{
    struct core_message answer;

    core->counters.messages_answered++;
    answer.type = CORE_APPEND_RESULT;
    answer.version = CORE_RESULT_VERSION;
    answer.from = core->raft.id;
    answer.to = m->from;
    answer.term = core->raft.current_term;
    answer.append_result.rejected = index > 0 ? index : 1;
    answer.append_result.last = answer.append_result.rejected - 1;
    answer.append_result.features = CORE_FEATURE_CAPACITY;
    answer.append_result.capacity = 0;
    core_emit(core, &answer);
}

/* Entries [begin, begin + n) of @a as one event; n 0: the message without entries. */
static int step_append(struct core *core, const struct append *a, uint32_t begin, uint32_t n)
{
    struct raft_entry stack[CORE_SHADOW_STACK];
    struct raft_entry *shadow = stack;
    struct core_step_entries given;
    struct raft_message message;
    void *batch = NULL;
    bool persists = false;
    int rv;

    if (n > 0) {
        batch = raft_malloc(1);
        if (n > CORE_SHADOW_STACK) {
            shadow = raft_malloc(n * sizeof *shadow);
        }
        if (batch == NULL || shadow == NULL) {
            raft_free(batch);
            raft_free(shadow == stack ? NULL : shadow);
            return core_fail(core);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct entry *e = a->entries[begin + i];
        shadow[i].term = e->term;
        shadow[i].type = e->kind == ENTRY_CHANGE ? RAFT_CHANGE : e->kind == ENTRY_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
        shadow[i].buf.base = (void *)(uintptr_t)e->data; /* only read */
        shadow[i].buf.len = e->length;
        shadow[i].batch = batch;
    }
    message_init(&message, RAFT_APPEND_ENTRIES, a->message);
    message.append_entries.version = a->message->version;
    message.append_entries.term = a->message->term;
    message.append_entries.prev_log_index = begin == 0 ? a->prev_index : a->entries[begin - 1]->index;
    message.append_entries.prev_log_term = begin == 0 ? a->prev_term : a->entries[begin - 1]->term;
    message.append_entries.leader_commit = a->message->append.commit;
    message.append_entries.entries = n > 0 ? shadow : NULL;
    message.append_entries.n_entries = n;
    if (MUTANT(LOG_MATCHING_INDEX_ONLY) && trail_term(&core->raft.trail, message.append_entries.prev_log_index) != 0) {
        message.append_entries.prev_log_term = trail_term(&core->raft.trail, message.append_entries.prev_log_index);
    }
    given.shadow = shadow;
    given.entries = (struct entry **)(uintptr_t)(n > 0 ? &a->entries[begin] : NULL);
    given.n = n;
    core->prev_term = message.append_entries.prev_log_term;
    rv = step_message(core, &message, &given, &persists);
    /* libraft has freed the batch unless it hands entries out; a step that failed after that is told by @persists. */
    if (n > 0 && persists) {
        raft_free(batch);
    }
    if (shadow != stack) {
        raft_free(shadow);
    }
    return rv;
}

static bool append_landed(const struct core *core, uint64_t index, uint64_t term)
{
    return core->install == NULL && (index == 0 || trail_term(&core->raft.trail, index) == term);
}

/* Before a CHANGE: whatever the same message commits, and the change before this one, is committed for good (a leader
 * proposes one only when the last is committed: rule 16), so that a roll-back goes back one change and no further. */
static int settle_changes(struct core *core, const struct append *a, uint32_t at, bool *landed)
{
    uint64_t uncommitted;
    int rv = step_append(core, a, at, 0);

    if (rv != 0) {
        return rv;
    }
    /* Only what the leader's log shares with ours says anything about ours. */
    *landed = at == 0 ? append_landed(core, a->prev_index, a->prev_term)
                      : append_landed(core, a->entries[at - 1]->index, a->entries[at - 1]->term);
    if (!*landed) {
        return 0;
    }
    uncommitted = core->raft.configuration_uncommitted_index;
    if (uncommitted == 0 || uncommitted >= a->entries[at]->index || !RULE(core, RULE_SETTLE_CHANGE)) {
        return 0;
    }
    for (uint32_t i = 0; i < core->changes_n; i++) {
        if (core->changes[i].index == uncommitted) {
            return core_feed_change(core, &core->changes[i]);
        }
    }
    return 0;
}

/* Rule 9: each CHANGE alone in its event. */
static int split_append(struct core *core, const struct append *a)
{
    uint32_t i = 0;

    while (i < a->n) {
        const struct entry *last;
        uint32_t n = 0;
        int rv;
        if (a->entries[i]->kind == ENTRY_CHANGE) {
            bool landed;
            rv = settle_changes(core, a, i, &landed);
            if (rv != 0 || !landed) {
                return rv; /* rejected, and answered */
            }
            n = 1;
        } else {
            while (i + n < a->n && a->entries[i + n]->kind != ENTRY_CHANGE) {
                n++;
            }
        }
        rv = step_append(core, a, i, n);
        if (rv != 0) {
            return rv;
        }
        last = a->entries[i + n - 1];
        if (!append_landed(core, last->index, last->term)) {
            return 0;
        }
        i += n;
    }
    return 0;
}

static bool has_change(const struct append *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->entries[i]->kind == ENTRY_CHANGE) {
            return true;
        }
    }
    return false;
}

static int receive_append(struct core *core, const struct core_message *m, struct entry *const *entries)
{
    const struct raft_trail *trail = &core->raft.trail;
    struct append a = {m, m->append.prev_index, m->append.prev_term, entries, m->append.n};

    if (m->term < core->raft.current_term && RULE(core, 10)) {
        answer_older_term(core, m, m->append.prev_index);
        return 0;
    }
    /* Rule 11: what the snapshot covers is committed, so it matches; libraft would put the rest at wrong indexes. */
    if (trail->offset > 0 && a.prev_index <= trail->offset && a.prev_index != trail->snapshot.index && RULE(core, 11)) {
        uint64_t covered = trail->snapshot.index - a.prev_index;
        if (covered <= a.n && entries[covered - 1]->term != trail->snapshot.term) {
            return ERR_MALFORMED;
        }
        a.entries = covered < a.n ? entries + covered : NULL;
        a.n = covered < a.n ? a.n - (uint32_t)covered : 0;
        a.prev_index = trail->snapshot.index;
        a.prev_term = trail->snapshot.term;
    }
    if (a.n == 0 || !RULE(core, 9) || !has_change(&a)) {
        return step_append(core, &a, 0, a.n);
    }
    return split_append(core, &a);
}

static int receive_append_result(struct core *core, const struct core_message *m)
{
    const struct core_append_result *from = &m->append_result;
    struct raft_message message;
    uint64_t last = from->last;
    raft_index match;

    if (core_is_leader(core) && m->term == core->raft.current_term && from->rejected > 0 &&
        raft_match_index(&core->raft, m->from, &match) == 0) {
        if (from->rejected <= match && RULE(core, 12)) {
            core->counters.messages_ignored++; /* rule 12: stale, or that follower gets nothing ever again */
            return 0;
        }
        if (last < match) {
            last = match; /* a late hint must not take it back behind what is known */
        }
    }
    message_init(&message, RAFT_APPEND_ENTRIES_RESULT, m);
    message.append_entries_result.version = m->version;
    message.append_entries_result.term = m->term;
    message.append_entries_result.rejected = from->rejected;
    message.append_entries_result.last_log_index = last;
    message.append_entries_result.features = from->features;
    message.append_entries_result.capacity = from->capacity;
    return step_message(core, &message, NULL, NULL);
}

/* libraft refuses while it knows a leader, which it does until its own timer fires, as late as twice the election timeout: an
 * election would take the later of the timers, not the earlier. Dissertation 4.2.3 and 9.6: the election timeout is enough. */
static bool leader_silent(const struct core *core)
{
    const struct raft *r = &core->raft;
    return r->state == RAFT_FOLLOWER && r->follower_state.current_leader.id != 0 && !r->snapshot.installing &&
           core->now >= r->election_timer_start + r->election_timeout;
}

static int receive_vote(struct core *core, const struct core_message *m)
{
    struct raft_message message;

    if (leader_silent(core) && RULE(core, RULE_SILENT_LEADER)) {
        core_forget_leader(core);
    }
    message_init(&message, RAFT_REQUEST_VOTE, m);
    message.request_vote.version = m->version;
    message.request_vote.term = m->term;
    message.request_vote.candidate_id = m->vote.candidate;
    message.request_vote.last_log_index = m->vote.last_index;
    message.request_vote.last_log_term = m->vote.last_term;
    message.request_vote.disrupt_leader = m->vote.disrupt;
    message.request_vote.pre_vote = m->vote.pre_vote;
    core->vote_as_voter = core->raft.state == RAFT_FOLLOWER && !core_self_votes(core) && RULE(core, 15);
    return step_message(core, &message, NULL, NULL);
}

static int receive_vote_result(struct core *core, const struct core_message *m)
{
    struct raft_message message;

    if (core->raft.state != RAFT_CANDIDATE && RULE(core, 13)) {
        core->counters.messages_ignored++; /* rule 13: libraft would read another state's memory */
        return 0;
    }
    message_init(&message, RAFT_REQUEST_VOTE_RESULT, m);
    message.request_vote_result.version = m->version;
    message.request_vote_result.term = m->term;
    message.request_vote_result.vote_granted = m->vote_result.granted;
    message.request_vote_result.pre_vote = m->vote_result.pre_vote;
    message.request_vote_result.features = m->vote_result.features;
    message.request_vote_result.capacity = m->vote_result.capacity;
    return step_message(core, &message, NULL, NULL);
}

static int receive_install(struct core *core, const struct core_message *m)
{
    struct raft_message message;
    int rv;

    if (m->term < core->raft.current_term && RULE(core, 10)) {
        answer_older_term(core, m, m->install.last_index);
        return 0;
    }
    if (core->install != NULL && RULE(core, 7)) {
        core->counters.messages_ignored++; /* rule 7 */
        return 0;
    }
    message_init(&message, RAFT_INSTALL_SNAPSHOT, m);
    memset(&message.install_snapshot, 0, sizeof message.install_snapshot);
    message.install_snapshot.version = m->version;
    message.install_snapshot.term = m->term;
    message.install_snapshot.last_index = m->install.last_index;
    message.install_snapshot.last_term = m->install.last_term;
    message.install_snapshot.conf_index = m->install.config_index;
    if (core_config_to_raft(&m->install.config, &message.install_snapshot.conf) != 0) {
        return core_fail(core);
    }
    if (core_install_offer(core, m) != 0) {
        raft_configuration_close(&message.install_snapshot.conf);
        return core_fail(core);
    }
    rv = step_message(core, &message, NULL, NULL); /* owns the configuration from here */
    free(core->offer);                             /* still there: libraft had no use for it */
    core->offer = NULL;
    return rv;
}

static int receive_timeout_now(struct core *core, const struct core_message *m)
{
    struct raft_message message;

    message_init(&message, RAFT_TIMEOUT_NOW, m);
    message.timeout_now.version = m->version;
    message.timeout_now.term = m->term;
    message.timeout_now.last_log_index = m->timeout_now.last_index;
    message.timeout_now.last_log_term = m->timeout_now.last_term;
    return step_message(core, &message, NULL, NULL);
}

static int receive(struct core *core, const struct core_message *m, struct entry *const *entries)
{
    if ((m->type == CORE_APPEND || m->type == CORE_INSTALL) && m->term >= core->raft.current_term) {
        core->led_by.id = m->from;
        core->led_by.term = m->term;
    }
    switch (m->type) {
    case CORE_APPEND:
        return receive_append(core, m, entries);
    case CORE_APPEND_RESULT:
        return receive_append_result(core, m);
    case CORE_VOTE:
        return receive_vote(core, m);
    case CORE_VOTE_RESULT:
        return receive_vote_result(core, m);
    case CORE_INSTALL:
        return receive_install(core, m);
    default:
        return receive_timeout_now(core, m);
    }
}

int core_receive(struct core *core, const struct core_message *m, struct entry *const *entries)
{
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    core->counters.messages_in++;
    if (m->to != core->raft.id) {
        core->counters.messages_ignored++; /* for an earlier replica of this node, or nobody (rule 15) */
        return core_leave(core, 0);
    }
    rv = message_valid(core, m, entries) ? receive(core, m, entries) : ERR_MALFORMED;
    if (rv == ERR_MALFORMED) {
        core->counters.messages_malformed++;
    }
    return core_leave(core, rv);
}
