/* Work on virtual workers. A job waits for a worker, is run in one piece at a drawn time after it got one, and is
 * reported after what its calls cost and a drawn while more. If the program ends while a worker has a job that was not
 * run yet, the job is run then, up to a drawn disk operation: the states in the middle of it come up that way. */
#include "tests/sim/impl.h"

#include <stdlib.h>

#define CRASH_SKIP_PPM 250000  /* jobs that had not begun */
#define CRASH_WHOLE_PPM 125000 /* jobs that were through but not reported */
#define CRASH_OPS_MAX 16
#define IN_FLIGHT_MAX 256
#define WAIT_FIRST_PPM 500000 /* writers' jobs whose sync takes its time before it has an effect, not after */

static void work_run_fire(struct sim_world *world, struct sim_event *event);
static void work_finished_fire(struct sim_world *world, struct sim_event *event);

/* A power cut in the middle of a sync finds some of it done, or nothing: one that waits first is found undone. */
static void work_begin(struct sim_world *world, struct sim_event *event)
{
    const struct sim_disk_knobs *k = &event->node->disk_knobs;
    uint64_t wait = sim_draw_ns(world, world->params.loop.work_max_ns);

    event->object2 = NULL;
    if (event->value == ENV_QUEUE_WRITER && sim_rng_chance(&world->rng, WAIT_FIRST_PPM)) {
        wait += sim_rng_range(&world->rng, k->sync_min_ns, k->sync_max_ns) * k->slow_factor;
        event->object2 = event->object;
    }
    event->fire = work_run_fire;
    sim_event_at(world, sim_here_ns(world) + wait, event);
}

void sim_work(struct env *env, enum env_queue queue, struct env_work *work)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_node *node = loop->node;
    struct sim_world *world = loop->world;

    if (sim_dead(loop)) {
        return;
    }
    sim_assert_on_loop(loop);
    struct sim_event *event = sim_event_new(world, SIM_EV_WORK);
    event->node = node;
    event->loop = loop;
    event->object = work;
    event->value = queue;
    if (queue == ENV_QUEUE_WRITER && !loop->writer_busy) {
        loop->writer_busy = true;
        work_begin(world, event);
    } else if (queue == ENV_QUEUE_WRITER) {
        sim_fifo_push(&loop->writer, event);
    } else if (node->pool_busy < world->params.pool_threads) {
        node->pool_busy++;
        work_begin(world, event);
    } else {
        sim_fifo_push(&node->pool, event);
    }
}

static void work_next(struct sim_node *node, struct sim_loop *loop, enum env_queue queue)
{
    struct sim_event *next = sim_fifo_pop(queue == ENV_QUEUE_WRITER ? &loop->writer : &node->pool);

    if (next != NULL) {
        work_begin(node->world, next);
    } else if (queue == ENV_QUEUE_WRITER) {
        loop->writer_busy = false;
    } else {
        node->pool_busy--;
    }
}

static void work_body(void *arg)
{
    struct sim_event *event = arg;
    struct env_work *work = event->object;
    struct sim_world *world = event->loop->world;

    world->context = SIM_IN_WORKER;
    world->current = event->loop;
    world->worker_charge_ns = 0;
    world->worker_waited = event->object2 != NULL;
    work->run(work);
    event->object2 = (void *)(uintptr_t)world->worker_charge_ns; /* the guard puts the world's back */
}

static void work_run_fire(struct sim_world *world, struct sim_event *event)
{
    struct sim_node *node = event->node;

    if (world->now < node->disk_stalled_until) { /* most of what workers do needs the disk: a crash still finds it undone */
        world->counts.stalled_calls++;
        sim_event_at(world, node->disk_stalled_until, event);
        return;
    }
    bool alive = sim_guarded(world, work_body, event);
    if (!alive || node->dying != SIM_END_NONE) {
        sim_event_free(world, event);
        sim_node_finish(node);
        return;
    }
    event->fire = work_finished_fire;
    sim_event_at(world, world->now + (uint64_t)(uintptr_t)event->object2, event);
}

static void work_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct env_work *work = event->object;
    work->done(work);
}

static void work_finished_fire(struct sim_world *world, struct sim_event *event)
{
    struct sim_loop *loop = event->loop;
    uint64_t due = world->now + sim_draw_ns(world, world->params.loop.post_max_ns);

    work_next(event->node, loop, (enum env_queue)event->value);
    if (event->value == ENV_QUEUE_WRITER) {
        loop->writer_due = due > loop->writer_due ? due : loop->writer_due;
        due = loop->writer_due;
    }
    event->fire = sim_event_to_ready;
    event->deliver = work_deliver;
    sim_event_at(world, due, event);
}

static int event_compare(const void *a, const void *b)
{
    const struct sim_event *const *x = a;
    const struct sim_event *const *y = b;
    return (*x)->seq < (*y)->seq ? -1 : 1;
}

void sim_work_crash(struct sim_node *node)
{
    struct sim_world *world = node->world;
    struct sim_event *jobs[IN_FLIGHT_MAX];
    size_t n = 0;

    for (size_t i = 0; i < world->heap_size && n < IN_FLIGHT_MAX; i++) {
        if (world->heap[i].event->node == node && world->heap[i].event->fire == work_run_fire) {
            jobs[n++] = world->heap[i].event;
        }
    }
    for (struct sim_event *e = node->deferred.head; e != NULL && n < IN_FLIGHT_MAX; e = e->next) {
        if (e->fire == work_run_fire) {
            jobs[n++] = e;
        }
    }
    qsort(jobs, n, sizeof(struct sim_event *), event_compare);
    for (size_t i = 0; i < n; i++) {
        if (sim_rng_chance(&world->rng, CRASH_SKIP_PPM)) {
            continue;
        }
        node->ops_left = sim_rng_skewed(&world->rng, CRASH_OPS_MAX);
        if (sim_rng_chance(&world->rng, CRASH_WHOLE_PPM)) {
            node->ops_left = UINT64_MAX;
        }
        (void)sim_guarded(world, work_body, jobs[i]);
    }
    node->ops_left = UINT64_MAX;
}

static bool match_job(const struct sim_event *event, void *data)
{
    return event->loop == data && (event->kind == SIM_EV_WORK || event->kind == SIM_EV_MESSAGE);
}

struct jobs {
    struct sim_event **v;
    size_t n;
    size_t capacity;
};

static void jobs_add(struct jobs *jobs, struct sim_event *event)
{
    if (jobs->n == jobs->capacity) {
        jobs->capacity = jobs->capacity == 0 ? 64 : jobs->capacity * 2;
        jobs->v = realloc(jobs->v, jobs->capacity * sizeof(struct sim_event *));
        assert(jobs->v != NULL);
    }
    jobs->v[jobs->n++] = event;
}

static void take_jobs(struct sim_fifo *fifo, struct sim_loop *loop, struct jobs *jobs)
{
    struct sim_fifo keep;
    struct sim_event *event;

    sim_fifo_init(&keep);
    while ((event = sim_fifo_pop(fifo)) != NULL) {
        if (match_job(event, loop)) {
            jobs_add(jobs, event);
        } else {
            sim_fifo_push(&keep, event);
        }
    }
    sim_fifo_init(fifo);
    while ((event = sim_fifo_pop(&keep)) != NULL) {
        sim_fifo_push(fifo, event);
    }
}

static void finish_job(struct sim_loop *loop, struct sim_event *event)
{
    struct sim_world *world = loop->world;

    if (event->kind == SIM_EV_MESSAGE) {
        struct env_message *message = event->object;
        world->context = SIM_IN_LOOP;
        message->run(message);
        return;
    }
    struct env_work *work = event->object;
    bool has_thread = event->fire == work_run_fire || event->fire == work_finished_fire;
    if (event->fire == work_run_fire || event->fire == NULL) { /* else it was run */
        world->context = SIM_IN_WORKER;
        world->worker_waited = false;
        work->run(work);
    }
    if (has_thread && event->value == ENV_QUEUE_POOL) {
        world->context = SIM_OUTSIDE;
        work_next(loop->node, loop, ENV_QUEUE_POOL);
    }
    world->context = SIM_IN_LOOP;
    work->done(work);
}

void sim_work_finish(struct sim_loop *loop)
{
    struct sim_world *world = loop->world;
    struct sim_loop *current = world->current;
    enum sim_context context = world->context;
    struct jobs jobs = {NULL, 0, 0};

    for (size_t i = 0; i < world->heap_size; i++) {
        struct sim_event *event = world->heap[i].event;
        if (match_job(event, loop)) {
            struct sim_event *copy = sim_event_new(world, event->kind);
            *copy = *event; /* the event itself goes with the heap's, its object stays */
            event->drop = NULL;
            jobs_add(&jobs, copy);
        }
    }
    if (jobs.n > 0) {
        qsort(jobs.v, jobs.n, sizeof(struct sim_event *), event_compare);
    }
    sim_events_discard(world, match_job, loop);
    take_jobs(&loop->ready, loop, &jobs);
    take_jobs(&loop->writer, loop, &jobs);
    take_jobs(&loop->node->pool, loop, &jobs);
    for (size_t i = 0; i < jobs.n; i++) {
        world->current = loop;
        finish_job(loop, jobs.v[i]);
        sim_event_free(world, jobs.v[i]);
    }
    free(jobs.v);
    world->current = current;
    world->context = context;
}
