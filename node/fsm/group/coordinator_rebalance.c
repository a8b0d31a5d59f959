/* The rebalance: who is waited for, when it is complete, and what happens to those who are silent. */
#include <assert.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"
#include "proto/base/mutant.h"

static uint64_t rebalance_timeout(const struct live_group *g)
{
    int32_t timeout_ms = 0;
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        if (m->info.rebalance_timeout_ms > timeout_ms) {
            timeout_ms = m->info.rebalance_timeout_ms;
        }
    }
    return (uint64_t)timeout_ms;
}

static bool all_support(const struct live_group *g, const char *name)
{
    list_for_each (pos, &g->members) {
        if (group_member_metadata(&list_entry(pos, struct live_member, link)->info, name) == NULL) {
            return false;
        }
    }
    return true;
}

struct group_blob *group_select_protocol(const struct live_group *g)
{
    const struct live_member *first;
    struct group_blob *candidates[GROUP_PROTOCOLS_MAX];
    uint32_t votes[GROUP_PROTOCOLS_MAX] = {0};
    uint32_t n = 0;
    uint32_t best = 0;
    if (g->n_members == 0) {
        return NULL;
    }
    first = list_entry(g->members.next, struct live_member, link);
    for (uint32_t i = 0; i < first->info.n_protocols && n < GROUP_PROTOCOLS_MAX; i++) {
        if (all_support(g, first->info.protocols[i].name->data)) {
            candidates[n++] = first->info.protocols[i].name;
        }
    }
    if (n == 0) {
        return NULL;
    }
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        bool voted = false;
        for (uint32_t i = 0; i < m->info.n_protocols && !voted; i++) {
            for (uint32_t k = 0; k < n && !voted; k++) {
                if (group_blob_equal(m->info.protocols[i].name, candidates[k])) {
                    votes[k]++;
                    voted = true;
                }
            }
        }
    }
    for (uint32_t k = 1; k < n; k++) {
        if (votes[k] > votes[best]) {
            best = k;
        }
    }
    return candidates[best];
}

/* The leader stays if it is back; else the longest member that is. False: nobody is back. */
static bool elect_leader(struct live_group *g)
{
    const struct live_member *leader = group_find_member(g, g->leader->data);
    if (leader != NULL && leader->join != NULL) {
        return true;
    }
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        if (m->join != NULL) {
            group_set_blob(&g->leader, m->info.id);
            return true;
        }
    }
    return false;
}

static void become_empty(struct coordinator *c, struct live_group *g)
{
    g->state = COORDINATOR_EMPTY;
    g->assigned = false;
    group_set_blob(&g->protocol, c->none);
    group_set_blob(&g->leader, c->none);
    deadline_clear(&c->deadlines, &g->rebalance);
    if (g->generation == 0 && g->change == 0) {
        return; /* nothing of it was ever saved */
    }
    g->generation = g->generation == INT32_MAX ? INT32_MAX : g->generation + 1;
    group_save(c, g);
}

static void next_generation(struct coordinator *c, struct live_group *g)
{
    struct group_blob *protocol = group_select_protocol(g);
    assert(protocol != NULL); /* no join is let in without one in common */
    assert(g->generation < INT32_MAX);
    group_set_blob(&g->protocol, protocol);
    g->generation += MUTANT(GENERATION_NOT_RAISED) ? 0 : 1;
    g->state = COORDINATOR_COMPLETING;
    g->assigned = false;
    c->stats.rebalances++;
    list_for_each (pos, &g->members) {
        struct live_member *m = list_entry(pos, struct live_member, link);
        m->fresh = false;
        group_set_blob(&m->info.assignment, NULL);
    }
    group_save(c, g);
    list_for_each (member, &g->members) {
        struct live_member *m = list_entry(member, struct live_member, link);
        struct coordinator_join *join = m->join;
        /* A static member that is not back keeps its place until its session ends. */
        m->sync_awaited = join != NULL;
        if (join != NULL) {
            m->join = NULL;
            g->n_joins--;
            group_touch(c, m);
            group_answer_join(c, g, m, join);
        }
    }
    deadline_set(&c->deadlines, &g->rebalance, c->now_ms + rebalance_timeout(g));
}

static void complete(struct coordinator *c, struct live_group *g)
{
    deadline_clear(&c->deadlines, &g->rebalance);
    g->initial = false;
    list_for_each_safe (pos, &g->members) {
        struct live_member *m = list_entry(pos, struct live_member, link);
        if (m->join == NULL && m->info.instance == NULL) {
            group_remove_member(c, g, m, ERR_UNKNOWN_MEMBER);
        }
    }
    if (g->n_members == 0) {
        become_empty(c, g);
    } else if (!elect_leader(g)) {
        /* Static members alone, and none is back: wait for one, or for their sessions to end. */
        deadline_set(&c->deadlines, &g->rebalance, c->now_ms + rebalance_timeout(g));
    } else {
        next_generation(c, g);
    }
}

void group_try_complete(struct coordinator *c, struct live_group *g)
{
    if (g->state != COORDINATOR_PREPARING || g->n_pending > 0) {
        return;
    }
    if (g->n_members == 0 || (!g->initial && g->n_joins == g->n_members)) {
        complete(c, g);
    }
}

static void prepare(struct coordinator *c, struct live_group *g)
{
    uint64_t timeout_ms = rebalance_timeout(g);
    uint64_t delay_ms = (uint64_t)c->config.initial_delay_ms;
    list_for_each (pos, &g->members) {
        struct live_member *m = list_entry(pos, struct live_member, link);
        m->sync_awaited = false;
        if (m->sync != NULL) {
            coordinator_answer(c, g, &m->sync->request, ERR_REBALANCE);
            m->sync = NULL;
            group_touch(c, m); /* so far it waited for us */
        }
    }
    deadline_clear(&c->deadlines, &g->rebalance);
    g->initial = g->state == COORDINATOR_EMPTY && delay_ms > 0;
    g->joined_meanwhile = false;
    g->state = COORDINATOR_PREPARING;
    if (g->initial) {
        g->initial_end_ms = c->now_ms + (timeout_ms > delay_ms ? timeout_ms : delay_ms);
        timeout_ms = delay_ms;
    }
    deadline_set(&c->deadlines, &g->rebalance, c->now_ms + timeout_ms);
}

void group_rebalance(struct coordinator *c, struct live_group *g)
{
    if (g->state != COORDINATOR_PREPARING && (g->state != COORDINATOR_EMPTY || g->n_members > 0)) {
        prepare(c, g);
    }
    group_try_complete(c, g);
}

void group_check_syncs(struct coordinator *c, struct live_group *g)
{
    if (g->state != COORDINATOR_STABLE) {
        return;
    }
    list_for_each (pos, &g->members) {
        if (list_entry(pos, struct live_member, link)->sync_awaited) {
            return;
        }
    }
    deadline_clear(&c->deadlines, &g->rebalance);
}

/* Who has joined and never asked for its assignment is gone (as Kafka 3.1 has it). */
static void syncs_due(struct coordinator *c, struct live_group *g)
{
    bool removed = false;
    list_for_each_safe (pos, &g->members) {
        struct live_member *m = list_entry(pos, struct live_member, link);
        if (m->sync_awaited) {
            group_remove_member(c, g, m, ERR_UNKNOWN_MEMBER);
            removed = true;
        }
    }
    if (removed || g->state == COORDINATOR_COMPLETING) {
        group_rebalance(c, g);
    }
}

void group_rebalance_due(struct coordinator *c, struct live_group *g)
{
    if (g->state == COORDINATOR_COMPLETING || g->state == COORDINATOR_STABLE) {
        syncs_due(c, g);
        return;
    }
    assert(g->state == COORDINATOR_PREPARING);
    if (g->initial && g->joined_meanwhile && c->now_ms < g->initial_end_ms) {
        uint64_t next_ms = c->now_ms + (uint64_t)c->config.initial_delay_ms;
        g->joined_meanwhile = false;
        deadline_set(&c->deadlines, &g->rebalance, next_ms < g->initial_end_ms ? next_ms : g->initial_end_ms);
        return;
    }
    complete(c, g);
}

void group_session_due(struct coordinator *c, struct live_member *m)
{
    struct live_group *g = m->group;
    if (m->sync != NULL || (m->join != NULL && !m->fresh) || MUTANT(DEAD_SESSION_KEPT)) {
        group_touch(c, m); /* it waits for us */
        return;
    }
    c->stats.sessions_expired++;
    group_remove_member(c, g, m, ERR_UNKNOWN_MEMBER);
    group_rebalance(c, g);
}

void group_pending_due(struct coordinator *c, struct pending_member *p)
{
    struct live_group *g = p->group;
    group_remove_pending(c, p);
    group_try_complete(c, g);
}
