/* A program that is a member of a consumer group: polls, processes, commits (or lets the library do it), stops polling for
 * a while, leaves and comes back, dies. Each member has a core of its own, as it would have a process of its own. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/consumer.h"
#include "client/src/core/membership.h"
#include "tests/sim/real_client.h"
#include "tests/sim/real_client_group.h"

#define TICK_MS 5
#define MEMBERS_MAX 3
#define COMMIT_PARTS_MAX (CLIENT_TOPICS_MAX * 16)
#define ATTEMPT_MS 900 /* the library asks again where an answer takes longer */
#define COMMIT_TIMEOUT_MS 8000
#define LATE_NS (3 * SIM_S)
#define LATE_TIMEOUT_MS 2000

/* A commit that was taken, to come once more when its generation is over. */
struct late_commit {
    char member[MEMBERSHIP_MEMBER_ID_SIZE];
    int32_t generation; /* -1: none */
    struct uuid topic;
    uint32_t partition;
    int64_t offset;
    bool under_way;
};

/* A commit that the program has asked for. */
struct commit {
    struct member *member;
    unsigned n;
    struct group_part *parts[COMMIT_PARTS_MAX];
    size_t numbers[COMMIT_PARTS_MAX];
    uint64_t begun_ns;
    unsigned drops; /* connections lost when it began */
};

struct member {
    struct real_driver driver;
    struct members *all;
    uint64_t number; /* of this life, in the whole run */
    struct consumer *lib;
    struct chunk *chunk; /* in work */
    struct uuid chunk_topic;
    uint64_t work_ns; /* until then */
    uint64_t away_ns; /* does not poll until then */
    uint64_t back_ns; /* has left, and subscribes again then; 0: it has not */
    bool gone;        /* ended for good, without a word */
    bool ends_late;
    uint64_t commit_ns;
    struct late_commit late;
    unsigned commits;                     /* under way */
    const struct membership_offsets *ask; /* looked at last */
    const struct group_part *asked_of[COMMIT_PARTS_MAX];
    size_t asked[COMMIT_PARTS_MAX];
    bool moved; /* something came since the last look */
    bool vanishing;
};

struct members {
    struct env *env;
    struct workload *w;
    struct client_tick tick;
    struct group_ledger *ledger;
    unsigned n;
    struct member members[MEMBERS_MAX];
    bool dead;
    unsigned phase; /* 1: healed, 2: nothing new comes any more */
};

static struct uuid id_of(const struct meta_topic *topic)
{
    struct uuid id;

    memcpy(id.bytes, topic->id, sizeof id.bytes);
    return id;
}

static struct group_part *part_of(const struct member *m, const struct membership_part *part)
{
    struct uuid id = id_of(part->topic);

    if (part->of_known) {
        memcpy(id.bytes, part->of, sizeof id.bytes);
    }
    return group_part(m->all->ledger, &id, part->partition);
}

/* ---- what the library does ------------------------------------------------------------------------------------------- */

/* The question for offsets to begin at leaves with the turn that has just ended. */
static void after_turn(struct real_driver *d)
{
    struct member *m = container_of(d, struct member, driver);
    const struct membership *g = m->lib != NULL ? m->lib->group : NULL;

    if (g == NULL) {
        return;
    }
    group_generation(m->all->ledger, g->generation);
    if (g->begin == m->ask) {
        return;
    }
    m->ask = g->begin;
    for (size_t i = 0; m->ask != NULL && i < m->ask->parts.count && i < COMMIT_PARTS_MAX; i++) {
        m->asked_of[i] = part_of(m, &m->ask->parts.items[i]);
        m->asked[i] = group_asked(m->asked_of[i]);
    }
}

static void on_event(struct member *m, const struct membership_event *e)
{
    static const char *const words[] = {"", "assigned", "revoked", "lost"};
    struct oracle *o = m->all->w->oracle;
    const struct membership *g = m->lib->group;

    oracle_trace(o, "group: member %" PRIu64 " generation %d: %zu partitions %s", m->number, g->generation, e->parts.count,
                 words[e->kind]);
    oracle_counts(o)->group_assigned += e->kind == MEMBERSHIP_ASSIGNED;
    oracle_counts(o)->group_revoked += e->kind == MEMBERSHIP_REVOKED;
    oracle_counts(o)->group_lost += e->kind == MEMBERSHIP_LOST;
    if (e->kind != MEMBERSHIP_ASSIGNED || g->generation < 0) {
        return;
    }
    for (size_t i = 0; i < e->parts.count; i++) {
        struct group_part *part = part_of(m, &e->parts.items[i]);
        oracle_trace(o, "group: member %" PRIu64 ": %s/%u from %" PRId64, m->number, e->parts.items[i].topic->name,
                     e->parts.items[i].partition, e->parts.items[i].offset);
        group_owned(o, part, g->generation, m->number);
        group_told(o, part, part == m->asked_of[i] ? m->asked[i] : 0, e->parts.items[i].offset);
    }
    for (size_t i = 0; i < g->assigned.count; i++) {
        group_owned(o, part_of(m, &g->assigned.items[i]), g->generation, m->number);
    }
}

static void take_events(struct member *m)
{
    struct membership_event *e;
    bool wake = false;
    int err;

    while ((e = membership_take(m->lib, &err, &wake)) != NULL) {
        on_event(m, e);
        membership_done(m->lib, &wake);
    }
    if (err != 0 || m->lib->group->failure != 0) {
        oracle_violation(m->all->w->oracle, "group: member %" PRIu64 " is told %s: %s", m->number,
                         err_name(err != 0 ? err : m->lib->group->failure), m->lib->group->failure_text);
    }
}

/* ---- commits ----------------------------------------------------------------------------------------------------------- */

static void on_late(struct core_call *call, int status, const struct frame *frame)
{
    struct member *m = call->owner;
    Cairn__Native__CommitOffsetsResponse *r = NULL;

    m->late.under_way = false;
    if (status == 0 && !m->all->dead) {
        r = cairn__native__commit_offsets_response__unpack(NULL, frame->header.message_length, frame->message);
        if (r == NULL || r->n_offsets != 1 || r->offsets[0]->error == 0) {
            oracle_violation(m->all->w->oracle, "group: member %" PRIu64 ": a commit of generation %d was taken when that was over",
                             m->number, m->late.generation);
        }
        cairn__native__commit_offsets_response__free_unpacked(r, NULL);
    }
    m->late.generation = -1;
}

/* As the copy that a lost connection has kept back would come. */
static void send_late(struct member *m)
{
    struct membership *g = m->lib->group;
    Cairn__Native__CommitOffsetsRequest q = CAIRN__NATIVE__COMMIT_OFFSETS_REQUEST__INIT;
    Cairn__Native__CommitOffset item = CAIRN__NATIVE__COMMIT_OFFSET__INIT;
    Cairn__Native__CommitOffset *items = &item;
    uint8_t message[MEMBERSHIP_ID_MAX + MEMBERSHIP_MEMBER_ID_SIZE + 128];

    if (m->late.under_way || m->late.generation < 0 || g->generation <= m->late.generation ||
        strcmp(g->member, m->late.member) != 0) {
        return;
    }
    q.group = g->config.id;
    q.member = m->late.member;
    q.generation = m->late.generation;
    q.n_offsets = 1;
    q.offsets = &items;
    item.topic_id = (ProtobufCBinaryData){sizeof m->late.topic.bytes, m->late.topic.bytes};
    item.partition = m->late.partition;
    item.offset = m->late.offset;
    m->driver.core.now_ns = env_now_ns(m->driver.env);
    m->late.under_way = membership_call(g, CALL_COMMIT_OFFSETS, message, cairn__native__commit_offsets_request__pack(&q, message),
                                        LATE_TIMEOUT_MS * SIM_MS, on_late, m) != NULL;
    oracle_counts(m->all->w->oracle)->group_late_commits++;
}

/* One of its partitions is enough. */
static void keep_late(struct member *m, const struct membership_offsets *o)
{
    const struct membership_part *part = &o->parts.items[0];

    if (m->late.under_way || m->lib == NULL || o->generation != m->lib->group->generation) {
        return;
    }
    snprintf(m->late.member, sizeof m->late.member, "%s", m->lib->group->member);
    m->late.generation = o->generation;
    memcpy(m->late.topic.bytes, part->of, sizeof m->late.topic.bytes);
    m->late.partition = part->partition;
    m->late.offset = part->offset;
}

static void on_committed(struct membership_offsets *offsets)
{
    struct commit *c = offsets->owner;
    struct member *m = c->member;
    struct oracle *o = m->all->w->oracle;
    bool once = m->driver.drops == c->drops && m->driver.core.now_ns - c->begun_ns < ATTEMPT_MS * SIM_MS;

    m->commits--;
    if (!m->all->dead && !m->vanishing) {
        oracle_trace(o, "group: member %" PRIu64 ": commit of %u partitions in generation %d: %s", m->number, c->n,
                     offsets->generation, err_name(offsets->status));
        oracle_counts(o)->group_commits += offsets->status == 0;
        oracle_counts(o)->group_commits_refused += offsets->status != 0;
        if (offsets->status == 0) {
            keep_late(m, offsets);
        }
        for (unsigned i = 0; i < c->n; i++) {
            if (offsets->parts.items[i].error == 0 && offsets->status == 0) {
                group_commit_acked(o, c->parts[i], c->numbers[i], once);
            }
        }
    }
    membership_offsets_free(offsets);
    free(c);
}

static void commit(struct member *m)
{
    struct membership *g = m->lib->group;
    struct membership_offsets *o;
    struct commit *c;

    if (g->generation < 0 || membership_processed(g, &o) != 0 || o == NULL) {
        return;
    }
    c = calloc(1, sizeof *c);
    assert(c != NULL && o->parts.count <= COMMIT_PARTS_MAX);
    *c = (struct commit){.member = m, .n = (unsigned)o->parts.count, .begun_ns = env_now_ns(m->driver.env),
                         .drops = m->driver.drops};
    for (unsigned i = 0; i < c->n; i++) {
        c->parts[i] = part_of(m, &o->parts.items[i]);
        c->numbers[i] = group_commit_begun(c->parts[i], g->generation, o->parts.items[i].offset);
    }
    o->done = on_committed;
    o->owner = c;
    m->commits++;
    if (membership_offsets_commit(g, o, COMMIT_TIMEOUT_MS) != 0) {
        assert(false);
    }
}

/* ---- the program --------------------------------------------------------------------------------------------------------- */

static void drop_chunk(struct member *m)
{
    if (m->chunk != NULL) {
        chunk_free(m->chunk);
        m->chunk = NULL;
    }
}

/* What it was given is processed now, whether the partition still is its own or not. */
static void process(struct member *m)
{
    struct chunk *chunk = m->chunk;
    struct consumer_partition *p;
    char name[16];

    if (chunk == NULL) {
        return;
    }
    list_for_each(pos, &m->lib->partitions)
    {
        p = list_entry(pos, struct consumer_partition, link);
        if (p == chunk->partition && !p->removed && memcmp(p->topic_id, m->chunk_topic.bytes, sizeof p->topic_id) == 0) {
            client_topic_name(m->all->w, (unsigned)atoi(p->topic + 1), name);
            consumer_processed(p, chunk->end);
            group_processed(group_part(m->all->ledger, &m->chunk_topic, p->partition), chunk->begin, chunk->end);
            oracle_counts(m->all->w->oracle)->group_processed += (uint64_t)(chunk->end - chunk->begin);
            m->moved = true;
        }
    }
    drop_chunk(m);
}

static void poll(struct member *m)
{
    struct env *env = m->driver.env;
    uint64_t now = env_now_ns(env);
    bool wake = false;

    membership_polled(m->lib->group, now, true, &wake);
    process(m);
    take_events(m);
    if (m->lib->group->event.kind == MEMBERSHIP_NO_EVENT) {
        m->chunk = consumer_take(m->lib, &wake);
    }
    if (m->chunk != NULL && m->chunk->status != 0) {
        int error = m->chunk->status;
        if (error != ERR_UNKNOWN_TOPIC) {
            oracle_violation(m->all->w->oracle, "group: member %" PRIu64 ": %s/%u: told %s", m->number,
                             m->chunk->partition->topic, m->chunk->partition->partition, err_name(error));
        }
        drop_chunk(m);
    }
    if (m->chunk != NULL) {
        memcpy(m->chunk_topic.bytes, m->chunk->partition->topic_id, sizeof m->chunk_topic.bytes);
        m->work_ns = now + real_draw(env, 0, 20) * SIM_MS;
    }
    membership_polled(m->lib->group, now, false, &wake);
}

static void subscribe(struct member *m)
{
    char names[CLIENT_TOPICS_MAX][16];
    const char *topics[CLIENT_TOPICS_MAX];
    int rv;

    for (unsigned t = 0; t < m->all->w->n_topics; t++) {
        client_topic_name(m->all->w, t, names[t]);
        topics[t] = names[t];
    }
    m->driver.core.now_ns = env_now_ns(m->driver.env);
    rv = membership_subscribe(m->lib->group, topics, m->all->w->n_topics);
    assert(rv == 0);
    (void)rv;
    m->back_ns = 0;
}

static void leave(struct member *m)
{
    bool wake = false;

    oracle_trace(m->all->w->oracle, "group: member %" PRIu64 " leaves", m->number);
    oracle_counts(m->all->w->oracle)->group_leaves++;
    drop_chunk(m);
    list_for_each(pos, &m->lib->partitions)
    {
        struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        if (!p->removed) {
            consumer_unassign(m->lib, p, &wake);
        }
    }
    m->driver.core.now_ns = env_now_ns(m->driver.env);
    membership_leave(m->lib->group);
    m->back_ns = env_now_ns(m->driver.env) + real_draw(m->driver.env, 1, 4000) * SIM_MS;
}

/* What is assigned are names: a topic may have been made again meanwhile. */
static void still_owned(struct member *m)
{
    const struct membership *g = m->lib->group;

    for (size_t i = 0; i < g->assigned.count && g->generation >= 0 && g->state == MEMBERSHIP_STABLE; i++) {
        group_owned(m->all->w->oracle, part_of(m, &g->assigned.items[i]), g->generation, m->number);
    }
}

/* Nobody comes in its place. */
static void vanish(struct member *m)
{
    oracle_trace(m->all->w->oracle, "group: member %" PRIu64 " is gone", m->number);
    oracle_counts(m->all->w->oracle)->group_vanished++;
    m->gone = true;
    group_alive(m->all->ledger, m->number, false);
    drop_chunk(m);
    m->vanishing = true;
    consumer_close(m->lib);
    m->vanishing = false;
    m->lib = NULL;
}

static void member_tick(struct member *m)
{
    struct env *env = m->driver.env;
    uint64_t now = env_now_ns(env);
    bool healed = m->all->w->healed_ns != 0;

    if (m->gone) {
        return;
    }
    if (!healed && real_draw(env, 0, 1500) == 0) {
        m->driver.frozen_ns = now + real_draw(env, 100, 6000) * SIM_MS;
        oracle_counts(m->all->w->oracle)->group_frozen++;
    }
    if (now < m->driver.frozen_ns) {
        return;
    }
    /* One that ends when all others are at rest leaves it to the coordinator to notice. */
    if (m != m->all->members && (healed ? m->ends_late && sim_world_now(m->all->w->world) > m->all->w->healed_ns + LATE_NS
                                        : real_draw(env, 0, 5000) == 0)) {
        vanish(m);
        return;
    }
    if (m->back_ns != 0) {
        if (healed || now >= m->back_ns) {
            subscribe(m);
        }
        return;
    }
    if (!healed && real_draw(env, 0, 800) == 0) {
        m->away_ns = now + real_draw(env, 100, 6000) * SIM_MS;
    }
    if (!healed && m->commits == 0 && real_draw(env, 0, 2000) == 0) {
        leave(m);
        return;
    }
    if (healed) {
        still_owned(m);
    }
    if (now < m->work_ns || (now < m->away_ns && !healed)) {
        return;
    }
    poll(m);
    send_late(m);
    if (now >= m->commit_ns) {
        m->commit_ns = now + real_draw(env, 20, 500) * SIM_MS;
        commit(m);
    }
}

static void tick(void *data)
{
    struct members *all = data;

    for (unsigned i = 0; i < all->n; i++) {
        member_tick(&all->members[i]);
    }
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static void member_open(struct members *all, struct member *m, const char *group)
{
    char addresses[ORACLE_NODES_MAX][CLIENT_ADDRESS_SIZE];
    struct consumer_config config;
    struct core_config core;
    int rv;

    m->all = all;
    m->late.generation = -1;
    m->ends_late = real_draw(all->env, 0, 2) == 0;
    m->number = ++oracle_counts(all->w->oracle)->group_members;
    group_alive(all->ledger, m->number, true);
    core_config_init(&core);
    core.bootstrap = addresses;
    core.bootstrap_count = all->w->n_nodes;
    for (unsigned i = 0; i < core.bootstrap_count; i++) {
        snprintf(addresses[i], sizeof addresses[i], "n%u:9092", i + 1);
    }
    real_driver_start(&m->driver, all->env, &core, after_turn);
    consumer_config_init(&config);
    config.on_out_of_range = POLICY_EARLIEST;
    config.fetch_max_bytes = 200000;
    snprintf(config.group.id, sizeof config.group.id, "%s", group);
    config.group.auto_commit = false;
    config.group.session_timeout_ms = (uint32_t)real_draw(all->env, 1000, 4000);
    config.group.heartbeat_interval_ms = config.group.session_timeout_ms / (uint32_t)real_draw(all->env, 3, 8);
    config.group.max_poll_interval_ms = (uint32_t)real_draw(all->env, 1000, 4000);
    if (oracle_seed(all->w->oracle) % 3 == 0) {
        config.group.assignors[0] = ASSIGNOR_COOPERATIVE_STICKY;
        config.group.assignor_count = 1;
    }
    rv = consumer_new(&m->driver.core, NULL, &config, &m->lib);
    assert(rv == 0);
    (void)rv;
    subscribe(m);
}

static void *start(struct env *env, struct workload *w)
{
    struct members *all = calloc(1, sizeof *all);

    assert(all != NULL);
    all->env = env;
    all->w = w;
    all->ledger = group_ledger(w->oracle, "readers");
    all->n = (unsigned)real_draw(env, 1, MEMBERS_MAX);
    for (unsigned i = 0; i < all->n; i++) {
        member_open(all, &all->members[i], "readers");
    }
    client_tick_start(&all->tick, env, TICK_MS, tick, all);
    return all;
}

static void abandon(void *client)
{
    struct members *all = client;

    all->dead = true;
    for (unsigned i = 0; i < all->n; i++) {
        struct member *m = &all->members[i];
        m->driver.dead = true;
        group_alive(all->ledger, m->number, false);
        drop_chunk(m);
        if (m->lib != NULL) {
            consumer_close(m->lib);
        }
        real_driver_abandon(&m->driver);
    }
    free(all);
}

/* A member in the group, in no rebalance, that reads on or has read all. */
static bool settled(struct member *m)
{
    const struct membership *g = m->lib->group;
    bool behind = false;

    list_for_each(pos, &m->lib->partitions)
    {
        const struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        struct oracle_part *part;
        struct uuid id;
        if (p->removed || p->meta == NULL || p->meta->partition_count == 0) {
            continue;
        }
        memcpy(id.bytes, p->meta->id, sizeof id.bytes);
        part = oracle_part(m->all->w->oracle, &id, p->partition, 0);
        behind |= !oracle_part_doomed(part) && p->position < oracle_known_end(part);
    }
    return m->back_ns == 0 && g->state == MEMBERSHIP_STABLE && !g->rejoin && g->generation >= 0 && (!behind || m->moved);
}

static bool all_settled(const void *client)
{
    struct members *all = (struct members *)(uintptr_t)client;
    bool yes = all->w->healed_ns != 0;
    unsigned phase = (all->w->healed_ns != 0) + all->w->stop;

    if (all->phase != phase) { /* something must come in each */
        all->phase = phase;
        for (unsigned i = 0; i < all->n; i++) {
            all->members[i].moved = false;
        }
    }
    for (unsigned i = 0; i < all->n; i++) {
        yes = yes && (all->members[i].gone || settled(&all->members[i]));
    }
    return yes && group_covered(all->w->oracle, all->ledger, NULL, 0);
}

static void describe(const void *client, char *out, size_t size)
{
    const struct members *all = client;
    size_t n = 0;

    (void)group_covered(all->w->oracle, all->ledger, out, size);
    n = strlen(out);
    for (unsigned i = 0; i < all->n && n < size; i++) {
        const struct member *m = &all->members[i];
        const struct membership *g = m->gone ? NULL : m->lib->group;
        if (g == NULL) {
            continue;
        }
        n += (size_t)snprintf(out + n, size - n, " member %" PRIu64 ": state %d generation %d (newest %d) rejoin %d lost %d away %d event %d "
                              "assigned %zu commits %u coordinator %u moved %d;", m->number, g->state, g->generation,
                              group_generation_newest(all->ledger), g->rejoin, g->lost, g->away, g->event.kind,
                              g->assigned.count, m->commits, g->coordinator, m->moved);
    }
    if (all->n > 0 && n < size) {
        real_driver_describe(&all->members[0].driver, out + n, size - n);
    }
}

const struct client_kind client_real_members = {"group members", start, abandon, all_settled, all_settled, describe};
