/* Groups by id: one cache line to find a group, since every message of every heartbeat asks. */
#ifndef CAIRN_GROUP_TABLE_H
#define CAIRN_GROUP_TABLE_H

#include <stdint.h>

#include "proto/base/err.h"

struct group;

/* Open addressing with linear probing; capacity is a power of two and at most half full. */
struct group_table {
    struct group_slot {
        uint64_t id;
        struct group *group; /* NULL: free */
    } * slots;
    uint32_t capacity;
    uint32_t n;
};

void table_free(struct group_table *table);
struct group *table_find(const struct group_table *table, uint64_t id);
/* @id must not be there. Errors: ERR_NOMEM. */
int table_add(struct group_table *table, uint64_t id, struct group *group) MUST_USE;
void table_remove(struct group_table *table, uint64_t id);

#endif
