/* The identity file: what a data directory remembers, and what is refused when it does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/control/identity.h"
#include "tests/sim/world.h"

struct fixture {
    struct sim_world *world;
    struct sim_node *machine;
    /* one opening */
    struct identity_params params;
    struct identity id;
    int error;
    char errmsg[ERRMSG_SIZE];
    void (*then)(struct fixture *f); /* with the directory open */
    int then_error;
};

static void setup(struct fixture *f, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    f->world = sim_world_new(seed, NULL);
    f->machine = sim_node_new(f->world, "n1");
    sim_node_make_dirs(f->machine, "/var");
    f->params.dir = "/var/cairn";
    f->params.node = 7;
    f->params.shards = 2;
}

static void on_start(struct env *env, void *data)
{
    struct fixture *f = data;
    f->params.env = env;
    f->error = identity_open(&f->id, &f->params, f->errmsg);
    if (f->error == 0 && f->then != NULL) {
        f->then(f);
    }
}

/* One program's life: opens, does @then, and ends as @how says. */
static void life(struct fixture *f, void (*then)(struct fixture *f), enum sim_end how)
{
    struct sim_program program = {.start = on_start, .data = f};
    f->then = then;
    f->error = -1;
    memset(&f->id, 0, sizeof f->id);
    sim_node_start(f->machine, &program);
    sim_world_run_for(f->world, SIM_S);
    if (sim_node_running(f->machine)) {
        sim_node_kill(f->machine, how);
    }
}

static void a_fresh_directory_gets_an_identity_that_lasts(void **state)
{
    struct fixture f;
    struct uuid disk;
    (void)state;
    setup(&f, 1);
    life(&f, NULL, SIM_END_POWER);
    assert_int_equal(f.error, 0);
    assert_int_equal(f.id.boot, 1);
    assert_false(uuid_is_nil(&f.id.disk_id));
    disk = f.id.disk_id;
    for (uint64_t boot = 2; boot < 6; boot++) { /* each start counts, whatever ends it */
        life(&f, NULL, boot % 2 == 0 ? SIM_END_POWER : SIM_END_KILL);
        assert_int_equal(f.error, 0);
        assert_int_equal(f.id.boot, boot);
        assert_true(uuid_equal(&f.id.disk_id, &disk));
    }
    sim_world_free(f.world);
}

static void another_node_id_or_shard_count_is_refused(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f, 2);
    life(&f, NULL, SIM_END_KILL);
    f.params.node = 8;
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, ERR_CONFIG);
    assert_non_null(strstr(f.errmsg, "node.id: 8"));
    assert_non_null(strstr(f.errmsg, "allowed: 7"));
    f.params.node = 7;
    f.params.shards = 3;
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, ERR_CONFIG);
    assert_non_null(strstr(f.errmsg, "shards: 3"));
    assert_non_null(strstr(f.errmsg, "allowed: 2"));
    f.params.shards = 0;
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, ERR_CONFIG);
    f.params.shards = 2;
    f.params.node = 0;
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, ERR_CONFIG);
    sim_world_free(f.world);
}

static void every_damaged_byte_is_noticed(void **state)
{
    struct fixture f;
    uint64_t size;
    (void)state;
    setup(&f, 3);
    life(&f, NULL, SIM_END_KILL);
    size = sim_node_file_size(f.machine, "/var/cairn/identity");
    assert_in_range(size, 30, 300);
    for (uint64_t at = 0; at < size; at++) {
        assert_true(sim_node_flip_bit(f.machine, "/var/cairn/identity", at, (unsigned)at % 8));
        life(&f, NULL, SIM_END_KILL);
        assert_true(f.error == ERR_CORRUPT || (f.error == ERR_VERSION && at >= 4 && at < 8));
        assert_true(f.errmsg[0] != '\0');
        assert_true(sim_node_flip_bit(f.machine, "/var/cairn/identity", at, (unsigned)at % 8));
    }
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, 0);
    sim_world_free(f.world);
}

static void make_log(struct fixture *f)
{
    f->then_error = env_dir_make(f->id.env, "/var/cairn/shard-0");
    if (f->then_error == 0) {
        f->then_error = env_path_unlink(f->id.env, "/var/cairn/identity");
    }
}

static void logs_without_an_identity_are_refused(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f, 4);
    life(&f, make_log, SIM_END_KILL);
    assert_int_equal(f.then_error, 0);
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, ERR_CORRUPT);
    assert_non_null(strstr(f.errmsg, "no identity file"));
    sim_world_free(f.world);
}

static void open_again(struct fixture *f)
{
    struct identity second;
    f->then_error = identity_open(&second, &f->params, f->errmsg);
}

static void a_directory_in_use_is_refused(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f, 5);
    life(&f, open_again, SIM_END_KILL);
    assert_int_equal(f.then_error, ERR_BUSY);
    assert_non_null(strstr(f.errmsg, "in use"));
    sim_world_free(f.world);
}

static void list_of(struct fixture *f, struct seed_list *list)
{
    struct uuid other = {{1, 2, 3}};
    memset(list, 0, sizeof *list);
    assert_int_equal(seed_list_add(list, 9, "n9:1", &other), 0);
    assert_int_equal(seed_list_add(list, 7, "n7:1", &f->id.disk_id), 0);
}

static void pledge(struct fixture *f)
{
    struct seed_list list;
    list_of(f, &list);
    f->then_error = identity_write_pledge(&f->id, &list);
}

static void form(struct fixture *f)
{
    f->then_error = identity_write_formed(&f->id, &f->id.pledge, 1, true);
}

static void pledge_and_founding_outlive_power_cuts(void **state)
{
    struct fixture f;
    struct seed_list list;
    struct uuid hash;
    (void)state;
    setup(&f, 6);
    life(&f, pledge, SIM_END_POWER);
    assert_int_equal(f.then_error, 0);
    life(&f, form, SIM_END_POWER);
    assert_int_equal(f.then_error, 0);
    assert_int_equal(f.id.pledge.n, 2);
    life(&f, NULL, SIM_END_POWER);
    list_of(&f, &list);
    hash = seed_list_hash(&list);
    assert_true(uuid_equal(&f.id.cluster_id, &hash));
    assert_int_equal(f.id.metadata_replica, 1);
    assert_true(f.id.founder);
    assert_int_equal(f.id.founders.seeds[1].node, 9);
    f.params.forget_pledge = true; /* too late */
    life(&f, NULL, SIM_END_KILL);
    assert_int_equal(f.error, ERR_CONFIG);
    sim_world_free(f.world);
}

static void a_pledge_is_forgotten_when_told(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f, 7);
    life(&f, pledge, SIM_END_POWER);
    f.params.forget_pledge = true;
    life(&f, NULL, SIM_END_POWER);
    assert_int_equal(f.error, 0);
    f.params.forget_pledge = false;
    life(&f, NULL, SIM_END_POWER);
    assert_int_equal(f.id.pledge.n, 0);
    sim_world_free(f.world);
}

/* A crash at any disk operation of a change leaves the old or the new identity, whole. */
static void deaths_inside_a_change_leave_old_or_new(void **state)
{
    uint32_t olds = 0;
    uint32_t news = 0;
    (void)state;
    for (uint64_t op = 0; op < 24; op++) {
        struct fixture f;
        struct sim_program program = {.start = on_start, .data = &f};
        setup(&f, 100 + op);
        life(&f, NULL, SIM_END_POWER);
        f.then = pledge;
        sim_node_start(f.machine, &program);
        sim_node_kill_at_op(f.machine, op, SIM_END_POWER);
        sim_world_run_for(f.world, SIM_S);
        if (sim_node_running(f.machine)) {
            sim_node_kill(f.machine, SIM_END_POWER);
        }
        life(&f, NULL, SIM_END_KILL);
        assert_int_equal(f.error, 0);
        assert_true(f.id.boot >= 2);
        assert_true(f.id.pledge.n == 0 || f.id.pledge.n == 2);
        olds += f.id.pledge.n == 0;
        news += f.id.pledge.n == 2;
        sim_world_free(f.world);
    }
    assert_true(olds > 3 && news > 3);
}

static struct uuid wals[2];

static void check_wals(struct fixture *f)
{
    f->then_error = identity_check_wals(&f->id, wals, 2, f->errmsg);
}

static void a_log_that_was_lost_is_noticed(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f, 9);
    wals[0] = uuid_from_random(1, 2);
    wals[1] = uuid_from_random(3, 4);
    life(&f, check_wals, SIM_END_POWER);
    assert_int_equal(f.then_error, 0);
    life(&f, check_wals, SIM_END_POWER);
    assert_int_equal(f.then_error, 0);
    wals[1] = uuid_from_random(5, 6);
    life(&f, check_wals, SIM_END_POWER);
    assert_int_equal(f.then_error, ERR_DISK_WIPED);
    assert_non_null(strstr(f.errmsg, "shard-1"));
    sim_world_free(f.world);
}

static void the_hash_names_every_part_of_the_list(void **state)
{
    struct seed_list a = {0};
    struct seed_list b;
    struct uuid disk = uuid_from_random(1, 1);
    struct uuid first;
    struct uuid second;
    (void)state;
    assert_int_equal(seed_list_add(&a, 2, "b:1", &disk), 0);
    assert_int_equal(seed_list_add(&a, 1, "a:1", &disk), 0);
    assert_int_equal(seed_list_add(&a, 1, "a:2", &disk), ERR_EXISTS);
    assert_int_equal(seed_list_add(&a, 0, "a:2", &disk), ERR_INVALID);
    assert_int_equal(a.seeds[0].node, 1); /* sorted, whatever the order of adding */
    first = seed_list_hash(&a);
    b = a;
    b.seeds[1].disk_id.bytes[15] ^= 1;
    second = seed_list_hash(&b);
    assert_false(uuid_equal(&first, &second));
    b = a;
    strcpy(b.seeds[0].address, "a:3");
    second = seed_list_hash(&b);
    assert_false(uuid_equal(&first, &second));
    b = a;
    b.seeds[1].node = 3;
    second = seed_list_hash(&b);
    assert_false(uuid_equal(&first, &second));
    b = a;
    b.n = 1;
    second = seed_list_hash(&b);
    assert_false(uuid_equal(&first, &second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_directory_gets_an_identity_that_lasts),
        cmocka_unit_test(another_node_id_or_shard_count_is_refused),
        cmocka_unit_test(every_damaged_byte_is_noticed),
        cmocka_unit_test(logs_without_an_identity_are_refused),
        cmocka_unit_test(a_directory_in_use_is_refused),
        cmocka_unit_test(pledge_and_founding_outlive_power_cuts),
        cmocka_unit_test(a_pledge_is_forgotten_when_told),
        cmocka_unit_test(deaths_inside_a_change_leave_old_or_new),
        cmocka_unit_test(a_log_that_was_lost_is_noticed),
        cmocka_unit_test(the_hash_names_every_part_of_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
