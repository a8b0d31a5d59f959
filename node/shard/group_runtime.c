#include "node/shard/group_runtime.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/fsm/metadata/metadata_fsm.h"
#include "node/shard/shard_internal.h"
#include "proto/base/mutant.h"

/* A replica of an internal group. */
struct group_runtime {
    struct shard *shard;
    struct group *group;
    struct groups_fsm *fsm;
    struct coordinator *coordinator;
    uint64_t id; /* internal group */
    uint64_t replica;
    bool leading;
    bool ready;
    bool failed;
    uint64_t term;
    struct list proposals; /* struct proposal, in the order of the log */
    struct list confirms;  /* struct confirm */
    struct list answers;   /* struct coordinator_request: to be completed at the end of the turn */
    struct list dirty;     /* in the shard's list */
    struct timer timer;    /* what the coordinator does next by itself */
    uint64_t timer_ms;
    UT_hash_handle hh;
};

struct proposal {
    struct group_proposal proposal;
    struct group_runtime *runtime;
    uint64_t token;
    struct entry *entry; /* a reference of its own, to be known again when it is applied */
    bool applied;
    struct group_reply reply;
    struct list link;
};

struct confirm {
    struct group_barrier barrier;
    struct group_runtime *runtime;
    uint64_t token;
    struct list link;
};

struct group_runtime *group_runtime_find(struct shard *shard, uint64_t group)
{
    struct group_runtime *r;
    HASH_FIND(hh, shard->runtimes, &group, sizeof group, r);
    return r;
}

const struct groups_fsm *group_runtime_state(const struct group_runtime *r)
{
    return r->fsm;
}

static uint64_t now_ms(const struct group_runtime *r)
{
    return env_now_ms(r->shard->env);
}

static void mark_dirty(struct group_runtime *r)
{
    if (list_empty(&r->dirty)) {
        list_push_back(&r->shard->dirty_runtimes, &r->dirty);
        env_wake(r->shard->env);
    }
}

/* ---- what the coordinator asks for ---------------------------------------------------------------------------------- */

static void proposal_done(struct group_proposal *group_proposal, int status)
{
    struct proposal *p = container_of(group_proposal, struct proposal, proposal);
    struct group_runtime *r = p->runtime;
    if (status == 0 && !p->applied) {
        status = ERR_UNKNOWN_OUTCOME; /* the state machine stopped in front of it */
    }
    list_remove(&p->link);
    coordinator_proposed(r->coordinator, now_ms(r), p->token, status, &p->reply);
    mark_dirty(r);
    entry_release(p->entry);
    free(p);
}

static int on_propose(void *data, struct entry *entry, uint64_t token)
{
    struct group_runtime *r = data;
    struct proposal *p = calloc(1, sizeof *p);
    int rv;
    if (p == NULL) {
        return ERR_BUSY;
    }
    entry->base_offset = -1;
    p->runtime = r;
    p->token = token;
    p->entry = entry_acquire(entry);
    p->proposal.entry = entry;
    p->proposal.done = proposal_done;
    rv = group_propose(r->group, &p->proposal);
    if (rv != 0) {
        entry_release(p->entry);
        free(p);
        return rv;
    }
    list_push_back(&r->proposals, &p->link);
    return 0;
}

static void confirm_done(struct group_barrier *barrier, int status)
{
    struct confirm *confirm = container_of(barrier, struct confirm, barrier);
    struct group_runtime *r = confirm->runtime;
    list_remove(&confirm->link);
    coordinator_confirmed(r->coordinator, now_ms(r), confirm->token, status);
    mark_dirty(r);
    free(confirm);
}

static int on_confirm(void *data, uint64_t token)
{
    struct group_runtime *r = data;
    struct confirm *confirm = calloc(1, sizeof *confirm);
    int rv;
    if (confirm == NULL) {
        return ERR_NOMEM;
    }
    confirm->runtime = r;
    confirm->token = token;
    confirm->barrier.done = confirm_done;
    rv = group_barrier(r->group, &confirm->barrier);
    if (rv != 0) {
        free(confirm);
        return rv;
    }
    list_push_back(&r->confirms, &confirm->link);
    return 0;
}

/* Answers leave at the end of the turn: nobody above is called from inside the coordinator, or from inside the group. */
static void on_answer(void *data, struct coordinator_request *request)
{
    struct group_runtime *r = data;
    list_push_back(&r->answers, &request->link);
    mark_dirty(r);
}

static const struct coordinator_ops coordinator_ops = {
    .propose = on_propose,
    .confirm = on_confirm,
    .answer = on_answer,
};

/* ---- what the group tells --------------------------------------------------------------------------------------------- */

static void on_apply(void *data, const struct entry *entry)
{
    struct group_runtime *r = data;
    struct group_reply reply;
    char text[ERRMSG_SIZE];
    int rv = groups_fsm_apply(r->fsm, entry, &reply);
    if (rv != 0) {
        snprintf(text, sizeof text, "apply entry %llu: %s", (unsigned long long)entry->index, err_text(rv));
        group_fail(r->group, rv, text);
        return;
    }
    list_for_each (pos, &r->proposals) {
        struct proposal *p = list_entry(pos, struct proposal, link);
        if (p->entry->index == entry->index && p->entry->term == entry->term) {
            p->applied = true;
            p->reply = reply;
            return;
        }
        if (p->entry->index > entry->index) {
            return;
        }
    }
}

/* The volatile state is built when the replica is ready to serve, and goes at once when it is not. */
static void lead(struct group_runtime *r)
{
    if (r->ready && !coordinator_leading(r->coordinator) && coordinator_lead(r->coordinator, now_ms(r)) != 0) {
        log_event(r->shard->env->logger, LOG_WARN, "coordinator_not_ready", "group=%llu text=\"out of memory\"",
                  (unsigned long long)r->id); /* tried again by the next request */
    }
}

static void on_leadership(void *data, bool leading, bool ready, uint64_t term)
{
    struct group_runtime *r = data;
    if (!leading || !ready || r->term != term) {
        coordinator_step_down(r->coordinator);
    }
    r->leading = leading;
    r->ready = leading && (ready || MUTANT(COORDINATE_BEFORE_BARRIER));
    r->term = term;
    lead(r);
    mark_dirty(r);
}

static void on_failed(void *data, int err, const char *text)
{
    struct group_runtime *r = data;
    r->failed = true;
    r->leading = false;
    r->ready = false;
    coordinator_step_down(r->coordinator);
    mark_dirty(r);
    shard_tell_failed(r->shard, r->id, r->replica, err);
}

static const struct group_fsm runtime_group_fsm = {
    .apply = on_apply,
    .leadership = on_leadership,
    .failed = on_failed,
};

/* ---- turns ---------------------------------------------------------------------------------------------------------- */

static void on_timer(struct timer *timer)
{
    struct group_runtime *r = container_of(timer, struct group_runtime, timer);
    r->timer_ms = UINT64_MAX;
    coordinator_tick(r->coordinator, now_ms(r));
    mark_dirty(r);
}

/* A deadline that was postponed is found out when it comes up: a heartbeat moves no timer. */
static void arm(struct group_runtime *r)
{
    uint64_t at_ms = coordinator_deadline(r->coordinator);
    uint64_t now = now_ms(r);
    if (at_ms == UINT64_MAX) {
        env_timer_stop(r->shard->env, &r->timer);
        r->timer_ms = UINT64_MAX;
    } else if (at_ms < r->timer_ms) {
        r->timer_ms = at_ms;
        env_timer_start(r->shard->env, &r->timer, at_ms > now ? at_ms - now : 0);
    }
}

static void complete_answers(struct group_runtime *r)
{
    struct list answers;
    struct list *pos;
    list_init(&answers);
    list_splice_back(&answers, &r->answers); /* what the answered ask for next has its own turn */
    while ((pos = list_pop_front(&answers)) != NULL) {
        struct coordinator_request *request = list_entry(pos, struct coordinator_request, link);
        shard_op_complete(&container_of(request, struct coordinator_op, u.request)->op);
    }
}

void group_runtime_wake_dirty(struct shard *shard)
{
    struct list dirty;
    struct list *pos;
    list_init(&dirty);
    list_splice_back(&dirty, &shard->dirty_runtimes);
    while ((pos = list_pop_front(&dirty)) != NULL) {
        struct group_runtime *r = list_entry(pos, struct group_runtime, dirty);
        arm(r);
        complete_answers(r);
    }
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

static void feed(struct group_runtime *r, struct coordinator_op *op)
{
    struct coordinator *c = r->coordinator;
    uint64_t now = now_ms(r);
    switch (op->verb) {
    case COORDINATOR_JOIN:
        coordinator_join(c, now, &op->u.join);
        break;
    case COORDINATOR_SYNC:
        coordinator_sync(c, now, &op->u.sync);
        break;
    case COORDINATOR_HEARTBEAT:
        coordinator_heartbeat(c, now, &op->u.heartbeat);
        break;
    case COORDINATOR_LEAVE:
        coordinator_leave(c, now, &op->u.leave);
        break;
    case COORDINATOR_COMMIT:
        coordinator_commit(c, now, &op->u.commit);
        break;
    case COORDINATOR_FETCH:
        coordinator_fetch(c, now, &op->u.fetch);
        break;
    case COORDINATOR_FORGET:
        coordinator_forget(c, now, &op->u.forget);
        break;
    case COORDINATOR_DELETE:
        coordinator_delete(c, now, &op->u.del);
        break;
    case COORDINATOR_DESCRIBE:
        coordinator_describe(c, now, &op->u.describe);
        break;
    case COORDINATOR_LIST:
        coordinator_list(c, now, &op->u.list);
        break;
    }
    mark_dirty(r);
}

static void refuse(struct coordinator_op *op, int error)
{
    op->u.request.error = error;
    shard_op_complete(&op->op);
}

/* 0, or why nobody is served here now. */
static int check_serving(struct group_runtime *r)
{
    if (r == NULL || r->failed || !r->leading) {
        return ERR_NOT_COORDINATOR;
    }
    lead(r);
    return r->ready && coordinator_leading(r->coordinator) ? 0 : ERR_LEADER_NOT_READY;
}

static void confirmed(struct group_barrier *barrier, int status)
{
    struct coordinator_op *op = container_of(barrier, struct coordinator_op, barrier);
    struct group_runtime *r = group_runtime_find(op->op.shard, op->group);
    int rv = status != 0 ? ERR_NOT_COORDINATOR : check_serving(r);
    if (rv != 0) {
        refuse(op, rv);
        return;
    }
    feed(r, op);
}

void coordinator_op_run(struct shard *shard, struct shard_op *shard_op)
{
    struct coordinator_op *op = container_of(shard_op, struct coordinator_op, op);
    struct group_runtime *r = group_runtime_find(shard, op->group);
    int rv = check_serving(r);
    if (rv == 0 && op->verb == COORDINATOR_COMMIT) {
        rv = wal_accepts(shard->wal); /* nothing else grows with what clients do */
    }
    if (rv == 0 && !group_confirmed(r->group) && !MUTANT(COORDINATE_BEFORE_BARRIER)) {
        op->barrier.done = confirmed;
        rv = group_barrier(r->group, &op->barrier);
        if (rv == 0) {
            return;
        }
        rv = rv == ERR_NOT_LEADER ? ERR_NOT_COORDINATOR : rv;
    }
    if (rv != 0) {
        refuse(op, rv);
        return;
    }
    feed(r, op);
}

void group_runtime_count(struct shard *shard, struct shard_stats *stats)
{
    for (const struct group_runtime *r = shard->runtimes; r != NULL; r = r->hh.next) {
        struct coordinator_stats counts;
        coordinator_stats(r->coordinator, &counts);
        stats->consumer_groups += counts.groups;
        stats->consumer_group_members += counts.members;
        stats->group_rebalances += counts.rebalances;
        stats->group_sessions_expired += counts.sessions_expired;
        stats->group_commits += counts.commits;
    }
}

/* ---- topics --------------------------------------------------------------------------------------------------------- */

struct seen_topic {
    struct uuid topic;
    UT_hash_handle hh;
};

static bool see_topic(struct seen_topic **table, const struct uuid *topic)
{
    struct seen_topic *seen;
    HASH_FIND(hh, *table, topic, sizeof *topic, seen);
    if (seen != NULL) {
        return true;
    }
    seen = calloc(1, sizeof *seen);
    if (seen == NULL) {
        return false;
    }
    seen->topic = *topic;
    HASH_ADD(hh, *table, topic, sizeof seen->topic, seen);
    if (seen->hh.tbl == NULL) {
        free(seen);
        return false;
    }
    return true;
}

void coordinator_topics_run(struct shard *shard, struct shard_op *shard_op)
{
    struct coordinator_topics *op = container_of(shard_op, struct coordinator_topics, op);
    struct group_runtime *r = group_runtime_find(shard, op->group);
    struct seen_topic *table = NULL;
    struct seen_topic *seen;
    struct seen_topic *next;

    op->topics = NULL;
    op->n = 0;
    if (check_serving(r) == 0) {
        list_for_each (pos, groups_fsm_groups(r->fsm)) {
            const struct saved_group *g = list_entry(pos, struct saved_group, link);
            const struct group_offset *o = NULL;
            while ((o = groups_fsm_offset_next(g, o)) != NULL && see_topic(&table, &o->topic)) {
                continue;
            }
        }
    }
    op->topics = table == NULL ? NULL : calloc(HASH_COUNT(table), sizeof op->topics[0]);
    HASH_ITER (hh, table, seen, next) {
        HASH_DEL(table, seen);
        if (op->topics != NULL) {
            op->topics[op->n++] = seen->topic;
        }
        free(seen);
    }
    shard_op_complete(shard_op);
}

void coordinator_topics_forget_run(struct shard *shard, struct shard_op *shard_op)
{
    struct coordinator_topics *op = container_of(shard_op, struct coordinator_topics, op);
    struct group_runtime *r = group_runtime_find(shard, op->group);
    for (uint32_t i = 0; i < op->n && check_serving(r) == 0; i++) {
        coordinator_forget_topic(r->coordinator, &op->topics[i]);
    }
    shard_op_complete(shard_op);
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

static struct group_runtime *runtime_new(struct shard *shard, uint64_t group, uint64_t replica)
{
    struct group_runtime *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->fsm = groups_fsm_new();
    if (r->fsm == NULL) {
        goto err_after_alloc;
    }
    r->coordinator = coordinator_new(r->fsm, &shard->set->groups, &coordinator_ops, r);
    if (r->coordinator == NULL) {
        goto err_after_fsm;
    }
    r->shard = shard;
    r->id = group;
    r->replica = replica;
    r->timer_ms = UINT64_MAX;
    list_init(&r->proposals);
    list_init(&r->confirms);
    list_init(&r->answers);
    list_init(&r->dirty);
    timer_init(&r->timer, on_timer);
    HASH_ADD(hh, shard->runtimes, id, sizeof r->id, r);
    if (r->hh.tbl == NULL) {
        goto err_after_coordinator;
    }
    return r;
err_after_coordinator:
    coordinator_free(r->coordinator);
err_after_fsm:
    groups_fsm_free(r->fsm);
err_after_alloc:
    free(r);
    return NULL;
}

static void runtime_free(struct group_runtime *r)
{
    HASH_DEL(r->shard->runtimes, r);
    list_remove(&r->dirty);
    env_timer_stop(r->shard->env, &r->timer);
    coordinator_free(r->coordinator);
    groups_fsm_free(r->fsm);
    free(r);
}

int group_runtime_open(struct shard *shard, const struct partition_open *open)
{
    struct group_params params = {
        .group = open->group,
        .replica = open->replica,
        .fsm = &runtime_group_fsm,
        .founders = open->founder ? &open->founders : NULL,
        .preferred = open->preferred,
    };
    struct group_runtime *r;
    int rv;

    if (group_runtime_find(shard, open->group) != NULL) {
        return ERR_EXISTS;
    }
    r = runtime_new(shard, open->group, open->replica);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    params.data = r;
    rv = open->founder ? group_found(shard->host, &params, &r->group) : group_join(shard->host, &params, &r->group);
    if (rv != 0) {
        runtime_free(r);
    }
    return rv;
}

int group_runtime_resume(struct shard *shard, uint64_t group, uint64_t replica)
{
    struct group_params params = {.group = group, .replica = replica, .fsm = &runtime_group_fsm};
    struct group_runtime *r = runtime_new(shard, group, replica);
    int rv;
    if (r == NULL) {
        return ERR_NOMEM;
    }
    params.data = r;
    rv = group_resume(shard->host, &params, &r->group);
    if (rv != 0) {
        runtime_free(r);
    }
    return rv;
}

/* Its group has ended, and with it every proposal and barrier: answer who waited for anything else. */
static void end(struct group_runtime *r)
{
    assert(list_empty(&r->proposals) && list_empty(&r->confirms));
    complete_answers(r);
    runtime_free(r);
}

static void resign(struct group_runtime *r)
{
    r->leading = false;
    r->ready = false;
    coordinator_step_down(r->coordinator);
}

bool group_runtime_delete(struct shard *shard, uint64_t group, void (*done)(void *data), void *data)
{
    struct group_runtime *r = group_runtime_find(shard, group);
    if (r == NULL) {
        return false;
    }
    resign(r);
    group_delete(r->group, done, data);
    end(r);
    return true;
}

void group_runtime_close_all(struct shard *shard)
{
    struct group_runtime *r;
    struct group_runtime *next;
    HASH_ITER (hh, shard->runtimes, r, next) {
        resign(r);
        group_close(r->group);
        end(r);
    }
}

void group_runtime_abandon_all(struct shard *shard)
{
    struct group_runtime *r;
    struct group_runtime *next;
    HASH_ITER (hh, shard->runtimes, r, next) {
        struct list *pos;
        while ((pos = list_pop_front(&r->proposals)) != NULL) {
            struct proposal *p = list_entry(pos, struct proposal, link);
            entry_release(p->entry);
            free(p);
        }
        while ((pos = list_pop_front(&r->confirms)) != NULL) {
            free(list_entry(pos, struct confirm, link));
        }
        coordinator_abandon(r->coordinator);
        runtime_free(r);
    }
}
