/* What must hold of everything that is read. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/record_iter.h"
#include "tests/integration/checker/checker.h"

void violation(struct checker *ck, uint32_t partition, int64_t offset, const char *format, ...)
{
    char text[512];
    va_list args;

    if (ck->stats.violations++ >= VIOLATIONS_MAX) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (partition == UINT32_MAX) {
        fprintf(stderr, "VIOLATION: %s\n", text);
    } else {
        fprintf(stderr, "VIOLATION: topic %s partition %u offset %" PRId64 ": %s\n", ck->args.topic, partition, offset,
                text);
    }
}

/* ---- one record --------------------------------------------------------------------------------------------------------------- */

static void take_direct(struct checker *ck, const struct ck_reader *reader, const struct value *v, int64_t offset)
{
    struct ck_direct *directs;

    if (!ck->args.allow_direct) {
        violation(ck, reader->partition, offset, "a record that nobody sent here");
        return;
    }
    for (uint32_t i = 0; i < ck->n_directs; i++) {
        if (ck->directs[i].token == v->sequence && !reader->again) {
            ck->stats.duplicates++;
            violation(ck, reader->partition, offset, "direct record %" PRIu64 " stands also at offset %" PRId64,
                      v->sequence, ck->directs[i].offset);
        }
    }
    if (reader->again) {
        return;
    }
    directs = realloc(ck->directs, (ck->n_directs + 1) * sizeof *directs);
    if (directs == NULL) {
        abort();
    }
    ck->directs = directs;
    ck->directs[ck->n_directs++] =
        (struct ck_direct){.token = v->sequence, .partition = reader->partition, .offset = offset};
}

static void take_load(struct checker *ck, struct ck_reader *reader, const struct record_batch_header *batch,
                      const struct value *v, int64_t offset)
{
    const struct ck_lane *lane;
    uint64_t expected;
    uint64_t number;

    if (v->run != ck->run || v->producer >= ck->args.streams || v->partition != reader->partition) {
        violation(ck, reader->partition, offset, "a record of run %" PRIx64 " producer %u partition %u", v->run,
                  v->producer, v->partition);
        return;
    }
    lane = &ck->lanes[v->producer * ck->n_partitions + reader->partition];
    number = v->sequence / ck->args.batch_records;
    expected = reader->sequences[v->producer];
    if (batch->producer_id != ck->streams[v->producer].producer_id) {
        violation(ck, reader->partition, offset, "producer %u has id %" PRId64 ", its batch says %" PRId64, v->producer,
                  ck->streams[v->producer].producer_id, batch->producer_id);
    }
    if (number >= lane->next) {
        violation(ck, reader->partition, offset, "producer %u sequence %" PRIu64 " was never sent", v->producer,
                  v->sequence);
        return;
    }
    if (v->sequence < expected) {
        ck->stats.duplicates++;
        violation(ck, reader->partition, offset, "producer %u sequence %" PRIu64 " again: %" PRIu64 " was next",
                  v->producer, v->sequence, expected);
        return;
    }
    if (v->sequence > expected) {
        ck->stats.reordered++;
        violation(ck, reader->partition, offset, "producer %u sequence %" PRIu64 " where %" PRIu64 " was next",
                  v->producer, v->sequence, expected);
    }
    reader->sequences[v->producer] = v->sequence + 1;
    if (lane->offsets[number] >= 0 &&
        lane->offsets[number] + (int64_t)(v->sequence % ck->args.batch_records) != offset) {
        ck->stats.reordered++;
        violation(ck, reader->partition, offset, "producer %u sequence %" PRIu64 " was acknowledged at %" PRId64,
                  v->producer, v->sequence,
                  lane->offsets[number] + (int64_t)(v->sequence % ck->args.batch_records));
    }
}

static void take_record(struct checker *ck, struct ck_reader *reader, const struct record_batch_header *batch,
                        const struct record *record)
{
    struct value v;
    int rv = record->value_length < 0 ? ERR_MALFORMED : value_decode(record->value, (size_t)record->value_length, &v);

    reader->records++;
    if (rv != 0) {
        ck->stats.corrupt++;
        violation(ck, reader->partition, record->offset, "not a record of the checker, or damaged (%s)", err_name(rv));
        return;
    }
    if (v.kind == VALUE_DIRECT) {
        take_direct(ck, reader, &v, record->offset);
    } else {
        take_load(ck, reader, batch, &v, record->offset);
    }
}

/* ---- one batch ------------------------------------------------------------------------------------------------------------------ */

/* What was served once never changes. */
static void compare_seen(struct checker *ck, const struct ck_reader *reader, const struct record_batch_header *batch)
{
    uint32_t p = reader->partition;
    const struct ck_seen *seen;

    if (reader->batches >= ck->n_seen[p]) {
        return;
    }
    seen = &ck->seen[p][reader->batches];
    if (seen->base_offset != batch->base_offset || seen->crc != batch->crc ||
        seen->leader_epoch != batch->leader_epoch) {
        ck->stats.corrupt++;
        violation(ck, p, batch->base_offset,
                  "changed since it was read first: offset %" PRId64 " crc %08x epoch %d were served", seen->base_offset,
                  seen->crc, seen->leader_epoch);
    }
}

static void note_seen(struct checker *ck, uint32_t p, const struct record_batch_header *batch)
{
    if (ck->n_seen[p] == ck->seen_capacity[p]) {
        uint64_t capacity = ck->seen_capacity[p] == 0 ? 1024 : ck->seen_capacity[p] * 2;
        struct ck_seen *seen = realloc(ck->seen[p], capacity * sizeof *seen);
        if (seen == NULL) {
            abort();
        }
        ck->seen[p] = seen;
        ck->seen_capacity[p] = capacity;
    }
    ck->seen[p][ck->n_seen[p]++] = (struct ck_seen){
        .base_offset = batch->base_offset, .crc = batch->crc, .leader_epoch = batch->leader_epoch};
}

static void check_batch(struct checker *ck, struct ck_reader *reader, const uint8_t *bytes,
                        const struct record_batch_header *batch)
{
    uint32_t p = reader->partition;

    if (batch->base_offset != reader->next) {
        (*(batch->base_offset > reader->next ? &ck->stats.lost : &ck->stats.duplicates))++;
        violation(ck, p, batch->base_offset, "offset %" PRId64 " was next", reader->next);
    }
    if (!record_batch_intact(bytes, batch->size)) {
        ck->stats.corrupt++;
        violation(ck, p, batch->base_offset, "the batch's crc does not fit");
    }
    if (record_batch_offset_next(batch) > reader->high_watermark) {
        violation(ck, p, batch->base_offset, "served above the high watermark %" PRId64, reader->high_watermark);
    }
    if (batch->leader_epoch < reader->leader_epoch) {
        violation(ck, p, batch->base_offset, "leader epoch %d behind one of %d", batch->leader_epoch,
                  reader->leader_epoch);
    }
    reader->leader_epoch = batch->leader_epoch;
    if (reader->again) {
        compare_seen(ck, reader, batch);
    } else {
        note_seen(ck, p, batch);
    }
}

void verify_batches(struct checker *ck, struct ck_reader *reader, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    while (at < size) {
        struct record_batch_header batch;
        struct record_iter it;
        struct record record;
        int rv = record_batch_peek(bytes + at, size - at, &batch);
        if (rv == 0) {
            rv = record_iter_init(&it, bytes + at, batch.size, NULL);
        }
        if (rv != 0) {
            ck->stats.corrupt++;
            violation(ck, reader->partition, reader->next, "what was served is not a whole batch: %s", err_name(rv));
            return;
        }
        check_batch(ck, reader, bytes + at, &batch);
        while (record_iter_next(&it, &record)) {
            take_record(ck, reader, &batch, &record);
        }
        if (record_iter_error(&it) != 0 || it.left != 0) {
            violation(ck, reader->partition, batch.base_offset, "the batch's records do not add up");
        }
        reader->next = record_batch_offset_next(&batch);
        reader->batches++;
        at += batch.size;
    }
}

/* ---- in the end ------------------------------------------------------------------------------------------------------------------- */

void verify_acknowledged(struct checker *ck, const int64_t *end)
{
    uint64_t k = ck->args.batch_records;

    for (uint32_t i = 0; i < ck->n_lanes; i++) {
        const struct ck_lane *lane = &ck->lanes[i];
        const struct ck_reader *reader = &ck->again[lane->partition];
        for (uint64_t n = 0; n < lane->next; n++) {
            if (lane->offsets[n] < 0) {
                continue;
            }
            if (lane->offsets[n] + (int64_t)k > end[lane->partition] || (n + 1) * k > reader->sequences[lane->stream]) {
                ck->stats.lost += k;
                violation(ck, lane->partition, lane->offsets[n],
                          "producer %u sequences %" PRIu64 "..%" PRIu64 " were acknowledged here and are lost",
                          lane->stream, n * k, (n + 1) * k - 1);
            }
        }
    }
}
