/* Consumer groups whose members come, leave, die and get stuck while coordinators move and answers get lost: nothing is
 * left out, and the group comes to rest. CAIRN_TEST_STORMS: how many seeds; CAIRN_TEST_STORM_FIRST: from which on. */
#include <stdlib.h>

#include "tests/unit/client/check.h"
#include "tests/unit/client/members.h"

/* For people, when a group does not come to rest. */
static void print_all(const struct all *a)
{
    for (int i = 0; i < MEMBERS_MAX; i++) {
        const struct member *m = &a->members[i];
        const struct membership *g = m->c != NULL ? m->c->group : NULL;

        if (g != NULL) {
            print_error("  member %d \"%s\" id \"%s\": state %d generation %d event %d owns %zu rejoin %d call %d\n", i,
                        g->config.instance, g->member, g->state, g->generation, g->event.kind, member_owned(m),
                        g->rejoin, g->call != NULL);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_left_out_in_a_storm)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
