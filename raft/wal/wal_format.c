#include "raft/wal/wal_format.h"

#include <string.h>

#include "proto/base/crc32c.h"

uint64_t wal_salt(const struct uuid *uuid, uint64_t sequence, uint64_t generation)
{
    uint64_t words[4];
    uint64_t salt = 0x9e3779b97f4a7c15ull;

    memcpy(words, uuid->bytes, sizeof(uuid->bytes));
    words[2] = sequence;
    words[3] = generation;
    for (size_t i = 0; i < 4; i++) {
        salt = (salt ^ words[i]) * 0xff51afd7ed558ccdull;
        salt ^= salt >> 32;
    }
    return salt;
}

void wal_file_seal_header(struct wal_disk_file *header)
{
    header->crc = crc32c(0, header, offsetof(struct wal_disk_file, crc));
}

int wal_file_check_header(const void *block, struct wal_disk_file *out)
{
    struct wal_disk_file h;

    memcpy(&h, block, sizeof(h));
    if (h.magic != WAL_FILE_MAGIC || h.crc != crc32c(0, &h, offsetof(struct wal_disk_file, crc))) {
        return ERR_CORRUPT;
    }
    if (h.version != WAL_FORMAT_VERSION) {
        return ERR_VERSION;
    }
    *out = h;
    return 0;
}

void wal_flush_seal(struct wal_disk_flush *header)
{
    header->crc = crc32c(0, header, offsetof(struct wal_disk_flush, crc));
}

int wal_flush_check(const void *block, uint64_t position, uint64_t room, struct wal_disk_flush *out)
{
    struct wal_disk_flush h;
    uint64_t magic;

    memcpy(&magic, block, sizeof(magic));
    if (magic != WAL_FLUSH_MAGIC) {
        return ERR_CORRUPT;
    }
    memcpy(&h, block, sizeof(h));
    if (h.crc != crc32c(0, &h, offsetof(struct wal_disk_flush, crc)) || h.version != WAL_FORMAT_VERSION ||
        h.position != position || h.length > room || h.sequence <= h.prev_sequence || h.sequence > WAL_SEQUENCE_MAX) {
        return ERR_CORRUPT;
    }
    if (h.length < sizeof(h) + sizeof(struct wal_disk_groups) + (uint64_t)h.n_groups * sizeof(struct wal_disk_group)) {
        return ERR_CORRUPT;
    }
    *out = h;
    return 0;
}

static uint32_t groups_crc(const uint8_t *data, uint32_t n_groups)
{
    size_t skip = sizeof(uint32_t);
    return crc32c(0, data + skip,
                  sizeof(struct wal_disk_groups) - skip + (size_t)n_groups * sizeof(struct wal_disk_group));
}

void wal_groups_seal(struct wal_disk_groups *groups)
{
    groups->crc = groups_crc((const uint8_t *)groups, groups->n_groups);
}

int wal_groups_check(const uint8_t *data, size_t size, uint64_t salt, struct wal_disk_groups *out,
                     const struct wal_disk_group **items)
{
    struct wal_disk_groups h;

    if (size < sizeof(h)) {
        return ERR_CORRUPT;
    }
    memcpy(&h, data, sizeof(h));
    if (h.magic != WAL_GROUPS_MAGIC || h.salt != salt ||
        h.n_groups > (size - sizeof(h)) / sizeof(struct wal_disk_group) || h.crc != groups_crc(data, h.n_groups)) {
        return ERR_CORRUPT;
    }
    *out = h;
    *items = (const struct wal_disk_group *)(const void *)(data + sizeof(h));
    return 0;
}

uint32_t wal_record_seed(uint64_t salt)
{
    return crc32c(0, &salt, sizeof(salt));
}

/* An entry's header ends with its own checksum, of the same polynomial: taken in in this order, any header that checks
 * by itself would give the same, also one of the file's earlier life behind a record's torn header. So that goes first. */
static uint32_t record_crc(const uint8_t *data, uint32_t seed, size_t covered)
{
    const uint8_t *body = data + sizeof(struct wal_disk_record);
    size_t skip = sizeof(uint32_t);
    uint32_t crc = crc32c(seed, data + skip, sizeof(struct wal_disk_record) - skip);

    if (wal_kind_has_entry(data[offsetof(struct wal_disk_record, kind)])) {
        covered -= sizeof(uint32_t);
        crc = crc32c(crc, body + covered, sizeof(uint32_t));
    }
    return crc32c(crc, body, covered);
}

void wal_record_seal(struct wal_disk_record *record, uint32_t seed, size_t covered)
{
    record->crc = record_crc((const uint8_t *)record, seed, covered);
}

/* Bodies have one size a kind; entries are checked by their own header. */
static bool length_allowed(const struct wal_disk_record *r)
{
    if (wal_kind_has_entry(r->kind)) {
        return r->length >= ENTRY_HEADER_SIZE && r->length <= ENTRY_HEADER_SIZE + ENTRY_PAYLOAD_MAX;
    }
    if (wal_kind_has_state(r->kind)) {
        return r->length == sizeof(struct wal_disk_state);
    }
    switch (r->kind) {
    case WAL_FORGET:
        return r->length == 0;
    case WAL_FILES:
        return r->length >= sizeof(struct uuid) &&
               (r->length - sizeof(struct uuid)) % sizeof(struct wal_disk_live) == 0;
    case WAL_DROP:
        return r->length == sizeof(uint64_t);
    default:
        return false;
    }
}

int wal_record_check(const uint8_t *data, size_t size, uint32_t seed, struct wal_disk_record *out)
{
    struct wal_disk_record r;
    size_t covered;

    if (size < sizeof(r)) {
        return ERR_CORRUPT;
    }
    memcpy(&r, data, sizeof(r));
    if (!length_allowed(&r) || r.length > size - sizeof(r)) {
        return ERR_CORRUPT;
    }
    covered = wal_kind_has_entry(r.kind) ? ENTRY_HEADER_SIZE : r.length;
    if (r.crc != record_crc(data, seed, covered)) {
        return ERR_CORRUPT;
    }
    *out = r;
    return 0;
}
