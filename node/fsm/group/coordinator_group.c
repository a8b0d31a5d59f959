/* The volatile part of a group: its members, ids given out, and what of it is saved when. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"

int coordinator_reserve(struct coordinator *c, size_t n)
{
    int rv = deadlines_reserve(&c->deadlines, c->n_deadlines + n);
    if (rv == 0) {
        c->n_deadlines += n;
    }
    return rv;
}

void group_set_blob(struct group_blob **place, struct group_blob *value)
{
    struct group_blob *old = *place;
    *place = group_blob_acquire(value);
    group_blob_release(old);
}

static int new_group(struct coordinator *c, struct group_blob *id, struct live_group **out)
{
    struct live_group *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    if (coordinator_reserve(c, 2) != 0) {
        free(g);
        return ERR_NOMEM;
    }
    list_init(&g->members);
    list_init(&g->pending);
    list_init(&g->held);
    g->rebalance.kind = DEADLINE_REBALANCE;
    g->retry.kind = DEADLINE_RETRY;
    HASH_ADD_KEYPTR(hh, c->groups, id->data, id->size, g);
    if (g->hh.tbl == NULL) { /* uthash's sign that it found no memory */
        c->n_deadlines -= 2;
        free(g);
        return ERR_NOMEM;
    }
    g->id = group_blob_acquire(id);
    g->protocol_type = group_blob_acquire(c->none);
    g->protocol = group_blob_acquire(c->none);
    g->leader = group_blob_acquire(c->none);
    *out = g;
    return 0;
}

static void free_member(struct coordinator *c, struct live_group *g, struct live_member *m)
{
    deadline_clear(&c->deadlines, &m->session);
    c->n_deadlines--;
    c->stats.members--;
    HASH_DELETE(hh, g->table, m);
    list_remove(&m->link);
    g->n_members--;
    g->bytes -= group_member_bytes(&m->info);
    group_member_clear(&m->info);
    free(m);
}

void coordinator_free_group(struct coordinator *c, struct live_group *g)
{
    assert(list_empty(&g->held));
    list_for_each_safe (pos, &g->members) {
        free_member(c, g, list_entry(pos, struct live_member, link));
    }
    list_for_each_safe (pending, &g->pending) {
        group_remove_pending(c, list_entry(pending, struct pending_member, link));
    }
    deadline_clear(&c->deadlines, &g->rebalance);
    deadline_clear(&c->deadlines, &g->retry);
    c->n_deadlines -= 2;
    HASH_DELETE(hh, c->groups, g);
    group_blob_release(g->id);
    group_blob_release(g->protocol_type);
    group_blob_release(g->protocol);
    group_blob_release(g->leader);
    free(g);
}

static void unpark(struct coordinator *c, struct live_group *held_by, struct live_member *m, int error)
{
    if (m->join != NULL) {
        coordinator_answer(c, held_by, &m->join->request, error);
        m->join = NULL;
        m->group->n_joins--;
    }
    if (m->sync != NULL) {
        coordinator_answer(c, held_by, &m->sync->request, error);
        m->sync = NULL;
    }
}

void coordinator_drop_group(struct coordinator *c, struct live_group *g, int error)
{
    struct list *pos;
    list_for_each (t, &c->tickets) {
        struct ticket *ticket = list_entry(t, struct ticket, link);
        if (ticket->group == g) {
            ticket->token = 0; /* nobody's any more */
        }
    }
    list_for_each_safe (t_pos, &c->tickets) {
        struct ticket *ticket = list_entry(t_pos, struct ticket, link);
        if (ticket->token == 0) {
            list_remove(t_pos);
            free(ticket);
        }
    }
    while ((pos = list_pop_front(&g->held)) != NULL) {
        struct coordinator_request *request = list_entry(pos, struct coordinator_request, link);
        coordinator_request_release(request);
        coordinator_answer(c, NULL, request, error);
    }
    list_for_each (m, &g->members) {
        unpark(c, NULL, list_entry(m, struct live_member, link), error);
    }
    coordinator_free_group(c, g);
}

/* Each member gets a fresh session: its heartbeats had nowhere to go. */
static int load_group(struct coordinator *c, const struct saved_group *saved, struct live_group **out)
{
    struct live_group *g;
    int32_t timeout_ms = 0;
    int rv = new_group(c, saved->id, &g);
    if (rv != 0) {
        return rv;
    }
    group_set_blob(&g->protocol_type, saved->protocol_type);
    group_set_blob(&g->protocol, saved->protocol);
    group_set_blob(&g->leader, saved->leader);
    g->generation = saved->generation;
    g->assigned = saved->assigned && saved->n_members > 0;
    for (uint32_t i = 0; i < saved->n_members; i++) {
        struct group_member info;
        struct live_member *m;
        rv = group_member_copy(&info, &saved->members[i]);
        if (rv == 0) {
            rv = group_add_member(c, g, &info, &m);
        }
        if (rv != 0) {
            group_member_clear(&info);
            coordinator_free_group(c, g);
            return rv;
        }
        m->fresh = false;
        m->sync_awaited = !saved->assigned;
        group_touch(c, m);
        timeout_ms = m->info.rebalance_timeout_ms > timeout_ms ? m->info.rebalance_timeout_ms : timeout_ms;
    }
    if (g->n_members > 0) {
        g->state = g->assigned ? COORDINATOR_STABLE : COORDINATOR_COMPLETING;
    }
    if (g->state == COORDINATOR_COMPLETING) {
        deadline_set(&c->deadlines, &g->rebalance, c->now_ms + (uint64_t)timeout_ms);
    }
    *out = g;
    return 0;
}

int coordinator_find(struct coordinator *c, const char *id, struct live_group **out)
{
    const struct saved_group *saved;
    HASH_FIND(hh, c->groups, id, strlen(id), *out);
    if (*out != NULL) {
        return 0;
    }
    saved = groups_fsm_find(c->fsm, id);
    return saved != NULL && saved->n_members > 0 ? load_group(c, saved, out) : 0;
}

int coordinator_get(struct coordinator *c, const char *id, struct live_group **out)
{
    const struct saved_group *saved;
    struct group_blob *name;
    int rv = coordinator_find(c, id, out);
    if (rv != 0 || *out != NULL) {
        return rv;
    }
    saved = groups_fsm_find(c->fsm, id);
    if (saved != NULL) {
        return load_group(c, saved, out);
    }
    if (HASH_COUNT(c->groups) >= GROUP_GROUPS_MAX || groups_fsm_count(c->fsm) >= GROUP_GROUPS_MAX) {
        return ERR_BUSY;
    }
    name = group_blob_text(id);
    if (name == NULL) {
        return ERR_NOMEM;
    }
    rv = new_group(c, name, out);
    group_blob_release(name);
    return rv;
}

struct live_member *group_find_member(const struct live_group *g, const char *id)
{
    struct live_member *m;
    HASH_FIND(hh, g->table, id, strlen(id), m);
    return m;
}

struct live_member *group_find_instance(const struct live_group *g, const char *instance)
{
    list_for_each (pos, &g->members) {
        struct live_member *m = list_entry(pos, struct live_member, link);
        if (group_blob_is(m->info.instance, instance)) {
            return m;
        }
    }
    return NULL;
}

struct pending_member *group_find_pending(const struct live_group *g, const char *id)
{
    list_for_each (pos, &g->pending) {
        struct pending_member *p = list_entry(pos, struct pending_member, link);
        if (group_blob_is(p->id, id)) {
            return p;
        }
    }
    return NULL;
}

int group_check_member(const struct live_group *g, const char *id, const char *instance, struct live_member **out)
{
    struct live_member *m;
    if (instance == NULL) {
        m = group_find_member(g, id);
    } else {
        m = group_find_instance(g, instance);
        if (m != NULL && !group_blob_is(m->info.id, id)) {
            return ERR_FENCED_INSTANCE;
        }
    }
    if (m == NULL) {
        return ERR_UNKNOWN_MEMBER;
    }
    *out = m;
    return 0;
}

int group_add_member(struct coordinator *c, struct live_group *g, struct group_member *info, struct live_member **out)
{
    struct live_member *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return ERR_NOMEM;
    }
    if (coordinator_reserve(c, 1) != 0) {
        free(m);
        return ERR_NOMEM;
    }
    HASH_ADD_KEYPTR(hh, g->table, info->id->data, info->id->size, m);
    if (m->hh.tbl == NULL) {
        c->n_deadlines--;
        free(m);
        return ERR_NOMEM;
    }
    m->info = *info;
    memset(info, 0, sizeof *info);
    m->group = g;
    m->fresh = true;
    m->session.kind = DEADLINE_SESSION;
    list_push_back(&g->members, &m->link);
    g->n_members++;
    g->bytes += group_member_bytes(&m->info);
    c->stats.members++;
    *out = m;
    return 0;
}

void group_remove_member(struct coordinator *c, struct live_group *g, struct live_member *m, int error)
{
    unpark(c, g, m, error);
    free_member(c, g, m);
}

int group_add_pending(struct coordinator *c, struct live_group *g, struct group_blob *id, int32_t timeout_ms)
{
    struct pending_member *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    if (coordinator_reserve(c, 1) != 0) {
        free(p);
        return ERR_NOMEM;
    }
    p->id = group_blob_acquire(id);
    p->group = g;
    p->expiry.kind = DEADLINE_PENDING;
    list_push_back(&g->pending, &p->link);
    g->n_pending++;
    deadline_set(&c->deadlines, &p->expiry, c->now_ms + (uint64_t)timeout_ms);
    return 0;
}

void group_remove_pending(struct coordinator *c, struct pending_member *p)
{
    deadline_clear(&c->deadlines, &p->expiry);
    c->n_deadlines--;
    list_remove(&p->link);
    p->group->n_pending--;
    group_blob_release(p->id);
    free(p);
}

void group_touch(struct coordinator *c, struct live_member *m)
{
    deadline_set(&c->deadlines, &m->session, c->now_ms + (uint64_t)m->info.session_timeout_ms);
}
