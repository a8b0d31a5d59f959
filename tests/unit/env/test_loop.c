/* Turns, timers, mailboxes, work and more loops on the real environment. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/env/loop_fixture.h"

/* ---- a trace of what ran ---- */

static char trace_text[256];

static void trace(const char *what)
{
    strncat(trace_text, what, sizeof trace_text - strlen(trace_text) - 1);
}

struct step {
    struct env *env;
    struct env_hook hook;
    struct env_message message;
    struct timer timer;
    const char *name;
    struct step *other;
    int left; /* runs until it stops the loop; 0: never */
};

static void step_stop(struct step *s)
{
    if (s->left > 0 && --s->left == 0) {
        env_loop_stop(s->env);
    }
}

static void run_hook(struct env_hook *hook)
{
    struct step *s = container_of(hook, struct step, hook);
    trace(s->name);
    step_stop(s);
}

static void run_message(struct env_message *message)
{
    struct step *s = container_of(message, struct step, message);
    trace(s->name);
    step_stop(s);
}

static void fire(struct timer *timer)
{
    struct step *s = container_of(timer, struct step, timer);
    trace(s->name);
    step_stop(s);
}

static void step_init(struct step *s, struct env *env, const char *name)
{
    memset(s, 0, sizeof *s);
    s->env = env;
    s->name = name;
    s->hook.run = run_hook;
    s->message.run = run_message;
    timer_init(&s->timer, fire);
}

static void hooks_run_after_messages_in_order_of_registration(void **state)
{
    struct loop_fixture *f = *state;
    struct step a, b, m;
    trace_text[0] = '\0';
    step_init(&a, f->env, "a");
    step_init(&b, f->env, "b");
    step_init(&m, f->env, "m");
    env_hook_add(f->env, &a.hook);
    env_hook_add(f->env, &b.hook);
    env_post(f->env, &m.message);
    m.left = 1;
    loop_run(f);
    assert_memory_equal(trace_text, "mab", 3);
    env_hook_remove(&a.hook);
    env_hook_remove(&b.hook);
}

static void remove_other(struct env_hook *hook)
{
    struct step *s = container_of(hook, struct step, hook);
    trace(s->name);
    env_hook_remove(&s->other->hook);
    env_hook_remove(hook);
}

static void a_hook_may_remove_itself_and_the_next(void **state)
{
    struct loop_fixture *f = *state;
    struct step a, b, c, m;
    trace_text[0] = '\0';
    step_init(&a, f->env, "a");
    step_init(&b, f->env, "b");
    step_init(&c, f->env, "c");
    step_init(&m, f->env, "m");
    a.hook.run = remove_other;
    a.other = &b;
    c.left = 1;
    env_hook_add(f->env, &a.hook);
    env_hook_add(f->env, &b.hook);
    env_hook_add(f->env, &c.hook);
    loop_run(f);
    assert_memory_equal(trace_text, "ac", 2);
    assert_null(strchr(trace_text, 'b'));
    env_hook_remove(&c.hook);
}

static void wake_in_hook(struct env_hook *hook)
{
    struct step *s = container_of(hook, struct step, hook);
    step_stop(s);
    if (s->left > 0) {
        env_wake(s->env);
    }
}

/* Far more often than one turn repeats its hooks, and with nothing else that could wake the loop. */
static void wake_from_a_hook_never_lets_the_loop_block(void **state)
{
    struct loop_fixture *f = *state;
    struct step a;
    step_init(&a, f->env, "a");
    a.hook.run = wake_in_hook;
    a.left = 1000;
    env_hook_add(f->env, &a.hook);
    loop_run(f);
    assert_int_equal(a.left, 0);
    env_hook_remove(&a.hook);
}

static void timers_fire_in_order_and_not_early(void **state)
{
    struct loop_fixture *f = *state;
    struct step a, b, c, d;
    trace_text[0] = '\0';
    step_init(&a, f->env, "a");
    step_init(&b, f->env, "b");
    step_init(&c, f->env, "c");
    step_init(&d, f->env, "d");
    uint64_t begin_ns = env_now_ns(f->env);
    env_timer_start(f->env, &c.timer, 30);
    env_timer_start(f->env, &b.timer, 20);
    env_timer_start(f->env, &d.timer, 10);
    env_timer_start(f->env, &a.timer, 0);
    env_timer_stop(f->env, &d.timer);
    c.left = 1;
    loop_run(f);
    assert_string_equal(trace_text, "abc");
    assert_true(env_now_ns(f->env) - begin_ns >= 30 * 1000000u);
}

static void count_turn(struct env_hook *hook)
{
    container_of(hook, struct step, hook)->left++;
}

static void waiting_for_a_timer_blocks(void **state)
{
    struct loop_fixture *f = *state;
    struct step turns, end;
    step_init(&turns, f->env, "");
    step_init(&end, f->env, "");
    turns.hook.run = count_turn;
    end.left = 1;
    env_hook_add(f->env, &turns.hook);
    env_timer_start(f->env, &end.timer, 50);
    loop_run(f);
    assert_in_range(turns.left, 1, 8);
    env_hook_remove(&turns.hook);
}

static void start_from_hook(struct env_hook *hook)
{
    struct step *s = container_of(hook, struct step, hook);
    if (s->left == 1) {
        env_timer_start(s->env, &s->timer, 5);
        s->left = 2;
    }
}

static void stop_on_fire(struct timer *timer)
{
    env_loop_stop(container_of(timer, struct step, timer)->env);
}

static void a_timer_started_by_a_hook_fires(void **state)
{
    struct loop_fixture *f = *state;
    struct step a;
    step_init(&a, f->env, "a");
    a.hook.run = start_from_hook;
    a.timer.fire = stop_on_fire;
    a.left = 1;
    env_hook_add(f->env, &a.hook);
    loop_run(f);
    assert_false(timer_active(&a.timer));
    env_hook_remove(&a.hook);
}

static void random_bits_differ_between_loops(void **state)
{
    struct loop_fixture *f = *state;
    struct env *other;
    assert_int_equal(env_loop_new(f->env, &other), 0);
    uint64_t a = env_random(f->env);
    assert_true(a != env_random(f->env));
    assert_true(a != env_random(other));
    env_loop_free(other); /* never started */
    assert_true(env_wall_ms(f->env) > 1600000000000);
}

/* ---- mailbox ---- */

#define SENDERS 4
#define MESSAGES_EACH 50000

struct receiver {
    struct env *env;
    unsigned next[SENDERS];
    unsigned total;
    bool out_of_order;
};

struct letter {
    struct env_message message;
    struct receiver *receiver;
    unsigned sender;
    unsigned number;
};

struct sender {
    pthread_t thread;
    struct receiver *receiver;
    unsigned id;
    struct letter letters[MESSAGES_EACH];
};

static void run_letter(struct env_message *message)
{
    struct letter *l = container_of(message, struct letter, message);
    struct receiver *r = l->receiver;
    if (r->next[l->sender] != l->number) {
        r->out_of_order = true;
    }
    r->next[l->sender] = l->number + 1;
    memset(&l->message, 0xAA, sizeof l->message); /* the receiver's now: nobody else may look at it */
    if (++r->total == SENDERS * MESSAGES_EACH) {
        env_loop_stop(r->env);
    }
}

static void *sender_main(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < MESSAGES_EACH; i++) {
        s->letters[i] = (struct letter){{run_letter, NULL}, s->receiver, s->id, i};
        env_post(s->receiver->env, &s->letters[i].message);
        if (i % 1000 == 999) {
            usleep(50); /* let the receiver fall asleep now and then, so that wake-ups are tested as well */
        }
    }
    return NULL;
}

static void messages_of_many_threads_arrive_once_and_in_order(void **state)
{
    struct loop_fixture *f = *state;
    struct receiver r = {.env = f->env};
    struct sender *senders[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = calloc(1, sizeof *senders[i]);
        assert_non_null(senders[i]);
        senders[i]->receiver = &r;
        senders[i]->id = i;
        assert_int_equal(pthread_create(&senders[i]->thread, NULL, sender_main, senders[i]), 0);
    }
    loop_run(f);
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i]->thread, NULL);
        assert_int_equal(r.next[i], MESSAGES_EACH);
        free(senders[i]);
    }
    assert_false(r.out_of_order);
}

/* Two loops throw one message to and fro: each side sleeps before it comes back. */
struct ball {
    struct env_message message;
    struct env *loops[2];
    int side;
    int throws_left;
};

static void catch_ball(struct env_message *message)
{
    struct ball *b = container_of(message, struct ball, message);
    if (b->throws_left-- == 0) {
        env_loop_stop(b->loops[0]);
        return;
    }
    b->side = !b->side;
    env_post(b->loops[b->side], message);
}

static void no_entry(struct env *loop, void *data)
{
}

static void a_sleeping_loop_is_always_woken(void **state)
{
    struct loop_fixture *f = *state;
    struct ball b = {.message.run = catch_ball, .throws_left = 20000};
    b.loops[0] = f->env;
    assert_int_equal(env_loop_new(f->env, &b.loops[1]), 0);
    assert_int_equal(env_loop_start(b.loops[1], no_entry, NULL), 0);
    b.side = 1;
    env_post(b.loops[1], &b.message); /* the ball is the other side's from here */
    loop_run(f);
    env_loop_free(b.loops[1]);
    assert_int_equal(b.throws_left, -1);
}

/* ---- work ---- */

#define JOBS 2000

struct jobs {
    struct env *env;
    pthread_t loop_thread;
    _Atomic unsigned runs;
    unsigned done;
    bool run_out_of_order;
    bool done_out_of_order;
    bool wrong_thread;
};

struct job {
    struct env_work work;
    struct jobs *jobs;
    unsigned number;
};

static void job_run(struct env_work *work)
{
    struct job *job = container_of(work, struct job, work);
    unsigned order = atomic_fetch_add(&job->jobs->runs, 1);
    if (order != job->number) {
        job->jobs->run_out_of_order = true;
    }
    if (pthread_equal(pthread_self(), job->jobs->loop_thread)) {
        job->jobs->wrong_thread = true;
    }
}

static void job_done(struct env_work *work)
{
    struct job *job = container_of(work, struct job, work);
    struct jobs *jobs = job->jobs;
    if (jobs->done != job->number) {
        jobs->done_out_of_order = true;
    }
    if (!pthread_equal(pthread_self(), jobs->loop_thread)) {
        jobs->wrong_thread = true;
    }
    if (++jobs->done == JOBS) {
        env_loop_stop(jobs->env);
    }
}

static void writer_runs_in_order_on_its_thread(void **state)
{
    struct loop_fixture *f = *state;
    struct jobs jobs = {.env = f->env, .loop_thread = pthread_self()};
    struct job *list = calloc(JOBS, sizeof *list);
    for (unsigned i = 0; i < JOBS; i++) {
        list[i] = (struct job){.work = {.run = job_run, .done = job_done}, .jobs = &jobs, .number = i};
        env_work(f->env, ENV_QUEUE_WRITER, &list[i].work);
        assert_int_equal(jobs.done, 0); /* never inside the call */
    }
    loop_run(f);
    assert_int_equal(jobs.done, JOBS);
    assert_false(jobs.run_out_of_order || jobs.done_out_of_order || jobs.wrong_thread);
    free(list);
}

static void pool_job_run(struct env_work *work)
{
    struct job *job = container_of(work, struct job, work);
    atomic_fetch_add(&job->jobs->runs, 1);
    job->number = (unsigned)pthread_equal(pthread_self(), job->jobs->loop_thread);
}

static void pool_job_done(struct env_work *work)
{
    struct job *job = container_of(work, struct job, work);
    if (job->number != 0 || !pthread_equal(pthread_self(), job->jobs->loop_thread)) {
        job->jobs->wrong_thread = true;
    }
    if (++job->jobs->done == JOBS) {
        env_loop_stop(job->jobs->env);
    }
}

static void pool_runs_everything_once(void **state)
{
    struct loop_fixture *f = *state;
    struct jobs jobs = {.env = f->env, .loop_thread = pthread_self()};
    struct job *list = calloc(JOBS, sizeof *list);
    for (unsigned i = 0; i < JOBS; i++) {
        list[i] = (struct job){.work = {.run = pool_job_run, .done = pool_job_done}, .jobs = &jobs};
        env_work(f->env, ENV_QUEUE_POOL, &list[i].work);
    }
    loop_run(f);
    assert_int_equal(atomic_load(&jobs.runs), JOBS);
    assert_false(jobs.wrong_thread);
    free(list);
}

struct gate {
    struct env_work work;
    struct env *env;
    _Atomic bool open;
    bool done;
};

static void gate_run(struct env_work *work)
{
    struct gate *gate = container_of(work, struct gate, work);
    for (int i = 0; i < 30000 && !atomic_load(&gate->open); i++) {
        usleep(1000);
    }
}

static void gate_done(struct env_work *work)
{
    container_of(work, struct gate, work)->done = true;
}

static void *open_gate(void *arg)
{
    struct gate *gate = arg;
    usleep(20000);
    atomic_store(&gate->open, true);
    return NULL;
}

static void a_stopped_loop_returns_when_its_work_is_done(void **state)
{
    struct loop_fixture *f = *state;
    struct gate gates[2] = {{.work = {.run = gate_run, .done = gate_done}}, {.work = {.run = gate_run, .done = gate_done}}};
    pthread_t openers[2];
    env_work(f->env, ENV_QUEUE_POOL, &gates[0].work);
    env_work(f->env, ENV_QUEUE_WRITER, &gates[1].work);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&openers[i], NULL, open_gate, &gates[i]), 0);
    }
    env_loop_stop(f->env);
    loop_run(f);
    assert_true(gates[0].done && gates[1].done);
    for (int i = 0; i < 2; i++) {
        pthread_join(openers[i], NULL);
    }
}

/* ---- loops on threads ---- */

#define LOOPS 4

struct shard {
    struct env *loop;
    struct env *home;
    struct env_message report; /* to the first loop */
    struct env_message end;    /* to this one */
    struct timer timer;
    struct env_work work;
    pthread_t thread;
    unsigned *reports;
    bool entered;
    bool wrong_thread;
};

static void shard_reported(struct env_message *message)
{
    struct shard *s = container_of(message, struct shard, report);
    if (++*s->reports == LOOPS) {
        env_loop_stop(s->home);
    }
}

static void shard_work_run(struct env_work *work)
{
}

static void shard_work_done(struct env_work *work)
{
    struct shard *s = container_of(work, struct shard, work);
    s->wrong_thread |= !pthread_equal(s->thread, pthread_self());
    env_post(s->home, &s->report);
}

static void shard_fire(struct timer *timer)
{
    struct shard *s = container_of(timer, struct shard, timer);
    s->wrong_thread |= !pthread_equal(s->thread, pthread_self());
    env_work(s->loop, ENV_QUEUE_WRITER, &s->work);
}

static void shard_entry(struct env *loop, void *data)
{
    struct shard *s = data;
    s->thread = pthread_self();
    s->entered = loop == s->loop;
    env_timer_start(loop, &s->timer, 1);
}

static void shard_end(struct env_message *message)
{
    env_loop_stop(container_of(message, struct shard, end)->loop); /* as a shard stops itself */
}

static void loops_run_on_threads_of_their_own(void **state)
{
    struct loop_fixture *f = *state;
    struct shard shards[LOOPS];
    unsigned reports = 0;
    for (int i = 0; i < LOOPS; i++) {
        struct shard *s = &shards[i];
        memset(s, 0, sizeof *s);
        s->home = f->env;
        s->reports = &reports;
        s->report.run = shard_reported;
        s->end.run = shard_end;
        s->work = (struct env_work){.run = shard_work_run, .done = shard_work_done};
        timer_init(&s->timer, shard_fire);
        assert_int_equal(env_loop_new(f->env, &s->loop), 0);
        assert_int_equal(env_loop_start(s->loop, shard_entry, s), 0);
    }
    loop_run(f);
    for (int i = 0; i < LOOPS; i++) {
        if (i % 2 == 0) {
            env_post(shards[i].loop, &shards[i].end);
        } else {
            env_loop_stop(shards[i].loop);
        }
        env_loop_free(shards[i].loop);
        assert_true(shards[i].entered);
        assert_false(shards[i].wrong_thread);
    }
    assert_int_equal(reports, LOOPS);
}

static void stop_before_start_is_kept(void **state)
{
    struct loop_fixture *f = *state;
    struct env *loop;
    assert_int_equal(env_loop_new(f->env, &loop), 0);
    env_loop_stop(loop);
    assert_int_equal(env_loop_start(loop, no_entry, NULL), 0);
    env_loop_free(loop);
}

/* ---- the process ---- */

static void on_terminate(struct env *env, void *data, int signum)
{
    *(int *)data = signum;
    env_loop_stop(env);
}

static void terminate_comes_as_a_callback(void **state)
{
    struct loop_fixture *f = *state;
    int signum = 0;
    assert_int_equal(env_uv_on_terminate(f->env, on_terminate, &signum), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    loop_run(f);
    assert_int_equal(signum, SIGTERM);
}

static void fatal_logs_and_ends_the_process(void **state)
{
    struct loop_fixture *f = *state;
    int fds[2];
    int status;
    char text[256] = "";
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct logger logger;
        logger_init_fd(&logger, LOG_INFO, fds[1]);
        f->env->logger = &logger;
        env_fatal(f->env, "disk \"gone\"");
    }
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof text - 1) > 0);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ENV_FATAL_EXIT);
    assert_non_null(strstr(text, "fatal reason="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        loop_test(hooks_run_after_messages_in_order_of_registration),
        loop_test(a_hook_may_remove_itself_and_the_next),
        loop_test(wake_from_a_hook_never_lets_the_loop_block),
        loop_test(timers_fire_in_order_and_not_early),
        loop_test(waiting_for_a_timer_blocks),
        loop_test(a_timer_started_by_a_hook_fires),
        loop_test(random_bits_differ_between_loops),
        loop_test(messages_of_many_threads_arrive_once_and_in_order),
        loop_test(a_sleeping_loop_is_always_woken),
        loop_test(writer_runs_in_order_on_its_thread),
        loop_test(pool_runs_everything_once),
        loop_test(a_stopped_loop_returns_when_its_work_is_done),
        loop_test(loops_run_on_threads_of_their_own),
        loop_test(stop_before_start_is_kept),
        loop_test(terminate_comes_as_a_callback),
        loop_test(fatal_logs_and_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
