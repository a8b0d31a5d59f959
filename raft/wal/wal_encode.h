/* From what is queued to bytes: planning and encoding of one flush at a time, in wal.flush. */
#ifndef CAIRN_WAL_ENCODE_H
#define CAIRN_WAL_ENCODE_H

#include "raft/wal/wal_internal.h"

/* What of the queue the next flush takes. */
struct wal_plan {
    uint64_t bytes;   /* in the file, before padding to a block */
    uint64_t staging; /* bytes of it in the staging buffer */
    uint32_t directs; /* payloads written from where they are */
    uint32_t records;
    uint32_t whole;  /* writes that it completes */
    uint32_t heads;  /* writes that it has at least the beginning of: whole or whole + 1 */
    uint32_t cursor; /* in the last one, if not whole: entries up to here */
};

/* At most @limit bytes, but at least one record. After it nothing can fail. Errors: ERR_NOMEM, nothing has changed. */
int wal_plan(struct wal *wal, struct wal_plan *plan, uint64_t limit) MUST_USE;
/* The planned flush into wal.flush; its entries get their places; writes it completes move to wal.flush.done. */
void wal_encode_flush(struct wal *wal, const struct wal_plan *plan, uint16_t flags);
size_t wal_checkpoint_size(size_t n_files, size_t n_groups); /* in whole blocks */
/* Header and checkpoint of @file, which begins behind flush @prev, into wal.flush. Errors: ERR_NOMEM. */
int wal_encode_begin(struct wal *wal, struct wal_file *file, uint64_t sequence, struct wal_name prev) MUST_USE;

/* Local and entry header; returns their size. */
size_t wal_put_entry_header(uint8_t *to, uint32_t seed, uint8_t kind, const struct wal_group *g,
                            const struct entry *entry);
int wal_staging_reserve(struct wal_flush *flush, size_t size) MUST_USE; /* loses what is in it */

#endif
