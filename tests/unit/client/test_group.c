/* Consumer groups: every record is processed by some member, no two members have a partition at once, and what is
 * committed was processed; whatever members and coordinators do. */
#include <stdio.h>
#include <stdlib.h>

#include "client/src/core/membership.h"
#include "tests/unit/client/check.h"
#include "tests/unit/client/world_group.h"

#define GROUP "billing"
#define MEMBERS_MAX 6
#define RECORDS_MAX 4096

struct all;

struct member {
    struct all *all;
    int number;
    struct consumer *c; /* NULL: not there */
    bool stuck;         /* does not poll */
    bool owns[WORLD_PARTITIONS_MAX];
    struct chunk *chunk; /* in work: processed when it polls again */
    unsigned assigned;   /* events */
    unsigned revoked;
    unsigned lost;
    size_t revoked_partitions;
    size_t read; /* records */
};

struct all {
    struct world w;
    struct world_group group;
    struct consumer_config config;
    struct member members[MEMBERS_MAX];
    uint8_t processed[WORLD_PARTITIONS_MAX][RECORDS_MAX]; /* how often */
    int64_t committed[WORLD_PARTITIONS_MAX];
    bool strict; /* no record twice */
};

static void all_open(struct all *a, uint32_t partitions, uint64_t seed)
{
    memset(a, 0, sizeof *a);
    world_init(&a->w, partitions, seed);
    a->w.fetch_wait_ms = 30;
    world_group_open(&a->group, &a->w);
    consumer_config_init(&a->config);
    snprintf(a->config.group.id, sizeof a->config.group.id, GROUP);
    a->config.fetch_max_wait_ms = 50;
    a->config.group.heartbeat_interval_ms = 200;
    a->config.group.session_timeout_ms = 6000;
    a->config.group.max_poll_interval_ms = 4000;
    a->config.group.auto_commit_interval_ms = 100;
    for (int i = 0; i < MEMBERS_MAX; i++) {
        a->members[i] = (struct member){.all = a, .number = i};
    }
    for (int i = 0; i < WORLD_PARTITIONS_MAX; i++) {
        a->committed[i] = -1;
    }
}

static void member_drop_chunk(struct member *m)
{
    if (m->chunk != NULL) {
        chunk_free(m->chunk);
        m->chunk = NULL;
    }
}

/* It dies: no word to anybody. */
static void member_kill(struct member *m)
{
    member_drop_chunk(m);
    consumer_close(m->c);
    m->c = NULL;
    memset(m->owns, 0, sizeof m->owns);
}

static void all_close(struct all *a)
{
    for (int i = 0; i < MEMBERS_MAX; i++) {
        if (a->members[i].c != NULL) {
            member_kill(&a->members[i]);
        }
    }
    world_close(&a->w);
    world_group_close(&a->group);
}

static void member_start(struct all *a, int number, const char *instance)
{
    static const char *const topics[] = {WORLD_TOPIC};
    struct consumer_config config = a->config;
    struct member *m = &a->members[number];

    snprintf(config.group.instance, sizeof config.group.instance, "%s", instance);
    assert_int_equal(consumer_new(&a->w.core, NULL, &config, &m->c), 0);
    a->w.core.now_ns = a->w.now_ns;
    assert_int_equal(membership_subscribe(m->c->group, topics, 1), 0);
    m->stuck = false;
}

static bool member_leave(struct member *m)
{
    bool wake = false;

    member_drop_chunk(m);
    list_for_each (pos, &m->c->partitions) {
        struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        if (!p->removed) {
            consumer_unassign(m->c, p, &wake);
        }
    }
    memset(m->owns, 0, sizeof m->owns);
    membership_leave(m->c->group);
    return true;
}

/* Whether @other still has, in good faith, what was given to somebody else: it was shut out and does not know yet. */
static bool shut_out(const struct member *other, const struct member *m)
{
    const struct membership *g = other->c->group;

    return other->stuck || g->event.kind == MEMBERSHIP_LOST || g->generation < m->c->group->generation ||
           (g->config.instance[0] != '\0' && strcmp(g->config.instance, m->c->group->config.instance) == 0);
}

static void take(struct member *m, const struct membership_part *part)
{
    for (int i = 0; i < MEMBERS_MAX; i++) {
        struct member *other = &m->all->members[i];

        if (other != m && other->owns[part->partition] && !shut_out(other, m)) {
            print_error("%d takes partition %u in generation %d state %d, %d has it in %d state %d event %d\n",
                        m->number, part->partition, m->c->group->generation, m->c->group->state, i,
                        other->c->group->generation, other->c->group->state, other->c->group->event.kind);
            fail();
        }
    }
    m->owns[part->partition] = true;
}

static void member_events(struct member *m)
{
    struct membership_event *e;
    bool wake = false;
    int err;

    while ((e = membership_take(m->c, &err, &wake)) != NULL) {
        m->assigned += e->kind == MEMBERSHIP_ASSIGNED;
        m->revoked += e->kind == MEMBERSHIP_REVOKED;
        m->lost += e->kind == MEMBERSHIP_LOST;
        for (size_t i = 0; i < e->parts.count; i++) {
            assert_string_equal(e->parts.items[i].topic->name, WORLD_TOPIC);
            if (e->kind == MEMBERSHIP_ASSIGNED) {
                take(m, &e->parts.items[i]);
            } else {
                m->owns[e->parts.items[i].partition] = false;
                m->revoked_partitions += e->kind == MEMBERSHIP_REVOKED;
            }
        }
        membership_done(m->c, &wake);
    }
    assert_int_equal(err, 0);
}

static void chunk_processed(struct member *m, const struct chunk *chunk)
{
    struct all *a = m->all;

    for (int64_t o = chunk->begin; o < chunk->end; o++) {
        assert_true(o < RECORDS_MAX);
        assert_true(!a->strict || a->processed[chunk->partition->partition][o] == 0);
        a->processed[chunk->partition->partition][o]++;
        m->read++;
    }
}

/* What a program's poll does: what it was given before is processed; events; then the next records. */
static void member_poll(struct member *m)
{
    bool wake = false;

    membership_polled(m->c->group, m->all->w.now_ns, true, &wake);
    if (m->chunk != NULL) {
        struct consumer_partition *p = consumer_find(m->c, WORLD_TOPIC, m->chunk->partition->partition);
        chunk_processed(m, m->chunk);
        if (p == m->chunk->partition) {
            consumer_processed(p, m->chunk->end);
        }
        member_drop_chunk(m);
    }
    member_events(m);
    if (m->c->group->event.kind == MEMBERSHIP_NO_EVENT) {
        m->chunk = consumer_take(m->c, &wake);
        assert_true(m->chunk == NULL || m->chunk->status == 0);
        assert_true(m->chunk == NULL || m->owns[m->chunk->partition->partition]);
    }
    membership_polled(m->c->group, m->all->w.now_ns, false, &wake);
}

/* What is committed was processed. */
static void check_commits(struct all *a)
{
    for (uint32_t p = 0; p < a->w.partition_count; p++) {
        int64_t offset = world_group_offset(&a->group, GROUP, (int32_t)p);
        int64_t from = a->committed[p] > 0 ? a->committed[p] : 0;

        for (int64_t o = from; o < offset; o++) {
            assert_true(a->processed[p][o] > 0);
        }
        a->committed[p] = offset;
    }
}

static void all_turn(struct all *a)
{
    for (int i = 0; i < MEMBERS_MAX; i++) {
        struct member *m = &a->members[i];
        if (m->c != NULL && !m->stuck) {
            member_poll(m);
        }
    }
    check_commits(a);
    core_turn(&a->w.core, a->w.now_ns);
}

static bool all_run(struct all *a, uint64_t limit_ms, bool (*done)(struct all *a))
{
    uint64_t limit_ns = a->w.now_ns + limit_ms * NS_PER_MS;

    core_turn(&a->w.core, a->w.now_ns);
    while (a->w.now_ns < limit_ns) {
        all_turn(a);
        if (done != NULL && done(a)) {
            return true;
        }
        if (!world_step(&a->w)) {
            a->w.now_ns += NS_PER_MS;
        }
    }
    return done == NULL || done(a);
}

/* All records are processed, and all of them committed. */
static bool all_done(struct all *a)
{
    for (uint32_t p = 0; p < a->w.partition_count; p++) {
        for (int64_t o = 0; o < a->w.partitions[p].next_offset; o++) {
            if (a->processed[p][o] == 0) {
                return false;
            }
        }
        if (a->w.partitions[p].next_offset > 0 &&
            world_group_offset(&a->group, GROUP, (int32_t)p) != a->w.partitions[p].next_offset) {
            return false;
        }
    }
    return true;
}

/* Each partition has exactly one owner among those that live, and nobody is in the middle of a change. */
static bool all_owned(struct all *a)
{
    for (uint32_t p = 0; p < a->w.partition_count; p++) {
        int owners = 0;
        for (int i = 0; i < MEMBERS_MAX; i++) {
            owners += a->members[i].c != NULL && a->members[i].owns[p];
        }
        if (owners != 1) {
            return false;
        }
    }
    for (int i = 0; i < MEMBERS_MAX; i++) {
        const struct consumer *c = a->members[i].c;
        if (c != NULL && c->group->failure == 0 && (c->group->state != MEMBERSHIP_STABLE || c->group->rejoin)) {
            return false;
        }
    }
    return true;
}

static size_t owned(const struct member *m)
{
    size_t n = 0;

    for (int i = 0; i < WORLD_PARTITIONS_MAX; i++) {
        n += m->owns[i];
    }
    return n;
}

static void append_all(struct all *a, int32_t count)
{
    for (uint32_t p = 0; p < a->w.partition_count; p++) {
        world_append(&a->w, p, count, CODEC_NONE);
    }
}

static void one_member_reads_all_and_commits(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 3, 1);
    a->strict = true;
    append_all(a, 10);
    member_start(a, 0, "");
    assert_true(all_run(a, 10000, all_done));
    append_all(a, 10);
    assert_true(all_run(a, 10000, all_done));
    assert_int_equal(a->members[0].assigned, 1);
    assert_int_equal(a->members[0].read, 60);
    all_close(a);
    free(a);
}

static void commit_ended(struct membership_offsets *o)
{
    int *status = o->owner;

    *status = o->status;
    membership_offsets_free(o);
}

static bool all_processed(struct all *a)
{
    return a->members[0].read == 20;
}

/* Found by the simulator: the old topic's offset was committed for the new one, whose first records nobody then read.
 */
static void an_offset_of_a_deleted_topic_is_not_committed_for_the_next(void **state)
{
    struct all *a = malloc(sizeof *a);
    struct membership_offsets *o = NULL;
    struct membership *g;
    int status = -1;

    all_open(a, 1, 7);
    a->config.group.auto_commit = false;
    append_all(a, 20);
    member_start(a, 0, "");
    assert_true(all_run(a, 10000, all_processed));
    g = a->members[0].c->group;
    assert_int_equal(membership_processed(g, &o), 0);
    assert_non_null(o);
    assert_int_equal(o->parts.items[0].offset, 20);
    world_renew_topic(&a->w);
    meta_refresh(&a->w.core);
    (void)world_run(&a->w, 500, NULL, NULL);
    assert_memory_equal(o->parts.items[0].topic->id, a->w.topic_id, sizeof a->w.topic_id);
    o->done = commit_ended;
    o->owner = &status;
    assert_int_equal(membership_offsets_commit(g, o, 1000), 0);
    (void)world_run(&a->w, 2000, NULL, NULL);
    assert_int_equal(status, ERR_UNKNOWN_TOPIC);
    assert_int_equal(world_group_offset(&a->group, GROUP, 0), -1);
    all_close(a);
    free(a);
}

static void who_comes_later_begins_at_the_commit(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 3, 2);
    a->strict = true;
    append_all(a, 10);
    member_start(a, 0, "");
    assert_true(all_run(a, 10000, all_done));
    member_leave(&a->members[0]);
    assert_true(all_run(a, 1000, NULL));
    member_kill(&a->members[0]);
    append_all(a, 5);
    member_start(a, 1, "");
    assert_true(all_run(a, 10000, all_done));
    assert_int_equal(a->members[1].read, 15);
    all_close(a);
    free(a);
}

static bool all_owned_by_three(struct all *a)
{
    return all_owned(a) && owned(&a->members[0]) == 2 && owned(&a->members[1]) == 2 && owned(&a->members[2]) == 2;
}

static void members_share(enum assignor assignor, uint64_t seed)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 6, seed);
    a->config.group.assignors[0] = assignor;
    a->config.group.assignor_count = 1;
    a->strict = true; /* who leaves in good order commits before */
    append_all(a, 20);
    member_start(a, 0, "");
    assert_true(all_run(a, 10000, all_owned));
    assert_int_equal(owned(&a->members[0]), 6);
    member_start(a, 1, "");
    member_start(a, 2, "");
    assert_true(all_run(a, 20000, all_owned_by_three));
    append_all(a, 20);
    assert_true(all_run(a, 20000, all_done));
    for (int i = 0; i < 3; i++) {
        assert_true(a->members[i].read > 0);
        assert_int_equal(a->members[i].lost, 0);
    }
    all_close(a);
    free(a);
}

static void members_share_by_range(void **state)
{
    members_share(ASSIGNOR_RANGE, 3);
}

static void members_share_by_roundrobin(void **state)
{
    members_share(ASSIGNOR_ROUNDROBIN, 4);
}

static void members_share_cooperatively(void **state)
{
    members_share(ASSIGNOR_COOPERATIVE_STICKY, 5);
}

static bool two_share(struct all *a)
{
    return all_owned(a) && owned(&a->members[0]) == 2 && owned(&a->members[1]) == 2;
}

/* KIP-429: what stays is not given up on the way. */
static void cooperative_members_keep_what_stays(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 4, 6);
    a->config.group.assignors[0] = ASSIGNOR_COOPERATIVE_STICKY;
    a->config.group.assignor_count = 1;
    member_start(a, 0, "");
    assert_true(all_run(a, 10000, all_owned));
    member_start(a, 1, "");
    assert_true(all_run(a, 20000, two_share));
    assert_int_equal(a->members[0].revoked_partitions, 2);
    assert_int_equal(a->members[1].revoked_partitions, 0);
    all_close(a);
    free(a);
}

static void a_dead_members_partitions_go_to_others(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 4, 7);
    member_start(a, 0, "");
    member_start(a, 1, "");
    assert_true(all_run(a, 20000, two_share));
    append_all(a, 10);
    assert_true(all_run(a, 20000, all_done));
    append_all(a, 10);
    member_kill(&a->members[0]);
    assert_true(all_run(a, 20000, all_done));
    assert_int_equal(owned(&a->members[1]), 4);
    all_close(a);
    free(a);
}

static void who_does_not_poll_loses_its_partitions_and_comes_back(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 4, 8);
    member_start(a, 0, "");
    member_start(a, 1, "");
    assert_true(all_run(a, 20000, two_share));
    a->members[0].stuck = true;
    append_all(a, 10);
    assert_true(all_run(a, 20000, all_done));
    assert_int_equal(owned(&a->members[1]), 4);
    a->members[0].stuck = false;
    assert_true(all_run(a, 20000, two_share));
    assert_int_equal(a->members[0].lost, 1);
    append_all(a, 10);
    assert_true(all_run(a, 20000, all_done));
    all_close(a);
    free(a);
}

static void a_new_coordinator_goes_on_without_a_rebalance(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 4, 9);
    a->strict = true;
    member_start(a, 0, "");
    member_start(a, 1, "");
    assert_true(all_run(a, 20000, two_share));
    for (uint32_t i = 0; i < 6; i++) {
        append_all(a, 10);
        world_set_down(&a->w, a->group.node, true);
        assert_true(all_run(a, 300, NULL));
        world_set_down(&a->w, a->group.node, false);
        world_group_move(&a->group, 1 + (i + 1) % 3);
        assert_true(all_run(a, 20000, all_done));
    }
    assert_int_equal(a->members[0].revoked + a->members[1].revoked, 0);
    assert_int_equal(a->members[0].lost + a->members[1].lost, 0);
    all_close(a);
    free(a);
}

static void a_static_member_comes_back_to_its_partitions(void **state)
{
    struct all *a = malloc(sizeof *a);
    unsigned changes;

    all_open(a, 4, 10);
    member_start(a, 0, "left");
    member_start(a, 1, "right");
    assert_true(all_run(a, 20000, two_share));
    changes = a->members[1].assigned;
    member_leave(&a->members[0]);
    assert_true(all_run(a, 1000, NULL));
    member_kill(&a->members[0]);
    append_all(a, 10);
    member_start(a, 0, "left");
    assert_true(all_run(a, 20000, all_done));
    assert_true(two_share(a));
    assert_int_equal(a->members[1].assigned, changes); /* it noticed nothing */
    all_close(a);
    free(a);
}

static void answered(struct core_call *call, int status, const struct frame *frame)
{
    *(int *)call->owner = status;
}

static bool has_answer(void *arg)
{
    return *(int *)arg != -1;
}

/* Without a topic of interest there is nothing to refresh: the call's node is waited for, not spun for (world_step
 * asserts it). */
static void a_node_that_is_not_to_be_connected_to_yet_is_waited_for(void **state)
{
    struct world w;
    struct meta_node *node;
    struct core_call *call;
    int status = -1;

    world_init(&w, 1, 16);
    node = meta_node_get(&w.core, 3, "node3:7400");
    assert_non_null(node);
    node->connect_after_ns[LANE_MAIN] = w.now_ns + 50 * NS_PER_MS;
    call = call_start(&w.core, CALL_CLUSTER_STATUS, NULL, 0, 2000 * NS_PER_MS, answered, &status);
    assert_non_null(call);
    call->target = 3;
    call->pinned = true;
    assert_true(world_run(&w, 3000, has_answer, &status));
    assert_int_equal(status, 0);
    world_close(&w);
}

static bool first_failed(struct all *a)
{
    return a->members[0].c->group->failure != 0;
}

static void of_two_with_one_instance_id_the_older_is_fenced(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 2, 11);
    member_start(a, 0, "same");
    assert_true(all_run(a, 20000, all_owned));
    member_start(a, 1, "same");
    assert_true(all_run(a, 20000, first_failed));
    assert_int_equal(a->members[0].c->group->failure, ERR_FENCED_INSTANCE);
    assert_true(all_run(a, 1000, NULL));
    assert_int_equal(a->members[0].lost, 1);
    assert_int_equal(owned(&a->members[1]), 2);
    all_close(a);
    free(a);
}

static void new_partitions_are_noticed(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 2, 12);
    a->w.core.config.metadata_max_age_ms = 1000;
    member_start(a, 0, "");
    member_start(a, 1, "");
    assert_true(all_run(a, 20000, all_owned));
    a->w.partition_count = 4;
    for (uint32_t p = 2; p < 4; p++) {
        a->w.partitions[p] = (struct world_partition){.leader = 1, .epoch = 1};
    }
    append_all(a, 10);
    assert_true(all_run(a, 20000, all_done));
    assert_true(two_share(a));
    all_close(a);
    free(a);
}

static void a_topic_that_comes_later_is_noticed(void **state)
{
    struct all *a = malloc(sizeof *a);

    all_open(a, 2, 13);
    a->w.topic_missing = true;
    member_start(a, 0, "");
    assert_true(all_run(a, 3000, NULL));
    assert_int_equal(owned(&a->members[0]), 0);
    a->w.topic_missing = false;
    append_all(a, 10);
    assert_true(all_run(a, 20000, all_done));
    all_close(a);
    free(a);
}

static struct membership_offsets *ended;

static void remember(struct membership_offsets *o)
{
    ended = o;
}

static bool has_ended(struct all *a)
{
    return ended != NULL;
}

/* A zombie's commit must not land: its partition is somebody else's. */
static void a_commit_of_an_older_generation_fails(void **state)
{
    struct all *a = malloc(sizeof *a);
    struct membership_offsets *o;

    all_open(a, 2, 14);
    a->config.group.auto_commit = false;
    member_start(a, 0, "");
    assert_true(all_run(a, 20000, all_owned));
    ended = NULL;
    o = membership_offsets_new(a->members[0].c->group);
    assert_int_equal(membership_parts_add(&a->w.core, &o->parts, WORLD_TOPIC, 0, 5), 0);
    o->done = remember;
    a->w.node_deaf[a->group.node] = true; /* it does not get through... */
    assert_int_equal(membership_offsets_commit(a->members[0].c->group, o, 20000), 0);
    assert_true(all_run(a, 500, NULL));
    a->members[0].stuck = true;          /* ...until the member has lost its place */
    assert_true(all_run(a, 7000, NULL)); /* the session's time is up */
    a->w.node_deaf[a->group.node] = false;
    assert_true(all_run(a, 20000, has_ended));
    assert_int_not_equal(ended->status, 0);
    assert_int_equal(world_group_offset(&a->group, GROUP, 0), -1);
    membership_offsets_free(ended);
    all_close(a);
    free(a);
}

/* For people, when a group does not come to rest. */
static void print_all(const struct all *a)
{
    for (int i = 0; i < MEMBERS_MAX; i++) {
        const struct member *m = &a->members[i];
        const struct membership *g = m->c != NULL ? m->c->group : NULL;

        if (g != NULL) {
            print_error("  member %d \"%s\" id \"%s\": state %d generation %d event %d owns %zu rejoin %d call %d\n", i,
                        g->config.instance, g->member, g->state, g->generation, g->event.kind, owned(m), g->rejoin,
                        g->call != NULL);
        }
    }
    for (uint32_t p = 0; p < a->w.partition_count; p++) {
        print_error("  partition %u: committed %lld of %lld\n", p,
                    (long long)world_group_offset(&a->group, GROUP, (int32_t)p),
                    (long long)a->w.partitions[p].next_offset);
    }
}

static void storm(uint64_t seed)
{
    struct all *a = malloc(sizeof *a);
    struct rng rng;

    all_open(a, 4, seed);
    rng_init(&rng, seed + 77);
    if (rng_below(&rng, 2) == 0) {
        a->config.group.assignors[0] = ASSIGNOR_COOPERATIVE_STICKY;
        a->config.group.assignor_count = 1;
    }
    a->w.faults = (struct world_faults){.cut = 20, .move_leader = 5, .fail_connect = 50};
    a->group.lose = 30;
    member_start(a, 0, "");
    for (int i = 0; i < 60; i++) {
        struct member *m = &a->members[rng_below(&rng, MEMBERS_MAX)];

        switch (rng_below(&rng, 6)) {
        case 0:
        case 1:
            if (m->c == NULL) {
                member_start(a, m->number, rng_below(&rng, 4) == 0 ? "static" : "");
            }
            break;
        case 2:
            if (m->c != NULL && m->c->group->state != MEMBERSHIP_IDLE) {
                member_leave(m);
                (void)all_run(a, 50, NULL);
            }
            if (m->c != NULL) {
                member_kill(m);
            }
            break;
        case 3:
            if (m->c != NULL) {
                member_kill(m);
            }
            break;
        case 4:
            world_group_move(&a->group, 1 + (uint32_t)rng_below(&rng, 3));
            break;
        default:
            m->stuck = m->c != NULL && rng_below(&rng, 2) == 0;
            break;
        }
        if (a->w.partitions[0].next_offset < RECORDS_MAX - 100) {
            world_append(&a->w, (uint32_t)rng_below(&rng, 4), 1 + (int32_t)rng_below(&rng, 20), CODEC_NONE);
        }
        assert_true(all_run(a, rng_below(&rng, 1500), NULL));
    }
    a->w.faults = (struct world_faults){0};
    a->group.lose = 0;
    for (int i = 0; i < MEMBERS_MAX; i++) {
        struct member *m = &a->members[i];
        m->stuck = false;
        if (m->c != NULL && m->c->group->failure != 0) {
            assert_int_equal(m->c->group->failure, ERR_FENCED_INSTANCE);
            member_kill(m);
        }
    }
    if (a->members[0].c == NULL) {
        member_start(a, 0, "");
    }
    if (!all_run(a, 60000, all_done) || !all_run(a, 60000, all_owned)) {
        print_error("storm %llu: the group does not come to rest\n", (unsigned long long)seed);
        print_all(a);
        fail();
    }
    all_close(a);
    free(a);
}

static void nothing_is_left_out_in_a_storm(void **state)
{
    const char *count = getenv("CAIRN_TEST_STORMS");
    uint64_t n = count != NULL ? strtoull(count, NULL, 10) : 40;

    const char *first = getenv("CAIRN_TEST_STORM_FIRST");

    for (uint64_t seed = first != NULL ? strtoull(first, NULL, 10) : 1; n-- > 0; seed++) {
        storm(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_member_reads_all_and_commits),
        cmocka_unit_test(an_offset_of_a_deleted_topic_is_not_committed_for_the_next),
        cmocka_unit_test(who_comes_later_begins_at_the_commit),
        cmocka_unit_test(members_share_by_range),
        cmocka_unit_test(members_share_by_roundrobin),
        cmocka_unit_test(members_share_cooperatively),
        cmocka_unit_test(cooperative_members_keep_what_stays),
        cmocka_unit_test(a_dead_members_partitions_go_to_others),
        cmocka_unit_test(who_does_not_poll_loses_its_partitions_and_comes_back),
        cmocka_unit_test(a_new_coordinator_goes_on_without_a_rebalance),
        cmocka_unit_test(a_static_member_comes_back_to_its_partitions),
        cmocka_unit_test(a_node_that_is_not_to_be_connected_to_yet_is_waited_for),
        cmocka_unit_test(of_two_with_one_instance_id_the_older_is_fenced),
        cmocka_unit_test(new_partitions_are_noticed),
        cmocka_unit_test(a_topic_that_comes_later_is_noticed),
        cmocka_unit_test(a_commit_of_an_older_generation_fails),
        cmocka_unit_test(nothing_is_left_out_in_a_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
