/* Loops: turns, hooks, messages, clocks, and the loops' lives; the table of env_ops. */
#include "tests/sim/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_ROUNDS_MAX 8 /* in one turn, while they wake each other */
#define WALL_START_MS 1700000000000ll

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_LSAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_LSAN 1
#endif

#ifdef WITH_LSAN
#include <sanitizer/lsan_interface.h>

static void ignore_leak(const void *p)
{
    __lsan_ignore_object(p);
}

/* Unwinding skips whatever the frames would have freed: what they point to is no leak. */
__attribute__((no_sanitize_address, noinline)) static void ignore_leaks_of_stack(const void *to)
{
    jmp_buf registers;
    (void)setjmp(registers);
    for (void **at = (void **)(void *)registers; (void *)at < to; at++) {
        __lsan_ignore_object(*at);
    }
}
#else
static void ignore_leak(const void *p)
{
}

static void ignore_leaks_of_stack(const void *to)
{
}
#endif

/* ---- guard ----------------------------------------------------------------------------------- */

bool sim_guarded(struct sim_world *world, void (*fn)(void *arg), void *arg)
{
    jmp_buf here;
    jmp_buf *const guard = world->guard;
    struct sim_loop *const current = world->current;
    const enum sim_context context = world->context;
    const uint64_t charge = world->worker_charge_ns;
    void *const frame = world->guard_frame;
    volatile bool alive = true;

    world->guard = &here;
    world->guard_frame = __builtin_frame_address(0);
    if (setjmp(here) == 0) {
        fn(arg);
    } else {
        alive = false;
    }
    world->guard = guard;
    world->guard_frame = frame;
    world->current = current;
    world->context = context;
    world->worker_charge_ns = charge;
    return alive;
}

void sim_die(struct sim_node *node, enum sim_end how)
{
    struct sim_world *world = node->world;

    if (world->guard == NULL || world->current == NULL || world->current->node != node) {
        (void)fprintf(stderr, "sim: %s dies outside of its own turns (use sim_node_call): %s\n", node->host,
                      node->fatal_reason);
        abort();
    }
    if (node->dying == SIM_END_NONE) {
        node->dying = how;
    }
    ignore_leaks_of_stack(world->guard_frame);
    longjmp(*world->guard, 1);
}

void sim_charge(struct sim_loop *loop, uint64_t ns)
{
    struct sim_world *world = loop->world;
    if (world->context == SIM_IN_WORKER) {
        world->worker_charge_ns += ns;
        return;
    }
    loop->local_ns = (loop->local_ns > world->now ? loop->local_ns : world->now) + ns;
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* A machine's monotonic clock goes a little faster or slower than the world's. */
static uint64_t mono_ns(const struct sim_loop *loop, uint64_t world_ns)
{
    const struct sim_node *node = loop->node;
    int64_t on_ns = (int64_t)(world_ns - node->mono_since_ns);
    return world_ns + node->mono_offset_ns + (uint64_t)(on_ns * node->mono_drift_ppm / 1000000);
}

/* The world's time at which that clock shows @mono_at. */
static uint64_t mono_reaches(const struct sim_loop *loop, uint64_t mono_at)
{
    const struct sim_node *node = loop->node;
    uint64_t begin = node->mono_since_ns + node->mono_offset_ns;

    if (mono_at <= begin) {
        return 0;
    }
    uint64_t rate = (uint64_t)(1000000 + node->mono_drift_ppm);
    uint64_t on_ns = (mono_at - begin) / rate * 1000000 + (mono_at - begin) % rate * 1000000 / rate;
    while (mono_ns(loop, node->mono_since_ns + on_ns) < mono_at) { /* rounded down */
        on_ns++;
    }
    return node->mono_since_ns + on_ns;
}

static void turn_fire(struct sim_world *world, struct sim_event *event)
{
    struct sim_loop *loop = event->loop;
    bool stale = event->value != loop->turn_seq;

    sim_event_free(world, event);
    if (stale) {
        return;
    }
    loop->turn_at = UINT64_MAX;
    if (loop->local_ns > world->now) {
        sim_loop_turn_by(loop, loop->local_ns);
        return;
    }
    sim_loop_turn(loop, NULL, NULL);
}

void sim_loop_turn_by(struct sim_loop *loop, uint64_t time)
{
    struct sim_world *world = loop->world;

    if (loop->state != SIM_LOOP_RUNNING || sim_dead(loop)) {
        return;
    }
    time = time > loop->local_ns ? time : loop->local_ns;
    time = time > world->now ? time : world->now;
    if (time >= loop->turn_at) {
        return;
    }
    struct sim_event *event = sim_event_new(world, SIM_EV_TURN);
    event->fire = turn_fire;
    event->node = loop->node;
    event->loop = loop;
    event->value = ++loop->turn_seq;
    loop->turn_at = time;
    sim_event_at(world, time, event);
}

static void turn_soon(struct sim_loop *loop)
{
    if (!sim_in_turn(loop) && loop->turn_at == UINT64_MAX) {
        sim_loop_turn_by(loop, loop->world->now + sim_draw_ns(loop->world, loop->world->params.loop.wake_max_ns));
    } else if (!sim_in_turn(loop)) {
        sim_loop_turn_by(loop, loop->world->now + loop->world->params.loop.wake_max_ns);
    }
}

void sim_event_to_ready(struct sim_world *world, struct sim_event *event)
{
    struct sim_loop *loop = event->loop;
    sim_fifo_push(&loop->ready, event);
    turn_soon(loop);
}

struct sim_event *sim_loop_ready(struct sim_loop *loop, void (*deliver)(struct sim_loop *loop, struct sim_event *event),
                                 void *object)
{
    struct sim_event *event = sim_event_new(loop->world, SIM_EV_READY);
    event->deliver = deliver;
    event->node = loop->node;
    event->loop = loop;
    event->object = object;
    sim_event_to_ready(loop->world, event);
    return event;
}

/* A marker walks the list, so that a hook may remove itself and any other, and add new ones. It is the loop's: who dies in a
 * hook leaves it in the list, and the hooks beside it are removed later. */
static void run_hooks(struct sim_loop *loop)
{
    struct list *marker = &loop->marker.link;
    struct list *hooks = &loop->env.hooks;

    loop->marker.phase = ENV_PHASE_DECIDE;
    list_push_front(hooks, marker);
    while (marker->next != hooks) {
        struct list *at = marker->next;
        list_remove(marker);
        list_push_front(at, marker);
        struct env_hook *hook = list_entry(at, struct env_hook, link);
        hook->run(hook);
    }
    list_remove(marker);
}

struct turn {
    struct sim_loop *loop;
    void (*first)(struct env *env, void *data);
    void *data;
};

static bool turn_goes_on(const struct sim_loop *loop)
{
    return loop->state == SIM_LOOP_RUNNING && loop->node->dying == SIM_END_NONE;
}

static void run_ready(struct sim_loop *loop)
{
    struct sim_world *world = loop->world;
    uint64_t n = UINT64_MAX;

    if (sim_rng_chance(&world->rng, world->params.loop.batch_cut_ppm)) {
        n = 1 + sim_rng_skewed(&world->rng, 8);
    }
    /* what becomes ready meanwhile waits for the next turn */
    struct sim_event *last = loop->ready.head == NULL ? NULL : container_of(loop->ready.tail, struct sim_event, next);
    while (last != NULL && n-- > 0 && turn_goes_on(loop)) {
        struct sim_event *event = sim_fifo_pop(&loop->ready);
        bool at_end = event == last;
        sim_charge(loop, world->params.loop.event_ns);
        sim_hash_add(world, ((uint64_t)event->kind << 32) ^ loop->node->id);
        world->events++;
        event->deliver(loop, event);
        sim_event_free(world, event);
        if (at_end) {
            break;
        }
    }
}

static void turn_body(void *arg)
{
    struct turn *turn = arg;
    struct sim_loop *loop = turn->loop;
    struct sim_world *world = loop->world;

    world->context = SIM_IN_LOOP;
    world->current = loop;
    if (loop->entry != NULL) {
        void (*entry)(struct env *env, void *data) = loop->entry;
        loop->entry = NULL;
        entry(&loop->env, loop->entry_data);
    }
    if (turn->first != NULL) {
        turn->first(&loop->env, turn->data);
    }
    if (turn_goes_on(loop)) {
        size_t fired = timers_run(&loop->env.timers, mono_ns(loop, sim_loop_now(loop)));
        sim_charge(loop, fired * world->params.loop.event_ns);
    }
    run_ready(loop);
    for (int round = 0; round < HOOK_ROUNDS_MAX && turn_goes_on(loop); round++) {
        loop->woken = false;
        run_hooks(loop);
        if (!loop->woken) {
            break;
        }
    }
}

static void finish_main(void *arg)
{
    struct sim_loop *main_loop = arg;
    sim_work_finish(main_loop);
}

void sim_loop_turn(struct sim_loop *loop, void (*first)(struct env *env, void *data), void *data)
{
    struct turn turn = {loop, first, data};
    struct sim_node *node = loop->node;
    struct sim_world *world = loop->world;

    if (loop->local_ns < world->now) {
        loop->local_ns = world->now;
    }
    (void)sim_guarded(world, turn_body, &turn);
    if (node->dying == SIM_END_NONE && node->main->state == SIM_LOOP_STOPPED) {
        (void)sim_guarded(world, finish_main, node->main);
        node->dying = node->dying == SIM_END_NONE ? SIM_END_EXIT : node->dying;
    }
    if (node->dying != SIM_END_NONE) {
        sim_node_finish(node);
        return;
    }
    /* The turn cannot have freed its own loop: that is for the loop that made it. */
    uint64_t deadline = timers_next(&loop->env.timers);
    if (loop->ready.head != NULL || loop->woken) {
        sim_loop_turn_by(loop, loop->local_ns);
    } else if (deadline != UINT64_MAX) {
        sim_loop_turn_by(loop, mono_reaches(loop, deadline) + sim_draw_ns(world, world->params.loop.wake_max_ns));
    }
}

/* ---- clock, random, timers, hooks ------------------------------------------------------------ */

static uint64_t op_now_ns(struct env *env)
{
    struct sim_loop *loop = sim_loop_of(env);
    return mono_ns(loop, sim_loop_now(loop));
}

static int64_t op_wall_ms(struct env *env)
{
    struct sim_loop *loop = sim_loop_of(env);
    const struct sim_node *node = loop->node;
    uint64_t now = sim_loop_now(loop);
    int64_t drifting_ms = (int64_t)((now - node->wall_drift_since_ns) / SIM_MS);
    return WALL_START_MS + (int64_t)(now / SIM_MS) + node->wall_offset_ms +
           drifting_ms * node->wall_drift_ppm / 1000000;
}

static uint64_t op_random(struct env *env)
{
    return sim_rng_next(&sim_loop_of(env)->node->rng);
}

static void op_timers_changed(struct env *env)
{
    struct sim_loop *loop = sim_loop_of(env);
    uint64_t deadline = timers_next(&env->timers);

    sim_assert_on_loop(loop);
    if (!sim_in_turn(loop) && deadline != UINT64_MAX) { /* else the end of the turn looks */
        sim_loop_turn_by(loop, mono_reaches(loop, deadline));
    }
}

static void op_wake(struct env *env)
{
    struct sim_loop *loop = sim_loop_of(env);

    sim_assert_on_loop(loop);
    loop->woken = true;
    turn_soon(loop);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void message_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct env_message *message = event->object;
    message->run(message);
}

static void message_drop(struct sim_world *world, struct sim_event *event)
{
    ignore_leak(event->object);
}

static void op_post(struct env *env, struct env_message *message)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_world *world = loop->world;

    if (sim_dead(loop)) {
        ignore_leak(message);
        return;
    }
    assert(world->context == SIM_OUTSIDE || world->current->node == loop->node);
    struct sim_event *event = sim_event_new(world, SIM_EV_MESSAGE);
    event->fire = sim_event_to_ready;
    event->deliver = message_deliver;
    event->drop = message_drop;
    event->node = loop->node;
    event->loop = loop;
    event->object = message;
    uint64_t due = sim_here_ns(world) + sim_draw_ns(world, world->params.loop.post_max_ns);
    loop->post_due = due > loop->post_due ? due : loop->post_due;
    sim_event_at(world, loop->post_due, event);
}

/* ---- loops' lives ---------------------------------------------------------------------------- */

struct sim_loop *sim_loop_new(struct sim_node *node)
{
    struct sim_loop *loop = calloc(1, sizeof(*loop));
    assert(loop != NULL);
    loop->env.ops = &sim_ops;
    loop->env.logger = &node->logger;
    timers_init(&loop->env.timers);
    list_init(&loop->env.hooks);
    loop->world = node->world;
    loop->node = node;
    loop->turn_at = UINT64_MAX;
    sim_fifo_init(&loop->ready);
    sim_fifo_init(&loop->writer);
    list_push_back(&node->loops, &loop->link);
    return loop;
}

void sim_loop_free(struct sim_loop *loop)
{
    struct sim_event *event;
    while ((event = sim_fifo_pop(&loop->ready)) != NULL) {
        sim_event_drop(loop->world, event);
    }
    while ((event = sim_fifo_pop(&loop->writer)) != NULL) {
        sim_event_drop(loop->world, event);
    }
    list_remove(&loop->link);
    timers_close(&loop->env.timers);
    free(loop);
}

static int op_loop_new(struct env *env, struct env **out)
{
    struct sim_loop *loop = sim_loop_of(env);
    if (sim_dead(loop)) {
        return ERR_SHUTDOWN;
    }
    *out = &sim_loop_new(loop->node)->env;
    return 0;
}

static int op_loop_start(struct env *env, void (*entry)(struct env *loop, void *data), void *data)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_world *world = loop->world;

    assert(loop->state == SIM_LOOP_NEW);
    loop->state = SIM_LOOP_RUNNING;
    loop->entry = entry;
    loop->entry_data = data;
    sim_loop_turn_by(loop, sim_here_ns(world) + sim_draw_ns(world, 100 * SIM_US));
    return 0;
}

static void op_loop_stop(struct env *env)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_node *node = loop->node;

    loop->state = SIM_LOOP_STOPPED;
    if (node->main == loop && !sim_dead(loop) && !sim_in_turn(loop)) {
        /* from another loop or from outside: let the dispatcher notice in a turn of its own */
        loop->state = SIM_LOOP_RUNNING;
        sim_loop_turn_by(loop, loop->world->now);
        loop->state = SIM_LOOP_STOPPED;
    }
}

static bool match_loop(const struct sim_event *event, void *data)
{
    return event->loop == data;
}

static void op_loop_free(struct env *env)
{
    struct sim_loop *loop = sim_loop_of(env);

    if (sim_dead(loop)) {
        return; /* the world frees it after `ended` */
    }
    assert(!sim_in_turn(loop) && loop != loop->node->main);
    sim_work_finish(loop);
    sim_net_loop_ends(loop);
    sim_events_discard(loop->world, match_loop, loop);
    sim_loop_free(loop);
}

__attribute__((noreturn)) static void op_fatal(struct env *env, const char *reason)
{
    struct sim_node *node = sim_loop_of(env)->node;
    char quoted[512];

    log_event(env->logger, LOG_ERROR, "fatal", "reason=%s", log_quote(quoted, sizeof(quoted), reason));
    (void)snprintf(node->fatal_reason, sizeof(node->fatal_reason), "%s", reason);
    sim_die(node, SIM_END_FATAL);
}

const struct env_ops sim_ops = {
    .now_ns = op_now_ns,
    .wall_ms = op_wall_ms,
    .random = op_random,
    .timers_changed = op_timers_changed,
    .wake = op_wake,
    .work = sim_work,
    .post = op_post,
    .listen = sim_listen,
    .listener_address = sim_listener_address,
    .listener_close = sim_listener_close,
    .connect = sim_connect,
    .conn_read_start = sim_conn_read_start,
    .conn_read_stop = sim_conn_read_stop,
    .conn_write = sim_conn_write,
    .conn_peer = sim_conn_peer,
    .conn_close = sim_conn_close,
    .file_open = sim_file_open,
    .file_close = sim_file_close,
    .file_size = sim_file_size,
    .file_read = sim_file_read,
    .file_write = sim_file_write,
    .file_sync = sim_file_sync,
    .file_allocate = sim_file_allocate,
    .file_truncate = sim_file_truncate,
    .dir_make = sim_dir_make,
    .dir_list = sim_dir_list,
    .dir_sync = sim_dir_sync,
    .path_rename = sim_path_rename,
    .path_unlink = sim_path_unlink,
    .disk_free = sim_disk_free_bytes,
    .lock_acquire = sim_lock_acquire,
    .lock_release = sim_lock_release,
    .loop_new = op_loop_new,
    .loop_start = op_loop_start,
    .loop_stop = op_loop_stop,
    .loop_free = op_loop_free,
    .fatal = op_fatal,
};
