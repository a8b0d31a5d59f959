/* First start and joining: all orders, deaths in between, emptied disks. At most one cluster ever works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/node/control_cluster.h"

#define FORM_LIMIT_MS 20000

static bool all_formed(struct cluster *cl, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < cl->n; i++) {
        if (cl->nodes[i].control == NULL || !control_formed(cl->nodes[i].control)) {
            return false;
        }
    }
    return true;
}

static void assert_settles(struct cluster *cl)
{
    if (!cluster_run_until(cl, cluster_settled, NULL, FORM_LIMIT_MS)) {
        for (uint32_t i = 0; i < cl->n; i++) {
            struct cluster_node *n = &cl->nodes[i];
            char id[UUID_TEXT_SIZE];
            print_message("node %u: running %d error %s refusal %s text %s\n", n->id, n->control != NULL,
                          err_name(n->open_error), err_name(n->refusal), n->text);
            if (n->control != NULL) {
                struct group_info info = {0};
                if (n->control->metadata.group != NULL) {
                    group_info(n->control->metadata.group, &info);
                }
                print_message(
                    "  cluster %s replica %llu ready %d confirmed %d index %llu digest %x term %llu leader %u commit "
                    "%llu nodes %u\n",
                    uuid_format(&n->control->id.cluster_id, id), (unsigned long long)n->control->id.metadata_replica,
                    n->control->metadata.ready, n->control->metadata.confirmed,
                    (unsigned long long)metadata_fsm_index(n->control->metadata.fsm),
                    metadata_fsm_digest(n->control->metadata.fsm), (unsigned long long)info.term, info.leader_node,
                    (unsigned long long)info.commit, metadata_fsm_nodes(n->control->metadata.fsm));
            }
        }
        fail_msg("the cluster did not settle");
    }
    assert_int_equal(cl->n_working, 1);
}

static void three_seeds_form_in_any_order(void **state)
{
    static const uint32_t orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    (void)state;
    for (uint32_t o = 0; o < 6; o++) {
        struct cluster cl;
        cluster_init(&cl, 100 + o, 3);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(cl.n_working, 0);
            cluster_start(&cl, orders[o][i]);
            cluster_run(&cl, o % 2 == 0 ? 3000 : 10);
        }
        assert_settles(&cl);
        assert_int_equal(cluster_metadata_voters(&cl), 3);
        cluster_close(&cl);
    }
}

static void one_seed_forms_alone_and_takes_no_others(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 7, 2);
    cluster_seeds(&cl, 1);
    cluster_start(&cl, 1);
    assert_settles(&cl);
    cluster_start(&cl, 2);
    cluster_run(&cl, 5000);
    assert_int_equal(cluster_node(&cl, 2)->refusal, ERR_REFUSED);
    assert_non_null(strstr(cluster_node(&cl, 2)->text, "single seed"));
    assert_true(cluster_node(&cl, 2)->closed);
    assert_settles(&cl);
    cluster_close(&cl);
}

/* A cluster is kept over a full stop; boot counters rise. */
static void a_restart_of_all_resumes_the_same_cluster(void **state)
{
    struct cluster cl;
    struct uuid id;
    (void)state;
    cluster_init(&cl, 8, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    id = *control_cluster_id(cluster_node(&cl, 1)->control);
    sim_world_power_cut(cl.world);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    assert_true(uuid_equal(&id, control_cluster_id(cluster_node(&cl, 3)->control)));
    assert_int_equal(cluster_node(&cl, 3)->control->id.boot, 2);
    cluster_close(&cl);
}

/* Each disk operation of a first start is a place to die; everybody comes back, and it forms all the same. */
static void deaths_at_every_step_of_a_first_start(void **state)
{
    uint32_t formed_late = 0;
    (void)state;
    for (uint64_t op = 0; op < 48; op++) {
        for (uint32_t victim = 1; victim <= 3; victim += 2) {
            struct cluster cl;
            enum sim_end how = op % 2 == 0 ? SIM_END_POWER : SIM_END_KILL;
            cluster_init(&cl, 1000 + 10 * op + victim, 3);
            for (uint32_t i = 1; i <= 3; i++) {
                cluster_node(&cl, i)->restart = true;
                cluster_start(&cl, i);
            }
            sim_node_kill_at_op(cluster_node(&cl, victim)->machine, op, how);
            assert_settles(&cl);
            formed_late += sim_node_incarnation(cluster_node(&cl, victim)->machine) > 1;
            assert_int_equal(cluster_metadata_voters(&cl), 3);
            cluster_close(&cl);
        }
    }
    assert_true(formed_late > 20); /* the deaths did happen */
}

/* Random deaths of all seeds at once, again and again, while they try. */
static void a_storm_of_deaths_while_forming(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct cluster cl;
        cluster_init(&cl, 5000 + seed, 3);
        for (uint32_t i = 1; i <= 3; i++) {
            cluster_node(&cl, i)->restart = true;
            cluster_start(&cl, i);
        }
        for (uint32_t deaths = 0; deaths < 12; deaths++) {
            uint32_t victim = 1 + (uint32_t)(sim_world_random(cl.world) % 3);
            cluster_run(&cl, sim_world_random(cl.world) % 400);
            if (sim_node_running(cluster_node(&cl, victim)->machine)) {
                sim_node_kill_at_op(cluster_node(&cl, victim)->machine, sim_world_random(cl.world) % 6,
                                    sim_world_random(cl.world) % 2 == 0 ? SIM_END_POWER : SIM_END_KILL);
            }
        }
        assert_settles(&cl);
        cluster_close(&cl);
    }
}

static bool pledged(struct cluster *cl, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < cl->n; i++) {
        if (cl->nodes[i].control != NULL && cl->nodes[i].control->id.pledge.n > 0) {
            return true;
        }
    }
    return false;
}

static void a_disk_emptied_before_any_pledge_is_just_another_disk(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 21, 3);
    cluster_start(&cl, 1);
    cluster_start(&cl, 2);
    cluster_run(&cl, 2000);
    cluster_kill(&cl, 2, SIM_END_KILL);
    cluster_wipe(&cl, 2);
    cluster_start(&cl, 2);
    cluster_start(&cl, 3);
    assert_settles(&cl);
    cluster_close(&cl);
}

static void a_disk_emptied_after_a_pledge_is_refused_until_the_pledge_is_forgotten(void **state)
{
    struct cluster cl;
    struct control *c;
    uint32_t lost = 0;
    (void)state;
    cluster_init(&cl, 22, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_true(cluster_run_until(&cl, pledged, NULL, 5000));
    for (uint32_t i = 1; i <= 3; i++) {
        c = cluster_node(&cl, i)->control;
        assert_false(control_formed(c));
        lost = c->id.pledge.n == 0 ? i : lost;
    }
    assert_true(lost != 0);
    /* One has pledged; another loses its disk before it has. */
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_kill(&cl, i, SIM_END_POWER);
    }
    cluster_wipe(&cl, lost);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    cluster_run(&cl, 5000);
    assert_int_equal(cl.n_working, 0);
    for (uint32_t i = 1; i <= 3; i++) { /* they wait, and say why in the log */
        assert_non_null(cluster_node(&cl, i)->control);
        assert_false(control_formed(cluster_node(&cl, i)->control));
    }
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_kill(&cl, i, SIM_END_KILL);
        cluster_node(&cl, i)->forget_pledge = true;
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    cluster_close(&cl);
}

static void a_pledge_is_not_forgotten_once_formed(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 23, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    cluster_kill(&cl, 1, SIM_END_KILL);
    cluster_node(&cl, 1)->forget_pledge = true;
    cluster_start(&cl, 1);
    cluster_run(&cl, 10);
    assert_int_equal(cluster_node(&cl, 1)->open_error, ERR_CONFIG);
    assert_non_null(strstr(cluster_node(&cl, 1)->text, "--forget-pledge"));
    cluster_close(&cl);
}

static void an_emptied_disk_of_a_formed_cluster_is_refused_and_says_why(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 24, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    cluster_kill(&cl, 3, SIM_END_POWER);
    cluster_wipe(&cl, 3);
    cluster_start(&cl, 3);
    cluster_run(&cl, 5000);
    assert_int_equal(cluster_node(&cl, 3)->refusal, ERR_DISK_WIPED);
    assert_non_null(strstr(cluster_node(&cl, 3)->text, "emptied or replaced"));
    assert_true(cluster_node(&cl, 3)->closed);
    assert_settles(&cl);
    cluster_close(&cl);
}

/* All founders but one lose their disks: the one left never works alone, the others never found without it. */
static void two_emptied_disks_of_three_never_make_a_second_cluster(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct cluster cl;
        bool worked;
        cluster_init(&cl, 250 + seed, 3);
        for (uint32_t i = 1; i <= 3; i++) {
            cluster_start(&cl, i);
        }
        cluster_run(&cl, 50 + 60 * seed);
        worked = all_formed(&cl, NULL);
        for (uint32_t i = 2; i <= 3; i++) {
            cluster_kill(&cl, i, SIM_END_POWER);
            cluster_wipe(&cl, i);
            cluster_start(&cl, i);
        }
        cluster_run(&cl, 8000);
        assert_in_range(cl.n_working, 0, 1);
        if (worked) {
            assert_int_equal(cluster_node(&cl, 2)->refusal, ERR_DISK_WIPED);
        }
        cluster_close(&cl);
    }
}

static bool five_voters(struct cluster *cl, void *data)
{
    (void)data;
    return cluster_metadata_voters(cl) == 5 && cluster_settled(cl, NULL);
}

static void three_grow_to_five_voters_and_a_sixth_learns(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 31, 6);
    cluster_seeds(&cl, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    for (uint32_t i = 4; i <= 6; i++) {
        cluster_start(&cl, i);
    }
    assert_true(cluster_run_until(&cl, five_voters, NULL, 30000));
    assert_int_equal(cl.n_working, 1);
    assert_int_equal(group_config(cluster_metadata_leader(&cl)->control->metadata.group)->n, 6);
    /* Two of five may go, whoever they are. */
    cluster_kill(&cl, cluster_metadata_leader(&cl)->id, SIM_END_POWER);
    assert_true(cluster_run_until(&cl, cluster_settled, NULL, 10000));
    cluster_kill(&cl, cluster_metadata_leader(&cl)->id, SIM_END_POWER);
    assert_true(cluster_run_until(&cl, cluster_settled, NULL, 10000));
    cluster_close(&cl);
}

static void a_joiner_dies_at_every_step(void **state)
{
    (void)state;
    for (uint64_t op = 0; op < 40; op += 2) {
        struct cluster cl;
        cluster_init(&cl, 3100 + op, 4);
        cluster_seeds(&cl, 3);
        for (uint32_t i = 1; i <= 4; i++) {
            cluster_node(&cl, i)->restart = true;
            cluster_start(&cl, i);
        }
        sim_node_kill_at_op(cluster_node(&cl, 4)->machine, op, op % 4 == 0 ? SIM_END_POWER : SIM_END_KILL);
        assert_settles(&cl);
        cluster_close(&cl);
    }
}

static void seeds_that_were_told_different_lists_do_not_form(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 41, 3);
    cluster_node(&cl, 3)->seeds[0] = 2; /* 2 and 3 only */
    cluster_node(&cl, 3)->seeds[1] = 3;
    cluster_node(&cl, 3)->seeds[2] = 0;
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    cluster_run(&cl, 5000);
    assert_int_equal(cl.n_working, 0);
    /* Corrected, they do. */
    cluster_kill(&cl, 3, SIM_END_KILL);
    cluster_seeds(&cl, 3);
    cluster_start(&cl, 3);
    if (!cluster_run_until(&cl, cluster_settled, NULL, 5000)) {
        assert_true(cluster_node(&cl, 3)->open_error == ERR_CONFIG); /* it had pledged to the other list */
    }
    cluster_close(&cl);
}

static void seven_seeds_have_five_voters(void **state)
{
    struct cluster cl;
    (void)state;
    cluster_init(&cl, 51, 7);
    for (uint32_t i = 1; i <= 7; i++) {
        cluster_start(&cl, i);
    }
    assert_settles(&cl);
    assert_int_equal(cluster_metadata_voters(&cl), 5);
    cluster_close(&cl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_seeds_form_in_any_order),
        cmocka_unit_test(one_seed_forms_alone_and_takes_no_others),
        cmocka_unit_test(a_restart_of_all_resumes_the_same_cluster),
        cmocka_unit_test(deaths_at_every_step_of_a_first_start),
        cmocka_unit_test(a_storm_of_deaths_while_forming),
        cmocka_unit_test(a_disk_emptied_before_any_pledge_is_just_another_disk),
        cmocka_unit_test(a_disk_emptied_after_a_pledge_is_refused_until_the_pledge_is_forgotten),
        cmocka_unit_test(a_pledge_is_not_forgotten_once_formed),
        cmocka_unit_test(an_emptied_disk_of_a_formed_cluster_is_refused_and_says_why),
        cmocka_unit_test(two_emptied_disks_of_three_never_make_a_second_cluster),
        cmocka_unit_test(three_grow_to_five_voters_and_a_sixth_learns),
        cmocka_unit_test(a_joiner_dies_at_every_step),
        cmocka_unit_test(seeds_that_were_told_different_lists_do_not_form),
        cmocka_unit_test(seven_seeds_have_five_voters),
    };
    if (getenv("ONLY") != NULL) {
        cmocka_set_test_filter(getenv("ONLY"));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
