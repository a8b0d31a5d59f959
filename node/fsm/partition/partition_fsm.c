#include "node/fsm/partition/partition_fsm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/partition/batch_index.h"
#include "node/fsm/partition/epochs.h"
#include "node/fsm/partition/producers.h"
#include "proto/base/crc32c.h"
#include "proto/base/mutant.h"
#include "proto/native/command.pb-c.h"

struct partition_fsm {
    int64_t log_start;
    int64_t high_watermark;
    int64_t bytes;
    int64_t offset_next; /* with what is in flight */
    int64_t time_ms;     /* of the newest applied entry */
    struct batch_index index;
    struct epochs epochs;
    struct producers *applied;
    struct producers *inflight; /* producers with batches in flight: a copy of their applied state and those batches */
};

struct partition_fsm *partition_fsm_new(void)
{
    struct partition_fsm *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    batch_index_init(&p->index);
    epochs_init(&p->epochs);
    p->applied = producers_new();
    p->inflight = producers_new();
    if (p->applied == NULL || p->inflight == NULL) {
        partition_fsm_free(p);
        return NULL;
    }
    return p;
}

void partition_fsm_free(struct partition_fsm *p)
{
    if (p == NULL) {
        return;
    }
    batch_index_close(&p->index);
    epochs_close(&p->epochs);
    producers_free(p->applied);
    producers_free(p->inflight);
    free(p);
}

static int apply_batch(struct partition_fsm *p, const struct entry *entry)
{
    struct record_batch_header h;
    struct producer *producer;
    int rv;

    rv = record_batch_peek(entry->data, entry->length, &h);
    if (rv != 0 || h.size != entry->length || h.last_offset_delta < 0) {
        return ERR_MALFORMED;
    }
    /* Offsets are dense: what does not continue is a bug or rot, and must not be served. */
    if (h.base_offset != p->high_watermark || entry->base_offset != h.base_offset) {
        return ERR_CORRUPT;
    }
    rv = batch_index_push(&p->index, h.base_offset, entry->index, record_batch_timestamp(&h));
    if (rv != 0) {
        return rv;
    }
    if (h.producer_id >= 0) {
        rv = producers_note(p->applied, &h, h.base_offset, entry->time_ms);
        if (rv != 0) {
            batch_index_pop(&p->index);
            return rv;
        }
        producer = producers_find(p->inflight, h.producer_id);
        if (producer != NULL && producer->inflight > 0 && --producer->inflight == 0) {
            producers_remove(p->inflight, producer);
        }
    }
    p->bytes += entry->length;
    p->high_watermark = record_batch_offset_next(&h);
    if (p->offset_next < p->high_watermark && !MUTANT(REUSE_OFFSET)) {
        p->offset_next = p->high_watermark;
    }
    return 0;
}

static int apply_command(struct partition_fsm *p, const struct entry *entry)
{
    Cairn__Command__PartitionCommand *c =
        cairn__command__partition_command__unpack(NULL, entry->length, entry->length == 0 ? (const uint8_t *)"" : entry->data);
    int64_t offset;

    if (c == NULL) {
        return ERR_MALFORMED;
    }
    if (c->version > PARTITION_COMMAND_VERSION || c->kind_case != CAIRN__COMMAND__PARTITION_COMMAND__KIND_TRIM) {
        cairn__command__partition_command__free_unpacked(c, NULL);
        return ERR_VERSION; /* a newer node's: this replica cannot go on */
    }
    offset = c->trim->offset < p->high_watermark ? c->trim->offset : p->high_watermark;
    p->log_start = offset > p->log_start ? offset : p->log_start;
    cairn__command__partition_command__free_unpacked(c, NULL);
    return 0;
}

struct entry *partition_fsm_trim_entry(int64_t offset)
{
    Cairn__Command__PartitionCommand c = CAIRN__COMMAND__PARTITION_COMMAND__INIT;
    Cairn__Command__PartitionTrim trim = CAIRN__COMMAND__PARTITION_TRIM__INIT;
    struct entry *entry;
    struct buf *buf;
    size_t size;

    trim.offset = offset;
    c.version = PARTITION_COMMAND_VERSION;
    c.kind_case = CAIRN__COMMAND__PARTITION_COMMAND__KIND_TRIM;
    c.trim = &trim;
    size = cairn__command__partition_command__get_packed_size(&c);
    buf = buf_new(NULL, size);
    if (buf == NULL) {
        return NULL;
    }
    cairn__command__partition_command__pack(&c, buf->data);
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, (uint32_t)size);
    buf_release(buf);
    if (entry != NULL) {
        entry->base_offset = -1;
    }
    return entry;
}

int partition_fsm_apply(struct partition_fsm *p, const struct entry *entry)
{
    int rv = epochs_note(&p->epochs, entry->term, p->high_watermark);

    if (rv == 0 && entry->kind == ENTRY_BATCH) {
        rv = apply_batch(p, entry);
    } else if (rv == 0 && entry->kind == ENTRY_COMMAND) {
        rv = apply_command(p, entry);
    }
    if (rv != 0) {
        return rv;
    }
    if (entry->time_ms > p->time_ms) {
        p->time_ms = entry->time_ms;
        producers_expire(p->applied, p->time_ms - PARTITION_PRODUCER_EXPIRY_MS, PARTITION_PRODUCERS_MAX);
    }
    return 0;
}

int64_t partition_fsm_log_start(const struct partition_fsm *p)
{
    return p->log_start;
}

int64_t partition_fsm_high_watermark(const struct partition_fsm *p)
{
    return p->high_watermark;
}

int64_t partition_fsm_bytes(const struct partition_fsm *p)
{
    return p->bytes;
}

uint32_t partition_fsm_list_producers(const struct partition_fsm *p, struct partition_producer *out, uint32_t n_max)
{
    uint32_t n = 0;
    for (const struct producer *at = producers_oldest(p->applied); at != NULL && n < n_max; at = at->newer) {
        out[n++] = (struct partition_producer){at->id, at->epoch, at->batches[at->n - 1].last, at->time_ms};
    }
    return n;
}

uint32_t partition_fsm_producers(const struct partition_fsm *p)
{
    return producers_count(p->applied);
}

uint32_t partition_fsm_digest(const struct partition_fsm *p)
{
    int64_t words[3] = {p->log_start, p->high_watermark, p->time_ms};
    uint32_t crc = epochs_digest(&p->epochs, crc32c(0, words, sizeof words));
    return producers_digest(p->applied, batch_index_digest(&p->index, crc));
}

enum partition_verdict partition_fsm_judge(const struct partition_fsm *p, const struct record_batch_header *batch,
                                           int64_t *base_offset)
{
    const struct producer *producer;
    enum producer_verdict verdict;

    *base_offset = p->offset_next;
    if (batch->producer_id < 0) {
        return PARTITION_APPEND;
    }
    producer = producers_find(p->inflight, batch->producer_id);
    if (producer == NULL) {
        producer = producers_find(p->applied, batch->producer_id);
    }
    if (producer == NULL) {
        /* Without state only a beginning is taken. A later batch may have overtaken the first one, which a leader refused
         * that was not ready yet; were it taken, the first one would look like a duplicate forgotten long ago when it
         * comes again, and be lost. Who was forgotten (expired) begins a new epoch. */
        return batch->base_sequence == 0 ? PARTITION_APPEND : PARTITION_OUT_OF_ORDER;
    }
    verdict = producer_judge(producer, batch, base_offset);
    switch (verdict) {
    case PRODUCER_NEXT:
        *base_offset = p->offset_next;
        return PARTITION_APPEND;
    case PRODUCER_DUPLICATE:
        return *base_offset < p->high_watermark ? PARTITION_DUPLICATE : PARTITION_DUPLICATE_INFLIGHT;
    case PRODUCER_DUPLICATE_OLD:
        return PARTITION_DUPLICATE_OLD;
    case PRODUCER_FENCED:
        return PARTITION_FENCED;
    case PRODUCER_GAP:
    default:
        return PARTITION_OUT_OF_ORDER;
    }
}

int partition_fsm_inflight(struct partition_fsm *p, const struct record_batch_header *batch, int64_t base_offset)
{
    assert(base_offset == p->offset_next);
    if (batch->producer_id >= 0 && !MUTANT(FORGET_IN_FLIGHT)) {
        struct producer *producer = producers_find(p->inflight, batch->producer_id);
        int rv;
        if (producer == NULL) {
            const struct producer *base = producers_find(p->applied, batch->producer_id);
            rv = base != NULL ? producers_copy(p->inflight, base) : 0;
            if (rv != 0) {
                return rv;
            }
        }
        rv = producers_note(p->inflight, batch, base_offset, p->time_ms);
        if (rv != 0) {
            return rv; /* a bare copy may stay behind: it says what applied says until the next drop */
        }
        producers_find(p->inflight, batch->producer_id)->inflight++;
    }
    p->offset_next = base_offset + batch->last_offset_delta + 1;
    return 0;
}

void partition_fsm_drop_inflight(struct partition_fsm *p)
{
    if (MUTANT(KEEP_IN_FLIGHT)) {
        return;
    }
    if (MUTANT(FORGET_PRODUCERS)) {
        producers_clear(p->applied);
    }
    producers_clear(p->inflight);
    p->offset_next = p->high_watermark;
}

int64_t partition_fsm_offset_next(const struct partition_fsm *p)
{
    return p->offset_next;
}

int partition_fsm_find_offset(const struct partition_fsm *p, int64_t offset, uint64_t *index)
{
    if (offset < p->log_start || offset >= p->high_watermark) {
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    return batch_index_find_offset(&p->index, offset, index);
}

int partition_fsm_find_time(const struct partition_fsm *p, int64_t time_ms, int64_t *base_offset, uint64_t *index)
{
    int rv = batch_index_find_time(&p->index, time_ms, base_offset, index);
    if (rv != 0 || *base_offset >= p->log_start) {
        return rv;
    }
    /* It was trimmed, or begins before the log start; every later batch counts as new enough. */
    if (p->log_start >= p->high_watermark) {
        return ERR_NOT_FOUND;
    }
    rv = batch_index_find_offset(&p->index, p->log_start, index);
    *base_offset = p->log_start;
    return rv;
}

int partition_fsm_newest_time(const struct partition_fsm *p, int64_t *time_ms)
{
    return p->log_start >= p->high_watermark ? ERR_NOT_FOUND : batch_index_newest_time(&p->index, time_ms);
}

int partition_fsm_epoch_end(const struct partition_fsm *p, uint64_t asked, uint64_t *epoch, int64_t *end_offset)
{
    return epochs_end(&p->epochs, asked, p->high_watermark, epoch, end_offset);
}
