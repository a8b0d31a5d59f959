/* JoinGroup. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"

static bool too_long(const char *text)
{
    return text != NULL && strlen(text) > GROUP_NAME_MAX;
}

static int check_join(const struct coordinator *c, const struct coordinator_join *j)
{
    if (j->group[0] == '\0' || too_long(j->group)) {
        return ERR_INVALID_GROUP;
    }
    if (j->session_timeout_ms < c->config.session_timeout_min_ms ||
        j->session_timeout_ms > c->config.session_timeout_max_ms) {
        return ERR_INVALID_SESSION_TIMEOUT;
    }
    if (strlen(j->member) > GROUP_MEMBER_ID_MAX || too_long(j->instance) ||
        (j->instance != NULL && j->instance[0] == '\0')) {
        return ERR_INVALID;
    }
    if (j->protocol_type[0] == '\0' || too_long(j->protocol_type) || j->n_protocols == 0 ||
        j->n_protocols > GROUP_PROTOCOLS_MAX) {
        return ERR_INCONSISTENT_PROTOCOL;
    }
    for (uint32_t i = 0; i < j->n_protocols; i++) {
        if (too_long(j->protocols[i].name)) {
            return ERR_INCONSISTENT_PROTOCOL;
        }
        if (j->protocols[i].size > GROUP_SUBSCRIPTIONS_MAX) {
            return ERR_TOO_BIG;
        }
    }
    return 0;
}

/* One of @j's protocols is known to every member but @except (which is about to speak for itself anew). */
static bool supported(const struct live_group *g, const struct coordinator_join *j, const struct live_member *except)
{
    uint32_t others = g->n_members - (except != NULL);
    if (g->n_members > 0 && !group_blob_is(g->protocol_type, j->protocol_type)) {
        return false;
    }
    if (others == 0) {
        return true;
    }
    for (uint32_t i = 0; i < j->n_protocols; i++) {
        uint32_t n = 0;
        list_for_each (pos, &g->members) {
            const struct live_member *m = list_entry(pos, struct live_member, link);
            n += m != except && group_member_metadata(&m->info, j->protocols[i].name) != NULL;
        }
        if (n == others) {
            return true;
        }
    }
    return false;
}

/* "<client or instance id>-<uuid>": what people find in their logs. */
static struct group_blob *make_id(const struct coordinator_join *j)
{
    char text[GROUP_MEMBER_ID_MAX + 1];
    char uuid[UUID_TEXT_SIZE];
    snprintf(text, sizeof text, "%.*s-%s", GROUP_NAME_MAX, j->instance != NULL ? j->instance : j->client_id,
             uuid_format(&j->uuid, uuid));
    return group_blob_text(text);
}

static struct group_blob *cut_text(const char *text)
{
    size_t size = strlen(text);
    return group_blob_new(text, size < GROUP_NAME_MAX ? size : GROUP_NAME_MAX);
}

static int describe_member(const struct coordinator_join *j, struct group_blob *id, struct group_member *info)
{
    memset(info, 0, sizeof *info);
    info->id = group_blob_acquire(id);
    info->client_id = cut_text(j->client_id);
    info->client_host = cut_text(j->client_host);
    info->instance = j->instance != NULL ? group_blob_text(j->instance) : NULL;
    info->session_timeout_ms = j->session_timeout_ms;
    info->rebalance_timeout_ms = j->rebalance_timeout_ms < 0 ? j->session_timeout_ms : j->rebalance_timeout_ms;
    if (info->rebalance_timeout_ms > GROUP_REBALANCE_TIMEOUT_MAX_MS) {
        info->rebalance_timeout_ms = GROUP_REBALANCE_TIMEOUT_MAX_MS;
    }
    info->protocols = calloc(j->n_protocols, sizeof info->protocols[0]);
    if (info->client_id == NULL || info->client_host == NULL || info->protocols == NULL ||
        (info->instance == NULL && j->instance != NULL)) {
        group_member_clear(info);
        return ERR_NOMEM;
    }
    info->n_protocols = j->n_protocols;
    for (uint32_t i = 0; i < j->n_protocols; i++) {
        info->protocols[i].name = group_blob_text(j->protocols[i].name);
        info->protocols[i].metadata = group_blob_new(j->protocols[i].metadata, j->protocols[i].size);
        if (info->protocols[i].name == NULL || info->protocols[i].metadata == NULL) {
            group_member_clear(info);
            return ERR_NOMEM;
        }
    }
    return 0;
}

static int answer_members(struct live_group *g, struct coordinator_join *join)
{
    join->members = calloc(g->n_members, sizeof join->members[0]);
    if (join->members == NULL) {
        return ERR_NOMEM;
    }
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        join->members[join->n_members++] = (struct coordinator_join_member){
            .id = group_blob_acquire(m->info.id),
            .instance = group_blob_acquire(m->info.instance),
            .metadata = group_blob_acquire(group_member_metadata(&m->info, g->protocol->data)),
        };
    }
    return 0;
}

void group_answer_join(struct coordinator *c, struct live_group *g, struct live_member *m,
                       struct coordinator_join *join)
{
    int rv = 0;
    join->generation = g->generation;
    join->protocol_type_out = group_blob_acquire(g->protocol_type);
    join->protocol = group_blob_acquire(g->protocol);
    join->leader = group_blob_acquire(g->leader);
    join->member_out = group_blob_acquire(m->info.id);
    if (group_blob_equal(g->leader, m->info.id)) {
        rv = answer_members(g, join);
    }
    coordinator_answer(c, g, &join->request, rv);
}

static void park(struct coordinator *c, struct live_group *g, struct live_member *m, struct coordinator_join *join)
{
    if (m->join != NULL) {
        coordinator_answer(c, g, &m->join->request, ERR_REBALANCE);
        g->n_joins--;
    }
    m->join = join;
    g->n_joins++;
    if (m->fresh) {
        deadline_set(&c->deadlines, &m->session, c->now_ms + GROUP_NEW_MEMBER_JOIN_MS);
    } else {
        group_touch(c, m);
    }
    group_rebalance(c, g);
}

/* What a member says of itself takes the place of what it said before; its id and assignment stay. */
static void update_info(struct live_group *g, struct live_member *m, struct group_member *info)
{
    struct group_member old = m->info;
    g->bytes -= group_member_bytes(&old);
    info->assignment = group_blob_acquire(old.assignment);
    m->info = *info;
    g->bytes += group_member_bytes(&m->info);
    group_member_clear(&old);
}

static int admit(struct coordinator *c, struct live_group *g, struct coordinator_join *j, struct group_blob *id)
{
    struct group_member info;
    struct group_blob *type = NULL;
    struct live_member *m;
    int rv;
    if (g->n_members >= c->config.members_max) {
        return ERR_GROUP_FULL;
    }
    rv = describe_member(j, id, &info);
    if (rv != 0) {
        return rv;
    }
    if (g->bytes + group_member_bytes(&info) > GROUP_SUBSCRIPTIONS_MAX) {
        group_member_clear(&info);
        return ERR_GROUP_FULL;
    }
    if (!group_blob_is(g->protocol_type, j->protocol_type)) {
        type = group_blob_text(j->protocol_type);
    }
    if ((type == NULL && !group_blob_is(g->protocol_type, j->protocol_type)) ||
        group_add_member(c, g, &info, &m) != 0) {
        group_blob_release(type);
        group_member_clear(&info);
        return ERR_NOMEM;
    }
    if (type != NULL) {
        group_set_blob(&g->protocol_type, type);
        group_blob_release(type);
    }
    g->joined_meanwhile = g->state == COORDINATOR_PREPARING;
    park(c, g, m, j);
    return 0;
}

/* A static member is back under a new id; the old id is fenced from here on (KIP-345). */
static int replace_static(struct coordinator *c, struct live_group *g, struct live_member *old,
                          struct coordinator_join *j, struct group_blob *id)
{
    struct group_member info;
    struct group_blob *old_leader;
    struct group_blob *old_metadata;
    struct group_blob *selected;
    struct live_member *m;
    bool leads = group_blob_equal(g->leader, old->info.id);
    bool same;
    int rv = describe_member(j, id, &info);
    if (rv != 0) {
        return rv;
    }
    if (g->bytes - group_member_bytes(&old->info) + group_member_bytes(&info) > GROUP_SUBSCRIPTIONS_MAX) {
        group_member_clear(&info);
        return ERR_GROUP_FULL;
    }
    info.assignment = group_blob_acquire(old->info.assignment);
    rv = group_add_member(c, g, &info, &m);
    if (rv != 0) {
        group_member_clear(&info);
        return rv;
    }
    m->fresh = old->fresh;
    m->sync_awaited = old->sync_awaited;
    old_leader = group_blob_acquire(g->leader);
    old_metadata = group_blob_acquire(group_member_metadata(&old->info, g->protocol->data));
    group_remove_member(c, g, old, ERR_FENCED_INSTANCE);
    if (leads) {
        group_set_blob(&g->leader, m->info.id);
    }
    selected = group_select_protocol(g);
    same = selected != NULL && old_metadata != NULL && group_blob_equal(selected, g->protocol) &&
           group_same_topics(old_metadata, group_member_metadata(&m->info, g->protocol->data));
    if (g->state != COORDINATOR_STABLE || !same) {
        park(c, g, m, j);
        goto out;
    }
    /* Nothing changes for the others: it takes its place, and its assignment, without a rebalance. A leader that does
     * not know how to skip the assigning is told of another leader, so that it does not assign. */
    group_touch(c, m);
    group_save(c, g);
    j->generation = g->generation;
    j->protocol_type_out = group_blob_acquire(g->protocol_type);
    j->protocol = group_blob_acquire(g->protocol);
    j->leader = group_blob_acquire(j->skip_assignment_known ? g->leader : old_leader);
    j->member_out = group_blob_acquire(m->info.id);
    j->skip_assignment = j->skip_assignment_known && leads;
    coordinator_answer(c, g, &j->request, j->skip_assignment ? answer_members(g, j) : 0);
out:
    group_blob_release(old_leader);
    group_blob_release(old_metadata);
    return 0;
}

static int join_new(struct coordinator *c, struct live_group *g, struct coordinator_join *j)
{
    struct live_member *m = j->instance != NULL ? group_find_instance(g, j->instance) : NULL;
    struct group_blob *id;
    int rv;
    if (!supported(g, j, m)) {
        return ERR_INCONSISTENT_PROTOCOL;
    }
    id = make_id(j);
    if (id == NULL) {
        return ERR_NOMEM;
    }
    if (m != NULL) {
        rv = replace_static(c, g, m, j, id);
    } else if (j->instance != NULL || !j->id_required) {
        rv = admit(c, g, j, id);
    } else if (g->n_members + g->n_pending >= c->config.members_max) {
        rv = ERR_GROUP_FULL;
    } else {
        /* KIP-394: so that clients that time out and retry do not leave members behind */
        rv = group_add_pending(c, g, id, j->session_timeout_ms);
        if (rv == 0) {
            j->member_out = group_blob_acquire(id);
            rv = ERR_MEMBER_ID_REQUIRED;
        }
    }
    group_blob_release(id);
    return rv;
}

static int rejoin(struct coordinator *c, struct live_group *g, struct coordinator_join *j, struct live_member *m)
{
    struct group_member info;
    bool same;
    int rv = describe_member(j, m->info.id, &info);
    if (rv != 0) {
        return rv;
    }
    if (g->bytes - group_member_bytes(&m->info) + group_member_bytes(&info) > GROUP_SUBSCRIPTIONS_MAX) {
        group_member_clear(&info);
        return ERR_GROUP_FULL;
    }
    same = group_member_same_protocols(&m->info, &info);
    update_info(g, m, &info);
    if (same && (g->state == COORDINATOR_COMPLETING ||
                 (g->state == COORDINATOR_STABLE && !group_blob_equal(g->leader, m->info.id)))) {
        /* Its answer was lost, or it only asks again. */
        group_touch(c, m);
        group_answer_join(c, g, m, j);
        return 0;
    }
    park(c, g, m, j);
    return 0;
}

static int join_known(struct coordinator *c, struct live_group *g, struct coordinator_join *j)
{
    struct pending_member *p = group_find_pending(g, j->member);
    struct live_member *m = NULL;
    int rv;
    if (p != NULL && j->instance == NULL) {
        struct group_blob *id;
        if (!supported(g, j, NULL)) {
            return ERR_INCONSISTENT_PROTOCOL;
        }
        id = group_blob_acquire(p->id);
        /* First out, so that it is not waited for; its deadline's place is taken over. */
        group_remove_pending(c, p);
        rv = admit(c, g, j, id);
        group_blob_release(id);
        if (rv != 0) {
            group_try_complete(c, g);
        }
        return rv;
    }
    rv = group_check_member(g, j->member, j->instance, &m);
    if (rv != 0) {
        return rv;
    }
    return supported(g, j, m) ? rejoin(c, g, j, m) : ERR_INCONSISTENT_PROTOCOL;
}

void coordinator_join(struct coordinator *c, uint64_t now_ms, struct coordinator_join *j)
{
    struct live_group *g = NULL;
    int rv;
    j->generation = -1;
    j->protocol_type_out = NULL;
    j->protocol = NULL;
    j->leader = NULL;
    j->member_out = NULL;
    j->skip_assignment = false;
    j->n_members = 0;
    j->members = NULL;
    if (!coordinator_begin(c, now_ms, &j->request, COORDINATOR_JOIN)) {
        return;
    }
    rv = check_join(c, j);
    if (rv == 0) {
        rv = j->member[0] == '\0' ? coordinator_get(c, j->group, &g) : coordinator_find(c, j->group, &g);
    }
    if (rv == 0 && g == NULL) {
        rv = ERR_UNKNOWN_MEMBER;
    }
    if (rv == 0) {
        rv = j->member[0] == '\0' ? join_new(c, g, j) : join_known(c, g, j);
    }
    if (rv != 0) {
        coordinator_answer(c, g, &j->request, rv);
    }
    coordinator_end(c, g);
}
