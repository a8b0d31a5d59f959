/* The coordinator while memory runs out: each allocation of a group's life fails once, alone and with all behind it.
 * Every request is answered exactly once, and when there is memory again the group works. */
#include "tests/unit/fsm/group_world.h"

static bool fails; /* counting */
static unsigned long countdown;
static bool all_behind; /* those that follow fail too */
static bool hit;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool no_memory(void)
{
    if (!fails) {
        return false;
    }
    if (countdown > 0) {
        countdown--;
        return false;
    }
    if (hit && !all_behind) {
        return false;
    }
    hit = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return no_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return no_memory() ? NULL : __real_realloc(p, size);
}

static void copy_id(char id[400], const struct call *call)
{
    if (call->answers == 1 && call->join.member_out != NULL) {
        snprintf(id, 400, "%s", call->join.member_out->data);
    }
}

/* It has its answer; where a save finds no memory for good, as soon as there is some again. */
static void finish(struct group_world *w, struct call *call)
{
    if (call->answers == 0 && all_behind) {
        fails = false;
        world_pass(w, 70000);
        fails = true;
    }
    assert_int_equal(call->answers, 1);
}

/* A life with everything in it; what fails on the way is left as it is. */
static void live(struct group_world *w)
{
    struct call a = {0};
    struct call b = {0};
    struct call c = {0};
    struct coordinator_leaver leaver = {.member = "", .instance = "i"};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 3, .metadata = "x", .metadata_size = 1};
    struct coordinator_part got = {.topic = topic_uuid(1)};
    struct coordinator_assignment assignment = {.data = "aa", .size = 2};
    char id_a[400] = "none";
    char id_b[400] = "none";

    fails = true;
    send_join(w, &a, "");
    send_static_join(w, &b, "", "i");
    c.join = b.join;
    c.join.id_required = true;
    c.join.instance = NULL;
    coordinator_join(w->c, w->now_ms, &c.join); /* an id that nobody comes back with */
    world_pass(w, 70000);
    copy_id(id_a, &a);
    copy_id(id_b, &b);
    finish(w, &c);
    finish(w, &a);
    finish(w, &b);
    send_sync(w, &b, id_b, 1);
    call_reset(&a);
    assignment.member = id_a;
    a.sync = (struct coordinator_sync){
        .group = "g", .member = id_a, .generation = 1, .assignments = &assignment, .n_assignments = 1};
    coordinator_sync(w->c, w->now_ms, &a.sync);
    send_commit(w, &c, id_a, 1, &part);
    world_commit(w);
    finish(w, &c);
    send_fetch(w, &c, NULL);
    world_commit(w);
    finish(w, &c);
    send_fetch(w, &c, &got);
    world_commit(w);
    finish(w, &c);
    send_describe(w, &c);
    world_pass(w, 200); /* the retry of a save */
    finish(w, &c);
    call_reset(&c);
    coordinator_list(w->c, w->now_ms, &c.list);
    finish(w, &c);
    world_pass(w, 70000);
    finish(w, &a);
    finish(w, &b);
    send_static_join(w, &b, "", "i");
    world_pass(w, 70000);
    finish(w, &b);
    coordinator_step_down(w->c);
    if (coordinator_lead(w->c, w->now_ms) != 0) {
        assert_false(coordinator_leading(w->c));
        fails = false;
        assert_int_equal(coordinator_lead(w->c, w->now_ms), 0);
        fails = true;
    }
    send_leave(w, &c, &leaver);
    world_pass(w, 200);
    finish(w, &c);
    world_pass(w, GROUP_EXPIRE_EVERY_MS + 1);
    call_reset(&c);
    c.del.group = "g";
    coordinator_delete(w->c, w->now_ms, &c.del);
    world_commit(w);
    finish(w, &c);
    fails = false;
    world_pass(w, 200000);
    call_reset(&a);
    call_reset(&b);
    call_reset(&c);
}

/* There is memory again: a consumer joins, commits, and reads what it committed. */
static void work(struct group_world *w)
{
    struct call call = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 9};
    struct coordinator_part got = {.topic = topic_uuid(1)};
    char id[400];
    int32_t generation;
    send_join(w, &call, "");
    world_pass(w, 5000);
    assert_answer(&call, 0);
    copy_id(id, &call);
    generation = call.join.generation;
    send_sync(w, &call, id, generation);
    world_commit(w);
    assert_answer(&call, 0);
    send_commit(w, &call, id, generation, &part);
    world_commit(w);
    assert_answer(&call, 0);
    send_fetch(w, &call, &got);
    world_commit(w);
    assert_answer(&call, 0);
    assert_int_equal(got.offset, 9);
    call_reset(&call);
}

static void every_allocation_may_fail(bool behind)
{
    unsigned long n = 0;
    do {
        struct group_world *w = test_calloc(1, sizeof *w);
        world_open(w);
        w->memory_fails = &fails;
        countdown = n++;
        all_behind = behind;
        hit = false;
        live(w);
        work(w);
        world_close(w);
        test_free(w);
        assert_true(n < 10000);
    } while (hit);
    assert_true(n > 50);
}

static void one_allocation_fails(void **state)
{
    every_allocation_may_fail(false);
}

static void memory_stays_short_until_the_end(void **state)
{
    every_allocation_may_fail(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_allocation_fails),
        cmocka_unit_test(memory_stays_short_until_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
