#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/list.h"
#include "raft/env/timers.h"

#define FIRED_MAX 4096

struct probe {
    struct timer timer;
    struct timers *timers;
    int id;
    int *fired; /* ids in the order of firing */
    size_t *n_fired;
    struct probe *stop;    /* stopped when this fires */
    struct probe *restart; /* started when this fires */
    uint64_t restart_ns;
};

static void on_fire(struct timer *timer)
{
    struct probe *p = container_of(timer, struct probe, timer);
    p->fired[(*p->n_fired)++] = p->id;
    if (p->stop != NULL) {
        timers_stop(p->timers, &p->stop->timer);
    }
    if (p->restart != NULL) {
        timers_start(p->timers, &p->restart->timer, p->restart_ns);
    }
}

struct fixture {
    struct timers timers;
    struct probe probes[64];
    int fired[FIRED_MAX];
    size_t n_fired;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    timers_init(&f->timers);
    for (int i = 0; i < 64; i++) {
        struct probe *p = &f->probes[i];
        timer_init(&p->timer, on_fire);
        p->timers = &f->timers;
        p->id = i;
        p->fired = f->fired;
        p->n_fired = &f->n_fired;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    timers_close(&f->timers);
    free(f);
    return 0;
}

static void start(struct fixture *f, int id, uint64_t deadline_ns)
{
    timers_start(&f->timers, &f->probes[id].timer, deadline_ns);
}

static void check_fired(struct fixture *f, size_t n, const int *ids)
{
    assert_int_equal(f->n_fired, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(f->fired[i], ids[i]);
    }
}

static void fire_in_order_of_deadline_then_of_start(void **state)
{
    struct fixture *f = *state;
    start(f, 3, 30);
    start(f, 1, 10);
    start(f, 2, 20);
    start(f, 5, 20);
    start(f, 4, 20);
    assert_int_equal(timers_next(&f->timers), 10);
    assert_int_equal(timers_run(&f->timers, 9), 0);
    assert_int_equal(timers_run(&f->timers, 20), 4);
    check_fired(f, 4, (int[]){1, 2, 5, 4});
    assert_false(timer_active(&f->probes[1].timer));
    assert_true(timer_active(&f->probes[3].timer));
    assert_int_equal(timers_next(&f->timers), 30);
}

static void next_of_none_is_never(void **state)
{
    struct fixture *f = *state;
    assert_true(timers_next(&f->timers) == UINT64_MAX);
    assert_int_equal(timers_run(&f->timers, UINT64_MAX), 0);
    timers_stop(&f->timers, &f->probes[0].timer);
}

static void a_due_timer_can_be_stopped_by_one_before_it(void **state)
{
    struct fixture *f = *state;
    f->probes[0].stop = &f->probes[1];
    start(f, 0, 10);
    start(f, 1, 10);
    start(f, 2, 10);
    assert_int_equal(timers_run(&f->timers, 10), 2);
    check_fired(f, 2, (int[]){0, 2});
}

static void started_in_fire_waits_for_the_next_run(void **state)
{
    struct fixture *f = *state;
    f->probes[0].restart = &f->probes[0];
    f->probes[0].restart_ns = 50;
    start(f, 0, 50);
    start(f, 1, 60);
    assert_int_equal(timers_run(&f->timers, 60), 2);
    check_fired(f, 2, (int[]){0, 1});
    assert_int_equal(timers_run(&f->timers, 60), 1);
}

static void started_in_fire_for_the_past_does_not_hold_up_what_is_due(void **state)
{
    struct fixture *f = *state;
    f->probes[0].restart = &f->probes[9];
    f->probes[0].restart_ns = 1;
    start(f, 0, 10);
    start(f, 1, 20);
    start(f, 2, 30);
    assert_int_equal(timers_run(&f->timers, 30), 3);
    check_fired(f, 3, (int[]){0, 1, 2});
    assert_int_equal(timers_run(&f->timers, 30), 1);
    assert_int_equal(f->fired[3], 9);
}

static void restart_moves_the_deadline(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 10);
    start(f, 1, 20);
    start(f, 0, 30);
    assert_int_equal(timers_run(&f->timers, 20), 1);
    check_fired(f, 1, (int[]){1});
    start(f, 0, 21);
    assert_int_equal(timers_run(&f->timers, 21), 1);
}

struct doomed {
    struct timer timer;
    int *fired;
};

static void free_self(struct timer *timer)
{
    struct doomed *d = container_of(timer, struct doomed, timer);
    (*d->fired)++;
    free(d);
}

static void fire_may_free_the_timer(void **state)
{
    struct fixture *f = *state;
    int fired = 0;
    for (int i = 0; i < 10; i++) {
        struct doomed *d = malloc(sizeof *d);
        timer_init(&d->timer, free_self);
        d->fired = &fired;
        timers_start(&f->timers, &d->timer, (uint64_t)i);
    }
    assert_int_equal(timers_run(&f->timers, 100), 10);
    assert_int_equal(fired, 10);
}

static void close_stops_all(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 1);
    start(f, 1, 2);
    timers_close(&f->timers);
    assert_false(timer_active(&f->probes[0].timer));
    assert_false(timer_active(&f->probes[1].timer));
    assert_true(timers_next(&f->timers) == UINT64_MAX);
}

/* Against a plain array: random starts, restarts, stops and runs. */
static void agrees_with_a_naive_model(void **state)
{
    struct fixture *f = *state;
    uint64_t deadline[64] = {0}; /* 0: stopped */
    uint64_t order[64] = {0};
    uint64_t next_order = 1;
    uint64_t now = 1;
    unsigned seed = 12345;
    for (int step = 0; step < 200000; step++) {
        int id = (int)((unsigned)rand_r(&seed) % 64);
        switch ((unsigned)rand_r(&seed) % 4) {
        case 0:
        case 1:
            deadline[id] = now + (unsigned)rand_r(&seed) % 50;
            order[id] = next_order++;
            start(f, id, deadline[id]);
            break;
        case 2:
            deadline[id] = 0;
            timers_stop(&f->timers, &f->probes[id].timer);
            break;
        default:
            now += (unsigned)rand_r(&seed) % 10;
            f->n_fired = 0;
            timers_run(&f->timers, now);
            for (size_t i = 0;; i++) {
                int best = -1;
                for (int k = 0; k < 64; k++) {
                    if (deadline[k] != 0 && deadline[k] <= now &&
                        (best < 0 || deadline[k] < deadline[best] ||
                         (deadline[k] == deadline[best] && order[k] < order[best]))) {
                        best = k;
                    }
                }
                if (best < 0) {
                    assert_int_equal(f->n_fired, i);
                    break;
                }
                assert_true(i < f->n_fired);
                assert_int_equal(f->fired[i], best);
                deadline[best] = 0;
            }
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(fire_in_order_of_deadline_then_of_start),
        T(next_of_none_is_never),
        T(a_due_timer_can_be_stopped_by_one_before_it),
        T(started_in_fire_waits_for_the_next_run),
        T(started_in_fire_for_the_past_does_not_hold_up_what_is_due),
        T(restart_moves_the_deadline),
        T(fire_may_free_the_timer),
        T(close_stops_all),
        T(agrees_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
