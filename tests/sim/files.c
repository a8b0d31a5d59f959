/* The file part of env_ops: what calls cost, when they fail, and crashes at a counted operation. */
#include "tests/sim/impl.h"

#include <stdlib.h>
#include <string.h>

static const struct sim_disk_knobs *knobs_of(const struct sim_loop *loop)
{
    return &loop->node->disk_knobs;
}

static void charge_call(struct sim_loop *loop)
{
    sim_charge(loop, knobs_of(loop)->call_ns * knobs_of(loop)->slow_factor);
}

static void charge_bytes(struct sim_loop *loop, uint64_t bytes)
{
    const struct sim_disk_knobs *k = knobs_of(loop);
    if (k->bytes_per_s > 0) {
        sim_charge(loop, (uint64_t)((double)bytes * 1e9 / (double)k->bytes_per_s) * k->slow_factor);
    }
}

/* A disk that stalls keeps whoever waits for it until it goes on. */
static void charge_stall(struct sim_loop *loop)
{
    uint64_t here = sim_here_ns(loop->world);
    if (here < loop->node->disk_stalled_until) {
        loop->world->counts.stalled_calls++;
        sim_charge(loop, loop->node->disk_stalled_until - here);
    }
}

static void charge_sync(struct sim_loop *loop)
{
    const struct sim_disk_knobs *k = knobs_of(loop);
    charge_stall(loop);
    if (loop->world->context == SIM_IN_WORKER && loop->world->worker_waited) {
        return;
    }
    sim_charge(loop, sim_rng_range(&loop->world->rng, k->sync_min_ns, k->sync_max_ns) * k->slow_factor);
}

/* Count an operation that changes the disk. True: the program dies in it. */
static bool dies_now(struct sim_loop *loop)
{
    struct sim_node *node = loop->node;
    if (node->ops_left == UINT64_MAX) {
        return false;
    }
    return node->ops_left-- == 0;
}

/* The operation at which the program dies: done or not done. */
static bool half(struct sim_loop *loop)
{
    return sim_rng_next(&loop->world->rng) & 1;
}

static void die(struct sim_loop *loop) __attribute__((noreturn));
static void die(struct sim_loop *loop)
{
    struct sim_node *node = loop->node;
    node->ops_left = UINT64_MAX;
    sim_die(node, node->ops_end == SIM_END_NONE ? SIM_END_KILL : node->ops_end);
}

/* An error of the disk's, for the program to deal with. */
static int fault(struct sim_loop *loop, int rv)
{
    loop->node->disk_errors += rv == ERR_IO || rv == ERR_NO_SPACE;
    return rv;
}

/* ---- open files ------------------------------------------------------------------------------ */

int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **out)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_disk *disk = &loop->node->disk;
    bool changes = (flags & ENV_OPEN_TRUNCATE) || ((flags & ENV_OPEN_CREATE) && sim_disk_lookup(disk, path) == NULL);
    struct sim_inode *inode;

    charge_call(loop);
    if (sim_dead(loop)) {
        return ERR_IO;
    }
    bool dies = changes && dies_now(loop);
    if (dies && half(loop)) {
        die(loop);
    }
    int rv = sim_disk_open(disk, path, flags, &inode);
    if (dies) {
        if (rv == 0) {
            sim_disk_release(disk, inode);
        }
        die(loop);
    }
    if (rv != 0) {
        return rv;
    }
    struct env_file *file = calloc(1, sizeof(*file));
    assert(file != NULL);
    file->loop = loop;
    file->inode = inode;
    file->flags = flags;
    list_push_back(&loop->node->files, &file->link);
    *out = file;
    return 0;
}

void sim_file_close(struct env_file *file)
{
    sim_disk_release(&file->loop->node->disk, file->inode);
    list_remove(&file->link);
    free(file);
}

int sim_file_size(struct env_file *file, uint64_t *size)
{
    charge_call(file->loop);
    *size = file->inode->size;
    return 0;
}

/* The kernel's rule for direct calls, which the real environment hides at a price. */
static bool aligned(const struct env_file *file, const void *data, size_t size, uint64_t offset)
{
    if (!(file->flags & ENV_OPEN_DIRECT)) {
        return true;
    }
    return (uintptr_t)data % ENV_DIRECT_ALIGN == 0 && size % ENV_DIRECT_ALIGN == 0 && offset % ENV_DIRECT_ALIGN == 0;
}

int sim_file_read(struct env_file *file, void *data, size_t size, uint64_t offset, size_t *n)
{
    struct sim_loop *loop = file->loop;
    struct sim_rng *rng = &loop->world->rng;
    const struct sim_disk_knobs *k = knobs_of(loop);

    charge_call(loop);
    charge_bytes(loop, size / 8); /* mostly from the cache */
    if (!aligned(file, data, size, offset)) {
        return ERR_INVALID;
    }
    if (file->flags & ENV_OPEN_DIRECT) {
        charge_stall(loop);
    }
    if (sim_rng_chance(rng, k->read_error_ppm)) {
        loop->world->counts.read_errors++;
        loop->node->disk.reads_failed++;
        return fault(loop, ERR_IO);
    }
    if (sim_rng_chance(rng, k->flip_ppm) && size > 0) {
        uint64_t at = offset + sim_rng_below(rng, size);
        sim_inode_flip(&loop->node->disk, file->inode, at, (unsigned)sim_rng_next(rng));
    }
    *n = sim_disk_read(file->inode, data, size, offset, file->flags & ENV_OPEN_DIRECT);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A write that the program dies in: some part of it, from the beginning, and nothing synced. */
static void write_and_die(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset)
    __attribute__((noreturn));
static void write_and_die(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset)
{
    struct sim_loop *loop = file->loop;
    size_t size = 0;

    for (size_t i = 0; i < n_iov; i++) {
        size += iov[i].iov_len;
    }
    size_t left = half(loop) ? size : sim_rng_below(&loop->world->rng, size + 1);
    for (size_t i = 0; i < n_iov && left > 0; i++) {
        struct iovec part = {iov[i].iov_base, iov[i].iov_len < left ? iov[i].iov_len : left};
        uint64_t written;
        if (sim_disk_write(&loop->node->disk, file->inode, &part, 1, offset, &written) != 0) {
            break;
        }
        offset += written;
        left -= part.iov_len;
    }
    die(loop);
}

int sim_file_write(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset, enum env_sync sync)
{
    struct sim_loop *loop = file->loop;
    struct sim_disk *disk = &loop->node->disk;
    const struct sim_disk_knobs *k = knobs_of(loop);
    uint64_t written;

    charge_call(loop);
    if (sim_dead(loop) || file->failed) {
        return ERR_IO;
    }
    if (!(file->flags & ENV_OPEN_WRITE)) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < n_iov; i++) {
        if (!aligned(file, iov[i].iov_base, iov[i].iov_len, offset)) {
            return ERR_INVALID;
        }
    }
    if (dies_now(loop)) {
        write_and_die(file, iov, n_iov, offset);
    }
    if (sim_rng_chance(&loop->world->rng, k->write_error_ppm)) {
        loop->world->counts.write_errors++;
        file->failed = true;
        return fault(loop, ERR_IO);
    }
    int rv = sim_disk_write(disk, file->inode, iov, n_iov, offset, &written);
    if (rv != 0 || sync == ENV_SYNC_NONE) {
        charge_bytes(loop, written / 8);
        return fault(loop, rv);
    }
    charge_sync(loop);
    charge_bytes(loop, written);
    if (sim_rng_chance(&loop->world->rng, k->sync_error_ppm)) {
        sim_disk_sync_fail(disk, file->inode);
        file->failed = true;
        return fault(loop, ERR_IO);
    }
    if (loop->node->lie == SIM_LIE_NONE) {
        (void)sim_disk_sync_range(disk, file->inode, offset, written);
    } else {
        sim_disk_lose(disk, file->inode, offset, written, loop->node->lie == SIM_LIE_ASTRAY);
        loop->node->lie = SIM_LIE_NONE;
    }
    return 0;
}

int sim_file_sync(struct env_file *file)
{
    struct sim_loop *loop = file->loop;
    struct sim_disk *disk = &loop->node->disk;

    charge_sync(loop);
    if (sim_dead(loop) || file->failed) {
        return ERR_IO;
    }
    if (dies_now(loop)) {
        if (half(loop)) {
            (void)sim_disk_sync(disk, file->inode);
        }
        die(loop);
    }
    if (sim_rng_chance(&loop->world->rng, knobs_of(loop)->sync_error_ppm)) {
        sim_disk_sync_fail(disk, file->inode);
        file->failed = true;
        return fault(loop, ERR_IO);
    }
    charge_bytes(loop, sim_disk_sync(disk, file->inode));
    return 0;
}

static int resize(struct env_file *file, uint64_t size)
{
    struct sim_loop *loop = file->loop;
    struct sim_disk *disk = &loop->node->disk;

    if (sim_dead(loop)) {
        return ERR_IO;
    }
    if (!(file->flags & ENV_OPEN_WRITE)) {
        return ERR_INVALID;
    }
    bool dies = dies_now(loop);
    if (dies && half(loop)) {
        die(loop);
    }
    int rv = sim_disk_resize(disk, file->inode, size);
    if (dies) {
        die(loop);
    }
    return fault(loop, rv);
}

int sim_file_allocate(struct env_file *file, uint64_t size, bool zero_fill)
{
    uint64_t now = file->inode->size;

    charge_call(file->loop);
    if (now >= size) {
        return 0;
    }
    if (zero_fill) {
        charge_bytes(file->loop, size - now);
    }
    return resize(file, size); /* holes read as zeros, and are as good as zeros written */
}

int sim_file_truncate(struct env_file *file, uint64_t size)
{
    charge_call(file->loop);
    return resize(file, size);
}

/* ---- names ----------------------------------------------------------------------------------- */

enum name_op { NAME_MAKE, NAME_SYNC, NAME_RENAME, NAME_UNLINK };

static int name_do(struct sim_disk *disk, enum name_op op, const char *path, const char *to)
{
    struct sim_inode *inode;

    switch (op) {
    case NAME_MAKE:
        return sim_disk_create(disk, path, true, &inode);
    case NAME_SYNC:
        return sim_disk_dir_sync(disk, path);
    case NAME_RENAME:
        return sim_disk_rename(disk, path, to);
    case NAME_UNLINK:
        return sim_disk_unlink(disk, path);
    }
    return ERR_INVALID;
}

static int name_op(struct env *env, enum name_op op, const char *path, const char *to)
{
    struct sim_loop *loop = sim_loop_of(env);

    charge_call(loop);
    if (sim_dead(loop)) {
        return ERR_IO;
    }
    bool dies = dies_now(loop);
    if (dies && half(loop)) {
        die(loop);
    }
    int rv = name_do(&loop->node->disk, op, path, to);
    if (dies) {
        die(loop);
    }
    return rv;
}

int sim_dir_make(struct env *env, const char *path)
{
    return name_op(env, NAME_MAKE, path, NULL);
}

int sim_dir_sync(struct env *env, const char *path)
{
    struct sim_loop *loop = sim_loop_of(env);

    charge_sync(loop);
    if (sim_rng_chance(&loop->world->rng, knobs_of(loop)->sync_error_ppm)) {
        return fault(loop, ERR_IO);
    }
    return name_op(env, NAME_SYNC, path, NULL);
}

int sim_path_rename(struct env *env, const char *from, const char *to)
{
    return name_op(env, NAME_RENAME, from, to);
}

int sim_path_unlink(struct env *env, const char *path)
{
    return name_op(env, NAME_UNLINK, path, NULL);
}

int sim_dir_list(struct env *env, const char *path, void (*each)(void *data, const char *name), void *data)
{
    struct sim_loop *loop = sim_loop_of(env);

    charge_call(loop);
    return sim_disk_list(&loop->node->disk, path, each, data);
}

int sim_disk_free_bytes(struct env *env, const char *path, uint64_t *bytes)
{
    struct sim_loop *loop = sim_loop_of(env);
    const struct sim_disk *disk = &loop->node->disk;

    charge_call(loop);
    if (sim_disk_lookup(&loop->node->disk, path) == NULL) {
        return ERR_NOT_FOUND;
    }
    *bytes = disk->size_limit_bytes > disk->used_bytes ? disk->size_limit_bytes - disk->used_bytes : 0;
    return 0;
}

/* ---- locks ----------------------------------------------------------------------------------- */

int sim_lock_acquire(struct env *env, const char *path, struct env_lock **out)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_node *node = loop->node;
    struct env_file *file;

    assert(strlen(path) < ENV_PATH_MAX);
    const struct sim_inode *inode = sim_disk_lookup(&node->disk, path);
    if (inode == NULL) {
        int rv = sim_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file);
        if (rv != 0) {
            return rv;
        }
        sim_file_close(file);
    }
    list_for_each(l, &node->locks) {
        if (strcmp(list_entry(l, struct env_lock, link)->path, path) == 0) {
            return ERR_BUSY;
        }
    }
    struct env_lock *lock = calloc(1, sizeof(*lock));
    assert(lock != NULL);
    lock->loop = loop;
    memcpy(lock->path, path, strlen(path) + 1);
    list_push_back(&node->locks, &lock->link);
    *out = lock;
    return 0;
}

void sim_lock_release(struct env_lock *lock)
{
    list_remove(&lock->link);
    free(lock);
}

void sim_files_close_all(struct sim_node *node)
{
    struct list *l;

    while (!list_empty(&node->files)) {
        sim_file_close(list_entry(node->files.next, struct env_file, link));
    }
    while ((l = list_pop_front(&node->locks)) != NULL) {
        sim_lock_release(list_entry(l, struct env_lock, link));
    }
}
