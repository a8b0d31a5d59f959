/* The replicated log's entry: the header that travels on peer links and stands in the shard log, and the reference-
 * counted object that points at its payload. The payload's checksum comes from the leader and is never recomputed on
 * the way: a hop that recomputes launders memory rot. */
#ifndef CAIRN_BASE_ENTRY_H
#define CAIRN_BASE_ENTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

#define ENTRY_VERSION 1
#define ENTRY_HEADER_SIZE 64 /* bytes on wire and disk, little-endian */
#define ENTRY_PAYLOAD_MAX (16u << 20)

/* Never renumbered. New kinds are proposed only above the active cluster version. */
enum entry_kind {
    ENTRY_BARRIER = 1, /* Raft's own: empty, consumes an index but never an offset */
    ENTRY_CHANGE = 2,  /* Raft's own: an encoded configuration */
    ENTRY_BATCH = 3,   /* one record batch; consumes offsets [base_offset, base_offset + records) */
    ENTRY_COMMAND = 4  /* a versioned protobuf command of a state machine */
};

/* Header on wire and disk:
 *   0 u8 version | 1 u8 kind | 2 u16 flags (0) | 4 u32 length | 8 u64 group | 16 u64 index | 24 u64 term
 *   32 i64 time_ms | 40 i64 base_offset | 48 u32 payload crc32c | 52 u32 reserved (0) | 56 u32 reserved (0)
 *   60 u32 crc32c of bytes 0..59 */
struct entry {
    _Atomic uint32_t refs;
    uint8_t kind;        /* enum entry_kind */
    uint32_t length;     /* payload bytes */
    uint32_t crc;        /* crc32c of the payload, set once by the leader */
    uint64_t group;      /* group id */
    uint64_t index;      /* 0 until the core has placed it */
    uint64_t term;
    int64_t time_ms;     /* leader's wall clock, never decreasing within a group */
    int64_t base_offset; /* Kafka offset of the first record; -1 where the kind consumes none */
    struct buf *buf;     /* holds one reference; may be NULL when length is 0 */
    const uint8_t *data; /* @length bytes inside @buf */
};

/* A new entry with one reference that takes its own reference on @buf. Computes the payload's checksum. NULL: out of
 * memory. @data must lie inside @buf (NULL with length 0). */
struct entry *entry_new(uint8_t kind, struct buf *buf, const uint8_t *data, uint32_t length) MUST_USE;
struct entry *entry_acquire(struct entry *entry);
void entry_release(struct entry *entry); /* NULL is allowed */

void entry_encode_header(const struct entry *entry, uint8_t out[ENTRY_HEADER_SIZE]);

/* Parse and check a header (version, kind, length limit, header checksum); fills everything but refs, buf and data.
 * Errors: ERR_VERSION, ERR_MALFORMED, ERR_TOO_BIG. */
int entry_decode_header(const uint8_t in[ENTRY_HEADER_SIZE], struct entry *out) MUST_USE;

/* An entry from a header and the payload that follows it at @data inside @buf; checks the payload's crc.
 * Errors: those of entry_decode_header, ERR_CORRUPT, ERR_NOMEM. */
int entry_decode(const uint8_t header[ENTRY_HEADER_SIZE], struct buf *buf, const uint8_t *data, struct entry **out) MUST_USE;

/* True when the payload still has the checksum that the leader gave it. */
bool entry_intact(const struct entry *entry);

#endif
