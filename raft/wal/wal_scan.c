#include "raft/wal/wal_scan.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/base/mutant.h"

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int image_reserve(struct wal_image *image, uint64_t size)
{
    if (size > image->capacity) {
        uint8_t *data = aligned_alloc(ENV_DIRECT_ALIGN, (size_t)size);
        if (data == NULL) {
            return ERR_NOMEM;
        }
        free(image->data);
        image->data = data;
        image->capacity = (size_t)size;
    }
    return 0;
}

/* A piece that the disk would not give is tried again block by block; what fails once more reads as zeros. */
static void read_piece(struct wal_image *image, struct env *env, struct env_file *file, uint64_t offset, size_t size)
{
    size_t n = 0;

    if (env_file_read(env, file, image->data + offset, size, offset, &n) == 0) {
        memset(image->data + offset + n, 0, size - n);
        return;
    }
    for (size_t at = 0; at < size; at += WAL_BLOCK_SIZE) {
        if (env_file_read(env, file, image->data + offset + at, WAL_BLOCK_SIZE, offset + at, &n) != 0) {
            n = 0;
            if (offset + at < image->unreadable) {
                image->unreadable = offset + at;
            }
        }
        memset(image->data + offset + at + n, 0, WAL_BLOCK_SIZE - n);
    }
}

int wal_image_load(struct wal_image *image, struct env *env, const char *path, uint64_t *bytes_read)
{
    struct env_file *file;
    uint64_t size;
    int rv;

    rv = env_file_open(env, path, ENV_OPEN_READ | (MUTANT(TRUST_PAGE_CACHE) ? 0 : ENV_OPEN_DIRECT), &file);
    if (rv != 0) {
        return rv;
    }
    rv = env_file_size(env, file, &size);
    if (rv != 0) {
        goto out;
    }
    size = wal_round_up(size < WAL_BLOCK_SIZE ? WAL_BLOCK_SIZE : size, WAL_BLOCK_SIZE);
    rv = image_reserve(image, size);
    if (rv != 0) {
        goto out;
    }
    image->size = size;
    image->unreadable = UINT64_MAX;
    for (uint64_t at = 0; at < size; at += WAL_READ_CHUNK) {
        uint64_t piece = size - at < WAL_READ_CHUNK ? size - at : WAL_READ_CHUNK;
        read_piece(image, env, file, at, (size_t)piece);
    }
    *bytes_read += size;
out:
    env_file_close(env, file);
    return rv;
}

/* ---- identity ---------------------------------------------------------------------------------------------------- */

/* A flush's header at @at that belongs to the life of the file that @sequence names. */
static bool flush_at(const struct wal_image *image, uint64_t at, uint64_t sequence, struct wal_disk_flush *out)
{
    return wal_flush_check(image->data + at, at, image->size - at, out) == 0 && out->file_sequence == sequence;
}

int wal_identify(const struct wal_image *image, uint64_t sequence, struct wal_identity *identity)
{
    struct wal_disk_file header;
    struct wal_disk_flush flush;
    int rv = wal_file_check_header(image->data, &header);

    memset(identity, 0, sizeof(*identity));
    if (rv == ERR_VERSION) {
        return rv;
    }
    if (rv == 0 && header.sequence == sequence) {
        identity->known = true;
        identity->header = true;
        identity->shard = header.shard;
        identity->uuid = header.uuid;
        identity->generation = header.generation;
        identity->salt = wal_salt(&header.uuid, header.sequence, header.generation);
        identity->prev = (struct wal_name){header.prev_sequence, header.prev_crc};
        return 0;
    }
    /* An earlier life's header, zeros or rot: the flushes know as well whose they are, and the first one, which stands
     * in one write with the header, knows what is before it. */
    for (uint64_t at = WAL_BLOCK_SIZE; at < image->size; at += WAL_BLOCK_SIZE) {
        if (flush_at(image, at, sequence, &flush)) {
            identity->known = true;
            identity->salt = flush.salt;
            if (at == WAL_BLOCK_SIZE) {
                identity->prev = (struct wal_name){flush.prev_sequence, flush.prev_crc};
            }
            return 0;
        }
    }
    return 0;
}

/* ---- scanning ---------------------------------------------------------------------------------------------------- */

void wal_scan_init(struct wal_scan *scan, const struct wal_image *image, uint64_t file_sequence,
                   const struct wal_identity *identity)
{
    memset(scan, 0, sizeof(*scan));
    scan->image = image;
    scan->file_sequence = file_sequence;
    scan->salt = identity->salt;
    scan->seed = wal_record_seed(identity->salt);
    scan->chain = identity->prev;
    scan->chain_any = !identity->header && identity->prev.sequence == 0;
    scan->at = WAL_BLOCK_SIZE;
}

static bool header_at(const struct wal_scan *scan, uint64_t at, struct wal_disk_flush *out)
{
    return flush_at(scan->image, at, scan->file_sequence, out) && out->salt == scan->salt;
}

/* The first flush at or behind @from that comes later in the chain: proof that what is before it was durable, because
 * a flush is only written after the one before it is synced. */
static bool find_later(const struct wal_scan *scan, uint64_t from, uint64_t sequence, struct wal_disk_flush *out)
{
    for (uint64_t at = from; at < scan->image->size; at += WAL_BLOCK_SIZE) {
        if (header_at(scan, at, out) && out->sequence > sequence &&
            (!scan->end_known || out->sequence <= scan->end.sequence)) {
            return true;
        }
    }
    return false;
}

/* The list of groups behind the header at scan->position, of flush @sequence. */
static void find_groups(struct wal_scan *scan, uint64_t sequence)
{
    uint64_t at = scan->position + sizeof(struct wal_disk_flush);
    struct wal_disk_groups list;

    scan->groups = NULL;
    scan->n_groups = 0;
    if (at >= scan->image->size) {
        return; /* the file ends early */
    }
    if (wal_groups_check(scan->image->data + at, (size_t)(scan->image->size - at), scan->salt, &list, &scan->groups) ==
            0 &&
        list.sequence == sequence) {
        scan->n_groups = list.n_groups;
    } else {
        scan->groups = NULL;
    }
}

static void note_ok(void *data, const struct wal_disk_record *record, const uint8_t *body, uint64_t position,
                    bool payload_ok)
{
    bool *ok = data;
    *ok = *ok && payload_ok;
}

static void step_over(struct wal_scan *scan)
{
    scan->at = scan->position + wal_round_up(scan->header.length, WAL_BLOCK_SIZE);
    scan->chain = (struct wal_name){scan->header.sequence, scan->header.crc};
    scan->chain_any = false;
}

/* The header at scan->at is in its place in the chain. */
static enum wal_scan_result scan_flush(struct wal_scan *scan)
{
    struct wal_disk_flush later;
    bool ok = true;
    bool durable;

    scan->has_header = true;
    if (wal_scan_records(scan, true, note_ok, &ok) && ok) {
        step_over(scan);
        return WAL_SCAN_FLUSH;
    }
    durable = scan->end_known || scan->image->unreadable != UINT64_MAX ||
              find_later(scan, scan->at + WAL_BLOCK_SIZE, scan->header.sequence, &later);
    if (MUTANT(TORN_AS_CORRUPT)) {
        durable = true;
    }
    if (!durable || MUTANT(CORRUPT_AS_TORN)) {
        scan->finished = true;
        scan->torn_bytes = wal_round_up(scan->header.length, WAL_BLOCK_SIZE);
        return WAL_SCAN_END;
    }
    find_groups(scan, scan->header.sequence);
    step_over(scan);
    return WAL_SCAN_DAMAGED;
}

/* What stands at scan->at is not the next flush. */
static enum wal_scan_result scan_gap(struct wal_scan *scan)
{
    uint64_t expected = scan->chain.sequence + 1;
    struct wal_disk_flush next;
    struct wal_disk_flush here;

    scan->has_header = false;
    scan->lost_one = false;
    scan->groups = NULL;
    scan->n_groups = 0;
    if (find_later(scan, scan->at, scan->chain.sequence, &next)) {
        scan->lost_one = !scan->chain_any && next.prev_sequence == expected;
        if (scan->lost_one) {
            find_groups(scan, expected); /* exactly one is missing, and perhaps its list is not */
        }
        scan->at = next.position;
        scan->chain = (struct wal_name){next.prev_sequence, next.prev_crc};
        scan->chain_any = false;
        return WAL_SCAN_DAMAGED;
    }
    scan->finished = true;
    if (scan->end_known || scan->image->unreadable != UINT64_MAX) {
        scan->lost_one = !scan->chain_any && scan->end_known && scan->end.sequence == expected;
        if (scan->lost_one) {
            find_groups(scan, expected);
        }
        return WAL_SCAN_DAMAGED;
    }
    if (MUTANT(STALE_RECYCLED) && scan->at < scan->image->size &&
        wal_flush_check(scan->image->data + scan->at, scan->at, scan->image->size - scan->at, &scan->header) == 0) {
        scan->seed = wal_record_seed(scan->header.salt);
        return scan_flush(scan);
    }
    if (scan->at < scan->image->size) {
        scan->stale = wal_flush_check(scan->image->data + scan->at, scan->at, scan->image->size - scan->at, &here) == 0;
    }
    return WAL_SCAN_END;
}

enum wal_scan_result wal_scan_next(struct wal_scan *scan)
{
    if (scan->finished || (scan->end_known && scan->chain.sequence >= scan->end.sequence && !scan->chain_any)) {
        return WAL_SCAN_END;
    }
    scan->position = scan->at;
    if (scan->at < scan->image->size && header_at(scan, scan->at, &scan->header) &&
        (scan->chain_any || (scan->header.prev_sequence == scan->chain.sequence &&
                             scan->header.prev_crc == scan->chain.crc)) &&
        (!scan->end_known || scan->header.sequence <= scan->end.sequence)) {
        return scan_flush(scan);
    }
    return scan_gap(scan);
}

bool wal_scan_records(const struct wal_scan *scan, bool check_payloads,
                      void (*each)(void *data, const struct wal_disk_record *record, const uint8_t *body,
                                   uint64_t position, bool payload_ok),
                      void *data)
{
    const uint8_t *base = scan->image->data + scan->position;
    uint64_t at = sizeof(struct wal_disk_flush) + sizeof(struct wal_disk_groups) +
                  (uint64_t)scan->header.n_groups * sizeof(struct wal_disk_group);

    for (uint32_t i = 0; i < scan->header.n_records; i++) {
        struct wal_disk_record record;
        bool ok = true;
        if (at >= scan->header.length ||
            wal_record_check(base + at, (size_t)(scan->header.length - at), scan->seed, &record) != 0) {
            return false;
        }
        if (wal_kind_has_entry(record.kind)) {
            struct entry entry;
            const uint8_t *body = base + at + sizeof(record);
            ok = entry_decode_header(body, &entry) == 0 && entry.length == record.length - ENTRY_HEADER_SIZE &&
                 entry.group == record.group &&
                 (!check_payloads || crc32c(0, body + ENTRY_HEADER_SIZE, entry.length) == entry.crc);
        }
        each(data, &record, base + at + sizeof(record), scan->position + at, ok);
        at += wal_record_size(record.length);
    }
    return true;
}
