#include "node/fsm/partition/epochs.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"

void epochs_init(struct epochs *e)
{
    memset(e, 0, sizeof *e);
}

void epochs_close(struct epochs *e)
{
    free(e->items);
    epochs_init(e);
}

static int grow(struct epochs *e)
{
    size_t capacity = e->capacity == 0 ? 4 : 2 * e->capacity;
    struct epoch_start *items;
    if (e->n == EPOCHS_MAX) {
        memmove(e->items, e->items + e->n / 2, (e->n - e->n / 2) * sizeof *e->items);
        e->n -= e->n / 2;
        return 0;
    }
    items = realloc(e->items, capacity * sizeof *items);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    e->items = items;
    e->capacity = capacity;
    return 0;
}

int epochs_note(struct epochs *e, uint64_t epoch, int64_t offset)
{
    if (e->n > 0 && e->items[e->n - 1].epoch >= epoch) {
        return 0;
    }
    if (e->n > 0 && e->items[e->n - 1].offset == offset) {
        e->items[e->n - 1].epoch = epoch; /* the one before it has no record: nobody can have read of it */
        return 0;
    }
    if (e->n == e->capacity) {
        int rv = grow(e);
        if (rv != 0) {
            return rv;
        }
    }
    e->items[e->n++] = (struct epoch_start){epoch, offset};
    return 0;
}

int epochs_end(const struct epochs *e, uint64_t asked, int64_t end, uint64_t *epoch, int64_t *end_offset)
{
    size_t newer = 0; /* the first that is newer than @asked */

    while (newer < e->n && e->items[newer].epoch <= asked) {
        newer++;
    }
    if (e->n == 0 || asked > e->items[e->n - 1].epoch) {
        return ERR_NOT_FOUND;
    }
    *epoch = newer == 0 ? asked : e->items[newer - 1].epoch;
    *end_offset = newer == e->n ? end : e->items[newer].offset;
    return 0;
}

uint32_t epochs_digest(const struct epochs *e, uint32_t crc)
{
    for (size_t i = 0; i < e->n; i++) {
        crc = crc32c(crc, &e->items[i], sizeof e->items[i]);
    }
    return crc;
}
