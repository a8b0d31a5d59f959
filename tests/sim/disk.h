/* A machine's disk that lies the way disks lie: what was not synced may be kept, lost or torn by a power cut, and a
 * directory entry is as mortal as data. It knows nothing of time, processes or faults' schedules (files.c does).
 *
 * Contents are pages of 4 KiB: what readers see, and beside it, while the page is dirty, what the platter has. A page
 * is torn between its 512-byte sectors, never inside one. Memory: holes cost nothing, a clean page one buffer. */
#ifndef CAIRN_SIM_DISK_H
#define CAIRN_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/base/err.h"
#include "tests/sim/rng.h"

#define SIM_PAGE_SIZE 4096u
#define SIM_SECTOR_SIZE 512u
#define SIM_CHUNK_PAGES 256u
#define SIM_NAME_MAX 128

struct sim_page {
    uint8_t *data;   /* what readers see; NULL: zeros */
    uint8_t *stable; /* what the platter has, while dirty or lost; NULL: zeros */
    bool dirty;      /* to be written at the next sync */
    bool lost;       /* a failed sync gave it up, or the disk lied: the page cache shows it, the platter never gets it */
    bool lied;       /* the disk lied */
    bool listed;     /* in the inode's list of dirty pages */
};

struct sim_chunk {
    struct sim_page pages[SIM_CHUNK_PAGES];
};

struct sim_inode;

struct sim_dirent {
    char name[SIM_NAME_MAX];
    struct sim_inode *inode;
};

struct sim_dirtable {
    struct sim_dirent *v;
    size_t n;
    size_t capacity;
};

struct sim_inode {
    uint64_t id;
    bool is_dir;
    unsigned refs;  /* names in both tables, operations of the log, open files */
    unsigned names; /* names that readers see */
    unsigned opens;
    uint64_t charged; /* bytes counted against the disk's limit */
    uint64_t size;
    uint64_t size_stable;
    uint64_t newest_begin; /* bytes of the newest write that was synced */
    uint64_t newest_end;
    struct sim_chunk **chunks;
    size_t n_chunks;
    uint64_t *dirty; /* page numbers in the order in which they became dirty */
    size_t n_dirty;
    size_t dirty_capacity;
    struct sim_dirtable entries; /* directories: what readers see */
    struct sim_dirtable stable;  /* and what the platter has */
};

/* A change of a directory that is not durable yet. A rename touches two names, at once. */
struct sim_dirop {
    struct sim_inode *from_dir; /* the name that goes, or NULL */
    struct sim_inode *to_dir;   /* the name that comes, or NULL */
    struct sim_inode *inode;
    char from[SIM_NAME_MAX];
    char to[SIM_NAME_MAX];
    bool chosen;
};

struct sim_world_counts;

struct sim_disk {
    struct sim_rng *rng; /* borrowed */
    uint64_t *hash;      /* borrowed: every byte written goes in */
    struct sim_world_counts *counts; /* borrowed */
    struct sim_inode *root;
    struct sim_dirop *ops;
    size_t n_ops;
    size_t ops_capacity;
    uint64_t inode_next;
    uint64_t size_limit_bytes;
    uint64_t used_bytes;
    uint64_t lies; /* writes that were lost or went elsewhere, bits that flipped */
    uint64_t reads_failed;
    uint8_t **free_pages; /* recycled buffers */
    size_t n_free_pages;
    size_t free_capacity;
};

void sim_disk_init(struct sim_disk *disk, struct sim_rng *rng, uint64_t *hash, struct sim_world_counts *counts,
                   uint64_t size_limit_bytes);
void sim_disk_close(struct sim_disk *disk);

/* The power goes: every dirty page, size and directory entry is kept, lost or torn. No file may be open. */
void sim_disk_crash(struct sim_disk *disk);

/* Files. Errors as env.h has them; ERR_NO_SPACE leaves the part that fitted. @flags are env_open_flags. */
int sim_disk_open(struct sim_disk *disk, const char *path, unsigned flags, struct sim_inode **out) MUST_USE;
void sim_disk_release(struct sim_disk *disk, struct sim_inode *inode); /* the end of an open */
size_t sim_disk_read(const struct sim_inode *inode, void *data, size_t size, uint64_t offset, bool direct);
int sim_disk_write(struct sim_disk *disk, struct sim_inode *inode, const struct iovec *iov, size_t n_iov,
                   uint64_t offset, uint64_t *written) MUST_USE;
uint64_t sim_disk_sync(struct sim_disk *disk, struct sim_inode *inode); /* returns how many bytes were dirty */
uint64_t sim_disk_sync_range(struct sim_disk *disk, struct sim_inode *inode, uint64_t offset, uint64_t size);
/* A sync that fails: each dirty page reaches the platter or is lost for good, while readers go on to see it. */
void sim_disk_sync_fail(struct sim_disk *disk, struct sim_inode *inode);
int sim_disk_resize(struct sim_disk *disk, struct sim_inode *inode, uint64_t size) MUST_USE;

/* ---- lies (disk_lies.c) ----
 * What a disk does wrong in silence. No log survives the undetected loss of the newest thing that it said was durable, so
 * the newest synced write of each file is spared: damage that nothing was synced behind is undone when the program ends. */

/* A synced write, of @size bytes at @offset: none or only some of its pages reached the platter. @astray: what is missing
 * there stands somewhere else, in this file or another, in the place of what was there. */
void sim_disk_lose(struct sim_disk *disk, struct sim_inode *inode, uint64_t offset, uint64_t size, bool astray);
/* One bit at rest, in some file; half of the times the page cache still has it right. False: there was none to flip. */
bool sim_disk_rot(struct sim_disk *disk);
/* The program has ended: mercy for the newest. */
void sim_disk_spare_newest(struct sim_disk *disk);

/* Names (disk_dir.c). Paths are relative to the root, with or without a leading '/'. */
struct sim_inode *sim_disk_lookup(struct sim_disk *disk, const char *path);
int sim_disk_create(struct sim_disk *disk, const char *path, bool is_dir, struct sim_inode **out) MUST_USE;
int sim_disk_rename(struct sim_disk *disk, const char *from, const char *to) MUST_USE;
int sim_disk_unlink(struct sim_disk *disk, const char *path) MUST_USE;
int sim_disk_list(struct sim_disk *disk, const char *path, void (*each)(void *data, const char *name), void *data)
    MUST_USE; /* in a drawn order */
int sim_disk_dir_sync(struct sim_disk *disk, const char *path) MUST_USE;
void sim_disk_dirs_crash(struct sim_disk *disk);
void sim_disk_dirs_close(struct sim_disk *disk);

/* Shared by disk.c and disk_dir.c */
struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_dir);
void sim_inode_unref(struct sim_disk *disk, struct sim_inode *inode);
void sim_inode_account(struct sim_disk *disk, struct sim_inode *inode);
struct sim_page *sim_page_find(const struct sim_inode *inode, uint64_t number);
uint8_t *sim_page_copy(struct sim_disk *disk, const uint8_t *from); /* NULL: zeros */
void sim_page_clean(struct sim_disk *disk, struct sim_page *page);
void sim_inode_crash(struct sim_disk *disk, struct sim_inode *inode, unsigned mode);

/* Flip one bit of what is stored, in the cache as well as on the platter: rot at rest. False: no such byte. */
bool sim_inode_flip(struct sim_disk *disk, struct sim_inode *inode, uint64_t offset, unsigned bit);
bool sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t offset, unsigned bit);

static inline uint64_t sim_hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9fb21c651e98df25u;
    return hash ^ (hash >> 32);
}

#endif
