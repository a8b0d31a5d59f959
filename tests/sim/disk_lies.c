/* What a disk does wrong without saying so: writes that are lost or land elsewhere, bits that flip at rest. A page that was
 * hit shows in the cache what the program wrote, as the kernel's would, and on the platter (direct reads, and everybody's
 * after a power cut) what really stands there. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define FILES_MAX 512
#define ROT_TRIES 16

struct files {
    struct sim_inode *v[FILES_MAX];
    size_t n;
};

static void find_files(struct sim_inode *dir, struct files *files)
{
    for (size_t i = 0; i < dir->entries.n && files->n < FILES_MAX; i++) {
        struct sim_inode *inode = dir->entries.v[i].inode;
        if (inode->is_dir) {
            find_files(inode, files);
        } else if (inode->size >= SIM_PAGE_SIZE) {
            files->v[files->n++] = inode;
        }
    }
}

static struct sim_inode *some_file(struct sim_disk *disk)
{
    struct files files = {.n = 0};
    find_files(disk->root, &files);
    return files.n == 0 ? NULL : files.v[sim_rng_below(disk->rng, files.n)];
}

static bool is_newest(const struct sim_inode *inode, uint64_t number)
{
    return (number + 1) * SIM_PAGE_SIZE > inode->newest_begin && number * SIM_PAGE_SIZE < inode->newest_end;
}

/* What @page has on the platter is @stable from now on. Takes the buffer. */
static void lie(struct sim_page *page, uint8_t *stable)
{
    assert(!page->dirty && !page->lost && page->stable == NULL);
    page->stable = stable;
    page->lost = true;
    page->lied = true;
}

/* A clean page with something in it that is not the newest; NULL: not at the first try. */
static struct sim_page *some_page(struct sim_disk *disk, const struct sim_inode *inode)
{
    uint64_t number = sim_rng_below(disk->rng, inode->size / SIM_PAGE_SIZE);
    struct sim_page *page = sim_page_find(inode, number);
    return page == NULL || page->data == NULL || page->dirty || page->lost || is_newest(inode, number) ? NULL : page;
}

static void lands_elsewhere(struct sim_disk *disk, const uint8_t *bytes)
{
    for (int i = 0; i < ROT_TRIES; i++) {
        const struct sim_inode *inode = some_file(disk);
        struct sim_page *page = some_page(disk, inode);
        if (page != NULL) {
            lie(page, sim_page_copy(disk, bytes));
            return;
        }
    }
}

/* Called in place of sim_disk_sync_range(): the pages are dirty, and beside each stands what the platter had. */
void sim_disk_lose(struct sim_disk *disk, struct sim_inode *inode, uint64_t offset, uint64_t size, bool astray)
{
    uint64_t first = offset / SIM_PAGE_SIZE;
    uint64_t end = (offset + size + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE;
    uint64_t lost_first = first + sim_rng_skewed(disk->rng, end - first);
    uint64_t lost_end = sim_rng_next(disk->rng) & 1 ? end : lost_first + 1 + sim_rng_below(disk->rng, end - lost_first);

    for (uint64_t n = lost_first; n < lost_end; n++) {
        struct sim_page *page = sim_page_find(inode, n);
        if (page == NULL || !page->dirty) {
            continue;
        }
        page->dirty = false; /* stays listed: the list skips what is not dirty */
        page->lost = true;
        page->lied = true;
        if (astray && page->data != NULL) {
            lands_elsewhere(disk, page->data);
        }
    }
    (void)sim_disk_sync_range(disk, inode, offset, size);
    *(astray ? &disk->counts->writes_astray : &disk->counts->writes_lost) += 1;
    disk->lies++;
}

bool sim_disk_rot(struct sim_disk *disk)
{
    for (int i = 0; i < ROT_TRIES; i++) {
        const struct sim_inode *inode = some_file(disk);
        struct sim_page *page = inode == NULL ? NULL : some_page(disk, inode);
        if (page == NULL) {
            continue;
        }
        uint64_t bit = sim_rng_below(disk->rng, 8 * SIM_PAGE_SIZE);
        if (sim_rng_next(disk->rng) & 1) {
            lie(page, sim_page_copy(disk, page->data));
            page->stable[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        } else {
            page->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        *disk->hash = sim_hash_mix(*disk->hash, inode->id ^ bit << 20);
        disk->counts->bits_rotten++;
        disk->lies++;
        return true;
    }
    return false;
}

void sim_disk_spare_newest(struct sim_disk *disk)
{
    struct files files = {.n = 0};

    find_files(disk->root, &files);
    for (size_t i = 0; i < files.n && disk->lies > 0; i++) {
        const struct sim_inode *inode = files.v[i];
        for (uint64_t n = inode->newest_begin / SIM_PAGE_SIZE; n * SIM_PAGE_SIZE < inode->newest_end; n++) {
            struct sim_page *page = sim_page_find(inode, n);
            if (page != NULL && page->lied) {
                sim_page_clean(disk, page);
                disk->counts->lies_undone++;
            }
        }
    }
}
