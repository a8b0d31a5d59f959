/* The insides of the simulated world, for the files of tests/sim only. */
#ifndef CAIRN_SIM_IMPL_H
#define CAIRN_SIM_IMPL_H

#include <assert.h>
#include <setjmp.h>

#include "tests/sim/disk.h"
#include "tests/sim/world.h"

enum sim_event_kind {
    SIM_EV_TURN = 1,
    SIM_EV_READY,
    SIM_EV_WORK,
    SIM_EV_MESSAGE,
    SIM_EV_NET,
    SIM_EV_HARNESS
};

struct sim_loop;
struct sim_pair;

/* Something that happens at a time. With @node set it belongs to that node's program: dropped when it ends, put off
 * while it is paused. */
struct sim_event {
    void (*fire)(struct sim_world *world, struct sim_event *event);      /* frees it or hands it on */
    void (*deliver)(struct sim_loop *loop, struct sim_event *event);     /* in a turn; does not free it */
    void (*drop)(struct sim_world *world, struct sim_event *event);      /* instead of the two; may be NULL */
    struct sim_node *node;
    struct sim_loop *loop;
    void *object;
    void *object2;
    uint64_t value;
    uint64_t seq; /* given with the time */
    enum sim_event_kind kind;
    struct sim_event *next;
};

struct sim_fifo {
    struct sim_event *head;
    struct sim_event **tail;
};

enum sim_loop_state { SIM_LOOP_NEW, SIM_LOOP_RUNNING, SIM_LOOP_STOPPED };

struct sim_loop {
    struct env env; /* first: the code under test sees this */
    struct sim_world *world;
    struct sim_node *node;
    struct list link; /* the node's loops */
    enum sim_loop_state state;
    uint64_t local_ns; /* world time at which this thread is: ahead of the world's while it is busy */
    uint64_t turn_at;  /* of the scheduled turn; UINT64_MAX: none */
    uint64_t turn_seq; /* a turn event with another number is stale */
    uint64_t post_due; /* when the newest message arrives: they keep their order */
    uint64_t writer_due; /* when the newest work of the writer is reported: in order, too */
    bool woken;        /* hooks are wanted */
    struct env_hook marker; /* of the walk through them */
    struct sim_fifo ready;
    struct sim_fifo writer; /* waiting work */
    bool writer_busy;
    void (*entry)(struct env *loop, void *data);
    void *entry_data;
};

struct env_file {
    struct list link; /* the node's open files */
    struct sim_loop *loop;
    struct sim_inode *inode;
    unsigned flags;
    bool failed; /* as in the real one: after a failed write or sync, every later one by this handle fails */
};

struct env_lock {
    struct list link;
    struct sim_loop *loop;
    char path[ENV_PATH_MAX];
};

struct env_listener {
    struct list link;
    struct sim_loop *loop;
    char address[ENV_ADDRESS_MAX];
    unsigned port;
    env_accept_cb accept;
    void *data;
};

struct sim_node {
    struct sim_world *world;
    size_t id;
    char host[SIM_HOST_MAX];
    struct sim_rng rng; /* what the program draws */
    struct sim_disk disk;
    struct sim_disk_knobs disk_knobs;
    struct logger logger;

    bool powered;
    bool running;
    bool paused;
    enum sim_end dying; /* its program ends as soon as it does not run any more */
    bool dead;          /* `ended` is running */
    enum sim_end end;
    char fatal_reason[ERRMSG_SIZE];
    uint64_t incarnation;
    struct sim_program program;
    struct sim_loop *main;
    struct list loops;
    struct list files;
    struct list locks;
    struct list listeners;
    unsigned port_next;
    struct sim_fifo pool;     /* waiting work */
    unsigned pool_busy;
    struct sim_fifo deferred; /* events that came while paused */

    uint64_t ops_left; /* disk operations until it dies; UINT64_MAX: never */
    enum sim_end ops_end;

    uint64_t disk_stalled_until;
    uint64_t disk_errors; /* given to the present or last program */
    enum sim_lie lie;     /* about the next synced write */

    uint64_t mono_offset_ns;
    int32_t mono_drift_ppm; /* since power on */
    uint64_t mono_since_ns;
    int64_t wall_offset_ms;
    int32_t wall_drift_ppm;
    uint64_t wall_drift_since_ns;
};

struct sim_heap_item {
    uint64_t time;
    uint64_t seq;
    struct sim_event *event;
};

enum sim_context { SIM_OUTSIDE, SIM_IN_LOOP, SIM_IN_WORKER };

struct sim_world {
    struct sim_params params;
    struct sim_rng rng;
    uint64_t now;
    uint64_t hash;
    uint64_t events;
    uint64_t seq;
    struct sim_heap_item *heap;
    size_t heap_size;
    size_t heap_capacity;
    struct sim_event *free_events;
    void *event_slabs;

    /* who is running */
    enum sim_context context;
    struct sim_loop *current;  /* its loop, or the loop that a worker works for */
    uint64_t worker_charge_ns; /* what the worker's calls have cost so far */
    bool worker_waited;        /* it has waited for the disk before it began: syncs cost nothing more */
    jmp_buf *guard;            /* where a fatal call unwinds to */
    void *guard_frame;         /* and where the stack was there */

    struct sim_node *nodes[SIM_NODES_MAX];
    size_t n_nodes;

    bool blocked[SIM_NODES_MAX][SIM_NODES_MAX]; /* [from][to] */
    uint64_t extra_ns[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t narrow_bytes_per_s[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t pair_newest[SIM_NODES_MAX][SIM_NODES_MAX]; /* connections, by their numbers */
    struct list pairs; /* connections */
    struct list free_pairs;
    uint64_t pair_next;
    struct sim_world_counts counts;
};

/* ---- world.c: events ---- */
struct sim_event *sim_event_new(struct sim_world *world, enum sim_event_kind kind);
void sim_event_free(struct sim_world *world, struct sim_event *event);
void sim_event_at(struct sim_world *world, uint64_t time, struct sim_event *event);
void sim_event_drop(struct sim_world *world, struct sim_event *event);
/* Take out and drop all events that @match. */
void sim_events_discard(struct sim_world *world, bool (*match)(const struct sim_event *event, void *data), void *data);

static inline void sim_fifo_init(struct sim_fifo *fifo)
{
    fifo->head = NULL;
    fifo->tail = &fifo->head;
}

static inline void sim_fifo_push(struct sim_fifo *fifo, struct sim_event *event)
{
    event->next = NULL;
    *fifo->tail = event;
    fifo->tail = &event->next;
}

static inline struct sim_event *sim_fifo_pop(struct sim_fifo *fifo)
{
    struct sim_event *event = fifo->head;
    if (event != NULL) {
        fifo->head = event->next;
        if (fifo->head == NULL) {
            fifo->tail = &fifo->head;
        }
    }
    return event;
}

static inline uint64_t sim_draw_ns(struct sim_world *world, uint64_t max_ns)
{
    return max_ns == 0 ? 0 : sim_rng_below(&world->rng, max_ns + 1);
}

static inline void sim_hash_add(struct sim_world *world, uint64_t value)
{
    world->hash = sim_hash_mix(world->hash, value);
}

/* ---- loop.c: turns ---- */
struct sim_loop *sim_loop_new(struct sim_node *node);
void sim_loop_free(struct sim_loop *loop); /* memory only */
/* The next turn is at @time or before. */
void sim_loop_turn_by(struct sim_loop *loop, uint64_t time);
/* fire: to the loop's ready queue; a turn follows. */
void sim_event_to_ready(struct sim_world *world, struct sim_event *event);
/* @deliver in some next turn. Returns the event, for its objects to be filled in. */
struct sim_event *sim_loop_ready(struct sim_loop *loop, void (*deliver)(struct sim_loop *loop, struct sim_event *event),
                                 void *object);
void sim_loop_turn(struct sim_loop *loop, void (*first)(struct env *env, void *data), void *data);
static inline struct sim_loop *sim_loop_of(struct env *env)
{
    return (struct sim_loop *)(void *)env;
}
static inline uint64_t sim_loop_now(const struct sim_loop *loop)
{
    const struct sim_world *w = loop->world;
    uint64_t now = w->now > loop->local_ns ? w->now : loop->local_ns;
    return w->context == SIM_IN_WORKER ? w->now + w->worker_charge_ns : now;
}
/* True when @loop's program has ended and only its callback `ended` still runs. */
static inline bool sim_dead(const struct sim_loop *loop)
{
    return loop->node->dead;
}
/* A call for a loop's thread only: no worker, no other loop may make it. */
static inline void sim_assert_on_loop(const struct sim_loop *loop)
{
    assert(sim_dead(loop) || loop->world->context != SIM_IN_WORKER);
    /* A loop that is made and not yet started is its maker's. */
    assert(sim_dead(loop) || loop->world->context == SIM_OUTSIDE || loop->world->current == loop ||
           loop->state == SIM_LOOP_NEW);
}
static inline bool sim_in_turn(const struct sim_loop *loop)
{
    return loop->world->context == SIM_IN_LOOP && loop->world->current == loop;
}
/* The time at which whoever runs is: never behind the world's. */
static inline uint64_t sim_here_ns(const struct sim_world *world)
{
    if (world->context == SIM_IN_WORKER) {
        return world->now + world->worker_charge_ns;
    }
    return world->context == SIM_IN_LOOP && world->current->local_ns > world->now ? world->current->local_ns
                                                                                    : world->now;
}
/* The thread that runs is busy for this long. */
void sim_charge(struct sim_loop *loop, uint64_t ns);
/* Run @fn under a guard: false when it unwound because its node died. */
bool sim_guarded(struct sim_world *world, void (*fn)(void *arg), void *arg);
/* Unwind out of the node's program, which is then dead. */
void sim_die(struct sim_node *node, enum sim_end how) __attribute__((noreturn));

/* ---- work.c ---- */
void sim_work(struct env *env, enum env_queue queue, struct env_work *work);
/* The program ends: whatever is on a worker is carried out up to a drawn operation. */
void sim_work_crash(struct sim_node *node);
/* A loop is freed: what it still has on workers is carried out, `done` included. */
void sim_work_finish(struct sim_loop *loop);

/* ---- node.c ---- */
void sim_node_finish(struct sim_node *node); /* dying -> down, if nothing of it runs */
void sim_node_free(struct sim_node *node);

/* ---- files.c: the file part of env_ops ---- */
extern const struct env_ops sim_ops;
int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **out);
void sim_file_close(struct env_file *file);
int sim_file_size(struct env_file *file, uint64_t *size);
int sim_file_read(struct env_file *file, void *data, size_t size, uint64_t offset, size_t *n);
int sim_file_write(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset, enum env_sync sync);
int sim_file_sync(struct env_file *file);
int sim_file_allocate(struct env_file *file, uint64_t size, bool zero_fill);
int sim_file_truncate(struct env_file *file, uint64_t size);
int sim_dir_make(struct env *env, const char *path);
int sim_dir_list(struct env *env, const char *path, void (*each)(void *data, const char *name), void *data);
int sim_dir_sync(struct env *env, const char *path);
int sim_path_rename(struct env *env, const char *from, const char *to);
int sim_path_unlink(struct env *env, const char *path);
int sim_disk_free_bytes(struct env *env, const char *path, uint64_t *bytes);
int sim_lock_acquire(struct env *env, const char *path, struct env_lock **out);
void sim_lock_release(struct env_lock *lock);
void sim_files_close_all(struct sim_node *node);

/* ---- net.c: the network part of env_ops ---- */
int sim_listen(struct env *env, const char *address, env_accept_cb accept, void *data, struct env_listener **out,
               char *errmsg);
const char *sim_listener_address(struct env_listener *listener);
void sim_listener_close(struct env_listener *listener);
int sim_connect(struct env *env, const char *address, env_connect_cb cb, void *data);
void sim_conn_read_start(struct env_conn *conn, const struct env_conn_callbacks *callbacks, void *data);
void sim_conn_read_stop(struct env_conn *conn);
void sim_conn_write(struct env_conn *conn, struct env_write *write, const struct iovec *iov, size_t n_iov);
const char *sim_conn_peer(struct env_conn *conn);
void sim_conn_close(struct env_conn *conn, env_closed_cb cb, void *data);
void sim_net_node_ends(struct sim_node *node, enum sim_end how); /* its listeners and connections */
void sim_net_forget_writes(struct sim_node *node); /* while their memory is there */
void sim_net_loop_ends(struct sim_loop *loop);  /* as an orderly end, for one loop of it */
void sim_net_powered(struct sim_node *node); /* on again */
void sim_net_free(struct sim_world *world);

#endif
