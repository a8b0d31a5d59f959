/* A Raft group's membership, and its encoding: the payload of a CHANGE entry and part of a snapshot's metadata. */
#ifndef CAIRN_CORE_CONFIG_H
#define CAIRN_CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define CORE_MEMBERS_MAX 16
#define CORE_ADDRESS_SIZE 48 /* bytes with the NUL; "node.replica" as decimal numbers takes at most 42 */

enum core_member_role { CORE_LEARNER = 0, CORE_VOTER = 1 };

struct core_member {
    uint64_t id; /* replica id, > 0, never reused */
    uint8_t role;
    char address[CORE_ADDRESS_SIZE]; /* the text "node.replica" */
};

struct core_config {
    uint32_t n;
    struct core_member members[CORE_MEMBERS_MAX]; /* in order of joining; ids and addresses are unique */
};

/* Append a member. Errors: ERR_INVALID (id 0, role, address), ERR_EXISTS, ERR_TOO_BIG. */
int core_config_add(struct core_config *config, uint64_t id, enum core_member_role role, const char *address) MUST_USE;
const struct core_member *core_config_find(const struct core_config *config, uint64_t id); /* NULL: not a member */
uint32_t core_config_voters(const struct core_config *config);
bool core_config_equal(const struct core_config *a, const struct core_config *b);

/* Format (libraft's own, version 1): u8 version | u64 n | n * (u64 id | address, NUL | u8 role) | zeros to a multiple of
 * 8; little-endian. */
#define CORE_CONFIG_ENCODED_MAX (16 + CORE_MEMBERS_MAX * (8 + CORE_ADDRESS_SIZE + 1))
size_t core_config_encoded_size(const struct core_config *config);
/* Writes core_config_encoded_size() bytes. Errors: ERR_INVALID no member, or @size too small. */
int core_config_encode(const struct core_config *config, void *out, size_t size) MUST_USE;
/* Accepts only what encode can have written. Errors: ERR_MALFORMED, ERR_VERSION; *out is undefined then. */
int core_config_decode(const void *data, size_t size, struct core_config *out) MUST_USE;

#endif
