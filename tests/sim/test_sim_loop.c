/* Loops behave as env.h promises: turns, hooks, timers, work, messages, and nothing of a dead program runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

struct prog {
    struct env *env;
    struct env_hook hook;
    struct timer timers[3];
    struct env_work works[8];
    struct env_message messages[8];
    char trace[256];
    unsigned n_hooks;
    unsigned n_ended;
    enum sim_end ended;
};

static void trace(struct prog *p, char c)
{
    size_t n = strlen(p->trace);
    assert_true(n + 1 < sizeof(p->trace));
    p->trace[n] = c;
    p->trace[n + 1] = '\0';
}

static void on_hook(struct env_hook *hook)
{
    container_of(hook, struct prog, hook)->n_hooks++;
}

static void on_ended(struct sim_node *node, enum sim_end how, void *data)
{
    struct prog *p = data;
    p->n_ended++;
    p->ended = how;
    timers_stop(&p->env->timers, &p->timers[0]); /* the env is dead but there */
    env_hook_remove(&p->hook);
}

static void prog_init(struct prog *p, struct env *env)
{
    p->env = env;
    p->hook.run = on_hook;
    env_hook_add(env, &p->hook);
}

static struct sim_node *boot(struct sim_world *world, struct prog *p, void (*start)(struct env *env, void *data))
{
    struct sim_node *node = sim_node_new(world, "n1");
    struct sim_program program = {.start = start, .ended = on_ended, .data = p};
    memset(p, 0, sizeof(*p));
    sim_node_start(node, &program);
    return node;
}

/* ---- timers ---- */

static void fire_0(struct timer *timer)
{
    trace(container_of(timer, struct prog, timers[0]), '0');
}

static void fire_1(struct timer *timer)
{
    struct prog *p = container_of(timer, struct prog, timers[1]);
    trace(p, '1');
    env_timer_start(p->env, &p->timers[0], 5);
    env_timer_stop(p->env, &p->timers[2]);
}

static void fire_2(struct timer *timer)
{
    trace(container_of(timer, struct prog, timers[2]), '2');
}

static void start_timers(struct env *env, void *data)
{
    struct prog *p = data;
    prog_init(p, env);
    timer_init(&p->timers[0], fire_0);
    timer_init(&p->timers[1], fire_1);
    timer_init(&p->timers[2], fire_2);
    env_timer_start(env, &p->timers[0], 10);
    env_timer_start(env, &p->timers[1], 20);
    env_timer_start(env, &p->timers[2], 30);
}

static void timers_fire_in_order_and_hooks_follow(void **state)
{
    struct sim_world *world = sim_world_new(1, NULL);
    struct prog p;
    boot(world, &p, start_timers);
    sim_world_run_until(world, 9 * SIM_MS);
    assert_string_equal(p.trace, "");
    sim_world_run_until(world, 11 * SIM_MS);
    assert_string_equal(p.trace, "0");
    sim_world_run_until(world, 24 * SIM_MS);
    assert_string_equal(p.trace, "01");
    sim_world_run_until(world, SIM_S);
    assert_string_equal(p.trace, "010");
    assert_true(p.n_hooks >= 4);
    sim_world_free(world);
    assert_int_equal(p.n_ended, 1);
}

/* ---- work and messages ---- */

static void run_work(struct env_work *work)
{
}

static void done_work(struct env_work *work)
{
    struct prog *p = (struct prog *)(void *)((char *)(work - (size_t)work->impl[7]) - offsetof(struct prog, works));
    trace(p, (char)('a' + (size_t)work->impl[7]));
}

static void run_message(struct env_message *message)
{
    struct prog *p = NULL;
    memcpy(&p, message + 1, sizeof(p));
    trace(p, 'm');
    free(message);
}

static void start_works(struct env *env, void *data)
{
    struct prog *p = data;
    prog_init(p, env);
    for (size_t i = 0; i < 8; i++) {
        p->works[i].run = run_work;
        p->works[i].done = done_work;
        p->works[i].impl[7] = (void *)i; /* the simulation needs none of it */
        env_work(env, ENV_QUEUE_WRITER, &p->works[i]);
    }
    struct env_message *m = malloc(sizeof(*m) + sizeof(p));
    m->run = run_message;
    memcpy(m + 1, &p, sizeof(p));
    env_post(env, m);
}

static void writer_works_in_order(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_world *world = sim_world_new(seed, NULL);
        struct prog p;
        char letters[16] = "";
        boot(world, &p, start_works);
        sim_world_run_until(world, 100 * SIM_MS);
        assert_int_equal(strlen(p.trace), 9);
        for (size_t i = 0; i < 9; i++) {
            if (p.trace[i] != 'm') {
                strncat(letters, &p.trace[i], 1);
            }
        }
        assert_string_equal(letters, "abcdefgh");
        sim_world_free(world);
    }
}

static void nothing_runs_after_a_kill(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_world *world = sim_world_new(seed, NULL);
        struct prog p;
        struct sim_node *node = boot(world, &p, start_works);
        sim_world_run_until(world, seed * 20 * SIM_US);
        sim_node_kill(node, seed & 1 ? SIM_END_KILL : SIM_END_POWER);
        assert_int_equal(p.n_ended, 1);
        struct prog before = p;
        memset(&p, 0xee, sizeof(p)); /* whatever touches it now is wrong */
        sim_world_run_until(world, SIM_S);
        for (size_t i = 0; i < sizeof(p); i++) {
            assert_int_equal(((uint8_t *)&p)[i], 0xee);
        }
        p = before;
        assert_false(sim_node_running(node));
        sim_world_free(world);
    }
}

static void pause_puts_off_and_resume_goes_on(void **state)
{
    struct sim_world *world = sim_world_new(5, NULL);
    struct prog p;
    struct sim_node *node = boot(world, &p, start_timers);
    sim_world_run_until(world, SIM_MS);
    sim_node_pause(node);
    sim_world_run_until(world, SIM_S);
    assert_string_equal(p.trace, "");
    sim_node_resume(node);
    sim_world_run_until(world, 2 * SIM_S);
    assert_string_equal(p.trace, "010"); /* all due at once: in order, less what was stopped */
    sim_world_free(world);
}

/* ---- ends ---- */

static void fatal_deep(struct timer *timer)
{
    struct prog *p = container_of(timer, struct prog, timers[0]);
    trace(p, 'f');
    env_fatal(p->env, "the disk is on fire");
}

static void start_fatal(struct env *env, void *data)
{
    struct prog *p = data;
    prog_init(p, env);
    timer_init(&p->timers[0], fatal_deep);
    env_timer_start(env, &p->timers[0], 10);
}

static void fatal_ends_the_program_and_it_starts_again(void **state)
{
    struct sim_world *world = sim_world_new(7, NULL);
    struct prog p;
    struct sim_node *node = boot(world, &p, start_fatal);
    sim_world_run_until(world, SIM_S);
    assert_false(sim_node_running(node));
    assert_int_equal(p.n_ended, 1);
    assert_int_equal(p.ended, SIM_END_FATAL);
    assert_string_equal(sim_node_fatal_reason(node), "the disk is on fire");
    struct sim_program again = {.start = start_timers, .ended = on_ended, .data = &p};
    memset(&p, 0, sizeof(p));
    sim_node_start(node, &again);
    sim_world_run_for(world, SIM_S);
    assert_string_equal(p.trace, "010");
    assert_int_equal(sim_node_incarnation(node), 2);
    sim_world_free(world);
}

static void stop_itself(struct env *env, void *data)
{
    prog_init(data, env);
    env_loop_stop(env);
}

static void stopping_the_first_loop_ends_the_program(void **state)
{
    struct sim_world *world = sim_world_new(7, NULL);
    struct prog p;
    struct sim_node *node = boot(world, &p, stop_itself);
    sim_world_run_until(world, SIM_S);
    assert_false(sim_node_running(node));
    assert_int_equal(p.ended, SIM_END_EXIT);
    sim_world_free(world);
}

/* ---- more loops ---- */

static struct env_message *message_to(struct prog *p)
{
    struct env_message *m = malloc(sizeof(*m) + sizeof(p));
    m->run = run_message;
    memcpy(m + 1, &p, sizeof(p));
    return m;
}

static void child_entry(struct env *loop, void *data)
{
    struct prog *p = data;
    trace(p, 'c');
    for (int i = 0; i < 3; i++) {
        env_post(p->env, message_to(p)); /* to the parent */
    }
    env_loop_stop(loop);
}

static struct env *child_of(struct prog *p)
{
    return p->messages[0].next == NULL ? NULL : (struct env *)(void *)p->messages[0].next;
}

static void free_child(struct timer *timer)
{
    struct prog *p = container_of(timer, struct prog, timers[0]);
    env_loop_free(child_of(p));
    trace(p, 'x');
}

static void start_child(struct env *env, void *data)
{
    struct prog *p = data;
    struct env *child;
    prog_init(p, env);
    assert_int_equal(env_loop_new(env, &child), 0);
    assert_int_equal(env_loop_start(child, child_entry, p), 0);
    p->messages[0].next = (void *)child;
    timer_init(&p->timers[0], free_child);
    env_timer_start(env, &p->timers[0], 10);
}

static void a_second_loop_talks_to_the_first(void **state)
{
    struct sim_world *world = sim_world_new(9, NULL);
    struct prog p;
    boot(world, &p, start_child);
    sim_world_run_until(world, SIM_S);
    assert_string_equal(p.trace, "cmmmx");
    sim_world_free(world);
}

/* A loop that goes with work and messages outstanding carries them out first, as the real one does. */
static void free_message(struct env_message *message)
{
    free(message);
}

static void busy_entry(struct env *loop, void *data)
{
    struct prog *p = data;
    for (size_t i = 0; i < 4; i++) {
        p->works[i].run = run_work;
        p->works[i].done = done_work;
        p->works[i].impl[7] = (void *)i;
        env_work(loop, i & 1 ? ENV_QUEUE_POOL : ENV_QUEUE_WRITER, &p->works[i]);
    }
    for (int i = 0; i < 300; i++) {
        struct env_message *m = malloc(sizeof(*m) + sizeof(p));
        m->run = free_message;
        env_post(loop, m);
    }
    env_loop_stop(loop);
    trace(p, 's');
}

static void free_busy(struct timer *timer)
{
    struct prog *p = container_of(timer, struct prog, timers[0]);
    env_loop_free(child_of(p));
    trace(p, 'x');
}

static void start_busy(struct env *env, void *data)
{
    struct prog *p = data;
    struct env *child;
    prog_init(p, env);
    assert_int_equal(env_loop_new(env, &child), 0);
    assert_int_equal(env_loop_start(child, busy_entry, p), 0);
    p->messages[0].next = (void *)child;
    timer_init(&p->timers[0], free_busy);
    env_timer_start(env, &p->timers[0], 1);
}

static void a_stopped_loop_finishes_its_work(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_world *world = sim_world_new(seed, NULL);
        struct prog p;
        boot(world, &p, start_busy);
        sim_world_run_until(world, SIM_S);
        assert_int_equal(strlen(p.trace), 6);
        assert_int_equal(p.trace[0], 's');
        assert_int_equal(p.trace[5], 'x');
        for (const char *c = "abcd"; *c != '\0'; c++) {
            assert_non_null(strchr(p.trace, *c));
        }
        assert_true(strchr(p.trace, 'a') < strchr(p.trace, 'c')); /* the writer's */
        sim_world_free(world);
    }
}

/* ---- determinism ---- */

static void random_fire(struct timer *timer)
{
    struct prog *p = container_of(timer, struct prog, timers[0]);
    struct env_file *file;
    uint64_t value = env_random(p->env);
    struct iovec iov = {&value, sizeof(value)};
    assert_int_equal(env_file_open(p->env, "/f", ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    assert_int_equal(env_file_write(p->env, file, &iov, 1, value % 100000, value & 1), 0);
    env_file_close(p->env, file);
    env_timer_start(p->env, timer, value % 10);
}

static void start_random(struct env *env, void *data)
{
    struct prog *p = data;
    prog_init(p, env);
    timer_init(&p->timers[0], random_fire);
    env_timer_start(env, &p->timers[0], 1);
}

static uint64_t hash_of(uint64_t seed)
{
    struct sim_world *world = sim_world_new(seed, NULL);
    struct prog p;
    struct sim_node *node = boot(world, &p, start_random);
    sim_world_run_until(world, SIM_S / 2);
    sim_node_kill(node, SIM_END_POWER);
    struct sim_program again = {.start = start_random, .ended = on_ended, .data = &p};
    sim_node_start(node, &again);
    sim_world_run_until(world, SIM_S);
    uint64_t hash = sim_world_hash(world);
    sim_world_free(world);
    return hash;
}

static void one_seed_is_one_run(void **state)
{
    assert_true(hash_of(1) == hash_of(1));
    assert_true(hash_of(2) == hash_of(2));
    assert_true(hash_of(1) != hash_of(2));
}

static void wall_clock_jumps_and_drifts_the_other_does_not(void **state)
{
    struct sim_world *world = sim_world_new(1, NULL);
    struct prog p;
    struct sim_node *node = boot(world, &p, start_timers);
    sim_world_run_until(world, SIM_S);
    struct env *env = sim_node_env(node);
    int64_t wall = env_wall_ms(env);
    uint64_t mono = env_now_ms(env);
    sim_node_set_clock(node, -5000, 100000);
    assert_int_equal(env_wall_ms(env), wall - 5000);
    assert_int_equal(env_now_ms(env), mono);
    sim_world_run_for(world, 10 * SIM_S);
    assert_int_equal(env_wall_ms(env), wall - 5000 + 11000);
    assert_int_equal(env_now_ms(env), mono + 10000);
    sim_world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_hooks_follow),
        cmocka_unit_test(writer_works_in_order),
        cmocka_unit_test(nothing_runs_after_a_kill),
        cmocka_unit_test(pause_puts_off_and_resume_goes_on),
        cmocka_unit_test(fatal_ends_the_program_and_it_starts_again),
        cmocka_unit_test(stopping_the_first_loop_ends_the_program),
        cmocka_unit_test(a_second_loop_talks_to_the_first),
        cmocka_unit_test(a_stopped_loop_finishes_its_work),
        cmocka_unit_test(one_seed_is_one_run),
        cmocka_unit_test(wall_clock_jumps_and_drifts_the_other_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
