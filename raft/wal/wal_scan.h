/* A file of the log as recovery reads it: which flushes stand in it, where it ends, and whether what does not check is
 * a torn tail (never acknowledged) or corruption. */
#ifndef CAIRN_WAL_SCAN_H
#define CAIRN_WAL_SCAN_H

#include "raft/wal/wal_internal.h"

/* One whole file in memory, read past the page cache. Its memory is used again for the next. */
struct wal_image {
    uint8_t *data; /* aligned */
    size_t capacity;
    uint64_t size; /* a multiple of the block size; zeros behind the file's end */
    uint64_t unreadable; /* the lowest offset that the disk would not give; UINT64_MAX: none */
};

/* Errors: ERR_NOMEM, ERR_IO (not even the first try to open), ERR_NOT_FOUND. */
int wal_image_load(struct wal_image *image, struct env *env, const char *path, uint64_t *bytes_read) MUST_USE;

/* The first block's header, or what a flush of this very file says in its place. */
struct wal_identity {
    bool known;
    uint64_t salt;
    uint32_t shard;
    bool header; /* the file's header is readable: */
    struct uuid uuid;
    uint64_t generation;
    struct wal_name prev; /* the flush at which the predecessor ends */
};

/* @identity->known: the file has begun its life under this sequence. Errors: ERR_VERSION. */
int wal_identify(const struct wal_image *image, uint64_t sequence, struct wal_identity *identity) MUST_USE;

enum wal_scan_result {
    WAL_SCAN_END,
    WAL_SCAN_FLUSH,  /* whole */
    WAL_SCAN_DAMAGED /* it was durable once, and does not check any more */
};

struct wal_scan {
    const struct wal_image *image;
    uint64_t file_sequence;
    uint64_t salt;
    uint32_t seed;
    bool end_known;
    struct wal_name end;
    struct wal_name chain; /* the flush before @at; sequence 0 with chain_any: whatever is said there */
    bool chain_any;
    uint64_t at; /* next */
    bool finished;

    /* what the last wal_scan_next() found */
    uint64_t position;
    bool has_header;
    bool lost_one; /* no header, but exactly one flush is missing */
    struct wal_disk_flush header; /* of a damaged one: only if has_header */
    const struct wal_disk_group *groups; /* its list; NULL: unreadable */
    uint32_t n_groups;
    uint64_t torn_bytes;  /* at the end */
    bool stale;           /* at the end: something of an earlier life stands behind it */
};

void wal_scan_init(struct wal_scan *scan, const struct wal_image *image, uint64_t file_sequence,
                   const struct wal_identity *identity);
enum wal_scan_result wal_scan_next(struct wal_scan *scan);

/* Go through the records of the flush that wal_scan_next() found (whole, or damaged with a header), as far as their
 * headers can be read. @payload_ok: an entry's payload has its checksum. True: all of them could be. */
bool wal_scan_records(const struct wal_scan *scan, bool check_payloads,
                      void (*each)(void *data, const struct wal_disk_record *record, const uint8_t *body,
                                   uint64_t position, bool payload_ok),
                      void *data);

#endif
