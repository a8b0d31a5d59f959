/* The list that a cluster is founded by: sorted seeds, and the hash that becomes the cluster's id. */
#ifndef CAIRN_CONTROL_SEED_LIST_H
#define CAIRN_CONTROL_SEED_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/control/control.h"
#include "proto/native/cluster.pb-c.h"

struct seed {
    uint32_t node;
    char address[ENV_ADDRESS_MAX];
    struct uuid disk_id; /* nil: not known */
};

struct seed_list {
    uint32_t n;
    struct seed seeds[CONTROL_SEEDS_MAX]; /* sorted by node id, no id twice */
};

/* Errors: ERR_INVALID node 0 or the address, ERR_EXISTS, ERR_TOO_BIG. */
int seed_list_add(struct seed_list *list, uint32_t node, const char *address, const struct uuid *disk_id) MUST_USE;
struct seed *seed_list_find(struct seed_list *list, uint32_t node);   /* NULL: not listed */
uint32_t seed_list_rank(const struct seed_list *list, uint32_t node); /* UINT32_MAX: not listed */
bool seed_list_complete(const struct seed_list *list);                /* all disks are known */
/* The same nodes at the same addresses, whatever is known of their disks. */
bool seed_list_same_seeds(const struct seed_list *a, const struct seed_list *b);
/* The first 16 bytes of the SHA-256 of a complete list: what its seeds pledge to, and the id of the cluster. */
struct uuid seed_list_hash(const struct seed_list *list);

/* Errors: ERR_MALFORMED not sorted, too many, or a field that cannot be. */
int seed_list_decode(Cairn__Cluster__SeedIdentity *const *in, size_t n, struct seed_list *out) MUST_USE;

/* @list as protobuf messages in place; valid while @list is. */
struct seed_messages {
    Cairn__Cluster__SeedIdentity items[CONTROL_SEEDS_MAX];
    Cairn__Cluster__SeedIdentity *pointers[CONTROL_SEEDS_MAX];
};
void seed_list_messages(struct seed_list *list, struct seed_messages *out);

#endif
