/* What stands in a file of the shard log. Little-endian, 8-aligned, structs as they lie on disk.
 *
 *   file   = header block (4 KiB) | checkpoint flush | flush | flush ...
 *   flush  = header | list of its groups | records | zeros up to the next 4 KiB
 *   record = local header | entry header (64) + payload, or a body | zeros up to the next 8 bytes
 *
 * Every checksum but the payload's is salted with the file's (uuid, sequence, generation): what a recycled file held
 * in an earlier life never checks. The payload's is the leader's and bound by the record's, which covers its header. */
#ifndef CAIRN_WAL_FORMAT_H
#define CAIRN_WAL_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "proto/base/uuid.h"
#include "raft/wal/wal_limits.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs below are the disk's");

#define WAL_FORMAT_VERSION 2 /* 1: a record's checksum did not bind the entry's header */
#define WAL_FILE_MAGIC 0x31304c41574e5243ull   /* "CRNWAL01" */
#define WAL_FLUSH_MAGIC 0x3130485346574e43ull  /* "CNWFSH01" */
#define WAL_GROUPS_MAGIC 0x53505247u           /* "GRPS" */

/* The name of a flush: its number in the chain and its header's checksum. */
struct wal_name {
    uint64_t sequence; /* 0: before the first */
    uint32_t crc;
};

struct wal_disk_file {
    uint64_t magic;
    uint32_t version;
    uint32_t shard;
    struct uuid uuid;
    uint64_t sequence;   /* of the file; also in its name */
    uint64_t generation; /* drawn when the file's life began */
    uint64_t prev_sequence; /* the flush at which the predecessor ends; replay stops there */
    uint32_t prev_crc;
    uint32_t reserved;
    uint64_t reserved2[7];
    uint32_t reserved3;
    uint32_t crc; /* of everything before it */
};
static_assert(sizeof(struct wal_disk_file) == 128 && offsetof(struct wal_disk_file, crc) == 124, "on disk");

enum wal_flush_flags {
    WAL_FLUSH_CHECKPOINT = 1, /* the state of all groups; the first flush of each file, and only that */
    WAL_FLUSH_CLOSING = 2     /* nothing but the proof that the flush before it was whole */
};

struct wal_disk_flush {
    uint64_t magic;
    uint16_t version;
    uint16_t flags;
    uint32_t n_records;
    uint64_t sequence;
    uint64_t file_sequence;
    uint64_t salt;
    uint64_t position; /* in the file: a misdirected write does not check */
    uint64_t prev_sequence;
    uint32_t prev_crc;
    uint32_t n_groups;
    uint64_t length; /* from this header to the end of the last record */
    uint64_t reserved[2];
    uint32_t groups_crc;
    uint32_t crc; /* of everything before it */
};
static_assert(sizeof(struct wal_disk_flush) == 96 && offsetof(struct wal_disk_flush, crc) == 92, "on disk");

/* Which groups a flush touches: readable on its own when the rest is not. */
struct wal_disk_groups {
    uint32_t crc; /* of the rest of this struct and the items */
    uint32_t magic;
    uint32_t n_groups;
    uint32_t flags; /* the flush's */
    uint64_t sequence; /* the flush's */
    uint64_t salt;
};
static_assert(sizeof(struct wal_disk_groups) == 32, "on disk");

struct wal_disk_group {
    uint64_t group;
    uint64_t replica;
    uint64_t index_min; /* of its entries in this flush; above index_max: there are none */
    uint64_t index_max;
};
static_assert(sizeof(struct wal_disk_group) == 32, "on disk");

enum wal_record_kind {
    WAL_APPEND = 1,     /* an entry; everything at or above its index is replaced */
    WAL_COPY = 2,       /* an entry carried forward; replaces its own index only */
    WAL_HARD_STATE = 3, /* this and the next five have a wal_disk_state as body */
    WAL_CREATED = 4,
    WAL_TOMBSTONE = 5,
    WAL_TRIM = 6,
    WAL_INSTALL = 7,    /* a new incarnation */
    WAL_STATE = 8,      /* of the checkpoint */
    WAL_FORGET = 9,     /* the tombstone may go; no body */
    WAL_FILES = 10,     /* of the checkpoint: the log's uuid, then the files that count, wal_disk_live each */
    WAL_DROP = 11       /* a file that no longer counts: its sequence */
};

struct wal_disk_record {
    uint32_t crc; /* salted; of the rest of this header and of the entry's header, or of the whole body */
    uint8_t kind;
    uint8_t flags;
    uint16_t reserved;
    uint32_t length; /* bytes behind this header, without padding */
    uint32_t reserved2;
    uint64_t group;
    uint64_t replica;
    uint64_t incarnation;
};
static_assert(sizeof(struct wal_disk_record) == 40, "on disk");

enum wal_state_flags { WAL_STATE_FOUNDER = 1, WAL_STATE_DAMAGED = 2, WAL_STATE_TOMBSTONE = 4 };

/* A group's state at this point of the stream, complete in every record that has it. */
struct wal_disk_state {
    uint64_t term;
    uint64_t vote;
    uint64_t first; /* first kept index */
    uint64_t last;  /* >= first - 1 */
    uint32_t flags;
    uint32_t reserved;
};
static_assert(sizeof(struct wal_disk_state) == 40, "on disk");

struct wal_disk_live {
    uint64_t sequence; /* of the file */
    uint64_t end_sequence; /* its last flush that counts */
    uint32_t end_crc;
    uint32_t damages; /* corrupt places that recovery has dealt with: their groups are marked */
};
static_assert(sizeof(struct wal_disk_live) == 24, "on disk");

#define WAL_RECORD_ALIGN 8u
#define WAL_ENTRY_OVERHEAD (sizeof(struct wal_disk_record) + ENTRY_HEADER_SIZE)

static inline uint64_t wal_round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes of a record with its padding. */
static inline uint64_t wal_record_size(uint64_t length)
{
    return sizeof(struct wal_disk_record) + wal_round_up(length, WAL_RECORD_ALIGN);
}

static inline uint64_t wal_entry_size(uint32_t payload)
{
    return wal_record_size(ENTRY_HEADER_SIZE + (uint64_t)payload);
}

static inline bool wal_kind_has_entry(uint8_t kind)
{
    return kind == WAL_APPEND || kind == WAL_COPY;
}

static inline bool wal_kind_has_state(uint8_t kind)
{
    return kind >= WAL_HARD_STATE && kind <= WAL_STATE;
}

uint64_t wal_salt(const struct uuid *uuid, uint64_t sequence, uint64_t generation);

void wal_file_seal_header(struct wal_disk_file *header);
/* Errors: ERR_CORRUPT (also: not a header), ERR_VERSION. */
int wal_file_check_header(const void *block, struct wal_disk_file *out) MUST_USE;

void wal_flush_seal(struct wal_disk_flush *header);
/* A flush's header at @position of a file that has @room bytes from there on. Checks all but its place in the chain.
 * Errors: ERR_CORRUPT. */
int wal_flush_check(const void *block, uint64_t position, uint64_t room, struct wal_disk_flush *out) MUST_USE;

/* @items follow the struct in memory. */
void wal_groups_seal(struct wal_disk_groups *groups);
/* The list behind a flush's header (which may be unreadable), in @size bytes. Errors: ERR_CORRUPT. */
int wal_groups_check(const uint8_t *data, size_t size, uint64_t salt, struct wal_disk_groups *out,
                     const struct wal_disk_group **items) MUST_USE;

/* What a record's checksum starts from in a file. */
uint32_t wal_record_seed(uint64_t salt);
/* @covered: bytes behind the header that the checksum takes in, contiguous with it in memory. */
void wal_record_seal(struct wal_disk_record *record, uint32_t seed, size_t covered);
/* A record in @size bytes: its header, and entry header or body, are intact, and its length fits. Not the payload.
 * Errors: ERR_CORRUPT. */
int wal_record_check(const uint8_t *data, size_t size, uint32_t seed, struct wal_disk_record *out) MUST_USE;

#endif
