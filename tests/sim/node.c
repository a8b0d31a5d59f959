/* Machines: programs start, end, pause; clocks; what the harness may do to the disk. */
#include "tests/sim/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void log_line(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    struct sim_node *node = logger->data;
    const struct sim_params *params = &node->world->params;

    if (params->log_write != NULL) {
        params->log_write(params->log_data, node, line, length);
        return;
    }
    (void)fprintf(stderr, "%14.6f %-4s %.*s\n", (double)node->world->now / 1e9, node->host, (int)length, line);
}

struct sim_node *sim_node_new(struct sim_world *world, const char *host)
{
    struct sim_node *node = calloc(1, sizeof(*node));
    assert(node != NULL && world->n_nodes < SIM_NODES_MAX && strlen(host) < SIM_HOST_MAX);
    node->world = world;
    node->id = world->n_nodes;
    memcpy(node->host, host, strlen(host) + 1);
    sim_rng_init(&node->rng, sim_rng_next(&world->rng));
    sim_disk_init(&node->disk, &world->rng, &world->hash, &world->counts, world->params.disk_size_bytes);
    node->disk_knobs = world->params.disk;
    node->logger.level = world->params.log_level;
    node->logger.write = log_line;
    node->logger.data = node;
    list_init(&node->loops);
    list_init(&node->files);
    list_init(&node->locks);
    list_init(&node->listeners);
    sim_fifo_init(&node->pool);
    sim_fifo_init(&node->deferred);
    node->ops_left = UINT64_MAX;
    node->port_next = 32768;
    world->nodes[world->n_nodes++] = node;
    return node;
}

void sim_node_free(struct sim_node *node)
{
    assert(!node->running);
    sim_disk_close(&node->disk);
    free(node);
}

size_t sim_world_n_nodes(const struct sim_world *world)
{
    return world->n_nodes;
}

struct sim_node *sim_world_node(struct sim_world *world, size_t i)
{
    assert(i < world->n_nodes);
    return world->nodes[i];
}

/* ---- a program's life ------------------------------------------------------------------------ */

static int32_t drift(struct sim_world *world)
{
    uint32_t most = world->params.mono_drift_max_ppm;
    return most == 0 ? 0 : (int32_t)sim_rng_below(&world->rng, 2 * (uint64_t)most + 1) - (int32_t)most;
}

void sim_node_start(struct sim_node *node, const struct sim_program *program)
{
    struct sim_world *world = node->world;

    assert(!node->running && world->context == SIM_OUTSIDE);
    if (!node->powered) {
        node->powered = true;
        node->mono_offset_ns = sim_rng_range(&world->rng, SIM_S, 100000 * SIM_S);
        node->mono_since_ns = world->now;
        node->mono_drift_ppm = drift(world);
        sim_net_powered(node);
    }
    node->running = true;
    node->paused = false;
    node->dying = SIM_END_NONE;
    node->ops_left = UINT64_MAX;
    node->disk_errors = 0;
    node->incarnation++;
    node->program = *program;
    node->main = sim_loop_new(node);
    node->main->state = SIM_LOOP_RUNNING;
    node->main->entry = program->start;
    node->main->entry_data = program->data;
    sim_hash_add(world, node->id ^ (node->incarnation << 8));
    sim_loop_turn_by(node->main, world->now);
}

static bool match_node(const struct sim_event *event, void *data)
{
    return event->node == data;
}

static void drop_fifo(struct sim_world *world, struct sim_fifo *fifo)
{
    struct sim_event *event;
    while ((event = sim_fifo_pop(fifo)) != NULL) {
        sim_event_drop(world, event);
    }
}

void sim_node_finish(struct sim_node *node)
{
    struct sim_world *world = node->world;
    enum sim_end how = node->dying;

    assert(node->running && how != SIM_END_NONE);
    if (how != SIM_END_EXIT) {
        sim_work_crash(node);
    }
    sim_disk_spare_newest(&node->disk);
    node->lie = SIM_LIE_NONE;
    node->dead = true;
    node->end = how;
    sim_hash_add(world, ((uint64_t)how << 16) ^ node->id);
    sim_events_discard(world, match_node, node);
    drop_fifo(world, &node->pool);
    drop_fifo(world, &node->deferred);
    node->pool_busy = 0;
    list_for_each(l, &node->loops) {
        timers_close(&list_entry(l, struct sim_loop, link)->env.timers); /* while their memory is there */
    }
    sim_net_forget_writes(node);
    if (node->program.ended != NULL) {
        node->program.ended(node, how, node->program.data);
    }
    sim_net_node_ends(node, how);
    sim_files_close_all(node);
    while (!list_empty(&node->loops)) {
        struct sim_loop *loop = list_entry(node->loops.next, struct sim_loop, link);
        loop->env.timers.size = 0; /* what `ended` may have started is gone */
        sim_loop_free(loop);
    }
    node->main = NULL;
    node->running = false;
    node->paused = false;
    node->dead = false;
    node->dying = SIM_END_NONE;
    if (how == SIM_END_POWER) {
        node->powered = false;
        sim_disk_crash(&node->disk);
    }
}

void sim_node_kill(struct sim_node *node, enum sim_end how)
{
    struct sim_world *world = node->world;

    assert(how == SIM_END_KILL || how == SIM_END_POWER);
    if (!node->running) {
        if (how == SIM_END_POWER && node->powered) {
            node->powered = false;
            sim_disk_crash(&node->disk);
        }
        return;
    }
    if (node->dead) {
        return;
    }
    node->dying = how;
    if (world->context == SIM_OUTSIDE || world->current->node != node) {
        sim_node_finish(node);
    }
}

void sim_node_kill_at_op(struct sim_node *node, uint64_t ops, enum sim_end how)
{
    assert(node->running);
    node->ops_left = ops;
    node->ops_end = how;
}

void sim_world_power_cut(struct sim_world *world)
{
    for (size_t i = 0; i < world->n_nodes; i++) {
        sim_node_kill(world->nodes[i], SIM_END_POWER);
    }
}

#define FAILING_OPS_MAX 16

struct failing {
    uint64_t mask;
    uint64_t incarnations[SIM_NODES_MAX];
};

static void power_failed(struct sim_world *world, void *data)
{
    struct failing *f = data;
    for (size_t i = 0; i < world->n_nodes; i++) {
        if (((f->mask >> i) & 1) != 0 && world->nodes[i]->incarnation == f->incarnations[i]) {
            sim_node_kill(world->nodes[i], SIM_END_POWER);
        }
    }
    free(f);
}

void sim_world_power_fails(struct sim_world *world, uint64_t mask, uint64_t within_ns)
{
    struct failing *f = calloc(1, sizeof(*f));
    assert(f != NULL);
    f->mask = mask;
    for (size_t i = 0; i < world->n_nodes; i++) {
        struct sim_node *node = world->nodes[i];
        f->incarnations[i] = node->incarnation;
        if (((mask >> i) & 1) != 0 && node->running) {
            sim_node_kill_at_op(node, sim_rng_skewed(&world->rng, FAILING_OPS_MAX), SIM_END_POWER);
        }
    }
    sim_world_at(world, world->now + within_ns, power_failed, f);
}

void sim_node_pause(struct sim_node *node)
{
    if (node->running) {
        node->paused = true;
    }
}

void sim_node_resume(struct sim_node *node)
{
    struct sim_event *event;

    node->paused = false;
    while ((event = sim_fifo_pop(&node->deferred)) != NULL) {
        sim_event_at(node->world, node->world->now, event);
    }
}

bool sim_node_call(struct sim_node *node, void (*fn)(struct env *env, void *data), void *data)
{
    uint64_t incarnation = node->incarnation;

    assert(node->running && !node->paused && node->world->context == SIM_OUTSIDE);
    sim_loop_turn(node->main, fn, data);
    return node->running && node->incarnation == incarnation;
}

/* ---- what it is ------------------------------------------------------------------------------ */

bool sim_node_running(const struct sim_node *node)
{
    return node->running;
}

bool sim_node_paused(const struct sim_node *node)
{
    return node->paused;
}

struct env *sim_node_env(struct sim_node *node)
{
    return node->main == NULL ? NULL : &node->main->env;
}

const char *sim_node_host(const struct sim_node *node)
{
    return node->host;
}

size_t sim_node_id(const struct sim_node *node)
{
    return node->id;
}

uint64_t sim_node_incarnation(const struct sim_node *node)
{
    return node->incarnation;
}

enum sim_end sim_node_end(const struct sim_node *node)
{
    return node->end;
}

const char *sim_node_fatal_reason(const struct sim_node *node)
{
    return node->fatal_reason;
}

struct sim_world *sim_node_world(struct sim_node *node)
{
    return node->world;
}

void sim_node_set_clock(struct sim_node *node, int64_t offset_ms, int32_t drift_ppm)
{
    node->wall_offset_ms = offset_ms;
    node->wall_drift_ppm = drift_ppm;
    node->wall_drift_since_ns = node->world->now;
}

/* ---- its disk -------------------------------------------------------------------------------- */

struct sim_disk_knobs *sim_node_disk_knobs(struct sim_node *node)
{
    return &node->disk_knobs;
}

void sim_node_set_disk_size(struct sim_node *node, uint64_t bytes)
{
    node->disk.size_limit_bytes = bytes;
}

uint64_t sim_node_disk_errors(const struct sim_node *node)
{
    return node->disk_errors;
}

void sim_node_lie(struct sim_node *node, enum sim_lie lie)
{
    if (lie == SIM_LIE_ROT) {
        (void)sim_disk_rot(&node->disk);
    } else {
        node->lie = lie;
    }
}

uint64_t sim_node_lies(const struct sim_node *node)
{
    return node->disk.lies;
}

uint64_t sim_node_reads_failed(const struct sim_node *node)
{
    return node->disk.reads_failed;
}

void sim_node_stall_disk(struct sim_node *node, uint64_t until_ns)
{
    node->disk_stalled_until = until_ns;
}

uint64_t sim_node_disk_size(const struct sim_node *node)
{
    return node->disk.size_limit_bytes;
}

uint64_t sim_node_disk_used(const struct sim_node *node)
{
    return node->disk.used_bytes;
}

void sim_node_make_dirs(struct sim_node *node, const char *path)
{
    char part[ENV_PATH_MAX];
    struct sim_inode *inode;
    size_t n = strlen(path);

    assert(n < sizeof(part));
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (sim_disk_lookup(&node->disk, part) == NULL) {
            int rv = sim_disk_create(&node->disk, part, true, &inode);
            assert(rv == 0);
        }
        char *slash = strrchr(part, '/');
        *(slash == NULL ? part : slash) = '\0';
        int rv = sim_disk_dir_sync(&node->disk, part);
        assert(rv == 0);
    }
}

void sim_node_wipe_disk(struct sim_node *node)
{
    uint64_t size = node->disk.size_limit_bytes;

    assert(!node->running);
    sim_disk_close(&node->disk);
    sim_disk_init(&node->disk, &node->world->rng, &node->world->hash, &node->world->counts, size);
}

bool sim_node_flip_bit(struct sim_node *node, const char *path, uint64_t offset, unsigned bit)
{
    return sim_disk_flip(&node->disk, path, offset, bit);
}

uint64_t sim_node_file_size(struct sim_node *node, const char *path)
{
    const struct sim_inode *inode = sim_disk_lookup(&node->disk, path);
    return inode == NULL || inode->is_dir ? UINT64_MAX : inode->size;
}

size_t sim_node_file_peek(struct sim_node *node, const char *path, uint64_t offset, void *data, size_t size)
{
    const struct sim_inode *inode = sim_disk_lookup(&node->disk, path);
    return inode == NULL || inode->is_dir ? 0 : sim_disk_read(inode, data, size, offset, false);
}

bool sim_node_list(struct sim_node *node, const char *path, void (*each)(void *data, const char *name), void *data)
{
    return sim_disk_list(&node->disk, path, each, data) == 0;
}
