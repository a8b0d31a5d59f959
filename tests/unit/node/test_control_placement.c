/* Where replicas go: racks, balance, the dead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/control/placement.h"

static void make(struct placement_node *nodes, uint32_t n, const char *const *racks)
{
    memset(nodes, 0, n * sizeof *nodes);
    for (uint32_t i = 0; i < n; i++) {
        nodes[i].node = i + 1;
        nodes[i].rack = racks == NULL ? "" : racks[i];
        nodes[i].alive = true;
    }
}

static void leaders_and_replicas_are_even(void **state)
{
    struct placement_node nodes[5];
    uint32_t out[METADATA_REPLICAS_MAX];
    (void)state;
    make(nodes, 5, NULL);
    for (uint32_t p = 0; p < 50; p++) {
        assert_true(placement_choose(nodes, 5, 3, 77 + p, out));
        for (uint32_t a = 0; a < 3; a++) {
            for (uint32_t b = 0; b < a; b++) {
                assert_int_not_equal(out[a], out[b]);
            }
        }
    }
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(nodes[i].leaders, 10);
        assert_in_range(nodes[i].replicas, 29, 31);
    }
}

static void new_topics_go_where_there_is_less(void **state)
{
    struct placement_node nodes[3];
    uint32_t out[METADATA_REPLICAS_MAX];
    (void)state;
    make(nodes, 3, NULL);
    nodes[0].replicas = nodes[0].leaders = 10;
    nodes[1].replicas = 10;
    for (uint32_t p = 0; p < 8; p++) {
        assert_true(placement_choose(nodes, 3, 1, p, out));
        assert_int_not_equal(out[0], 1);
    }
    assert_int_equal(nodes[1].leaders + nodes[2].leaders, 8);
}

static void racks_are_spread_before_counts(void **state)
{
    static const char *const racks[6] = {"a", "a", "a", "a", "b", "c"};
    struct placement_node nodes[6];
    uint32_t out[METADATA_REPLICAS_MAX];
    (void)state;
    make(nodes, 6, racks);
    for (uint32_t p = 0; p < 60; p++) {
        uint32_t in_a = 0;
        assert_true(placement_choose(nodes, 6, 3, p, out));
        for (uint32_t i = 0; i < 3; i++) {
            in_a += out[i] <= 4;
        }
        assert_int_equal(in_a, 1);
    }
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(nodes[i].leaders, 10);
    }
}

static void more_replicas_than_racks_still_spread(void **state)
{
    static const char *const racks[4] = {"a", "a", "b", "b"};
    struct placement_node nodes[4];
    uint32_t out[METADATA_REPLICAS_MAX];
    (void)state;
    make(nodes, 4, racks);
    for (uint32_t p = 0; p < 20; p++) {
        uint32_t in_a = 0;
        assert_true(placement_choose(nodes, 4, 3, p, out));
        for (uint32_t i = 0; i < 3; i++) {
            in_a += out[i] <= 2;
        }
        assert_in_range(in_a, 1, 2);
    }
}

static void the_dead_are_the_last_choice_and_never_preferred(void **state)
{
    struct placement_node nodes[4];
    uint32_t out[METADATA_REPLICAS_MAX];
    (void)state;
    make(nodes, 4, NULL);
    nodes[2].alive = false;
    for (uint32_t p = 0; p < 20; p++) {
        assert_true(placement_choose(nodes, 4, 3, p, out));
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_not_equal(out[i], 3);
        }
    }
    for (uint32_t p = 0; p < 20; p++) {
        assert_true(placement_choose(nodes, 4, 4, p, out));
        assert_int_not_equal(out[0], 3);
    }
    nodes[0].alive = nodes[1].alive = false;
    assert_false(placement_choose(nodes, 4, 3, 0, out)); /* one alive: no majority of three could start */
    assert_true(placement_choose(nodes, 4, 1, 0, out));
    assert_int_equal(out[0], 4);
}

static void impossible_counts_are_refused(void **state)
{
    struct placement_node nodes[METADATA_REPLICAS_MAX + 1];
    uint32_t out[METADATA_REPLICAS_MAX];
    (void)state;
    make(nodes, METADATA_REPLICAS_MAX + 1, NULL);
    assert_false(placement_choose(nodes, 3, 4, 0, out));
    assert_false(placement_choose(nodes, 3, 0, 0, out));
    assert_false(placement_choose(nodes, METADATA_REPLICAS_MAX + 1, METADATA_REPLICAS_MAX + 1, 0, out));
    assert_false(placement_choose(nodes, 0, 1, 0, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaders_and_replicas_are_even),
        cmocka_unit_test(new_topics_go_where_there_is_less),
        cmocka_unit_test(racks_are_spread_before_counts),
        cmocka_unit_test(more_replicas_than_racks_still_spread),
        cmocka_unit_test(the_dead_are_the_last_choice_and_never_preferred),
        cmocka_unit_test(impossible_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
