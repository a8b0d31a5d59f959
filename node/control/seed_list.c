#include "node/control/seed_list.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/sha256.h"

int seed_list_add(struct seed_list *list, uint32_t node, const char *address, const struct uuid *disk_id)
{
    uint32_t at = 0;
    if (node == 0 || address[0] == '\0' || strlen(address) >= ENV_ADDRESS_MAX) {
        return ERR_INVALID;
    }
    if (list->n == CONTROL_SEEDS_MAX) {
        return ERR_TOO_BIG;
    }
    while (at < list->n && list->seeds[at].node < node) {
        at++;
    }
    if (at < list->n && list->seeds[at].node == node) {
        return ERR_EXISTS;
    }
    memmove(&list->seeds[at + 1], &list->seeds[at], (list->n - at) * sizeof list->seeds[0]);
    memset(&list->seeds[at], 0, sizeof list->seeds[at]);
    list->seeds[at].node = node;
    snprintf(list->seeds[at].address, sizeof list->seeds[at].address, "%s", address);
    if (disk_id != NULL) {
        list->seeds[at].disk_id = *disk_id;
    }
    list->n++;
    return 0;
}

uint32_t seed_list_rank(const struct seed_list *list, uint32_t node)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->seeds[i].node == node) {
            return i;
        }
    }
    return UINT32_MAX;
}

struct seed *seed_list_find(struct seed_list *list, uint32_t node)
{
    uint32_t rank = seed_list_rank(list, node);
    return rank == UINT32_MAX ? NULL : &list->seeds[rank];
}

bool seed_list_complete(const struct seed_list *list)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (uuid_is_nil(&list->seeds[i].disk_id)) {
            return false;
        }
    }
    return list->n > 0;
}

bool seed_list_same_seeds(const struct seed_list *a, const struct seed_list *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->seeds[i].node != b->seeds[i].node || strcmp(a->seeds[i].address, b->seeds[i].address) != 0) {
            return false;
        }
    }
    return true;
}

static void hash_u32(struct sha256 *s, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    sha256_update(s, bytes, sizeof bytes);
}

struct uuid seed_list_hash(const struct seed_list *list)
{
    static const char what[] = "cairn cluster, list version 1";
    uint8_t digest[SHA256_SIZE];
    struct sha256 s;
    struct uuid id;

    sha256_init(&s);
    sha256_update(&s, what, sizeof what);
    hash_u32(&s, list->n);
    for (uint32_t i = 0; i < list->n; i++) {
        const struct seed *seed = &list->seeds[i];
        size_t length = strlen(seed->address);
        hash_u32(&s, seed->node);
        hash_u32(&s, (uint32_t)length);
        sha256_update(&s, seed->address, length);
        sha256_update(&s, seed->disk_id.bytes, sizeof seed->disk_id.bytes);
    }
    sha256_final(&s, digest);
    memcpy(id.bytes, digest, sizeof id.bytes);
    return id;
}

int seed_list_decode(Cairn__Cluster__SeedIdentity *const *in, size_t n, struct seed_list *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        struct uuid disk_id = {0};
        if (in[i]->disk_id.len == sizeof disk_id.bytes) {
            memcpy(disk_id.bytes, in[i]->disk_id.data, sizeof disk_id.bytes);
        } else if (in[i]->disk_id.len != 0) {
            return ERR_MALFORMED;
        }
        if (i > 0 && in[i]->node <= in[i - 1]->node) {
            return ERR_MALFORMED;
        }
        if (seed_list_add(out, in[i]->node, in[i]->peer_address, &disk_id) != 0) {
            return ERR_MALFORMED;
        }
    }
    return 0;
}

void seed_list_messages(struct seed_list *list, struct seed_messages *out)
{
    for (uint32_t i = 0; i < list->n; i++) {
        struct seed *seed = &list->seeds[i];
        cairn__cluster__seed_identity__init(&out->items[i]);
        out->items[i].node = seed->node;
        out->items[i].peer_address = seed->address;
        if (!uuid_is_nil(&seed->disk_id)) {
            out->items[i].disk_id.data = seed->disk_id.bytes;
            out->items[i].disk_id.len = sizeof seed->disk_id.bytes;
        }
        out->pointers[i] = &out->items[i];
    }
}
