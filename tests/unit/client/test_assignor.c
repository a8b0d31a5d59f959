/* Who gets what, and the bytes that say so: Kafka's, so that any client may lead the group. */
#include <stdio.h>
#include <stdlib.h>

#include "client/src/core/assignor.h"
#include "client/src/core/consumer.h"
#include "client/src/core/membership_wire.h"
#include "tests/unit/client/check.h"
#include "tests/unit/client/world.h"

#define TOPICS_MAX 4
#define MEMBERS_MAX 8

struct deal {
    struct assignor_plan plan;
    struct assignor_topic topics[TOPICS_MAX];
    struct assignor_member members[MEMBERS_MAX];
    uint32_t subscribed[MEMBERS_MAX][TOPICS_MAX];
};

static void deal_open(struct deal *d)
{
    memset(d, 0, sizeof *d);
    d->plan.topics = d->topics;
    d->plan.members = d->members;
}

static void topic(struct deal *d, const char *name, uint32_t partitions)
{
    d->topics[d->plan.topic_count++] = (struct assignor_topic){.name = name, .partition_count = partitions};
}

/* Subscribed to the topics whose bits are set in @topics. */
static struct assignor_member *member(struct deal *d, const char *id, const char *instance, unsigned topics)
{
    struct assignor_member *m = &d->members[d->plan.member_count];

    *m = (struct assignor_member){.id = id, .instance = instance, .owned_generation = -1};
    m->topics = d->subscribed[d->plan.member_count++];
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        if ((topics & 1u << i) != 0) {
            m->topics[m->topic_count++] = i;
        }
    }
    return m;
}

static void owns(struct assignor_member *m, int32_t generation, uint32_t topic_index, uint32_t partition)
{
    m->owned_generation = generation;
    assert_int_equal(assignor_parts_add(&m->owned, topic_index, partition), 0);
}

/* "t0:0 t0:1 t1:0" of the member @id. */
static const char *dealt(const struct deal *d, const char *id)
{
    static char text[512];
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < d->plan.member_count; i++) {
        const struct assignor_member *m = &d->members[i];
        for (size_t k = 0; strcmp(m->id, id) == 0 && k < m->assigned.count; k++) {
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s:%u", k > 0 ? " " : "",
                                   d->topics[m->assigned.items[k].topic].name, m->assigned.items[k].partition);
        }
    }
    return text;
}

static void deal_clear(struct deal *d)
{
    for (size_t i = 0; i < d->plan.member_count; i++) {
        free(d->members[i].owned.items);
        free(d->members[i].assigned.items);
    }
}

/* The examples of Kafka's own documentation. */
static void range_deals_topic_by_topic(void **state)
{
    struct deal d;

    deal_open(&d);
    topic(&d, "t0", 3);
    topic(&d, "t1", 3);
    member(&d, "C1", "", 3);
    member(&d, "C0", "", 3);
    assert_int_equal(assignor_run(ASSIGNOR_RANGE, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:0 t0:1 t1:0 t1:1");
    assert_string_equal(dealt(&d, "C1"), "t0:2 t1:2");
    deal_clear(&d);
}

static void roundrobin_deals_all_in_turn(void **state)
{
    struct deal d;

    deal_open(&d);
    topic(&d, "t0", 3);
    topic(&d, "t1", 3);
    member(&d, "C0", "", 3);
    member(&d, "C1", "", 3);
    assert_int_equal(assignor_run(ASSIGNOR_ROUNDROBIN, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:0 t0:2 t1:1");
    assert_string_equal(dealt(&d, "C1"), "t0:1 t1:0 t1:2");
    deal_clear(&d);
    deal_open(&d);
    topic(&d, "t0", 1);
    topic(&d, "t1", 2);
    topic(&d, "t2", 3);
    member(&d, "C0", "", 1);
    member(&d, "C1", "", 3);
    member(&d, "C2", "", 7);
    assert_int_equal(assignor_run(ASSIGNOR_ROUNDROBIN, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:0");
    assert_string_equal(dealt(&d, "C1"), "t1:0");
    assert_string_equal(dealt(&d, "C2"), "t1:1 t2:0 t2:1 t2:2");
    deal_clear(&d);
}

/* A static member's id changes with each start: its instance decides. */
static void static_members_stand_first_and_by_instance(void **state)
{
    struct deal d;

    deal_open(&d);
    topic(&d, "t0", 3);
    member(&d, "A", "", 1);
    member(&d, "Z", "i1", 1);
    member(&d, "Y", "i2", 1);
    assert_int_equal(assignor_run(ASSIGNOR_RANGE, &d.plan), 0);
    assert_string_equal(dealt(&d, "Z"), "t0:0");
    assert_string_equal(dealt(&d, "Y"), "t0:1");
    assert_string_equal(dealt(&d, "A"), "t0:2");
    deal_clear(&d);
}

static void what_nobody_wants_or_has_no_partitions_is_left(void **state)
{
    for (int a = 0; a < ASSIGNOR_COUNT; a++) {
        struct deal d;

        deal_open(&d);
        topic(&d, "t0", 0);
        topic(&d, "t1", 2);
        topic(&d, "t2", 1);
        member(&d, "C0", "", 1 | 4);
        member(&d, "C1", "", 0);
        assert_int_equal(assignor_run((enum assignor)a, &d.plan), 0);
        assert_string_equal(dealt(&d, "C0"), "t2:0");
        assert_string_equal(dealt(&d, "C1"), "");
        deal_clear(&d);
    }
}

static void sticky_keeps_and_balances(void **state)
{
    struct deal d;
    struct assignor_member *m;

    deal_open(&d);
    topic(&d, "t0", 4);
    m = member(&d, "C0", "", 1);
    for (uint32_t p = 0; p < 4; p++) {
        owns(m, 5, 0, p);
    }
    member(&d, "C1", "", 1);
    assert_int_equal(assignor_run(ASSIGNOR_COOPERATIVE_STICKY, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:2 t0:3");
    assert_string_equal(dealt(&d, "C1"), ""); /* C0 has to let go first */
    assert_int_equal(d.plan.withheld, 2);
    deal_clear(&d);
    deal_open(&d); /* the next generation: it did */
    topic(&d, "t0", 4);
    m = member(&d, "C0", "", 1);
    owns(m, 6, 0, 2);
    owns(m, 6, 0, 3);
    member(&d, "C1", "", 1);
    assert_int_equal(assignor_run(ASSIGNOR_COOPERATIVE_STICKY, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:2 t0:3");
    assert_string_equal(dealt(&d, "C1"), "t0:0 t0:1");
    assert_int_equal(d.plan.withheld, 0);
    deal_clear(&d);
}

/* Of two who say that they own a partition, the one of the newer generation is right; of one generation neither. */
static void sticky_believes_the_newer_claim(void **state)
{
    struct deal d;

    deal_open(&d);
    topic(&d, "t0", 2);
    owns(member(&d, "C0", "", 1), 3, 0, 0);
    owns(member(&d, "C1", "", 1), 4, 0, 0);
    assert_int_equal(assignor_run(ASSIGNOR_COOPERATIVE_STICKY, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:1");
    assert_string_equal(dealt(&d, "C1"), "t0:0");
    deal_clear(&d);
    deal_open(&d);
    topic(&d, "t0", 1);
    owns(member(&d, "C0", "", 1), 4, 0, 0);
    owns(member(&d, "C1", "", 1), 4, 0, 0);
    owns(member(&d, "C2", "", 0), 9, 0, 0); /* no longer subscribed */
    assert_int_equal(assignor_run(ASSIGNOR_COOPERATIVE_STICKY, &d.plan), 0);
    assert_string_equal(dealt(&d, "C0"), "t0:0");
    assert_string_equal(dealt(&d, "C2"), "");
    assert_int_equal(d.plan.withheld, 0);
    deal_clear(&d);
}

static void expect_bytes(const uint8_t *bytes, size_t size, const uint8_t *wanted, size_t wanted_size)
{
    assert_int_equal(size, wanted_size);
    assert_memory_equal(bytes, wanted, wanted_size);
}

static void the_bytes_are_kafkas(void **state)
{
    static const uint8_t plain[] = {0,   2,                                                 /* version */
                                    0,   0,   0,   1,   0, 6, 'o', 'r', 'd', 'e', 'r', 's', /* topics */
                                    255, 255, 255, 255,                                     /* user data */
                                    0,   0,   0,   0,                                       /* owned */
                                    255, 255, 255, 255};                                    /* generation */
    static const uint8_t owning[] = {0,   2,   0, 0, 0, 1, 0, 6, 'o', 'r', 'd', 'e', 'r', 's', 0,   0,
                                     0,   4,   0, 0, 0, 7, 0, 0, 0,   1,   0,   6,   'o', 'r', 'd', 'e',
                                     'r', 's', 0, 0, 0, 1, 0, 0, 0,   3,   0,   0,   0,   7};
    static const uint8_t assigned[] = {0, 0, 0, 0, 0, 1, 0, 6, 'o', 'r', 'd', 'e', 'r', 's', 0,
                                       0, 0, 2, 0, 0, 0, 0, 0, 0,   0,   1,   255, 255, 255, 255};
    struct world w;
    struct consumer_config config;
    struct consumer *c;
    struct membership_parts parts = {0};
    struct deal d;
    uint8_t *bytes;
    size_t size;

    world_init(&w, 1, 1);
    consumer_config_init(&config);
    snprintf(config.group.id, sizeof config.group.id, "g");
    assert_int_equal(consumer_new(&w.core, NULL, &config, &c), 0);
    assert_int_equal(membership_parts_add(&w.core, &c->group->topics, "orders", 0, 0), 0);
    assert_int_equal(membership_subscription_write(c->group, ASSIGNOR_RANGE, &bytes, &size), 0);
    expect_bytes(bytes, size, plain, sizeof plain);
    free(bytes);
    c->group->joined_generation = 7;
    assert_int_equal(membership_parts_add(&w.core, &c->group->assigned, "orders", 3, 0), 0);
    assert_int_equal(membership_subscription_write(c->group, ASSIGNOR_COOPERATIVE_STICKY, &bytes, &size), 0);
    expect_bytes(bytes, size, owning, sizeof owning);
    free(bytes);
    deal_open(&d);
    topic(&d, "orders", 2);
    member(&d, "C0", "", 1);
    assert_int_equal(assignor_run(ASSIGNOR_RANGE, &d.plan), 0);
    assert_int_equal(membership_assignment_write(&d.plan, &d.members[0], &bytes, &size), 0);
    expect_bytes(bytes, size, assigned, sizeof assigned);
    assert_int_equal(membership_assignment_read(&w.core, bytes, size, &parts), 0);
    assert_int_equal(parts.count, 2);
    assert_string_equal(parts.items[1].topic->name, "orders");
    assert_int_equal(parts.items[1].partition, 1);
    membership_parts_clear(&w.core, &parts);
    assert_int_equal(membership_assignment_read(&w.core, NULL, 0, &parts), 0); /* between rebalances */
    assert_int_equal(parts.count, 0);
    assert_int_equal(membership_assignment_read(&w.core, bytes, size - 5, &parts), ERR_MALFORMED);
    membership_parts_clear(&w.core, &parts);
    free(parts.items);
    free(bytes);
    deal_clear(&d);
    consumer_close(c);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_deals_topic_by_topic),
        cmocka_unit_test(roundrobin_deals_all_in_turn),
        cmocka_unit_test(static_members_stand_first_and_by_instance),
        cmocka_unit_test(what_nobody_wants_or_has_no_partitions_is_left),
        cmocka_unit_test(sticky_keeps_and_balances),
        cmocka_unit_test(sticky_believes_the_newer_claim),
        cmocka_unit_test(the_bytes_are_kafkas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
