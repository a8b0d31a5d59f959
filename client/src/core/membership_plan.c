/* What the leader of a group does: learn the topics that anybody subscribes to, deal their partitions out, and watch
 * them for changes while the generation lasts. */
#include <stdlib.h>
#include <string.h>

#include "client/src/core/membership_wire.h"
#include "proto/native/native.pb-c.h"

/* Its members as the assignors see them, and the memory behind. */
struct plan {
    struct assignor_plan plan;
    struct kafka_arena arena;
    struct kafka_consumer_subscription *subscriptions;
};

void membership_plan_drop(struct membership *g)
{
    for (size_t i = 0; i < g->member_count; i++) {
        free(g->members[i].id);
        free(g->members[i].instance);
        free(g->members[i].metadata);
    }
    free(g->members);
    g->members = NULL;
    g->member_count = 0;
    for (size_t i = 0; i < g->watch_count; i++) {
        meta_topic_release(g->core, g->watches[i].topic);
    }
    free(g->watches);
    g->watches = NULL;
    g->watch_count = 0;
    g->withheld_ns = 0;
}

static int name_compare(const void *a, const void *b)
{
    const struct kafka_string *x = a;
    const struct kafka_string *y = b;
    int n = memcmp(x->data, y->data, (size_t)(x->length < y->length ? x->length : y->length));

    return n != 0 ? n : (x->length > y->length) - (x->length < y->length);
}

/* Who writes nonsense is dealt nothing. */
static void plan_parse(struct membership *g, struct plan *p)
{
    for (size_t i = 0; i < g->member_count; i++) {
        struct kafka_bytes bytes = {.data = g->members[i].metadata, .length = (int32_t)g->members[i].metadata_size};
        struct kafka_consumer_subscription *s = &p->subscriptions[i];

        if (kafka_consumer_subscription_parse(bytes, &p->arena, s) != 0) {
            kafka_consumer_subscription_init(s);
        }
    }
}

/* One watch for each topic that somebody subscribes to, sorted by name. */
static int watches_make(struct membership *g, const struct plan *p)
{
    struct kafka_string *names;
    size_t count = 0;
    size_t n = 0;

    for (size_t i = 0; i < g->member_count; i++) {
        count += (size_t)p->subscriptions[i].topics_count;
    }
    names = calloc(count + 1, sizeof *names);
    g->watches = calloc(count + 1, sizeof *g->watches);
    if (names == NULL || g->watches == NULL) {
        free(names);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < g->member_count; i++) {
        for (int32_t k = 0; k < p->subscriptions[i].topics_count; k++) {
            struct kafka_string name = p->subscriptions[i].topics[k];
            if (name.length > 0 && name.length <= CLIENT_TOPIC_NAME_MAX) {
                names[n++] = name;
            }
        }
    }
    qsort(names, n, sizeof *names, name_compare);
    for (size_t i = 0; i < n; i++) {
        char name[CLIENT_TOPIC_NAME_MAX + 1];

        if (i > 0 && kafka_string_equal(names[i], names[i - 1])) {
            continue;
        }
        memcpy(name, names[i].data, (size_t)names[i].length);
        name[names[i].length] = '\0';
        g->watches[g->watch_count].topic = meta_topic_acquire(g->core, name);
        if (g->watches[g->watch_count].topic == NULL) {
            free(names);
            return ERR_NOMEM;
        }
        g->watch_count++;
    }
    free(names);
    return 0;
}

static int plan_open(struct membership *g, struct plan *p)
{
    memset(p, 0, sizeof *p);
    kafka_arena_init(&p->arena, MEMBERSHIP_WIRE_ARENA_MAX);
    p->subscriptions = calloc(g->member_count + 1, sizeof *p->subscriptions);
    if (p->subscriptions == NULL) {
        return ERR_NOMEM;
    }
    plan_parse(g, p);
    return 0;
}

static void plan_close(struct plan *p)
{
    for (size_t i = 0; i < p->plan.member_count; i++) {
        free(p->plan.members[i].topics);
        free(p->plan.members[i].owned.items);
        free(p->plan.members[i].assigned.items);
    }
    free(p->plan.members);
    free(p->plan.topics);
    free(p->subscriptions);
    kafka_arena_close(&p->arena);
}

int membership_plan_begin(struct membership *g, bool keep)
{
    struct plan p;
    int rv = plan_open(g, &p);

    if (rv == 0) {
        rv = watches_make(g, &p);
    }
    plan_close(&p);
    g->plan_keep = keep;
    g->plan_deadline_ns = g->core->now_ns + MEMBERSHIP_TOPICS_WAIT_MS * NS_PER_MS;
    meta_refresh(g->core); /* what was learnt long ago may have grown */
    return rv;
}

/* The watch of a topic's name, or watch_count. */
static uint32_t watch_find(const struct membership *g, struct kafka_string name)
{
    size_t low = 0;
    size_t high = g->watch_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        struct kafka_string other = kafka_string(g->watches[middle].topic->name);
        int n = name_compare(&other, &name);
        if (n == 0) {
            return (uint32_t)middle;
        }
        if (n < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (uint32_t)g->watch_count;
}

static int u32_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int member_fill(const struct membership *g, const struct membership_peer *in,
                       const struct kafka_consumer_subscription *s, struct assignor_member *out)
{
    int rv;

    out->id = in->id;
    out->instance = in->instance;
    out->topics = calloc((size_t)s->topics_count + 1, sizeof *out->topics);
    if (out->topics == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t k = 0; k < s->topics_count; k++) {
        uint32_t topic = watch_find(g, s->topics[k]);
        if (topic < g->watch_count) {
            out->topics[out->topic_count++] = topic;
        }
    }
    qsort(out->topics, out->topic_count, sizeof *out->topics, u32_compare);
    out->owned_generation = s->generation_id;
    if (s->generation_id < 0 && s->user_data.length == 4) { /* Java's cooperative-sticky before version 2 */
        uint32_t raw;
        memcpy(&raw, s->user_data.data, sizeof raw);
        out->owned_generation = (int32_t)__builtin_bswap32(raw);
    }
    for (int32_t k = 0; k < s->owned_partitions_count; k++) {
        const struct kafka_consumer_subscription_topic *t = &s->owned_partitions[k];
        uint32_t topic = watch_find(g, t->topic);

        for (int32_t i = 0; topic < g->watch_count && i < t->partitions_count; i++) {
            rv = t->partitions[i] >= 0 ? assignor_parts_add(&out->owned, topic, (uint32_t)t->partitions[i]) : 0;
            if (rv != 0) {
                return rv;
            }
        }
    }
    return 0;
}

static int plan_fill(struct membership *g, struct plan *p)
{
    int rv = 0;

    p->plan.topics = calloc(g->watch_count + 1, sizeof *p->plan.topics);
    p->plan.members = calloc(g->member_count + 1, sizeof *p->plan.members);
    if (p->plan.topics == NULL || p->plan.members == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < g->watch_count; i++) {
        struct membership_watch *w = &g->watches[i];
        w->partition_count = w->topic->error == 0 ? w->topic->partition_count : 0;
        memcpy(w->id, w->topic->id, sizeof w->id);
        p->plan.topics[i] = (struct assignor_topic){.name = w->topic->name, .partition_count = w->partition_count};
    }
    p->plan.topic_count = g->watch_count;
    for (size_t i = 0; i < g->member_count && rv == 0; i++) {
        p->plan.member_count++;
        rv = member_fill(g, &g->members[i], &p->subscriptions[i], &p->plan.members[i]);
    }
    return rv;
}

/* Everybody's assignment, sent. */
static int plan_send(struct membership *g, const struct plan *p)
{
    size_t n = g->plan_keep ? 0 : p->plan.member_count;
    Cairn__Native__MemberAssignment *items = calloc(n + 1, sizeof *items);
    Cairn__Native__MemberAssignment **pointers = calloc(n + 1, sizeof *pointers);
    int rv = items != NULL && pointers != NULL ? 0 : ERR_NOMEM;

    for (size_t i = 0; i < n && rv == 0; i++) {
        const struct assignor_member *m = &p->plan.members[i];

        cairn__native__member_assignment__init(&items[i]);
        items[i].member = (char *)(uintptr_t)m->id;
        pointers[i] = &items[i];
        rv = membership_assignment_write(&p->plan, m, &items[i].assignment.data, &items[i].assignment.len);
    }
    if (rv == 0) {
        rv = membership_sync(g, pointers, n);
    }
    for (size_t i = 0; i < n && items != NULL; i++) {
        free(items[i].assignment.data);
    }
    free(items);
    free(pointers);
    return rv;
}

static bool topics_known(const struct membership *g)
{
    for (size_t i = 0; i < g->watch_count; i++) {
        const struct meta_topic *t = g->watches[i].topic;
        if (t->partition_count == 0 && t->error == ERR_LEADER_NOT_READY) {
            return false; /* nobody was asked yet */
        }
    }
    return true;
}

void membership_plan(struct membership *g)
{
    struct plan p;
    int rv;

    if (g->core->now_ns < g->plan_deadline_ns && !topics_known(g)) {
        core_wake_at(g->core, g->plan_deadline_ns);
        return;
    }
    rv = plan_open(g, &p);
    if (rv == 0) {
        rv = plan_fill(g, &p);
    }
    if (rv == 0) {
        rv = assignor_run(g->assignor, &p.plan);
    }
    if (rv == 0) {
        rv = plan_send(g, &p);
    }
    /* Who gives partitions up joins again. But an owner may have lost them meanwhile (a static member that came back),
     * and has nothing to give up: then nobody would. Who leads again without a rebalance does not know what was
     * withheld. */
    if (rv == 0 && g->assignor == ASSIGNOR_COOPERATIVE_STICKY && (p.plan.withheld > 0 || g->plan_keep)) {
        g->withheld_ns = g->core->now_ns + 3 * g->config.heartbeat_interval_ms * NS_PER_MS;
    }
    plan_close(&p);
    if (rv != 0) { /* out of memory: from the beginning */
        membership_plan_drop(g);
        g->rejoin = true;
        g->retry_ns = g->core->now_ns + MEMBERSHIP_RETRY_MAX_MS * NS_PER_MS;
        g->state = MEMBERSHIP_STABLE;
    }
}

bool membership_plan_stale(const struct membership *g)
{
    for (size_t i = 0; i < g->watch_count; i++) {
        const struct membership_watch *w = &g->watches[i];
        uint32_t count = w->topic->error == 0 ? w->topic->partition_count : 0;

        if (w->topic->error == ERR_LEADER_NOT_READY) {
            continue; /* not known now */
        }
        if (count != w->partition_count || (count > 0 && memcmp(w->id, w->topic->id, sizeof w->id) != 0)) {
            return true;
        }
    }
    return false;
}
