/* Directed runs for rules whose breaking the random runs do not hit, or do not see: with the rule all is well, without it
 * the harm that it is there for is done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/core/core_internal.h"
#include "tests/sim/core/sim.h"
#include "tests/unit/core/core_fixture.h"

static struct world world;

/* A cluster without faults, with a leader that is ready. */
static struct world *begin(unsigned founders, uint32_t rules_off)
{
    struct world *w = &world;

    world_open(w, 42, rules_off, false);
    memset(&w->swarm, 0, sizeof w->swarm);
    w->swarm.founders = founders;
    w->swarm.delay_ms = 1;
    w->swarm.disk_ms = 1;
    w->swarm.election_ms = 800;
    w->swarm.inflight = 16;
    world_found(w);
    for (unsigned i = 1; i <= w->n_replicas; i++) {
        w->replicas[i].disk_ms = 1;
    }
    while (world_leader(w) == NULL) {
        assert_true(world_turn(w));
    }
    assert_string_equal(w->violation, "");
    return w;
}

static void run_ms(struct world *w, uint64_t ms)
{
    uint64_t end = w->now + ms;
    while (w->heap_n > 0 && w->heap[0].time <= end && !violated(w)) {
        world_turn(w);
    }
    w->now = end;
}

static void cut(struct world *w, uint64_t a, uint64_t b, bool blocked)
{
    w->blocked[a][b] = w->blocked[b][a] = blocked;
}

/* ---- 9: a change in the log means that the one before it is committed ---- */

/* Members in force at a follower that got two changes from a leader which did not know yet what is committed, and then lost
 * the second to the next leader. */
static uint32_t members_after_a_roll_back(uint32_t rules_off)
{
    static struct fixture f;
    struct entry *bootstrap = f_config_entry(1, 1, 3, 0);
    struct entry *e[3] = {f_config_entry(2, 2, 3, 1), f_command(3, 2), f_config_entry(4, 2, 3, 2)};
    struct entry *other[1] = {f_command(4, 3)};
    struct core_run run = {1, 1};
    struct core_start start = {.group = 7, .replica = 1, .address = "n.1", .now_ms = &f.now, .term = 1, .first = 1, .runs = &run,
                               .n_runs = 1, .n_changes = 1, .rules_off = rules_off};
    uint32_t n;

    memset(&f, 0, sizeof f);
    start.changes = &bootstrap;
    assert_int_equal(core_open(&start, &f_ops, &f, &f.core), 0);
    entry_release(bootstrap);
    assert_int_equal(f_append(&f, 2, 1, 1, 1, e, 3), 0);
    f_durable(&f);
    assert_int_equal(f_append(&f, 3, 3, 2, 1, other, 1), 0);
    n = core_config(f.core)->n;
    core_close(f.core);
    return n;
}

static void rule_9_a_roll_back_goes_back_one_change(void **state)
{
    (void)state;
    assert_int_equal(members_after_a_roll_back(0), 4);
    assert_int_equal(members_after_a_roll_back(UINT32_C(1) << RULE_SETTLE_CHANGE), 3);
}

/* ---- 16: a leader changes the members only when it has committed in its own term ---- */

/* The bug of 2015: two single-server changes, from two leaders, that both start from the old configuration. */
static bool two_changes_lose_an_entry(uint32_t rules_off)
{
    struct world *w = begin(4, rules_off);
    struct replica *first = world_leader(w);
    struct replica *second = NULL;
    struct replica *joiner = world_spawn(w);
    struct replica *fourth = NULL;
    uint64_t limit = w->now + 60000;
    bool lost;

    replica_start(w, joiner);
    joiner->disk_ms = 1;
    assert_int_equal(core_change(first->core, CORE_ADD_LEARNER, joiner->id, "n5.5", NULL), 0);
    replica_after(w, first, 0);
    run_ms(w, 2000);
    assert_ptr_equal(world_leader(w), first);

    /* The first leader promotes the learner, and only that one hears of it. */
    for (uint64_t i = 1; i <= 4; i++) {
        if (i != first->id) {
            cut(w, first->id, i, true);
            cut(w, joiner->id, i, true);
        }
    }
    replica_clock(w, first);
    assert_int_equal(core_change(first->core, CORE_PROMOTE, joiner->id, NULL, NULL), 0);
    replica_after(w, first, 0);

    /* The others elect a second one, which at once removes the first, and reaches one other. */
    while (second == NULL && w->now < limit && !violated(w)) {
        world_turn(w);
        for (uint64_t i = 1; i <= 4; i++) {
            if (i != first->id && core_role(w->replicas[i].core) == CORE_LEADER) {
                second = &w->replicas[i];
            }
        }
    }
    assert_non_null(second);
    for (uint64_t i = 1; i <= 4; i++) {
        if (i != first->id && i != second->id) {
            fourth = &w->replicas[i];
        }
    }
    cut(w, second->id, fourth->id, true);
    replica_clock(w, second);
    assert_int_equal(core_change(second->core, CORE_REMOVE, first->id, NULL, NULL), OFF(w, 16) ? 0 : ERR_LEADER_NOT_READY);
    replica_after(w, second, 0);
    run_ms(w, 300);

    /* Then the first one, the learner and the fourth are together. */
    for (uint64_t i = 1; i <= 5; i++) {
        for (uint64_t j = 1; j <= 5; j++) {
            bool i_here = i == first->id || i == joiner->id || i == fourth->id;
            bool j_here = j == first->id || j == joiner->id || j == fourth->id;
            w->blocked[i][j] = i_here != j_here;
        }
    }
    run_ms(w, 20000);
    lost = strstr(w->violation, "leader completeness") != NULL;
    if (!lost) {
        assert_string_equal(w->violation, "");
    }
    world_close(w);
    return lost;
}

static void rule_16_second_change_waits_for_the_new_term(void **state)
{
    (void)state;
    assert_false(two_changes_lose_an_entry(0));
    assert_true(two_changes_lose_an_entry(UINT32_C(1) << 16));
}

/* ---- 19: no timeout before its time ---- */

/* A loop that ticks at every turn: how much is committed in a second? */
static uint64_t committed_with_early_ticks(uint32_t rules_off)
{
    struct world *w = begin(3, rules_off);
    struct replica *leader = world_leader(w);
    uint64_t before = core_commit(leader->core);

    for (int i = 0; i < 1000; i++) {
        replica_clock(w, leader);
        replica_after(w, leader, core_tick(leader->core));
        if (i % 5 == 0) {
            act_submit(w, leader, 1);
        }
        run_ms(w, 1);
    }
    assert_string_equal(w->violation, "");
    before = core_commit(leader->core) - before;
    world_close(w);
    return before;
}

static void rule_19_early_ticks_do_not_demote_followers(void **state)
{
    uint64_t with = committed_with_early_ticks(0);
    uint64_t without = committed_with_early_ticks(UINT32_C(1) << 19);
    (void)state;
    print_message("committed in a second: %llu with the rule, %llu without\n", (unsigned long long)with, (unsigned long long)without);
    assert_true(with >= 195);
    assert_true(without < with / 2);
}

/* ---- 20: time does not go back ---- */

static uint64_t leaderships_with_a_jumping_clock(uint32_t rules_off)
{
    struct world *w = begin(3, rules_off);
    uint64_t leaderships = 0;

    w->swarm.p_clock_back = 0.3;
    w->swarm.clock_back_ms = 3000;
    run_ms(w, 30000);
    assert_string_equal(w->violation, "");
    world_close(w);
    leaderships = w->counts.leaderships;
    return leaderships;
}

static void rule_20_a_clock_that_goes_back_deposes_nobody(void **state)
{
    uint64_t with = leaderships_with_a_jumping_clock(0);
    uint64_t without = leaderships_with_a_jumping_clock(UINT32_C(1) << 20);
    (void)state;
    print_message("leaderships in 30 s: %llu with the rule, %llu without\n", (unsigned long long)with, (unsigned long long)without);
    assert_int_equal(with, 1);
    assert_true(without > 1);
}

/* ---- 21: no submit beyond the in-flight limit ---- */

static uint64_t messages_for_submits_that_cannot_commit(uint32_t rules_off)
{
    struct world *w = begin(3, rules_off);
    struct replica *leader = world_leader(w);
    uint64_t before;

    run_ms(w, 1000);
    for (uint64_t i = 1; i <= 3; i++) {
        cut(w, i, leader->id, i != leader->id);
    }
    for (int i = 0; i < 16; i++) {
        act_submit(w, leader, 1);
    }
    before = w->counts.messages;
    for (int i = 0; i < 1000; i++) {
        act_submit(w, leader, 1);
    }
    before = w->counts.messages - before;
    if (strstr(w->violation, "empty messages") != NULL) {
        before = UINT64_MAX;
    } else {
        assert_string_equal(w->violation, "");
    }
    world_close(w);
    return before;
}

static void rule_21_a_full_pipeline_takes_no_more(void **state)
{
    (void)state;
    assert_int_equal(messages_for_submits_that_cannot_commit(0), 0);
    /* A second net: the submits are taken, but the empty messages stay here. */
    assert_int_equal(messages_for_submits_that_cannot_commit(UINT32_C(1) << 21), 0);
    assert_int_equal(messages_for_submits_that_cannot_commit(UINT32_C(1) << 21 | UINT32_C(1) << RULE_QUIET_SUBMIT), UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_9_a_roll_back_goes_back_one_change),
        cmocka_unit_test(rule_16_second_change_waits_for_the_new_term),
        cmocka_unit_test(rule_19_early_ticks_do_not_demote_followers),
        cmocka_unit_test(rule_20_a_clock_that_goes_back_deposes_nobody),
        cmocka_unit_test(rule_21_a_full_pipeline_takes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
