/* SyncGroup, Heartbeat and LeaveGroup: a member's life within a generation. */
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"

static void answer_sync(struct coordinator *c, struct live_group *g, struct live_member *m, struct coordinator_sync *s)
{
    m->sync_awaited = false;
    group_touch(c, m);
    s->protocol_type_out = group_blob_acquire(g->protocol_type);
    s->protocol_out = group_blob_acquire(g->protocol);
    s->assignment = group_blob_acquire(m->info.assignment);
    coordinator_answer(c, g, &s->request, 0);
}

/* Keep the leader's assignments. Errors: nothing is kept. */
static int take_assignments(struct live_group *g, const struct coordinator_sync *s)
{
    size_t bytes = 0;
    int rv = 0;
    for (uint32_t i = 0; i < s->n_assignments && rv == 0; i++) {
        const struct coordinator_assignment *a = &s->assignments[i];
        struct live_member *m = group_find_member(g, a->member);
        bytes += a->size + GROUP_MEMBER_ID_MAX;
        if (bytes > GROUP_ASSIGNMENTS_MAX) {
            rv = ERR_TOO_BIG;
        } else if (m != NULL && m->info.assignment == NULL) {
            m->info.assignment = group_blob_new(a->data, a->size);
            rv = m->info.assignment == NULL ? ERR_NOMEM : 0;
        }
    }
    if (rv != 0) {
        list_for_each (pos, &g->members) {
            group_set_blob(&list_entry(pos, struct live_member, link)->info.assignment, NULL);
        }
    }
    return rv;
}

static int sync_completing(struct coordinator *c, struct live_group *g, struct live_member *m,
                           struct coordinator_sync *s)
{
    int rv;
    if (!group_blob_equal(g->leader, m->info.id)) {
        if (m->sync != NULL) {
            coordinator_answer(c, g, &m->sync->request, ERR_REBALANCE); /* a later one takes over */
        }
        m->sync = s;
        m->sync_awaited = false;
        group_touch(c, m);
        return 0;
    }
    rv = take_assignments(g, s);
    if (rv != 0) {
        return rv;
    }
    g->assigned = true;
    g->state = COORDINATOR_STABLE;
    group_save_assignments(c, g);
    answer_sync(c, g, m, s);
    list_for_each (pos, &g->members) {
        struct live_member *waiting = list_entry(pos, struct live_member, link);
        struct coordinator_sync *parked = waiting->sync;
        if (parked != NULL) {
            waiting->sync = NULL;
            answer_sync(c, g, waiting, parked);
        }
    }
    group_check_syncs(c, g);
    return 0;
}

static int sync_member(struct coordinator *c, struct live_group *g, struct coordinator_sync *s)
{
    struct live_member *m;
    int rv = group_check_member(g, s->member, s->instance, &m);
    if (rv != 0) {
        return rv;
    }
    if (s->generation != g->generation || m->fresh) {
        return ERR_ILLEGAL_GENERATION;
    }
    if ((s->protocol_type != NULL && !group_blob_is(g->protocol_type, s->protocol_type)) ||
        (s->protocol != NULL && !group_blob_is(g->protocol, s->protocol))) {
        return ERR_INCONSISTENT_PROTOCOL;
    }
    switch (g->state) {
    case COORDINATOR_COMPLETING:
        return sync_completing(c, g, m, s);
    case COORDINATOR_STABLE:
        answer_sync(c, g, m, s);
        group_check_syncs(c, g);
        return 0;
    case COORDINATOR_PREPARING:
        return ERR_REBALANCE;
    default:
        return ERR_UNKNOWN_MEMBER;
    }
}

void coordinator_sync(struct coordinator *c, uint64_t now_ms, struct coordinator_sync *s)
{
    struct live_group *g = NULL;
    int rv;
    s->protocol_type_out = NULL;
    s->protocol_out = NULL;
    s->assignment = NULL;
    if (!coordinator_begin(c, now_ms, &s->request, COORDINATOR_SYNC)) {
        return;
    }
    rv = coordinator_find(c, s->group, &g);
    if (rv == 0) {
        rv = g == NULL ? ERR_UNKNOWN_MEMBER : sync_member(c, g, s);
    }
    if (rv != 0) {
        coordinator_answer(c, g, &s->request, rv);
    }
    coordinator_end(c, g);
}

void coordinator_heartbeat(struct coordinator *c, uint64_t now_ms, struct coordinator_heartbeat *h)
{
    struct live_group *g = NULL;
    struct live_member *m = NULL;
    int rv;
    if (!coordinator_begin(c, now_ms, &h->request, COORDINATOR_HEARTBEAT)) {
        return;
    }
    rv = coordinator_find(c, h->group, &g);
    if (rv == 0) {
        rv = g == NULL ? ERR_UNKNOWN_MEMBER : group_check_member(g, h->member, h->instance, &m);
    }
    if (rv == 0 && (h->generation != g->generation || m->fresh)) {
        rv = ERR_ILLEGAL_GENERATION;
    }
    if (rv == 0) {
        group_touch(c, m);
        rv = g->state == COORDINATOR_PREPARING ? ERR_REBALANCE : 0;
    }
    coordinator_answer(c, g, &h->request, rv);
    coordinator_end(c, g);
}

/* Errors: ERR_UNKNOWN_MEMBER, ERR_FENCED_INSTANCE. True through @left: a member of the group is gone. */
static int leave_one(struct coordinator *c, struct live_group *g, const struct coordinator_leaver *l, bool *left)
{
    struct pending_member *p;
    struct live_member *m = NULL;
    int rv = 0;
    if (l->member[0] == '\0') {
        m = l->instance != NULL ? group_find_instance(g, l->instance) : NULL;
        rv = m == NULL ? ERR_UNKNOWN_MEMBER : 0;
    } else {
        p = group_find_pending(g, l->member);
        if (p != NULL) {
            group_remove_pending(c, p);
            return 0;
        }
        rv = group_check_member(g, l->member, l->instance, &m);
    }
    if (rv == 0) {
        group_remove_member(c, g, m, ERR_UNKNOWN_MEMBER);
        *left = true;
    }
    return rv;
}

void coordinator_leave(struct coordinator *c, uint64_t now_ms, struct coordinator_leave *l)
{
    struct live_group *g = NULL;
    bool left = false;
    int rv;
    if (!coordinator_begin(c, now_ms, &l->request, COORDINATOR_LEAVE)) {
        return;
    }
    rv = coordinator_find(c, l->group, &g);
    for (uint32_t i = 0; i < l->n_members; i++) {
        l->members[i].error = g == NULL ? ERR_UNKNOWN_MEMBER : leave_one(c, g, &l->members[i], &left);
    }
    if (left) {
        group_rebalance(c, g);
    } else if (g != NULL) {
        group_try_complete(c, g);
    }
    /* Behind the save, if that was the last one: who left is gone for good. */
    coordinator_answer(c, g, &l->request, rv);
    coordinator_end(c, g);
}
