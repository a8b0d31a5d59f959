#include "tests/unit/client/members.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/client/check.h"

void all_open(struct all *a, uint32_t partitions, uint64_t seed)
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

void member_kill(struct member *m)
{
    member_drop_chunk(m);
    consumer_close(m->c);
    m->c = NULL;
    memset(m->owns, 0, sizeof m->owns);
}

void all_close(struct all *a)
{
    for (int i = 0; i < MEMBERS_MAX; i++) {
        if (a->members[i].c != NULL) {
            member_kill(&a->members[i]);
        }
    }
    world_close(&a->w);
    world_group_close(&a->group);
}

void member_start(struct all *a, int number, const char *instance)
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

void member_leave(struct member *m)
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

bool all_run(struct all *a, uint64_t limit_ms, bool (*done)(struct all *a))
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

bool all_done(struct all *a)
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

bool all_owned(struct all *a)
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

size_t member_owned(const struct member *m)
{
    size_t n = 0;

    for (int i = 0; i < WORLD_PARTITIONS_MAX; i++) {
        n += m->owns[i];
    }
    return n;
}

void append_all(struct all *a, int32_t count)
{
    for (uint32_t p = 0; p < a->w.partition_count; p++) {
        world_append(&a->w, p, count, CODEC_NONE);
    }
}
