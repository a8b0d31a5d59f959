/* Names on the simulated disk. Readers see the tables `entries`; the platter has `stable`; the log of operations in
 * between becomes durable by a sync of a directory that they touch, or, in a power cut, up to a drawn point of each
 * directory. A rename is one step for both of its names, as on any journalling file system. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk.h"
#include "tests/sim/world.h"

static struct sim_dirent *table_find(const struct sim_dirtable *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->v[i].name, name) == 0) {
            return &t->v[i];
        }
    }
    return NULL;
}

/* @visible: the table that readers see, where a name keeps the inode's bytes counted. */
static void table_remove(struct sim_disk *disk, struct sim_dirtable *t, const char *name, bool visible)
{
    struct sim_dirent *e = table_find(t, name);
    if (e == NULL) {
        return;
    }
    struct sim_inode *inode = e->inode;
    size_t at = (size_t)(e - t->v);
    memmove(e, e + 1, (t->n - at - 1) * sizeof(*e));
    t->n--;
    if (visible) {
        inode->names--;
        sim_inode_account(disk, inode);
    }
    sim_inode_unref(disk, inode);
}

static void table_set(struct sim_disk *disk, struct sim_dirtable *t, const char *name, struct sim_inode *inode,
                      bool visible)
{
    inode->refs++;
    inode->names += visible;
    table_remove(disk, t, name, visible);
    if (t->n == t->capacity) {
        t->capacity = t->capacity == 0 ? 8 : t->capacity * 2;
        t->v = realloc(t->v, t->capacity * sizeof(*t->v));
        assert(t->v != NULL);
    }
    struct sim_dirent *e = &t->v[t->n++];
    memcpy(e->name, name, strlen(name) + 1);
    e->inode = inode;
    if (visible) {
        sim_inode_account(disk, inode);
    }
}

/* Take the next part of @path into @name. 1: there was one, 0: the end, else negative. */
static int path_next(const char **path, char *name)
{
    size_t n;
    do {
        *path += strspn(*path, "/");
        n = strcspn(*path, "/");
        if (n >= SIM_NAME_MAX || (n == 2 && memcmp(*path, "..", 2) == 0)) {
            return -1;
        }
        memcpy(name, *path, n);
        name[n] = '\0';
        *path += n;
    } while (n == 1 && name[0] == '.');
    return n > 0;
}

struct sim_inode *sim_disk_lookup(struct sim_disk *disk, const char *path)
{
    struct sim_inode *at = disk->root;
    char name[SIM_NAME_MAX];
    int rv;

    while ((rv = path_next(&path, name)) > 0) {
        struct sim_dirent *e = at->is_dir ? table_find(&at->entries, name) : NULL;
        if (e == NULL) {
            return NULL;
        }
        at = e->inode;
    }
    return rv < 0 ? NULL : at;
}

/* The directory that holds @path, and the last part of it. */
static struct sim_inode *lookup_parent(struct sim_disk *disk, const char *path, char *name)
{
    struct sim_inode *at = disk->root;
    char next[SIM_NAME_MAX];

    if (path_next(&path, name) <= 0) {
        return NULL;
    }
    for (;;) {
        int rv = path_next(&path, next);
        if (rv <= 0) {
            return rv < 0 || !at->is_dir ? NULL : at;
        }
        struct sim_dirent *e = at->is_dir ? table_find(&at->entries, name) : NULL;
        if (e == NULL) {
            return NULL;
        }
        at = e->inode;
        memcpy(name, next, sizeof(next));
    }
}

static void op_add(struct sim_disk *disk, struct sim_inode *from_dir, const char *from, struct sim_inode *to_dir,
                   const char *to, struct sim_inode *inode)
{
    if (disk->n_ops == disk->ops_capacity) {
        disk->ops_capacity = disk->ops_capacity == 0 ? 16 : disk->ops_capacity * 2;
        disk->ops = realloc(disk->ops, disk->ops_capacity * sizeof(*disk->ops));
        assert(disk->ops != NULL);
    }
    struct sim_dirop *op = &disk->ops[disk->n_ops++];
    memset(op, 0, sizeof(*op));
    op->from_dir = from_dir;
    op->to_dir = to_dir;
    op->inode = inode;
    inode->refs++;
    if (from_dir != NULL) {
        memcpy(op->from, from, strlen(from) + 1);
        from_dir->refs++;
    }
    if (to_dir != NULL) {
        memcpy(op->to, to, strlen(to) + 1);
        to_dir->refs++;
    }
    *disk->hash = sim_hash_mix(*disk->hash, inode->id ^ (uint64_t)(from_dir != NULL) << 40 ^
                                                (uint64_t)(to_dir != NULL) << 41);
}

static void op_release(struct sim_disk *disk, struct sim_dirop *op)
{
    sim_inode_unref(disk, op->inode);
    if (op->from_dir != NULL) {
        sim_inode_unref(disk, op->from_dir);
    }
    if (op->to_dir != NULL) {
        sim_inode_unref(disk, op->to_dir);
    }
}

int sim_disk_create(struct sim_disk *disk, const char *path, bool is_dir, struct sim_inode **out)
{
    char name[SIM_NAME_MAX];
    struct sim_inode *dir = lookup_parent(disk, path, name);

    if (dir == NULL) {
        return ERR_NOT_FOUND;
    }
    if (table_find(&dir->entries, name) != NULL) {
        return ERR_EXISTS;
    }
    struct sim_inode *inode = sim_inode_new(disk, is_dir);
    table_set(disk, &dir->entries, name, inode, true);
    op_add(disk, NULL, NULL, dir, name, inode);
    *out = inode;
    return 0;
}

int sim_disk_rename(struct sim_disk *disk, const char *from, const char *to)
{
    char from_name[SIM_NAME_MAX];
    char to_name[SIM_NAME_MAX];
    struct sim_inode *from_dir = lookup_parent(disk, from, from_name);
    struct sim_inode *to_dir = lookup_parent(disk, to, to_name);
    struct sim_dirent *source = from_dir == NULL ? NULL : table_find(&from_dir->entries, from_name);

    if (source == NULL || to_dir == NULL) {
        return ERR_NOT_FOUND;
    }
    struct sim_inode *inode = source->inode;
    struct sim_dirent *target = table_find(&to_dir->entries, to_name);
    if (target != NULL && target->inode == inode) {
        return 0;
    }
    if (target != NULL && target->inode->is_dir && target->inode->entries.n > 0) {
        return ERR_EXISTS;
    }
    if (target != NULL && target->inode->is_dir != inode->is_dir) {
        return ERR_INVALID;
    }
    op_add(disk, from_dir, from_name, to_dir, to_name, inode);
    table_set(disk, &to_dir->entries, to_name, inode, true);
    table_remove(disk, &from_dir->entries, from_name, true);
    return 0;
}

int sim_disk_unlink(struct sim_disk *disk, const char *path)
{
    char name[SIM_NAME_MAX];
    struct sim_inode *dir = lookup_parent(disk, path, name);
    struct sim_dirent *e = dir == NULL ? NULL : table_find(&dir->entries, name);

    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    if (e->inode->is_dir && e->inode->entries.n > 0) {
        return ERR_INVALID;
    }
    op_add(disk, dir, name, NULL, NULL, e->inode);
    table_remove(disk, &dir->entries, name, true);
    return 0;
}

int sim_disk_list(struct sim_disk *disk, const char *path, void (*each)(void *data, const char *name), void *data)
{
    struct sim_inode *dir = sim_disk_lookup(disk, path);

    if (dir == NULL || !dir->is_dir) {
        return ERR_NOT_FOUND;
    }
    size_t n = dir->entries.n;
    char(*names)[SIM_NAME_MAX] = malloc((n + 1) * sizeof(*names)); /* a copy: @each may change the directory */
    assert(names != NULL);
    for (size_t i = 0; i < n; i++) {
        size_t j = sim_rng_below(disk->rng, i + 1);
        memcpy(names[i], names[j], SIM_NAME_MAX);
        memcpy(names[j], dir->entries.v[i].name, SIM_NAME_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        each(data, names[i]);
    }
    free(names);
    return 0;
}

/* ---- durability ------------------------------------------------------------------------------ */

#define NEEDED_MAX 256

struct needed {
    struct sim_inode *dirs[NEEDED_MAX];
    size_t n;
};

static bool needed_has(const struct needed *needed, const struct sim_inode *dir)
{
    for (size_t i = 0; dir != NULL && i < needed->n; i++) {
        if (needed->dirs[i] == dir) {
            return true;
        }
    }
    return false;
}

static void needed_add(struct needed *needed, struct sim_inode *dir)
{
    if (dir != NULL && !needed_has(needed, dir)) {
        assert(needed->n < NEEDED_MAX);
        needed->dirs[needed->n++] = dir;
    }
}

/* Choose, from the newest back, the operations that touch the needed directories; a rename between two makes the other
 * needed as well. @keep_ppm: how often another operation starts to be needed. */
static void choose(struct sim_disk *disk, struct needed *needed, uint32_t keep_ppm)
{
    for (size_t i = disk->n_ops; i-- > 0;) {
        struct sim_dirop *op = &disk->ops[i];
        op->chosen = needed_has(needed, op->from_dir) || needed_has(needed, op->to_dir) ||
                     sim_rng_chance(disk->rng, keep_ppm);
        if (op->chosen) {
            needed_add(needed, op->from_dir);
            needed_add(needed, op->to_dir);
        }
    }
}

static void apply_chosen(struct sim_disk *disk)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk->n_ops; i++) {
        struct sim_dirop *op = &disk->ops[i];
        if (!op->chosen) {
            disk->ops[kept++] = *op;
            continue;
        }
        if (op->to_dir != NULL) {
            table_set(disk, &op->to_dir->stable, op->to, op->inode, false);
        }
        if (op->from_dir != NULL) {
            table_remove(disk, &op->from_dir->stable, op->from, false);
        }
        op_release(disk, op);
    }
    disk->n_ops = kept;
}

int sim_disk_dir_sync(struct sim_disk *disk, const char *path)
{
    struct needed needed = {.n = 0};
    struct sim_inode *dir = sim_disk_lookup(disk, path);

    if (dir == NULL || !dir->is_dir) {
        return ERR_NOT_FOUND;
    }
    needed_add(&needed, dir);
    choose(disk, &needed, 0);
    apply_chosen(disk);
    return 0;
}

/* Make what readers see what the platter has, from @dir down. */
static void dir_revert(struct sim_disk *disk, struct sim_inode *dir, unsigned mode)
{
    while (dir->entries.n > 0) {
        struct sim_dirent *e = &dir->entries.v[dir->entries.n - 1];
        table_remove(disk, &dir->entries, e->name, true);
    }
    for (size_t i = 0; i < dir->stable.n; i++) {
        struct sim_dirent *e = &dir->stable.v[i];
        table_set(disk, &dir->entries, e->name, e->inode, true);
        if (e->inode->is_dir) {
            dir_revert(disk, e->inode, mode);
        } else {
            sim_inode_crash(disk, e->inode, mode);
        }
    }
}

void sim_disk_dirs_crash(struct sim_disk *disk)
{
    static const uint32_t keep_ppm[4] = {0, 1000000, 250000, 400000}; /* by mode: drop, keep, prefix, mixed */
    struct needed needed = {.n = 0};
    unsigned mode = (unsigned)sim_rng_below(disk->rng, 4);

    choose(disk, &needed, keep_ppm[mode]);
    disk->counts->names_kept += disk->n_ops;
    apply_chosen(disk);
    disk->counts->names_kept -= disk->n_ops;
    disk->counts->names_dropped += disk->n_ops;
    for (size_t i = 0; i < disk->n_ops; i++) {
        op_release(disk, &disk->ops[i]);
    }
    disk->n_ops = 0;
    dir_revert(disk, disk->root, mode);
}

void sim_disk_dirs_close(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->n_ops; i++) {
        op_release(disk, &disk->ops[i]);
    }
    free(disk->ops);
    sim_inode_unref(disk, disk->root);
}
