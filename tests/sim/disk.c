#include "tests/sim/disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "raft/env/env.h"
#include "tests/sim/world.h"

/* How a power cut treats what was dirty: one way for the whole disk, so that the plain cases come up often. */
enum crash_mode { CRASH_DROP, CRASH_KEEP, CRASH_PREFIX, CRASH_MIXED, CRASH_MODES };

#define REWRITE_WRITEBACK_PPM 60000 /* a page rewritten while dirty: how often its older version reached the platter */
#define FREE_PAGES_MAX 8192

static void *grow(void *v, size_t *capacity, size_t need, size_t item)
{
    if (need > *capacity) {
        *capacity = need < 16 ? 16 : need * 2;
        v = realloc(v, *capacity * item);
        assert(v != NULL);
    }
    return v;
}

static uint8_t *page_buffer(struct sim_disk *disk)
{
    if (disk->n_free_pages > 0) {
        return disk->free_pages[--disk->n_free_pages];
    }
    uint8_t *p = malloc(SIM_PAGE_SIZE);
    assert(p != NULL);
    return p;
}

static void page_buffer_free(struct sim_disk *disk, uint8_t *p)
{
    if (p == NULL) {
        return;
    }
    if (disk->n_free_pages == FREE_PAGES_MAX) {
        free(p);
        return;
    }
    disk->free_pages = grow(disk->free_pages, &disk->free_capacity, disk->n_free_pages + 1, sizeof(uint8_t *));
    disk->free_pages[disk->n_free_pages++] = p;
}

struct sim_page *sim_page_find(const struct sim_inode *inode, uint64_t number)
{
    size_t c = number / SIM_CHUNK_PAGES;
    if (c >= inode->n_chunks || inode->chunks[c] == NULL) {
        return NULL;
    }
    return &inode->chunks[c]->pages[number % SIM_CHUNK_PAGES];
}

static struct sim_page *page_get(struct sim_inode *inode, uint64_t number)
{
    size_t c = number / SIM_CHUNK_PAGES;
    if (c >= inode->n_chunks) {
        size_t n = c + 1 > inode->n_chunks * 2 ? c + 1 : inode->n_chunks * 2;
        inode->chunks = realloc(inode->chunks, n * sizeof(*inode->chunks));
        assert(inode->chunks != NULL);
        memset(inode->chunks + inode->n_chunks, 0, (n - inode->n_chunks) * sizeof(*inode->chunks));
        inode->n_chunks = n;
    }
    if (inode->chunks[c] == NULL) {
        inode->chunks[c] = calloc(1, sizeof(struct sim_chunk));
        assert(inode->chunks[c] != NULL);
    }
    return &inode->chunks[c]->pages[number % SIM_CHUNK_PAGES];
}

uint8_t *sim_page_copy(struct sim_disk *disk, const uint8_t *from)
{
    if (from == NULL) {
        return NULL;
    }
    return memcpy(page_buffer(disk), from, SIM_PAGE_SIZE);
}

/* Before a change of @page: keep what the platter has. @whole: all of data will be replaced, so it can be moved. @same:
 * the page is still locked by the same write call, so no older version of it gets out. */
static void page_make_dirty(struct sim_disk *disk, struct sim_inode *inode, struct sim_page *page, uint64_t number,
                            bool whole, bool same)
{
    if (page->dirty && !same && sim_rng_chance(disk->rng, REWRITE_WRITEBACK_PPM)) {
        page_buffer_free(disk, page->stable);
        page->stable = sim_page_copy(disk, page->data);
    }
    if (!page->dirty && !page->lost) {
        page->stable = whole ? page->data : sim_page_copy(disk, page->data);
        page->data = whole ? NULL : page->data;
    }
    page->dirty = true;
    page->lost = false;
    page->lied = false;
    if (!page->listed) {
        inode->dirty = grow(inode->dirty, &inode->dirty_capacity, inode->n_dirty + 1, sizeof(uint64_t));
        inode->dirty[inode->n_dirty++] = number;
        page->listed = true;
    }
}

void sim_page_clean(struct sim_disk *disk, struct sim_page *page)
{
    page_buffer_free(disk, page->stable);
    page->stable = NULL;
    page->dirty = false;
    page->lost = false;
    page->lied = false;
}

/* Back to what the platter has. */
static void page_revert(struct sim_disk *disk, struct sim_page *page)
{
    page_buffer_free(disk, page->data);
    page->data = page->stable;
    page->stable = NULL;
    page->dirty = false;
    page->lost = false;
    page->lied = false;
}

static void page_tear(struct sim_disk *disk, struct sim_page *page)
{
    uint64_t keep = sim_rng_next(disk->rng);
    if (page->data == NULL) {
        page->data = memset(page_buffer(disk), 0, SIM_PAGE_SIZE);
    }
    for (unsigned s = 0; s < SIM_PAGE_SIZE / SIM_SECTOR_SIZE; s++) {
        uint8_t *to = page->data + s * SIM_SECTOR_SIZE;
        if ((keep >> s) & 1) {
            continue;
        }
        if (page->stable != NULL) {
            memcpy(to, page->stable + s * SIM_SECTOR_SIZE, SIM_SECTOR_SIZE);
        } else {
            memset(to, 0, SIM_SECTOR_SIZE);
        }
    }
    sim_page_clean(disk, page);
}

struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_dir)
{
    struct sim_inode *inode = calloc(1, sizeof(*inode));
    assert(inode != NULL);
    inode->id = disk->inode_next++;
    inode->is_dir = is_dir;
    return inode;
}

void sim_inode_unref(struct sim_disk *disk, struct sim_inode *inode)
{
    assert(inode->refs > 0);
    if (--inode->refs > 0) {
        return;
    }
    for (size_t c = 0; c < inode->n_chunks; c++) {
        for (size_t p = 0; inode->chunks[c] != NULL && p < SIM_CHUNK_PAGES; p++) {
            page_buffer_free(disk, inode->chunks[c]->pages[p].data);
            page_buffer_free(disk, inode->chunks[c]->pages[p].stable);
        }
        free(inode->chunks[c]);
    }
    for (size_t i = 0; i < inode->entries.n; i++) {
        sim_inode_unref(disk, inode->entries.v[i].inode);
    }
    for (size_t i = 0; i < inode->stable.n; i++) {
        sim_inode_unref(disk, inode->stable.v[i].inode);
    }
    disk->used_bytes -= inode->charged;
    free(inode->chunks);
    free(inode->dirty);
    free(inode->entries.v);
    free(inode->stable.v);
    free(inode);
}

void sim_inode_account(struct sim_disk *disk, struct sim_inode *inode)
{
    uint64_t want = 0;
    if (inode->names > 0 || inode->opens > 0) {
        want = (inode->size + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE * SIM_PAGE_SIZE;
    }
    disk->used_bytes += want - inode->charged;
    inode->charged = want;
}

/* How far @inode may grow: a size, not less than it has. */
static uint64_t size_possible(const struct sim_disk *disk, const struct sim_inode *inode)
{
    uint64_t room = disk->size_limit_bytes > disk->used_bytes ? disk->size_limit_bytes - disk->used_bytes : 0;
    return inode->charged + room / SIM_PAGE_SIZE * SIM_PAGE_SIZE;
}

void sim_disk_release(struct sim_disk *disk, struct sim_inode *inode)
{
    inode->opens--;
    sim_inode_account(disk, inode);
    sim_inode_unref(disk, inode);
}

int sim_disk_open(struct sim_disk *disk, const char *path, unsigned flags, struct sim_inode **out)
{
    struct sim_inode *inode = sim_disk_lookup(disk, path);
    int rv;

    if (inode == NULL) {
        if (!(flags & ENV_OPEN_CREATE)) {
            return ERR_NOT_FOUND;
        }
        rv = sim_disk_create(disk, path, false, &inode);
        if (rv != 0) {
            return rv;
        }
    } else if ((flags & ENV_OPEN_CREATE) && (flags & ENV_OPEN_EXCLUSIVE)) {
        return ERR_EXISTS;
    } else if (inode->is_dir) {
        return ERR_INVALID;
    }
    inode->refs++;
    inode->opens++;
    if (flags & ENV_OPEN_TRUNCATE) {
        rv = sim_disk_resize(disk, inode, 0);
        assert(rv == 0); /* shrinking needs no space */
    }
    *out = inode;
    return 0;
}

size_t sim_disk_read(const struct sim_inode *inode, void *data, size_t size, uint64_t offset, bool direct)
{
    uint8_t *to = data;
    size_t done = 0;

    if (offset >= inode->size) {
        return 0;
    }
    if (size > inode->size - offset) {
        size = (size_t)(inode->size - offset);
    }
    while (done < size) {
        uint64_t at = offset + done;
        size_t in_page = (size_t)(at % SIM_PAGE_SIZE);
        size_t n = SIM_PAGE_SIZE - in_page;
        const struct sim_page *page = sim_page_find(inode, at / SIM_PAGE_SIZE);
        const uint8_t *from = NULL;

        if (page != NULL) {
            /* a direct read has dirty pages written first, but sees what a failed sync lost */
            from = direct && page->lost ? page->stable : page->data;
        }
        n = n < size - done ? n : size - done;
        if (from != NULL) {
            memcpy(to + done, from + in_page, n);
        } else {
            memset(to + done, 0, n);
        }
        done += n;
    }
    return done;
}

static void write_bytes(struct sim_disk *disk, struct sim_inode *inode, const uint8_t *from, size_t size,
                        uint64_t offset, uint64_t *last)
{
    while (size > 0) {
        uint64_t number = offset / SIM_PAGE_SIZE;
        size_t in_page = (size_t)(offset % SIM_PAGE_SIZE);
        size_t n = SIM_PAGE_SIZE - in_page < size ? SIM_PAGE_SIZE - in_page : size;
        struct sim_page *page = page_get(inode, number);

        page_make_dirty(disk, inode, page, number, n == SIM_PAGE_SIZE, number == *last);
        *last = number;
        if (page->data == NULL) {
            page->data = page_buffer(disk);
            if (n < SIM_PAGE_SIZE) {
                memset(page->data, 0, SIM_PAGE_SIZE);
            }
        }
        memcpy(page->data + in_page, from, n);
        from += n;
        offset += n;
        size -= n;
    }
}

int sim_disk_write(struct sim_disk *disk, struct sim_inode *inode, const struct iovec *iov, size_t n_iov,
                   uint64_t offset, uint64_t *written)
{
    uint64_t limit = size_possible(disk, inode);
    uint64_t last = UINT64_MAX; /* page written by this call */
    uint64_t at = offset;
    int rv = 0;

    for (size_t i = 0; i < n_iov && rv == 0; i++) {
        size_t n = iov[i].iov_len;
        if (at + n > limit) {
            n = at < limit ? (size_t)(limit - at) : 0;
            rv = ERR_NO_SPACE;
            disk->counts->disk_full++;
        }
        *disk->hash = sim_hash_mix(*disk->hash, inode->id ^ (at << 20) ^ crc32c(0, iov[i].iov_base, n));
        write_bytes(disk, inode, iov[i].iov_base, n, at, &last);
        at += n;
    }
    if (at > inode->size && at > offset) {
        inode->size = at;
        sim_inode_account(disk, inode);
    }
    *written = at - offset;
    return rv;
}

static void inode_trim_beyond(struct sim_disk *disk, struct sim_inode *inode, struct sim_page *page, uint64_t number)
{
    if (number * SIM_PAGE_SIZE >= inode->size) {
        page_buffer_free(disk, page->data); /* zeros: it was truncated */
        page->data = NULL;
    }
}

uint64_t sim_disk_sync(struct sim_disk *disk, struct sim_inode *inode)
{
    uint64_t pages = 0;
    uint64_t begin = UINT64_MAX;
    uint64_t end = 0;

    for (size_t i = 0; i < inode->n_dirty; i++) {
        struct sim_page *page = sim_page_find(inode, inode->dirty[i]);
        page->listed = false;
        if (page->dirty) {
            uint64_t at = inode->dirty[i] * SIM_PAGE_SIZE;
            begin = at < begin ? at : begin;
            end = at + SIM_PAGE_SIZE > end ? at + SIM_PAGE_SIZE : end;
            pages++;
            sim_page_clean(disk, page);
            inode_trim_beyond(disk, inode, page, inode->dirty[i]);
        }
    }
    inode->n_dirty = 0;
    inode->size_stable = inode->size;
    if (pages > 0) {
        inode->newest_begin = begin;
        inode->newest_end = end;
    }
    return pages * SIM_PAGE_SIZE;
}

uint64_t sim_disk_sync_range(struct sim_disk *disk, struct sim_inode *inode, uint64_t offset, uint64_t size)
{
    uint64_t pages = 0;

    for (uint64_t n = offset / SIM_PAGE_SIZE; n * SIM_PAGE_SIZE < offset + size; n++) {
        struct sim_page *page = sim_page_find(inode, n);
        if (page != NULL && page->dirty) {
            sim_page_clean(disk, page); /* stays listed: the list skips what is clean */
            pages++;
        }
    }
    /* Sizes go through the journal in order: a truncation before it is committed, growth only as far as was written. */
    if (inode->size < inode->size_stable) {
        inode->size_stable = inode->size;
    } else if (offset + size > inode->size_stable) {
        inode->size_stable = offset + size;
    }
    inode->newest_begin = offset;
    inode->newest_end = offset + size;
    return pages * SIM_PAGE_SIZE;
}

void sim_disk_sync_fail(struct sim_disk *disk, struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->n_dirty; i++) {
        struct sim_page *page = sim_page_find(inode, inode->dirty[i]);
        page->listed = false;
        if (!page->dirty) {
            continue;
        }
        if (sim_rng_next(disk->rng) & 1) {
            sim_page_clean(disk, page);
        } else {
            page->dirty = false;
            page->lost = true;
            disk->counts->pages_given_up++;
        }
    }
    inode->n_dirty = 0;
    disk->counts->syncs_failed++;
}

int sim_disk_resize(struct sim_disk *disk, struct sim_inode *inode, uint64_t size)
{
    if (size > inode->size) {
        if (size > size_possible(disk, inode)) {
            disk->counts->disk_full++;
            return ERR_NO_SPACE;
        }
        inode->size = size;
        sim_inode_account(disk, inode);
        return 0;
    }
    uint64_t first = (size + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE;
    if (size % SIM_PAGE_SIZE != 0) {
        struct sim_page *page = sim_page_find(inode, size / SIM_PAGE_SIZE);
        if (page != NULL && page->data != NULL) {
            page_make_dirty(disk, inode, page, size / SIM_PAGE_SIZE, false, true);
            memset(page->data + size % SIM_PAGE_SIZE, 0, SIM_PAGE_SIZE - size % SIM_PAGE_SIZE);
        }
    }
    for (uint64_t n = first; n < inode->n_chunks * SIM_CHUNK_PAGES; n++) {
        struct sim_page *page = sim_page_find(inode, n);
        if (page == NULL) {
            n += SIM_CHUNK_PAGES - n % SIM_CHUNK_PAGES - 1;
        } else if (page->data != NULL) {
            page_make_dirty(disk, inode, page, n, true, true);
            page_buffer_free(disk, page->data);
            page->data = NULL;
        }
    }
    inode->size = size;
    sim_inode_account(disk, inode);
    return 0;
}

/* ---- power cut ------------------------------------------------------------------------------- */

static uint64_t crash_size(struct sim_disk *disk, const struct sim_inode *inode, unsigned mode)
{
    if (mode == CRASH_DROP || inode->size == inode->size_stable) {
        return inode->size_stable;
    }
    if (mode == CRASH_KEEP || inode->size < inode->size_stable) {
        return mode == CRASH_KEEP || (sim_rng_next(disk->rng) & 1) ? inode->size : inode->size_stable;
    }
    switch (sim_rng_below(disk->rng, 3)) {
    case 0:
        return inode->size_stable;
    case 1:
        return inode->size;
    default: /* written back as far as some sector */
        return inode->size - sim_rng_below(disk->rng, inode->size - inode->size_stable) / SIM_SECTOR_SIZE *
                                 SIM_SECTOR_SIZE;
    }
}

static void crash_page(struct sim_disk *disk, struct sim_page *page, unsigned mode, bool before, bool at)
{
    unsigned choice = 0; /* drop, keep, tear */

    if (mode == CRASH_KEEP || (mode == CRASH_PREFIX && before)) {
        choice = 1;
    } else if (mode == CRASH_PREFIX && at) {
        choice = 2;
    } else if (mode == CRASH_MIXED) {
        choice = (unsigned)sim_rng_below(disk->rng, 3);
    }
    if (choice == 0) {
        page_revert(disk, page);
        disk->counts->pages_dropped++;
    } else if (choice == 1) {
        sim_page_clean(disk, page);
        disk->counts->pages_kept++;
    } else {
        page_tear(disk, page);
        disk->counts->pages_torn++;
    }
}

void sim_inode_crash(struct sim_disk *disk, struct sim_inode *inode, unsigned mode)
{
    uint64_t size = crash_size(disk, inode, mode);
    const uint64_t newest[] = {inode->newest_begin, inode->newest_end};
    size_t cut = mode == CRASH_PREFIX ? sim_rng_below(disk->rng, inode->n_dirty + 1) : 0;

    for (size_t i = 0; i < inode->n_dirty; i++) {
        struct sim_page *page = sim_page_find(inode, inode->dirty[i]);
        page->listed = false;
        if (!page->dirty) {
            continue;
        }
        /* a truncation that did not happen gives all of its bytes back */
        bool undo = size > inode->size && (inode->dirty[i] + 1) * SIM_PAGE_SIZE > inode->size;
        crash_page(disk, page, undo ? CRASH_DROP : mode, i < cut, i == cut);
    }
    inode->n_dirty = 0;
    for (size_t c = 0; c < inode->n_chunks; c++) {
        for (size_t p = 0; inode->chunks[c] != NULL && p < SIM_CHUNK_PAGES; p++) {
            if (inode->chunks[c]->pages[p].lost) {
                page_revert(disk, &inode->chunks[c]->pages[p]);
            }
        }
    }
    inode->size = UINT64_MAX; /* cut to the drawn size: bytes beyond it are gone, zeros when the file grows again */
    int rv = sim_disk_resize(disk, inode, size);
    assert(rv == 0);
    (void)sim_disk_sync(disk, inode);
    inode->newest_begin = newest[0];
    inode->newest_end = newest[1];
}

void sim_disk_crash(struct sim_disk *disk)
{
    sim_disk_dirs_crash(disk);
}

bool sim_inode_flip(struct sim_disk *disk, struct sim_inode *inode, uint64_t offset, unsigned bit)
{
    if (inode->is_dir || offset >= inode->size) {
        return false;
    }
    struct sim_page *page = page_get(inode, offset / SIM_PAGE_SIZE);
    if (page->data == NULL) {
        page->data = memset(page_buffer(disk), 0, SIM_PAGE_SIZE);
    }
    page->data[offset % SIM_PAGE_SIZE] ^= (uint8_t)(1u << (bit & 7));
    if (page->stable != NULL) {
        page->stable[offset % SIM_PAGE_SIZE] ^= (uint8_t)(1u << (bit & 7));
    }
    return true;
}

bool sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t offset, unsigned bit)
{
    struct sim_inode *inode = sim_disk_lookup(disk, path);
    return inode != NULL && sim_inode_flip(disk, inode, offset, bit);
}

void sim_disk_init(struct sim_disk *disk, struct sim_rng *rng, uint64_t *hash, struct sim_world_counts *counts,
                   uint64_t size_limit_bytes)
{
    memset(disk, 0, sizeof(*disk));
    disk->rng = rng;
    disk->hash = hash;
    disk->counts = counts;
    disk->size_limit_bytes = size_limit_bytes;
    disk->inode_next = 1;
    disk->root = sim_inode_new(disk, true);
    disk->root->refs = 1;
    disk->root->names = 1;
}

void sim_disk_close(struct sim_disk *disk)
{
    sim_disk_dirs_close(disk);
    for (size_t i = 0; i < disk->n_free_pages; i++) {
        free(disk->free_pages[i]);
    }
    free(disk->free_pages);
}
