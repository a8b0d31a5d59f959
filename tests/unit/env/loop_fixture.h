/* A loop under test: it runs until the test says stop, and a time limit turns a hang into a failure. */
#ifndef CAIRN_TESTS_LOOP_FIXTURE_H
#define CAIRN_TESTS_LOOP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/env/env_uv.h"

#define LOOP_LIMIT_MS 30000u

struct loop_fixture {
    struct logger logger;
    unsigned lines; /* logged */
    char last_line[1024];
    struct env *env;
    struct timer limit;
};

static inline void loop_fixture_log(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    struct loop_fixture *f = logger->data;
    f->lines++;
    snprintf(f->last_line, sizeof f->last_line, "%.*s", (int)length, line);
}

static inline void loop_fixture_expired(struct timer *timer)
{
    fprintf(stderr, "the test did not finish in %u ms\n", LOOP_LIMIT_MS);
    abort();
}

static inline int loop_setup(void **state)
{
    struct loop_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->logger = (struct logger){LOG_INFO, loop_fixture_log, f};
    struct env_uv_params params = {.logger = &f->logger};
    assert_int_equal(env_uv_new(&params, &f->env), 0);
    timer_init(&f->limit, loop_fixture_expired);
    *state = f;
    return 0;
}

static inline int loop_teardown(void **state)
{
    struct loop_fixture *f = *state;
    env_uv_free(f->env);
    free(f);
    return 0;
}

/* Until someone calls env_loop_stop(). */
static inline void loop_run(struct loop_fixture *f)
{
    env_timer_start(f->env, &f->limit, LOOP_LIMIT_MS);
    env_uv_run(f->env);
    env_timer_stop(f->env, &f->limit);
}

#define loop_test(function) cmocka_unit_test_setup_teardown(function, loop_setup, loop_teardown)

#endif
