#include "node/fsm/group/coordinator.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"

void coordinator_config_default(struct coordinator_config *config)
{
    *config = (struct coordinator_config){
        .session_timeout_min_ms = GROUP_SESSION_TIMEOUT_MIN_MS,
        .session_timeout_max_ms = GROUP_SESSION_TIMEOUT_MAX_MS,
        .initial_delay_ms = GROUP_INITIAL_DELAY_MS,
        .offset_retention_ms = GROUP_OFFSET_RETENTION_MS,
        .members_max = GROUP_MEMBERS_MAX,
    };
}

struct coordinator *coordinator_new(const struct groups_fsm *fsm, const struct coordinator_config *config,
                                    const struct coordinator_ops *ops, void *data)
{
    struct coordinator *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->none = group_blob_text("");
    if (c->none == NULL) {
        free(c);
        return NULL;
    }
    c->fsm = fsm;
    c->config = *config;
    if (c->config.members_max > GROUP_MEMBERS_MAX) {
        c->config.members_max = GROUP_MEMBERS_MAX;
    }
    c->ops = *ops;
    c->data = data;
    c->expire.kind = DEADLINE_EXPIRE;
    list_init(&c->tickets);
    list_init(&c->answered);
    return c;
}

void coordinator_free(struct coordinator *c)
{
    if (c == NULL) {
        return;
    }
    assert(!c->leading);
    deadlines_close(&c->deadlines);
    group_blob_release(c->none);
    free(c);
}

bool coordinator_leading(const struct coordinator *c)
{
    return c->leading;
}

bool coordinator_begin(struct coordinator *c, uint64_t now_ms, struct coordinator_request *request, uint8_t verb)
{
    list_init(&request->link);
    request->verb = verb;
    request->error = 0;
    request->save = 0;
    if (!c->leading) {
        coordinator_answer(c, NULL, request, ERR_NOT_COORDINATOR);
        coordinator_end(c, NULL);
        return false;
    }
    c->now_ms = now_ms;
    return true;
}

void coordinator_answer(struct coordinator *c, struct live_group *g, struct coordinator_request *request, int error)
{
    request->error = error;
    if (g != NULL && g->saved < g->change) {
        request->save = g->change;
        list_push_back(&g->held, &request->link);
    } else {
        list_push_back(&c->answered, &request->link);
    }
}

/* What holds between any two calls. A group that waits for its members always has an end to the waiting. */
static void check_group(const struct live_group *g)
{
    bool waits = g->state == COORDINATOR_PREPARING || g->state == COORDINATOR_COMPLETING;
    assert(g->n_joins <= g->n_members);
    assert(g->n_joins == 0 || g->state == COORDINATOR_PREPARING);
    assert((g->state == COORDINATOR_EMPTY) <= (g->n_members == 0));
    assert(g->n_members > 0 || g->state == COORDINATOR_EMPTY || g->state == COORDINATOR_PREPARING);
    assert(g->saved <= g->change);
    assert(!waits || deadline_is_set(&g->rebalance));
    assert(!g->dirty || deadline_is_set(&g->retry));
    assert(g->saved < g->change || list_empty(&g->held));
    assert(g->saved == g->change || g->dirty || g->tickets > 0);
}

void coordinator_end(struct coordinator *c, struct live_group *g)
{
    struct list *pos;
    if (g != NULL) {
        check_group(g);
    }
    if (g != NULL && g->n_members == 0 && g->n_pending == 0 && g->tickets == 0 && !g->dirty &&
        g->state == COORDINATOR_EMPTY && list_empty(&g->held)) {
        coordinator_free_group(c, g);
    }
    while ((pos = list_pop_front(&c->answered)) != NULL) {
        c->ops.answer(c->data, list_entry(pos, struct coordinator_request, link));
    }
}

static struct ticket *ticket_new(struct coordinator *c)
{
    struct ticket *t = calloc(1, sizeof *t);
    if (t != NULL) {
        list_init(&t->link);
        t->token = ++c->token;
    }
    return t;
}

int coordinator_propose(struct coordinator *c, Cairn__Command__GroupCommand *command, struct live_group *g,
                        struct coordinator_request *request)
{
    struct ticket *t = ticket_new(c);
    struct entry *entry;
    int rv;
    if (t == NULL) {
        return ERR_NOMEM;
    }
    entry = group_command_entry(command);
    if (entry == NULL) {
        free(t);
        return ERR_NOMEM;
    }
    rv = c->ops.propose(c->data, entry, t->token);
    if (rv != 0) {
        entry_release(entry);
        free(t);
        return rv;
    }
    t->request = request;
    t->group = g;
    t->full = command->kind_case == CAIRN__COMMAND__GROUP_COMMAND__KIND_SAVE;
    if (g != NULL) {
        t->change = g->change;
        g->tickets++;
    }
    list_push_back(&c->tickets, &t->link);
    return 0;
}

int coordinator_confirm(struct coordinator *c, struct coordinator_request *request)
{
    struct ticket *t = ticket_new(c);
    int rv;
    if (t == NULL) {
        return ERR_NOMEM;
    }
    rv = c->ops.confirm(c->data, t->token);
    if (rv != 0) {
        free(t);
        return rv;
    }
    t->request = request;
    list_push_back(&c->tickets, &t->link);
    return 0;
}

/* Off the list; NULL: of an earlier leadership, or nobody waits for it. */
static struct ticket *take_ticket(struct coordinator *c, uint64_t token)
{
    list_for_each (pos, &c->tickets) {
        struct ticket *t = list_entry(pos, struct ticket, link);
        if (t->token == token) {
            list_remove(&t->link);
            return t;
        }
    }
    return NULL;
}

static void release_held(struct coordinator *c, struct live_group *g)
{
    list_for_each_safe (pos, &g->held) {
        struct coordinator_request *request = list_entry(pos, struct coordinator_request, link);
        if (request->save > g->saved) {
            break;
        }
        list_remove(pos);
        list_push_back(&c->answered, pos);
    }
}

static void save_came_back(struct coordinator *c, struct ticket *t, int status, const struct group_reply *reply)
{
    struct live_group *g = t->group;
    g->tickets--;
    if (status == 0 && reply->error != 0 && t->full) {
        /* The state machine knows better than this coordinator: begin again from there. */
        coordinator_drop_group(c, g, ERR_NOT_COORDINATOR);
        coordinator_end(c, NULL);
        return;
    }
    if (status != 0 || reply->error != 0) {
        group_save_failed(c, g);
    } else if (t->change > g->saved) {
        g->saved = t->change;
        release_held(c, g);
    }
    coordinator_end(c, g);
}

/* Kafka's clients must not take an outcome that is not known for a refusal: NOT_COORDINATOR makes them ask again. */
static int request_error(int status)
{
    switch (status) {
    case ERR_NOT_LEADER:
    case ERR_UNKNOWN_OUTCOME:
    case ERR_SHUTDOWN:
        return ERR_NOT_COORDINATOR;
    default:
        return status;
    }
}

void coordinator_proposed(struct coordinator *c, uint64_t now_ms, uint64_t token, int status,
                          const struct group_reply *reply)
{
    struct ticket *t = take_ticket(c, token);
    if (t == NULL) {
        return;
    }
    c->now_ms = now_ms;
    if (t->group != NULL) {
        save_came_back(c, t, status, reply);
    } else {
        c->stats.commits += t->request->verb == COORDINATOR_COMMIT && status == 0 && reply->error == 0;
        coordinator_answer(c, NULL, t->request, status != 0 ? request_error(status) : reply->error);
        coordinator_end(c, NULL);
    }
    free(t);
}

void coordinator_confirmed(struct coordinator *c, uint64_t now_ms, uint64_t token, int status)
{
    struct ticket *t = take_ticket(c, token);
    if (t == NULL) {
        return;
    }
    c->now_ms = now_ms;
    if (status != 0) {
        coordinator_answer(c, NULL, t->request, request_error(status));
    } else {
        assert(t->request->verb == COORDINATOR_FETCH);
        coordinator_fetch_confirmed(c, container_of(t->request, struct coordinator_fetch, request));
    }
    free(t);
    coordinator_end(c, NULL);
}

int coordinator_lead(struct coordinator *c, uint64_t now_ms)
{
    assert(!c->leading);
    c->leading = true;
    c->now_ms = now_ms;
    if (coordinator_reserve(c, 1) != 0) {
        goto err;
    }
    deadline_set(&c->deadlines, &c->expire, now_ms + GROUP_EXPIRE_EVERY_MS);
    list_for_each (pos, groups_fsm_groups(c->fsm)) {
        const struct saved_group *saved = list_entry(pos, struct saved_group, link);
        struct live_group *g;
        if (saved->n_members > 0 && coordinator_find(c, saved->id->data, &g) != 0) {
            goto err;
        }
    }
    return 0;
err:
    coordinator_step_down(c);
    return ERR_NOMEM;
}

void coordinator_step_down(struct coordinator *c)
{
    struct live_group *g;
    struct live_group *next;
    struct list *pos;
    if (!c->leading) {
        return;
    }
    c->leading = false;
    while ((pos = list_pop_front(&c->tickets)) != NULL) {
        struct ticket *t = list_entry(pos, struct ticket, link);
        if (t->request != NULL) {
            coordinator_answer(c, NULL, t->request, ERR_NOT_COORDINATOR);
        }
        free(t);
    }
    HASH_ITER (hh, c->groups, g, next) {
        coordinator_drop_group(c, g, ERR_NOT_COORDINATOR);
    }
    deadline_clear(&c->deadlines, &c->expire);
    c->n_deadlines = 0;
    assert(c->deadlines.n == 0);
    coordinator_end(c, NULL);
}

void coordinator_abandon(struct coordinator *c)
{
    struct live_group *g;
    struct live_group *next;
    struct list *pos;
    c->leading = false;
    while ((pos = list_pop_front(&c->tickets)) != NULL) {
        free(list_entry(pos, struct ticket, link));
    }
    HASH_ITER (hh, c->groups, g, next) {
        list_for_each (m, &g->members) {
            list_entry(m, struct live_member, link)->join = NULL;
            list_entry(m, struct live_member, link)->sync = NULL;
        }
        g->n_joins = 0;
        list_init(&g->held);
        coordinator_free_group(c, g);
    }
    list_init(&c->answered);
    deadline_clear(&c->deadlines, &c->expire);
}

void coordinator_tick(struct coordinator *c, uint64_t now_ms)
{
    struct deadline *t;
    if (!c->leading) {
        return;
    }
    c->now_ms = now_ms;
    while (c->leading && (t = deadlines_due(&c->deadlines, now_ms)) != NULL) {
        struct live_group *g = NULL;
        switch (t->kind) {
        case DEADLINE_SESSION:
            g = container_of(t, struct live_member, session)->group;
            group_session_due(c, container_of(t, struct live_member, session));
            break;
        case DEADLINE_PENDING:
            g = container_of(t, struct pending_member, expiry)->group;
            group_pending_due(c, container_of(t, struct pending_member, expiry));
            break;
        case DEADLINE_REBALANCE:
            g = container_of(t, struct live_group, rebalance);
            group_rebalance_due(c, g);
            break;
        case DEADLINE_RETRY:
            g = container_of(t, struct live_group, retry);
            group_retry_save(c, g);
            break;
        default:
            coordinator_expire(c);
            deadline_set(&c->deadlines, t, now_ms + GROUP_EXPIRE_EVERY_MS);
            break;
        }
        coordinator_end(c, g);
    }
}

uint64_t coordinator_deadline(const struct coordinator *c)
{
    return deadlines_next(&c->deadlines);
}

void coordinator_stats(const struct coordinator *c, struct coordinator_stats *stats)
{
    *stats = c->stats;
    stats->groups = (uint32_t)HASH_COUNT(c->groups);
}
