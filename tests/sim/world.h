/* Whole clusters in one process, one thread and virtual time: one seed is exactly one run.
 *
 * A world holds machines (`struct sim_node`): each has a disk that outlives crashes, clocks, and, while its program
 * runs, loops (`struct env`) on which the code under test lives and which it cannot tell from the real ones.
 *
 * Death. env_fatal(), sim_node_kill() and power cuts end a program: nothing of it runs any more. A fatal call unwinds
 * with longjmp to the world's dispatcher, so locals of the frames in between are not freed. Then, once, the program's
 * `ended` callback runs: it frees the memory of the code under test without waiting for anything (wal_abandon and its
 * like). During it the env is still there but dead: closing, stopping and cancelling are harmless, work and messages
 * are ignored, the disk is read-only (ERR_IO). After it, all that the program had open is closed by the world.
 * Messages that were still in a mailbox are dropped with what they point to (leak checkers are told). */
#ifndef CAIRN_SIM_WORLD_H
#define CAIRN_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/env/env.h"
#include "tests/sim/rng.h"

#define SIM_US 1000ull
#define SIM_MS 1000000ull
#define SIM_S 1000000000ull
#define SIM_NODES_MAX 64
#define SIM_HOST_MAX 32

struct sim_world;
struct sim_node;

/* How a program ends. */
enum sim_end {
    SIM_END_NONE,
    SIM_END_EXIT,  /* env_loop_stop() of its first loop */
    SIM_END_FATAL, /* env_fatal(); the machine and its page cache stay */
    SIM_END_KILL,  /* like SIGKILL; the machine and its page cache stay */
    SIM_END_POWER  /* the machine is off: unsynced data is at the disk's mercy, peers hear nothing */
};

/* ---- what can be turned; all may be changed at any time -------------------------------------- */

struct sim_net_knobs {
    uint64_t latency_min_ns;   /* one way */
    uint64_t latency_max_ns;
    uint32_t spike_ppm;        /* segments that take up to spike_max_ns longer: a lost packet sent again */
    uint64_t spike_max_ns;
    uint64_t bytes_per_s;      /* of one direction of one connection */
    uint32_t buffer_bytes;     /* of one direction, sender's and receiver's together */
    uint32_t split_ppm;        /* segments cut in two at a random byte */
    uint32_t reset_ppm;        /* segments at whose arrival the connection is reset, the rest of it lost */
    uint32_t late_ppm;         /* connections that end with bytes under way, which then come up to late_max_ns later: by then
                                  the next connection may have overtaken them */
    uint64_t late_max_ns;
    uint64_t stall_timeout_ns; /* unacknowledged for this long: the sender's connection times out */
    uint64_t connect_timeout_ns;
};

struct sim_disk_knobs {
    uint64_t sync_min_ns; /* a sync or durable write, besides its bytes */
    uint64_t sync_max_ns;
    uint64_t call_ns;     /* any other call */
    uint64_t bytes_per_s; /* written to the platter */
    uint32_t slow_factor; /* 1: as above; times this */
    uint32_t sync_error_ppm;  /* a sync fails: ERR_IO, and what was dirty may be lost for good */
    uint32_t write_error_ppm; /* ERR_IO */
    uint32_t read_error_ppm;  /* ERR_IO */
    uint32_t flip_ppm;        /* a read finds one bit flipped, on the platter, for good */
};

struct sim_loop_knobs {
    uint64_t wake_max_ns;  /* from an event to the turn that handles it, drawn up to this */
    uint64_t event_ns;     /* a callback's cost */
    uint64_t post_max_ns;  /* a message's way */
    uint64_t work_max_ns;  /* from a free worker to run; also from the end of run to done */
    uint32_t batch_cut_ppm; /* turns that leave some ready events to the next */
};

struct sim_params {
    struct sim_net_knobs net;
    struct sim_loop_knobs loop;
    struct sim_disk_knobs disk;     /* what a new node starts with */
    uint64_t disk_size_bytes;       /* of a new node */
    uint32_t mono_drift_max_ppm;    /* how much faster or slower a machine's monotonic clock goes; drawn at power on */
    unsigned pool_threads;
    enum log_level log_level;       /* 0: no log; lines go to log_write, or to stderr when that is NULL */
    void (*log_write)(void *data, struct sim_node *node, const char *line, size_t length);
    void *log_data;
};

void sim_params_default(struct sim_params *params);

/* X(name): what the world did to the code in it. */
#define SIM_WORLD_COUNTS(X)                                                                                            \
    X(net_spikes)       /* segments that were lost and sent again */                                                   \
    X(net_torn_frames)  /* resets between the parts of one write */                                                    \
    X(net_half_open)    /* connections that only one side knew to be over */                                           \
    X(net_late)         /* segments that a newer connection had overtaken */                                           \
    X(net_timeouts)     /* connections that nothing came through for too long */                                       \
    X(pages_kept)       /* at a power cut, of what was not synced */                                                   \
    X(pages_dropped)                                                                                                   \
    X(pages_torn)                                                                                                      \
    X(names_kept)                                                                                                      \
    X(names_dropped)                                                                                                   \
    X(syncs_failed)                                                                                                    \
    X(pages_given_up)   /* by a failed sync: the cache shows them, the platter never gets them */                      \
    X(write_errors)                                                                                                    \
    X(read_errors)                                                                                                     \
    X(disk_full)        /* calls that found no space */                                                                \
    X(stalled_calls)    /* calls that waited for a stalled disk */                                                     \
    X(writes_lost)      /* that the disk called durable */                                                             \
    X(writes_astray)    /* ... and that damaged something else */                                                      \
    X(bits_rotten)                                                                                                     \
    X(lies_undone)      /* pages: nothing stood behind them that could prove the damage */

struct sim_world_counts {
#define X(name) uint64_t name;
    SIM_WORLD_COUNTS(X)
#undef X
};

/* ---- the world ------------------------------------------------------------------------------- */

/* @params may be NULL. Never fails (out of memory ends the test program, here and everywhere in tests/sim). */
struct sim_world *sim_world_new(uint64_t seed, const struct sim_params *params);
/* Ends what still runs (SIM_END_KILL) and frees everything. */
void sim_world_free(struct sim_world *world);

struct sim_params *sim_world_knobs(struct sim_world *world);
uint64_t sim_world_now(const struct sim_world *world);    /* virtual ns since the beginning */
uint64_t sim_world_hash(const struct sim_world *world);   /* of every event, byte written and byte delivered so far */
uint64_t sim_world_events(const struct sim_world *world); /* handled so far */
uint64_t sim_world_random(struct sim_world *world);       /* for the harness: part of the run */
const struct sim_world_counts *sim_world_counts(const struct sim_world *world);

/* Run one event. False when nothing is left to happen. None of these may be called from within a callback. */
bool sim_world_step(struct sim_world *world);
void sim_world_run_until(struct sim_world *world, uint64_t time_ns);
static inline void sim_world_run_for(struct sim_world *world, uint64_t ns)
{
    sim_world_run_until(world, sim_world_now(world) + ns);
}
/* Until @holds says true (asked after every event), at most @limit_ns longer. Returns whether it holds. */
bool sim_world_run_until_true(struct sim_world *world, bool (*holds)(void *data), void *data, uint64_t limit_ns);

/* The harness' own events: @fn at @time_ns (now, if that has passed), outside of any node. */
void sim_world_at(struct sim_world *world, uint64_t time_ns, void (*fn)(struct sim_world *world, void *data),
                  void *data);

/* ---- machines -------------------------------------------------------------------------------- */

struct sim_node *sim_node_new(struct sim_world *world, const char *host); /* "n1": its name in addresses */
size_t sim_world_n_nodes(const struct sim_world *world);
struct sim_node *sim_world_node(struct sim_world *world, size_t i);

struct sim_program {
    /* The first thing on the first loop, in a turn of its own. */
    void (*start)(struct env *env, void *data);
    /* See "Death" above. May be NULL. Must not start the node again: that is for later (sim_world_at). */
    void (*ended)(struct sim_node *node, enum sim_end how, void *data);
    void *data;
};

/* Power on if need be, and start a program: a new incarnation on the same disk. The node must not be running. */
void sim_node_start(struct sim_node *node, const struct sim_program *program);

bool sim_node_running(const struct sim_node *node);
bool sim_node_paused(const struct sim_node *node);
struct env *sim_node_env(struct sim_node *node); /* the first loop; NULL when not running */
const char *sim_node_host(const struct sim_node *node);
size_t sim_node_id(const struct sim_node *node); /* 0, 1, ... in the order of creation */
uint64_t sim_node_incarnation(const struct sim_node *node);
enum sim_end sim_node_end(const struct sim_node *node);           /* of the last program */
const char *sim_node_fatal_reason(const struct sim_node *node); /* of the last SIM_END_FATAL */
struct sim_world *sim_node_world(struct sim_node *node);

/* Run @fn as a turn of the node's first loop, now. Returns whether the node is still running after it.
 * Direct calls into the code under test from outside work as well, but env_fatal() in them aborts. */
bool sim_node_call(struct sim_node *node, void (*fn)(struct env *env, void *data), void *data);

/* @how: SIM_END_KILL or SIM_END_POWER. Work under way on workers may be carried out in part. From within a callback of
 * the node itself the end comes after that callback. Killing what is not running only matters for POWER. */
void sim_node_kill(struct sim_node *node, enum sim_end how);
/* At the @ops-th disk operation that changes something, counted from now (0: the next one): the way to crash in the
 * middle of a start or of a worker's sequence. Holds for this incarnation. */
void sim_node_kill_at_op(struct sim_node *node, uint64_t ops, enum sim_end how);
void sim_world_power_cut(struct sim_world *world); /* all nodes at once */
/* The power of the nodes in @mask goes within @within_ns, of each in one of its next disk operations if it has any. */
void sim_world_power_fails(struct sim_world *world, uint64_t mask, uint64_t within_ns);

void sim_node_pause(struct sim_node *node); /* like SIGSTOP: the kernel goes on, the program does not */
void sim_node_resume(struct sim_node *node);

/* Wall clock = the world's (1,700,000,000 s at 0) + @offset_ms + drift from now on. */
void sim_node_set_clock(struct sim_node *node, int64_t offset_ms, int32_t drift_ppm);

/* ---- disks ----------------------------------------------------------------------------------- */

struct sim_disk_knobs *sim_node_disk_knobs(struct sim_node *node);
void sim_node_set_disk_size(struct sim_node *node, uint64_t bytes);
/* Calls of the node's present or last program that returned ERR_IO or ERR_NO_SPACE. */
uint64_t sim_node_disk_errors(const struct sim_node *node);
/* The disk lies (disk.h): loses the next synced write, lets it land elsewhere, or flips a bit. */
enum sim_lie { SIM_LIE_NONE, SIM_LIE_LOST, SIM_LIE_ASTRAY, SIM_LIE_ROT };
void sim_node_lie(struct sim_node *node, enum sim_lie lie);
uint64_t sim_node_lies(const struct sim_node *node); /* told so far */
uint64_t sim_node_reads_failed(const struct sim_node *node); /* so far */
/* What must reach the platter, or come from it, waits until then. */
void sim_node_stall_disk(struct sim_node *node, uint64_t until_ns);
uint64_t sim_node_disk_size(const struct sim_node *node);
uint64_t sim_node_disk_used(const struct sim_node *node);
void sim_node_make_dirs(struct sim_node *node, const char *path); /* durable, all parts of it */
void sim_node_wipe_disk(struct sim_node *node);                   /* not while running */
/* Flip one bit of a stored byte, for good. False: no such byte. */
bool sim_node_flip_bit(struct sim_node *node, const char *path, uint64_t offset, unsigned bit);
/* Any file's size, or UINT64_MAX. */
uint64_t sim_node_file_size(struct sim_node *node, const char *path);
/* Read from outside the program, as readers would see it; returns the bytes read. */
size_t sim_node_file_peek(struct sim_node *node, const char *path, uint64_t offset, void *data, size_t size);
/* List a directory from outside. False: no such directory. */
bool sim_node_list(struct sim_node *node, const char *path, void (*each)(void *data, const char *name), void *data);

/* ---- network --------------------------------------------------------------------------------- */

/* Bytes from @from to @to stall (and come when it heals, unless the connection has timed out by then). */
void sim_net_block(struct sim_world *world, struct sim_node *from, struct sim_node *to, bool blocked);
void sim_net_partition(struct sim_world *world, uint64_t side_mask); /* bit i: node i; both ways between the sides */
void sim_net_partition_one_way(struct sim_world *world, uint64_t side_mask); /* what the side says is not heard outside */
void sim_net_heal(struct sim_world *world);                          /* all blocks */
/* Extra one-way latency. */
void sim_net_slow(struct sim_world *world, struct sim_node *from, struct sim_node *to, uint64_t extra_ns);
/* Bytes a second, of each connection; 0: as the knobs say. */
void sim_net_narrow(struct sim_world *world, struct sim_node *from, struct sim_node *to, uint64_t bytes_per_s);
/* Reset every connection between the two, whatever is under way on it. */
void sim_net_reset(struct sim_world *world, struct sim_node *a, struct sim_node *b);
/* @a takes its connections with @b for reset; @b hears nothing of it, and what was on its way to it comes @late_ns later. */
void sim_net_half_open(struct sim_world *world, struct sim_node *a, struct sim_node *b, uint64_t late_ns);

#endif
