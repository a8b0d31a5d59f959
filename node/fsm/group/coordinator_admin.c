/* What administrators ask: describe, list, delete. And how answers are freed. */
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"

const char *coordinator_state_name(enum coordinator_state state)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"};
    return names[state];
}

static int describe_live(struct coordinator *c, const struct live_group *g, struct coordinator_describe *d)
{
    bool stable = g->state == COORDINATOR_STABLE;
    d->state = g->state;
    d->generation = g->generation;
    d->protocol_type = group_blob_acquire(g->protocol_type);
    d->protocol = group_blob_acquire(stable ? g->protocol : c->none);
    d->leader = group_blob_acquire(g->leader);
    d->members = calloc(g->n_members + 1, sizeof d->members[0]);
    if (d->members == NULL) {
        return ERR_NOMEM;
    }
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        d->members[d->n_members++] = (struct coordinator_described){
            .info.id = group_blob_acquire(m->info.id),
            .info.instance = group_blob_acquire(m->info.instance),
            .info.client_id = group_blob_acquire(m->info.client_id),
            .info.client_host = group_blob_acquire(m->info.client_host),
            .info.session_timeout_ms = m->info.session_timeout_ms,
            .info.rebalance_timeout_ms = m->info.rebalance_timeout_ms,
            .info.assignment = stable ? group_blob_acquire(m->info.assignment) : NULL,
            .metadata = stable ? group_blob_acquire(group_member_metadata(&m->info, g->protocol->data)) : NULL,
        };
    }
    return 0;
}

void coordinator_describe(struct coordinator *c, uint64_t now_ms, struct coordinator_describe *d)
{
    const struct saved_group *saved;
    struct live_group *g = NULL;
    int rv;
    d->state = COORDINATOR_DEAD;
    d->generation = -1;
    d->protocol_type = NULL;
    d->protocol = NULL;
    d->leader = NULL;
    d->members = NULL;
    d->n_members = 0;
    if (!coordinator_begin(c, now_ms, &d->request, COORDINATOR_DESCRIBE)) {
        return;
    }
    rv = coordinator_find(c, d->group, &g);
    saved = groups_fsm_find(c->fsm, d->group);
    if (rv == 0 && g != NULL) {
        rv = describe_live(c, g, d);
    } else if (rv == 0 && saved == NULL) {
        rv = ERR_GROUP_NOT_FOUND;
    } else if (rv == 0) {
        d->state = COORDINATOR_EMPTY;
        d->generation = saved->generation;
        d->protocol_type = group_blob_acquire(saved->protocol_type);
        d->protocol = group_blob_acquire(c->none);
        d->leader = group_blob_acquire(c->none);
    }
    coordinator_answer(c, g, &d->request, rv);
    coordinator_end(c, g);
}

static void list_one(struct coordinator_list *l, struct group_blob *id, struct group_blob *type,
                     enum coordinator_state state)
{
    if (l->states == 0 || (l->states & (1u << state)) != 0) {
        l->groups[l->n_groups++] = (struct coordinator_listed){
            .id = group_blob_acquire(id), .protocol_type = group_blob_acquire(type), .state = state};
    }
}

void coordinator_list(struct coordinator *c, uint64_t now_ms, struct coordinator_list *l)
{
    size_t n = groups_fsm_count(c->fsm) + HASH_COUNT(c->groups);
    l->groups = NULL;
    l->n_groups = 0;
    if (!coordinator_begin(c, now_ms, &l->request, COORDINATOR_LIST)) {
        return;
    }
    l->groups = calloc(n + 1, sizeof l->groups[0]);
    if (l->groups == NULL) {
        coordinator_answer(c, NULL, &l->request, ERR_NOMEM);
        coordinator_end(c, NULL);
        return;
    }
    for (const struct live_group *g = c->groups; g != NULL; g = g->hh.next) {
        list_one(l, g->id, g->protocol_type, g->state);
    }
    list_for_each (pos, groups_fsm_groups(c->fsm)) {
        const struct saved_group *saved = list_entry(pos, struct saved_group, link);
        struct live_group *g;
        HASH_FIND(hh, c->groups, saved->id->data, saved->id->size, g);
        if (g == NULL) {
            list_one(l, saved->id, saved->protocol_type,
                     saved->n_members == 0 ? COORDINATOR_EMPTY : COORDINATOR_STABLE);
        }
    }
    coordinator_answer(c, NULL, &l->request, 0);
    coordinator_end(c, NULL);
}

void coordinator_delete(struct coordinator *c, uint64_t now_ms, struct coordinator_delete *d)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupDelete del = CAIRN__COMMAND__GROUP_DELETE__INIT;
    struct live_group *g = NULL;
    int rv;
    if (!coordinator_begin(c, now_ms, &d->request, COORDINATOR_DELETE)) {
        return;
    }
    rv = coordinator_find(c, d->group, &g);
    if (rv == 0 && g == NULL && groups_fsm_find(c->fsm, d->group) == NULL) {
        rv = ERR_GROUP_NOT_FOUND;
    } else if (rv == 0 && g != NULL && g->state != COORDINATOR_EMPTY) {
        rv = ERR_NON_EMPTY_GROUP;
    } else if (rv == 0 && g != NULL && g->dirty) {
        rv = ERR_BUSY; /* it would be judged before the save that empties the group */
    }
    if (rv == 0) {
        del.group = (char *)(uintptr_t)d->group;
        command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_DELETE_GROUP;
        command.delete_group = &del;
        rv = coordinator_propose(c, &command, NULL, &d->request);
        rv = rv == ERR_NOT_LEADER || rv == ERR_LEADER_NOT_READY ? ERR_NOT_COORDINATOR : rv;
    }
    if (rv != 0) {
        coordinator_answer(c, g, &d->request, rv);
    }
    coordinator_end(c, g);
}

static void release_blob(struct group_blob **blob)
{
    group_blob_release(*blob);
    *blob = NULL;
}

static void release_join(struct coordinator_join *j)
{
    release_blob(&j->protocol_type_out);
    release_blob(&j->protocol);
    release_blob(&j->leader);
    release_blob(&j->member_out);
    for (uint32_t i = 0; i < j->n_members; i++) {
        group_blob_release(j->members[i].id);
        group_blob_release(j->members[i].instance);
        group_blob_release(j->members[i].metadata);
    }
    free(j->members);
    j->members = NULL;
    j->n_members = 0;
}

static void release_sync(struct coordinator_sync *s)
{
    release_blob(&s->protocol_type_out);
    release_blob(&s->protocol_out);
    release_blob(&s->assignment);
}

static void release_fetch(struct coordinator_fetch *f)
{
    for (uint32_t i = 0; i < f->n_parts; i++) {
        release_blob(&f->parts[i].metadata_out);
    }
    if (f->all) {
        free(f->parts);
        f->parts = NULL;
        f->n_parts = 0;
    }
}

/* Names that were copied for the call. */
static void release_forget(struct coordinator_forget *f)
{
    for (uint32_t i = 0; i < f->n_parts; i++) {
        release_blob(&f->parts[i].metadata_out);
    }
}

static void release_describe(struct coordinator_describe *d)
{
    release_blob(&d->protocol_type);
    release_blob(&d->protocol);
    release_blob(&d->leader);
    for (uint32_t i = 0; i < d->n_members; i++) {
        group_member_clear(&d->members[i].info);
        group_blob_release(d->members[i].metadata);
    }
    free(d->members);
    d->members = NULL;
    d->n_members = 0;
}

static void release_list(struct coordinator_list *l)
{
    for (uint32_t i = 0; i < l->n_groups; i++) {
        group_blob_release(l->groups[i].id);
        group_blob_release(l->groups[i].protocol_type);
    }
    free(l->groups);
    l->groups = NULL;
    l->n_groups = 0;
}

void coordinator_request_release(struct coordinator_request *request)
{
    switch (request->verb) {
    case COORDINATOR_JOIN:
        release_join(container_of(request, struct coordinator_join, request));
        break;
    case COORDINATOR_SYNC:
        release_sync(container_of(request, struct coordinator_sync, request));
        break;
    case COORDINATOR_FETCH:
        release_fetch(container_of(request, struct coordinator_fetch, request));
        break;
    case COORDINATOR_FORGET:
        release_forget(container_of(request, struct coordinator_forget, request));
        break;
    case COORDINATOR_DESCRIBE:
        release_describe(container_of(request, struct coordinator_describe, request));
        break;
    case COORDINATOR_LIST:
        release_list(container_of(request, struct coordinator_list, request));
        break;
    default:
        break;
    }
}
