/* Consumer groups: every record is processed by some member, no two members have a partition at once, and what is
 * committed was processed; whatever members and coordinators do. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/client/check.h"
#include "tests/unit/client/members.h"

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
    return all_owned(a) && member_owned(&a->members[0]) == 2 && member_owned(&a->members[1]) == 2 &&
           member_owned(&a->members[2]) == 2;
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
    assert_int_equal(member_owned(&a->members[0]), 6);
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
    return all_owned(a) && member_owned(&a->members[0]) == 2 && member_owned(&a->members[1]) == 2;
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
    assert_int_equal(member_owned(&a->members[1]), 4);
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
    assert_int_equal(member_owned(&a->members[1]), 4);
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
    assert_int_equal(member_owned(&a->members[1]), 2);
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
    assert_int_equal(member_owned(&a->members[0]), 0);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
