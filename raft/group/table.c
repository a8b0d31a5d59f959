#include "raft/group/table.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_MIN 16u

/* Ids are handed out one after the other: the multiplication spreads them. */
static uint32_t home(const struct group_table *table, uint64_t id)
{
    return (uint32_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (table->capacity - 1);
}

void table_free(struct group_table *table)
{
    free(table->slots);
    table->slots = NULL;
    table->capacity = 0;
    table->n = 0;
}

static struct group_slot *probe(const struct group_table *table, uint64_t id)
{
    uint32_t i = home(table, id);

    while (table->slots[i].group != NULL && table->slots[i].id != id) {
        i = (i + 1) & (table->capacity - 1);
    }
    return &table->slots[i];
}

struct group *table_find(const struct group_table *table, uint64_t id)
{
    return table->capacity == 0 ? NULL : probe(table, id)->group;
}

static int grow(struct group_table *table)
{
    struct group_table bigger = {.capacity = table->capacity == 0 ? CAPACITY_MIN : 2 * table->capacity, .n = table->n};

    bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
    if (bigger.slots == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].group != NULL) {
            *probe(&bigger, table->slots[i].id) = table->slots[i];
        }
    }
    free(table->slots);
    *table = bigger;
    return 0;
}

int table_add(struct group_table *table, uint64_t id, struct group *group)
{
    struct group_slot *slot;

    if (2 * (table->n + 1) > table->capacity) {
        int rv = grow(table);
        if (rv != 0) {
            return rv;
        }
    }
    slot = probe(table, id);
    assert(slot->group == NULL);
    slot->id = id;
    slot->group = group;
    table->n++;
    return 0;
}

void table_remove(struct group_table *table, uint64_t id)
{
    struct group_slot *slot = probe(table, id);
    uint32_t i = (uint32_t)(slot - table->slots);
    uint32_t free_at = i;

    assert(slot->group != NULL);
    table->n--;
    /* Close the gap: whoever was pushed past it moves back. */
    for (;;) {
        i = (i + 1) & (table->capacity - 1);
        if (table->slots[i].group == NULL) {
            break;
        }
        if (((i - home(table, table->slots[i].id)) & (table->capacity - 1)) >=
            ((i - free_at) & (table->capacity - 1))) {
            table->slots[free_at] = table->slots[i];
            free_at = i;
        }
    }
    table->slots[free_at].group = NULL;
}
