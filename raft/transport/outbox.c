#include "raft/transport/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "raft/transport/peer_frame.h"

#define NO_FRAME SIZE_MAX

static void batch_reset(struct outbox_batch *b)
{
    for (size_t i = 0; i < b->n_entries; i++) {
        entry_release(b->entries[i]);
    }
    if (b->stage_capacity > OUTBOX_STAGE_KEEP_BYTES) {
        free(b->stage);
        b->stage = NULL;
        b->stage_capacity = 0;
    }
    b->n_entries = 0;
    b->n_segments = 0;
    b->stage_size = 0;
    b->bytes = 0;
    b->frame_at = NO_FRAME;
    b->frame_bytes = 0;
    b->frames = 0;
    b->messages = 0;
}

void outbox_init(struct outbox *o, size_t limit_bytes, size_t frame_max_bytes)
{
    memset(o, 0, sizeof(*o));
    o->limit_bytes = limit_bytes;
    o->max_bytes = limit_bytes;
    o->frame_max_bytes = frame_max_bytes;
    o->filling = &o->batches[0];
    batch_reset(&o->batches[0]);
    batch_reset(&o->batches[1]);
}

void outbox_close(struct outbox *o)
{
    for (size_t i = 0; i < 2; i++) {
        struct outbox_batch *b = &o->batches[i];
        batch_reset(b);
        free(b->stage);
        free(b->segments);
        free(b->entries);
    }
    memset(o, 0, sizeof(*o));
}

size_t outbox_bytes(const struct outbox *o)
{
    return o->batches[0].bytes + o->batches[1].bytes;
}

bool outbox_ready(const struct outbox *o)
{
    return o->flying == NULL && o->filling->bytes > 0;
}

/* Room for @more elements of @size bytes. */
static int reserve(void **array, size_t *capacity, size_t used, size_t more, size_t size, size_t first)
{
    size_t want = *capacity == 0 ? first : *capacity;
    void *bigger;

    if (used + more <= *capacity) {
        return 0;
    }
    while (want < used + more) {
        want *= 2;
    }
    bigger = realloc(*array, want * size);
    if (bigger == NULL) {
        return ERR_NOMEM;
    }
    *array = bigger;
    *capacity = want;
    return 0;
}

static int batch_reserve(struct outbox_batch *b, size_t stage, size_t segments, size_t entries)
{
    void *p = b->stage;
    int rv = reserve(&p, &b->stage_capacity, b->stage_size, stage, 1, 4096);

    b->stage = p;
    if (rv != 0) {
        return rv;
    }
    p = b->segments;
    rv = reserve(&p, &b->segments_capacity, b->n_segments, segments, sizeof(*b->segments), 8);
    b->segments = p;
    if (rv != 0 || entries == 0) {
        return rv;
    }
    p = b->entries;
    rv = reserve(&p, &b->entries_capacity, b->n_entries, entries, sizeof(struct entry *), 8);
    b->entries = p;
    return rv;
}

/* Staged room for @size bytes; batch_reserve() was asked before. */
static uint8_t *batch_stage(struct outbox_batch *b, size_t size)
{
    struct outbox_segment *last = b->n_segments > 0 ? &b->segments[b->n_segments - 1] : NULL;
    uint8_t *p = b->stage + b->stage_size;

    assert(b->stage_size + size <= b->stage_capacity);
    if (last == NULL || last->data != NULL) {
        assert(b->n_segments < b->segments_capacity);
        last = &b->segments[b->n_segments++];
        last->data = NULL;
        last->offset = b->stage_size;
        last->size = 0;
    }
    last->size += size;
    b->stage_size += size;
    b->bytes += size;
    return p;
}

static void batch_reference(struct outbox_batch *b, struct entry *entry)
{
    struct outbox_segment *s;

    assert(b->n_segments < b->segments_capacity && b->n_entries < b->entries_capacity);
    s = &b->segments[b->n_segments++];
    s->data = entry->data;
    s->offset = 0;
    s->size = entry->length;
    b->entries[b->n_entries++] = entry_acquire(entry);
    b->bytes += entry->length;
}

/* The open frame's length is known only now. */
static void batch_end_frame(struct outbox_batch *b)
{
    struct frame_header h = {.kind = FRAME_REQUEST, .call = CALL_PEER_RAFT, .call_version = 1};

    if (b->frame_at == NO_FRAME) {
        return;
    }
    h.payload_length = (uint32_t)b->frame_bytes;
    frame_encode_header(&h, b->stage + b->frame_at);
    b->frame_at = NO_FRAME;
    b->frames++;
}

static void batch_begin_frame(struct outbox_batch *b)
{
    b->frame_at = b->stage_size;
    b->frame_bytes = 0;
    (void)batch_stage(b, FRAME_HEADER_SIZE);
}

/* What is larger than a lowered limit would otherwise go only when nothing at all waits, which with many groups on one way
 * never comes to be: it may overshoot, once. */
static bool full(const struct outbox *o, size_t more)
{
    size_t bytes = outbox_bytes(o);
    return bytes > 0 && (bytes + more > o->max_bytes || bytes >= o->limit_bytes);
}

int outbox_message(struct outbox *o, uint64_t group, const uint8_t *header, size_t size, struct entry *const *entries,
                   size_t n)
{
    struct outbox_batch *b = o->filling;
    size_t total = PEER_FRAME_PREFIX_SIZE + size;
    size_t staged = total;
    size_t referenced = 0;
    uint8_t *p;
    int rv;

    if (size > PEER_FRAME_HEADER_MAX || n > PEER_FRAME_ENTRIES_MAX) {
        return ERR_TOO_BIG;
    }
    for (size_t i = 0; i < n; i++) {
        total += ENTRY_HEADER_SIZE + entries[i]->length;
        staged += ENTRY_HEADER_SIZE;
        if (entries[i]->length < OUTBOX_COPY_MAX) {
            staged += entries[i]->length;
        } else {
            referenced++;
        }
    }
    if (total > FRAME_PAYLOAD_MAX) {
        return ERR_TOO_BIG;
    }
    if (full(o, total)) {
        return ERR_BUSY;
    }
    rv = batch_reserve(b, staged + FRAME_HEADER_SIZE, 2 * referenced + 2, referenced);
    if (rv != 0) {
        return rv;
    }
    if (b->frame_at != NO_FRAME && b->frame_bytes + total > o->frame_max_bytes) {
        batch_end_frame(b);
    }
    if (b->frame_at == NO_FRAME) {
        batch_begin_frame(b);
    }
    p = batch_stage(b, PEER_FRAME_PREFIX_SIZE + size);
    peer_frame_prefix(p, group, (uint32_t)size, (uint32_t)n);
    memcpy(p + PEER_FRAME_PREFIX_SIZE, header, size);
    for (size_t i = 0; i < n; i++) {
        bool copied = entries[i]->length < OUTBOX_COPY_MAX;
        p = batch_stage(b, ENTRY_HEADER_SIZE + (copied ? entries[i]->length : 0));
        entry_encode_header(entries[i], p);
        if (!copied) {
            batch_reference(b, entries[i]);
        } else if (entries[i]->length > 0) {
            memcpy(p + ENTRY_HEADER_SIZE, entries[i]->data, entries[i]->length);
        }
    }
    b->frame_bytes += total;
    b->messages++;
    return 0;
}

int outbox_frame(struct outbox *o, uint8_t kind, uint16_t call, uint32_t correlation, const uint8_t *message,
                 size_t size)
{
    struct frame_header h = {.kind = kind, .call = call, .call_version = 1, .correlation = correlation};
    struct outbox_batch *b = o->filling;
    uint8_t *p;
    int rv;

    if (size > FRAME_MESSAGE_MAX) {
        return ERR_TOO_BIG;
    }
    if (full(o, FRAME_HEADER_SIZE + size)) {
        return ERR_BUSY;
    }
    rv = batch_reserve(b, FRAME_HEADER_SIZE + size, 1, 0);
    if (rv != 0) {
        return rv;
    }
    batch_end_frame(b);
    h.message_length = (uint32_t)size;
    p = batch_stage(b, FRAME_HEADER_SIZE + size);
    frame_encode_header(&h, p);
    if (size > 0) {
        memcpy(p + FRAME_HEADER_SIZE, message, size);
    }
    b->frames++;
    return 0;
}

size_t outbox_take(struct outbox *o, struct iovec *iov, size_t n_max)
{
    struct outbox_batch *b = o->flying;
    size_t n = 0;

    if (b == NULL) {
        if (o->filling->bytes == 0) {
            return 0;
        }
        b = o->filling;
        batch_end_frame(b);
        o->flying = b;
        o->sent = 0;
        o->filling = b == &o->batches[0] ? &o->batches[1] : &o->batches[0];
        assert(o->filling->bytes == 0);
    }
    while (n < n_max && o->sent < b->n_segments) {
        const struct outbox_segment *s = &b->segments[o->sent++];
        const uint8_t *data = s->data != NULL ? s->data : b->stage + s->offset;
        iov[n].iov_base = (void *)(uintptr_t)data; /* only read from: iovec has no const */
        iov[n].iov_len = s->size;
        n++;
    }
    return n;
}

bool outbox_written(struct outbox *o)
{
    assert(o->flying != NULL);
    if (o->sent < o->flying->n_segments) {
        return false;
    }
    batch_reset(o->flying);
    o->flying = NULL;
    return true;
}
