/* What waits to be said on one connection: two batches, one that fills while the other is being written. Small things
 * are copied into a staging buffer, large payloads leave from the entries' own buffers. */
#ifndef CAIRN_TRANSPORT_OUTBOX_H
#define CAIRN_TRANSPORT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/base/entry.h"

#define OUTBOX_COPY_MAX 1024              /* payload bytes: from here on by reference */
#define OUTBOX_STAGE_KEEP_BYTES (1u << 20) /* staging memory that a batch keeps for its next use */

struct outbox_segment {
    const uint8_t *data; /* NULL: @size staged bytes from @offset */
    size_t offset;
    size_t size;
};

struct outbox_batch {
    uint8_t *stage;
    size_t stage_size;
    size_t stage_capacity;
    struct outbox_segment *segments;
    size_t n_segments;
    size_t segments_capacity;
    struct entry **entries; /* references that hold payloads of segments */
    size_t n_entries;
    size_t entries_capacity;
    size_t bytes;       /* of all segments */
    size_t frame_at;    /* stage offset of the open RAFT frame's header; SIZE_MAX: none open */
    size_t frame_bytes; /* payload of the open frame */
    uint64_t frames;
    uint64_t messages;
};

struct outbox {
    size_t limit_bytes; /* as much may wait before more is refused; the owner lowers it while the way is slow */
    size_t max_bytes;   /* never more than this */
    size_t frame_max_bytes;
    struct outbox_batch batches[2];
    struct outbox_batch *filling;
    struct outbox_batch *flying; /* NULL: no write is under way */
    size_t sent;                 /* segments of @flying already given to the connection */
};

void outbox_init(struct outbox *o, size_t limit_bytes, size_t frame_max_bytes);
void outbox_close(struct outbox *o);

/* Bytes not yet written. */
size_t outbox_bytes(const struct outbox *o);
bool outbox_ready(const struct outbox *o); /* something waits and no write is under way */

/* Errors (nothing queued): ERR_BUSY, ERR_TOO_BIG, ERR_NOMEM. */
int outbox_message(struct outbox *o, uint64_t group, const uint8_t *header, size_t size, struct entry *const *entries,
                   size_t n) MUST_USE;
/* A frame with a protobuf message and no payload. Errors: as above. */
int outbox_frame(struct outbox *o, uint8_t kind, uint16_t call, uint32_t correlation, const uint8_t *message,
                 size_t size) MUST_USE;

/* Fill @iov with the next at most @n_max pieces of the batch under way, taking the filled one when there is none.
 * Returns how many; 0: nothing waits. */
size_t outbox_take(struct outbox *o, struct iovec *iov, size_t n_max);
/* All that was taken is written. True: the batch is done (and forgotten). */
bool outbox_written(struct outbox *o);

#endif
