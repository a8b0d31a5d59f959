#include "raft/core/core_config.h"

#include <string.h>

#include "proto/base/cursor.h"

#define CONFIG_FORMAT 1

int core_config_add(struct core_config *config, uint64_t id, enum core_member_role role, const char *address)
{
    struct core_member *member;
    size_t length = strnlen(address, CORE_ADDRESS_SIZE);

    if (id == 0 || (role != CORE_LEARNER && role != CORE_VOTER) || length == 0 || length == CORE_ADDRESS_SIZE) {
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].id == id || strcmp(config->members[i].address, address) == 0) {
            return ERR_EXISTS;
        }
    }
    if (config->n == CORE_MEMBERS_MAX) {
        return ERR_TOO_BIG;
    }
    member = &config->members[config->n++];
    memset(member, 0, sizeof *member);
    member->id = id;
    member->role = (uint8_t)role;
    memcpy(member->address, address, length);
    return 0;
}

const struct core_member *core_config_find(const struct core_config *config, uint64_t id)
{
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].id == id) {
            return &config->members[i];
        }
    }
    return NULL;
}

uint32_t core_config_voters(const struct core_config *config)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        voters += config->members[i].role == CORE_VOTER;
    }
    return voters;
}

bool core_config_equal(const struct core_config *a, const struct core_config *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        const struct core_member *x = &a->members[i];
        const struct core_member *y = &b->members[i];
        if (x->id != y->id || x->role != y->role || strcmp(x->address, y->address) != 0) {
            return false;
        }
    }
    return true;
}

size_t core_config_encoded_size(const struct core_config *config)
{
    size_t size = 1 + 8;
    for (uint32_t i = 0; i < config->n; i++) {
        size += 8 + strlen(config->members[i].address) + 1 + 1;
    }
    return (size + 7) & ~(size_t)7;
}

int core_config_encode(const struct core_config *config, void *out, size_t size)
{
    size_t needed = core_config_encoded_size(config);
    struct writer w;

    if (config->n == 0 || config->n > CORE_MEMBERS_MAX || size < needed) {
        return ERR_INVALID;
    }
    memset(out, 0, needed);
    writer_init(&w, out, needed);
    writer_u8(&w, CONFIG_FORMAT);
    writer_u64(&w, config->n);
    for (uint32_t i = 0; i < config->n; i++) {
        const struct core_member *m = &config->members[i];
        writer_u64(&w, m->id);
        writer_bytes(&w, m->address, strlen(m->address) + 1);
        writer_u8(&w, m->role);
    }
    return writer_failed(&w) ? ERR_INVALID : 0;
}

int core_config_decode(const void *data, size_t size, struct core_config *out)
{
    struct cursor c;
    uint64_t n;

    if (size > CORE_CONFIG_ENCODED_MAX) {
        return ERR_MALFORMED;
    }
    cursor_init(&c, data, size);
    if (cursor_u8(&c) != CONFIG_FORMAT) {
        return cursor_failed(&c) ? ERR_MALFORMED : ERR_VERSION;
    }
    n = cursor_u64(&c);
    if (cursor_failed(&c) || n == 0 || n > CORE_MEMBERS_MAX) {
        return ERR_MALFORMED;
    }
    out->n = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = cursor_u64(&c);
        const char *address = (const char *)c.data + c.position;
        size_t length = strnlen(address, cursor_left(&c));
        uint8_t role;
        if (cursor_bytes(&c, length + 1) == NULL) {
            return ERR_MALFORMED;
        }
        role = cursor_u8(&c);
        if (cursor_failed(&c) || core_config_add(out, id, (enum core_member_role)role, address) != 0) {
            return ERR_MALFORMED;
        }
    }
    if (size != core_config_encoded_size(out)) {
        return ERR_MALFORMED;
    }
    while (cursor_left(&c) > 0) {
        if (cursor_u8(&c) != 0) {
            return ERR_MALFORMED;
        }
    }
    return 0;
}
