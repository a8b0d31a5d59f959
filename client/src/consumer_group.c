/* The public side of consumer groups: events told in the program's thread, commits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/consumer.h"

#define LEAVE_WAIT_MS 3000 /* commits at the end, and then the coordinator's answer */

static int name_set(char out[MEMBERSHIP_ID_MAX + 1], const char *option, const char *value, struct cairn_error *error)
{
    if (strlen(value) > MEMBERSHIP_ID_MAX) {
        return error_set(error, ERR_CONFIG, "option %s: at most %d bytes", option, MEMBERSHIP_ID_MAX);
    }
    snprintf(out, MEMBERSHIP_ID_MAX + 1, "%s", value);
    return 0;
}

int consumer_group_options(struct cairn_consumer *c, const char *id, const char *instance, const char *assignors,
                           struct cairn_error *error)
{
    struct membership_config *g = &c->config.group;
    int rv = name_set(g->id, "group_id", id, error);

    rv = rv == 0 ? name_set(g->instance, "group_instance_id", instance, error) : rv;
    if (rv == 0 && g->heartbeat_interval_ms >= g->session_timeout_ms) {
        rv = error_set(error, ERR_CONFIG, "option heartbeat_interval_ms: must be below session_timeout_ms");
    }
    if (rv != 0 || assignors[0] == '\0') {
        return rv;
    }
    g->assignor_count = 0;
    while (*assignors != '\0') {
        size_t length = strcspn(assignors, ",");
        char name[32];
        enum assignor a;

        snprintf(name, sizeof name, "%.*s", (int)(length < 31 ? length : 31), assignors);
        a = assignor_find(name);
        for (size_t i = 0; i < g->assignor_count; i++) {
            a = g->assignors[i] == a ? ASSIGNOR_COUNT : a;
        }
        if (a == ASSIGNOR_COUNT) {
            return error_set(error, ERR_CONFIG,
                             "option assignors: \"%.60s\" is not allowed, only range, roundrobin and "
                             "cooperative-sticky, each once, with commas between them",
                             name);
        }
        g->assignors[g->assignor_count++] = a;
        assignors += length + (assignors[length] == ',');
    }
    return 0;
}

void cairn_consumer_on_rebalance(struct cairn_consumer *c,
                                 void (*callback)(void *arg, struct cairn_consumer *consumer, enum cairn_rebalance what,
                                                  const struct cairn_topic_partition *partitions, size_t count),
                                 void *arg)
{
    c->rebalanced = callback;
    c->rebalanced_arg = arg;
}

struct subscribe_task {
    struct cairn_consumer *c;
    const char *const *topics;
    size_t count;
    int rv;
};

static bool has_partitions(const struct consumer *c)
{
    list_for_each (pos, &c->partitions) {
        if (!list_entry(pos, struct consumer_partition, link)->removed) {
            return true;
        }
    }
    return false;
}

static void task_subscribe(struct core *core, void *arg)
{
    struct subscribe_task *t = arg;
    struct consumer *consumer = t->c->core;

    consumer_lock(consumer);
    t->rv = ERR_EXISTS;
    if (consumer->group->state != MEMBERSHIP_IDLE || !has_partitions(consumer)) {
        t->rv = membership_subscribe(consumer->group, t->topics, t->count);
    }
    consumer_unlock(consumer);
}

int cairn_consumer_subscribe(struct cairn_consumer *c, const char *const *topics, size_t count,
                             struct cairn_error *error)
{
    struct subscribe_task t = {.c = c, .topics = topics, .count = count};

    if (c->core->group == NULL) {
        return error_set(error, ERR_INVALID, "subscribe: the option group_id names the group, and is not set");
    }
    if (c->in_callback) {
        return error_set(error, ERR_INVALID, "subscribe: not allowed in a callback");
    }
    driver_run(&c->client->driver, task_subscribe, &t);
    if (t.rv == ERR_EXISTS) {
        return error_set(error, ERR_INVALID, "subscribe: partitions were assigned by hand, unassign them first");
    }
    if (t.rv != 0) {
        error_set(error, t.rv, "subscribe to %zu topics: %s", count, err_text(t.rv));
    }
    return t.rv;
}

/* Run the callback with the lock released. */
static void tell(struct cairn_consumer *c, enum cairn_rebalance what, const struct cairn_topic_partition *partitions,
                 size_t count)
{
    uv_mutex_unlock(&c->mutex);
    c->in_callback = true;
    c->rebalanced(c->rebalanced_arg, c, what, partitions, count);
    c->in_callback = false;
    uv_mutex_lock(&c->mutex);
}

static void event_tell(struct cairn_consumer *c, const struct membership_event *e)
{
    static const enum cairn_rebalance words[] = {[MEMBERSHIP_ASSIGNED] = CAIRN_REBALANCE_ASSIGNED,
                                                 [MEMBERSHIP_REVOKED] = CAIRN_REBALANCE_REVOKED,
                                                 [MEMBERSHIP_LOST] = CAIRN_REBALANCE_LOST};
    struct cairn_topic_partition *partitions;

    if (c->rebalanced == NULL) {
        return;
    }
    partitions = calloc(e->parts.count + 1, sizeof *partitions);
    for (size_t i = 0; partitions != NULL && i < e->parts.count; i++) {
        const struct membership_part *part = &e->parts.items[i];
        const struct consumer_partition *p = consumer_find(c->core, part->topic->name, part->partition);

        partitions[i].topic = part->topic->name;
        partitions[i].partition = (int32_t)part->partition;
        partitions[i].offset = e->kind == MEMBERSHIP_ASSIGNED ? part->offset : p != NULL ? p->done_offset : -1;
    }
    tell(c, words[e->kind], partitions, partitions != NULL ? e->parts.count : 0);
    free(partitions);
}

int consumer_group_events(struct cairn_consumer *c, bool *wake, struct cairn_error *error)
{
    struct membership *g = c->core->group;
    struct membership_event *e;
    int rv;

    if (g == NULL) {
        return 0;
    }
    e = membership_take(c->core, &rv, wake);
    if (e != NULL) {
        event_tell(c, e);
        membership_done(c->core, wake);
    } else if (rv != 0) {
        return error_set(error, rv, "take partitions of group %.100s: %s", g->config.id, err_text(rv));
    }
    return g->failure == 0 ? 0 : error_set(error, g->failure, "group %.100s: %s", g->config.id, g->failure_text);
}

/* The consumer's partitions; locked. NULL: out of memory. */
static struct cairn_topic_partition *partitions_list(const struct cairn_consumer *c, size_t *count)
{
    struct cairn_topic_partition *out;
    size_t n = 0;

    list_for_each (pos, &c->core->partitions) {
        n++;
    }
    out = calloc(n + 1, sizeof *out);
    *count = 0;
    list_for_each (pos, &c->core->partitions) {
        const struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        if (out != NULL && !p->removed) {
            out[(*count)++] = (struct cairn_topic_partition){
                .topic = p->topic, .partition = (int32_t)p->partition, .offset = p->position >= 0 ? p->position : -1};
        }
    }
    return out;
}

void cairn_consumer_assignment(struct cairn_consumer *c, struct cairn_topic_partition *partitions, size_t max,
                               size_t *count)
{
    struct cairn_topic_partition *all;

    uv_mutex_lock(&c->mutex);
    all = partitions_list(c, count);
    if (all != NULL && max > 0) {
        memcpy(partitions, all, (*count < max ? *count : max) * sizeof *all);
    }
    uv_mutex_unlock(&c->mutex);
    free(all);
}

/* ---- offsets
 * ---------------------------------------------------------------------------------------------------------- */

struct offsets_task {
    struct cairn_consumer *c;
    const struct cairn_topic_partition *offsets; /* NULL: what is processed */
    size_t count;
    uint32_t timeout_ms;
    bool asks;
    void (*callback)(void *arg, int code, const char *text); /* asynchronous */
    void *arg;
    /* out */
    int rv; /* of the beginning */
    bool nothing;
    uv_sem_t done; /* synchronous */
    int status;
    int64_t offset; /* asked for */
    char text[ERRMSG_SIZE];
};

static void sync_done(struct membership_offsets *o)
{
    struct offsets_task *t = o->owner;

    t->status = o->status;
    t->offset = o->parts.items[0].offset;
    if (t->asks && t->status == 0 && o->parts.items[0].error != 0) {
        t->status = o->parts.items[0].error;
    }
    snprintf(t->text, sizeof t->text, "%s", t->status == o->status ? o->text : err_text(t->status));
    membership_offsets_free(o);
    uv_sem_post(&t->done);
}

struct async_commit {
    void (*callback)(void *arg, int code, const char *text);
    void *arg;
};

static void async_done(struct membership_offsets *o)
{
    struct async_commit *a = o->owner;

    if (a->callback != NULL) {
        a->callback(a->arg, o->status, o->text);
    }
    free(a);
    membership_offsets_free(o);
}

static int offsets_collect(struct offsets_task *t, struct membership_offsets **out)
{
    struct membership *g = t->c->core->group;
    struct membership_offsets *o;
    int rv = 0;

    if (t->offsets == NULL) {
        return membership_processed(g, out);
    }
    o = membership_offsets_new(g);
    if (o == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < t->count && rv == 0; i++) {
        rv = membership_parts_add(g->core, &o->parts, t->offsets[i].topic, (uint32_t)t->offsets[i].partition,
                                  t->offsets[i].offset);
    }
    if (rv != 0) {
        membership_offsets_free(o);
        return rv;
    }
    *out = o;
    return 0;
}

static void task_offsets(struct core *core, void *arg)
{
    struct offsets_task *t = arg;
    struct consumer *consumer = t->c->core;
    struct membership_offsets *o = NULL;
    struct async_commit *a = NULL;

    consumer_lock(consumer);
    t->rv = offsets_collect(t, &o);
    consumer_unlock(consumer);
    if (t->rv != 0 || o == NULL || o->parts.count == 0) {
        if (o != NULL) {
            membership_offsets_free(o);
        }
        t->nothing = t->rv == 0;
        return;
    }
    o->done = sync_done;
    o->owner = t;
    if (t->callback != NULL || t->timeout_ms == 0) {
        a = calloc(1, sizeof *a);
        if (a == NULL) {
            membership_offsets_free(o);
            t->rv = ERR_NOMEM;
            return;
        }
        *a = (struct async_commit){.callback = t->callback, .arg = t->arg};
        o->done = async_done;
        o->owner = a;
    }
    if (t->asks) {
        membership_offsets_ask(consumer->group, o, t->timeout_ms);
        return;
    }
    t->rv = membership_offsets_commit(consumer->group, o, a != NULL ? MEMBERSHIP_CALL_TIMEOUT_MS : t->timeout_ms);
    if (t->rv != 0) {
        free(a);
        membership_offsets_free(o);
    }
}

/* What the three calls below have in common: arguments, and waiting. */
static int offsets_run(struct offsets_task *t, bool wait, const char *what, struct cairn_error *error)
{
    struct cairn_consumer *c = t->c;

    if (c->core->group == NULL) {
        return error_set(error, ERR_INVALID, "%s: the option group_id names the group, and is not set", what);
    }
    for (size_t i = 0; t->offsets != NULL && i < t->count; i++) {
        const struct cairn_topic_partition *o = &t->offsets[i];
        size_t length = o->topic != NULL ? strlen(o->topic) : 0;
        if (length == 0 || length > CLIENT_TOPIC_NAME_MAX || o->partition < 0 || (o->offset < 0 && !t->asks)) {
            return error_set(error, ERR_INVALID, "%s: topic %.80s partition %d offset %lld: not allowed", what,
                             o->topic != NULL ? o->topic : "(none)", o->partition, (long long)o->offset);
        }
    }
    if (wait && (driver_on_loop(&c->client->driver) || uv_sem_init(&t->done, 0) != 0)) {
        return error_set(error, ERR_INVALID, "%s: not allowed on the background thread", what);
    }
    driver_run(&c->client->driver, task_offsets, t);
    if (wait) {
        if (t->rv == 0 && !t->nothing) {
            uv_sem_wait(&t->done);
            t->rv = t->status;
        }
        uv_sem_destroy(&t->done);
    }
    if (t->rv != 0) {
        error_set(error, t->rv, "%s, group %.80s: %.140s", what, c->config.group.id,
                  t->text[0] != '\0' ? t->text : err_text(t->rv));
    }
    return t->rv;
}

static void mark_processed(struct cairn_consumer *c)
{
    uv_mutex_lock(&c->mutex);
    consumer_records_mark(c);
    uv_mutex_unlock(&c->mutex);
}

int cairn_consumer_commit(struct cairn_consumer *c, const struct cairn_topic_partition *offsets, size_t count,
                          uint32_t timeout_ms, struct cairn_error *error)
{
    struct offsets_task t = {.c = c, .offsets = offsets, .count = count, .timeout_ms = timeout_ms > 0 ? timeout_ms : 1};

    if (offsets == NULL) {
        mark_processed(c);
    }
    return offsets_run(&t, true, "commit", error);
}

int cairn_consumer_commit_async(struct cairn_consumer *c, const struct cairn_topic_partition *offsets, size_t count,
                                void (*callback)(void *arg, int code, const char *text), void *arg,
                                struct cairn_error *error)
{
    struct offsets_task t = {.c = c, .offsets = offsets, .count = count, .callback = callback, .arg = arg};
    int rv;

    if (offsets == NULL) {
        mark_processed(c);
    }
    rv = offsets_run(&t, false, "commit", error);
    if (rv == 0 && t.nothing && callback != NULL) {
        callback(arg, 0, err_text(0));
    }
    return rv;
}

int cairn_consumer_committed(struct cairn_consumer *c, const char *topic, int32_t partition, uint32_t timeout_ms,
                             int64_t *offset, struct cairn_error *error)
{
    struct cairn_topic_partition item = {.topic = topic, .partition = partition};
    struct offsets_task t = {
        .c = c, .offsets = &item, .count = 1, .timeout_ms = timeout_ms > 0 ? timeout_ms : 1, .asks = true};
    int rv = offsets_run(&t, true, "committed offset", error);

    if (rv == 0) {
        *offset = t.offset;
    }
    return rv;
}

/* ---- the end
 * ---------------------------------------------------------------------------------------------------------- */

static void task_leave(struct core *core, void *arg)
{
    struct cairn_consumer *c = arg;

    consumer_lock(c->core);
    membership_leave(c->core->group);
    consumer_unlock(c->core);
}

/* Locked. */
static void tell_revoked(struct cairn_consumer *c)
{
    const struct membership *g = c->core->group;
    bool lost = g->failure != 0 || g->event.kind == MEMBERSHIP_LOST;
    struct cairn_topic_partition *partitions;
    size_t count;

    partitions = partitions_list(c, &count);
    if (c->rebalanced != NULL && partitions != NULL && count > 0) {
        tell(c, lost ? CAIRN_REBALANCE_LOST : CAIRN_REBALANCE_REVOKED, partitions, count);
    }
    free(partitions);
}

void consumer_group_leave(struct cairn_consumer *c)
{
    struct membership *g = c->core->group;
    uint64_t deadline_ns = driver_now_ns() + LEAVE_WAIT_MS * NS_PER_MS;
    uint64_t now_ns;
    bool wake = false;
    bool commit;

    if (g == NULL) {
        return;
    }
    uv_mutex_lock(&c->mutex);
    consumer_records_mark(c);
    if (g->state != MEMBERSHIP_IDLE) {
        tell_revoked(c);
    }
    commit = c->config.group.auto_commit && (g->state == MEMBERSHIP_IDLE || g->generation >= 0);
    uv_mutex_unlock(&c->mutex);
    if (commit) {
        struct offsets_task t = {.c = c, .timeout_ms = LEAVE_WAIT_MS};
        (void)offsets_run(&t, true, "commit", NULL); /* what it could not keep is read again */
    }
    uv_mutex_lock(&c->mutex);
    if (g->state == MEMBERSHIP_IDLE) {
        goto out;
    }
    list_for_each (pos, &c->core->partitions) {
        struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        if (!p->removed) {
            consumer_unassign(c->core, p, &wake);
        }
    }
    uv_mutex_unlock(&c->mutex);
    driver_run(&c->client->driver, task_leave, c);
    uv_mutex_lock(&c->mutex);
    while (!membership_left(g) && (now_ns = driver_now_ns()) < deadline_ns) {
        (void)uv_cond_timedwait(&c->changed, &c->mutex, deadline_ns - now_ns);
    }
out:
    consumer_unlock_and_wake(c, wake);
}

int cairn_consumer_unsubscribe(struct cairn_consumer *c)
{
    if (c->in_callback || driver_on_loop(&c->client->driver)) {
        return ERR_INVALID;
    }
    consumer_group_leave(c);
    return 0;
}
