/* What clients were told: acknowledged records stay, in their places, once; readers see what was sent, in order, and
 * nothing that is not committed. */
#include "tests/sim/oracle_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/record_iter.h"
#include "tests/sim/real_client_group.h"

#define NO_STREAM UINT32_MAX

/* ---- streams --------------------------------------------------------------------------------------------------------- */

struct oracle_stream *oracle_stream(struct oracle *o, struct oracle_part *part, int64_t producer_id, int16_t epoch)
{
    struct oracle_stream *s = calloc(1, sizeof *s);

    assert(s != NULL);
    for (uint32_t i = 0; producer_id >= 0 && i < o->n_streams; i++) {
        const struct oracle_stream *other = o->streams[i];
        if (other->part == part && other->producer_id == producer_id && other->epoch == epoch) {
            oracle_violation(o, "producer id %" PRId64 " epoch %d was given out twice", producer_id, epoch);
        }
    }
    s->id = o->n_streams;
    s->part = part;
    s->producer_id = producer_id;
    s->epoch = epoch;
    o->streams = realloc(o->streams, (o->n_streams + 1) * sizeof(struct oracle_stream *));
    assert(o->streams != NULL);
    o->streams[o->n_streams++] = s;
    return s;
}

uint32_t oracle_stream_id(const struct oracle_stream *s)
{
    return s->id;
}

struct oracle_part *oracle_stream_part(const struct oracle_stream *s)
{
    return s->part;
}

uint32_t oracle_sent_next(const struct oracle_stream *s)
{
    return s->sent;
}

void oracle_sent(struct oracle *o, struct oracle_stream *s, uint32_t n)
{
    while (s->sent + n > s->capacity) {
        s->capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
        s->offsets = realloc(s->offsets, s->capacity * sizeof *s->offsets);
        s->chances = realloc(s->chances, s->capacity * sizeof *s->chances);
        assert(s->offsets != NULL && s->chances != NULL);
    }
    for (uint32_t i = 0; i < n; i++) {
        s->chances[s->sent] = (struct chances){0, 0, 0};
        s->offsets[s->sent++] = -1;
    }
}

/* A refusal is a promise that this attempt is not in the log and never will be. */
static void check_chances(struct oracle *o, const struct oracle_stream *s, uint32_t seq)
{
    const struct chances *c = &s->chances[seq];
    if (c->copies + c->refused > c->sent) {
        oracle_violation(o, "group %" PRIu64 " partition %u: stream %u record %u was sent %u times, refused %u times, and is there "
                         "%u times", s->part->group, s->part->key.partition, s->id, seq, c->sent, c->refused, c->copies);
    }
}

void oracle_attempted(struct oracle *o, struct oracle_stream *s, uint32_t seq, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        s->chances[seq + i].sent++;
    }
}

void oracle_refused(struct oracle *o, struct oracle_stream *s, uint32_t seq, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        s->chances[seq + i].refused++;
        check_chances(o, s, seq + i);
    }
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t value_seed(const struct oracle *o, uint32_t stream, uint32_t seq)
{
    return mix(o->seed * 0x9e3779b97f4a7c15u + ((uint64_t)stream << 32) + seq);
}

/* Mostly small; now and then one that takes the ways of large payloads. */
uint32_t oracle_value_size(const struct oracle *o, uint32_t stream, uint32_t seq)
{
    uint64_t z = value_seed(o, stream, seq);
    if (z % 200 == 0) {
        return ORACLE_VALUE_MIN + (uint32_t)((z >> 20) % 50000);
    }
    return ORACLE_VALUE_MIN + (uint32_t)((z >> 20) % 400);
}

void oracle_value(const struct oracle *o, uint32_t stream, uint32_t seq, uint8_t *out)
{
    uint32_t size = oracle_value_size(o, stream, seq);
    uint64_t z = value_seed(o, stream, seq);
    const uint32_t head[3] = {stream, seq, size};

    memcpy(out, head, sizeof head);
    for (uint32_t i = sizeof head; i < size; i += 8) {
        z += 0x9e3779b97f4a7c15u;
        uint64_t word = z ^ (z >> 29);
        memcpy(out + i, &word, size - i < 8 ? size - i : 8);
    }
}

static struct oracle_stream *check_value(struct oracle *o, const struct oracle_part *part, const struct record *record,
                                         uint32_t *seq)
{
    struct oracle_stream *s;
    uint8_t *expected;
    uint32_t head[3];

    if (record->value_length < ORACLE_VALUE_MIN) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a value that nobody sent", part->key.partition, record->offset);
    }
    memcpy(head, record->value, sizeof head);
    if (head[0] >= o->n_streams || head[2] != (uint32_t)record->value_length) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a value that nobody sent", part->key.partition, record->offset);
    }
    s = o->streams[head[0]];
    *seq = head[1];
    if (s->part != part || head[1] >= s->sent || oracle_value_size(o, head[0], head[1]) != head[2]) {
        oracle_violation(o, "partition %u offset %" PRId64 ": stream %u record %u was not sent here", part->key.partition,
                         record->offset, head[0], head[1]);
    }
    expected = malloc(head[2]);
    assert(expected != NULL);
    oracle_value(o, head[0], head[1], expected);
    if (memcmp(expected, record->value, head[2]) != 0) {
        oracle_violation(o, "partition %u offset %" PRId64 ": stream %u record %u has other bytes than were sent",
                         part->key.partition, record->offset, head[0], head[1]);
    }
    free(expected);
    return s;
}

/* ---- places ---------------------------------------------------------------------------------------------------------- */

static struct slot *slot_at(struct oracle_part *p, int64_t offset)
{
    assert(offset >= 0);
    while (offset >= p->capacity) {
        p->capacity = p->capacity == 0 ? 256 : 2 * p->capacity;
        p->slots = realloc(p->slots, (size_t)p->capacity * sizeof *p->slots);
        assert(p->slots != NULL);
    }
    while (offset >= p->n_slots) {
        p->slots[p->n_slots++] = (struct slot){NO_STREAM, 0, 0, false, 0};
    }
    return &p->slots[offset];
}

bool oracle_slot_take(struct oracle *o, struct oracle_part *p, int64_t offset, uint32_t stream, uint32_t seq,
                      uint32_t batch_crc, bool acked)
{
    struct slot *slot = slot_at(p, offset);
    bool news = slot->stream == NO_STREAM;

    if (!news && (slot->stream != stream || slot->seq != seq)) {
        oracle_violation(o, "group %" PRIu64 " partition %u offset %" PRId64 ": holds stream %u record %u, was %s as stream %u "
                         "record %u", p->group, p->key.partition, offset, stream, seq,
                         slot->acked ? "acknowledged" : "read", slot->stream, slot->seq);
    }
    if (batch_crc != 0) {
        if (slot->batch_crc != 0 && slot->batch_crc != batch_crc) {
            oracle_violation(o, "partition %u offset %" PRId64 ": its batch's bytes changed", p->key.partition, offset);
        }
        slot->batch_crc = batch_crc;
    }
    slot->stream = stream;
    slot->seq = seq;
    slot->acked |= acked;
    return news;
}

static void place(struct oracle *o, struct oracle_stream *s, uint32_t seq, int64_t offset, uint32_t batch_crc, bool acked)
{
    struct oracle_part *p = s->part;

    if (oracle_slot_take(o, p, offset, s->id, seq, batch_crc, acked)) {
        s->chances[seq].copies++;
        check_chances(o, s, seq);
    }
    if (s->producer_id < 0) {
        if (s->offsets[seq] < 0 || offset < s->offsets[seq]) {
            s->offsets[seq] = offset;
        }
        return;
    }
    if (s->offsets[seq] >= 0 && s->offsets[seq] != offset) {
        oracle_violation(o, "duplicate: group %" PRIu64 " partition %u: stream %u record %u of idempotent producer %" PRId64
                         " epoch %d stands at offset %" PRId64 " and at %" PRId64, p->group, p->key.partition, s->id, seq,
                         s->producer_id, s->epoch, s->offsets[seq], offset);
    }
    s->offsets[seq] = offset;
    if ((seq > 0 && s->offsets[seq - 1] >= offset) ||
        (seq + 1 < s->sent && s->offsets[seq + 1] >= 0 && s->offsets[seq + 1] <= offset)) {
        oracle_violation(o, "order: partition %u: stream %u record %u at offset %" PRId64 " is out of its producer's order",
                         p->key.partition, s->id, seq, offset);
    }
}

/* An acknowledged batch is committed: some leader's turn that ended before the answer left has shown it. */
void oracle_check_committed(struct oracle *o, const struct oracle_part *p, int64_t end, const char *what)
{
    const struct seen_group *g = p->group != 0 ? oracle_group(o, p->group) : NULL; /* the real client does not know it */
    if (g != NULL && end > g->high_watermark) {
        oracle_violation(o, "group %" PRIu64 " partition %u: %s up to offset %" PRId64 ", committed and applied anywhere is %" PRId64,
                         p->group, p->key.partition, what, end, g->high_watermark);
    }
}

void oracle_acked(struct oracle *o, struct oracle_stream *s, uint32_t seq, uint32_t n, int64_t base_offset)
{
    if (base_offset < 0) {
        oracle_violation(o, "partition %u: acknowledged at offset %" PRId64, s->part->key.partition, base_offset);
    }
    oracle_check_committed(o, s->part, base_offset + n, "acknowledged");
    for (uint32_t i = 0; i < n; i++) {
        place(o, s, seq + i, base_offset + i, 0, true);
    }
    if (base_offset + n > s->part->acked_end) {
        s->part->acked_end = base_offset + n;
    }
    o->counts.acks++;
    o->counts.acked_records += n;
}

int64_t oracle_known_end(const struct oracle_part *part)
{
    return part->acked_end;
}

void oracle_listed_end(struct oracle *o, struct oracle_part *part, int64_t known_before, int64_t offset)
{
    o->counts.list_offsets++;
    if (offset < known_before) {
        oracle_violation(o, "partition %u: the latest offset was told as %" PRId64 ", acknowledged before was %" PRId64,
                         part->key.partition, offset, known_before);
    }
    oracle_check_committed(o, part, offset, "latest offset told");
}

/* The first record that is as new as that; by what readers have seen. */
void oracle_listed_time(struct oracle *o, struct oracle_part *part, int64_t known_before, int64_t asked_ms, int64_t offset,
                        int64_t told_ms)
{
    int64_t end = offset < 0 ? known_before : offset;

    o->counts.list_times++;
    if (offset >= 0) {
        oracle_check_committed(o, part, offset + 1, "offset of a time told");
    }
    for (int64_t i = 0; i < end && i < part->n_slots; i++) {
        if (part->slots[i].time_ms != 0 && part->slots[i].time_ms >= asked_ms) {
            oracle_violation(o, "partition %u: the first offset from time %" PRId64 " on was told as %" PRId64 ", offset %" PRId64
                             " is of time %" PRId64, part->key.partition, asked_ms, offset, i, part->slots[i].time_ms);
        }
    }
    if (offset >= 0 && (told_ms < asked_ms || (offset < part->n_slots && part->slots[offset].time_ms != 0 &&
                                               part->slots[offset].time_ms != told_ms))) {
        oracle_violation(o, "partition %u: asked for time %" PRId64 ", told offset %" PRId64 " of time %" PRId64,
                         part->key.partition, asked_ms, offset, told_ms);
    }
}

/* ---- readers --------------------------------------------------------------------------------------------------------- */

void oracle_reader_init(struct oracle_reader *r, struct oracle_part *part, bool complete)
{
    *r = (struct oracle_reader){.part = part, .complete = complete};
}

void oracle_reader_close(struct oracle_reader *r)
{
    free(r->next);
    r->next = NULL;
}

void oracle_reader_asks(struct oracle_reader *r)
{
    r->asked_epoch = r->part->told_epoch;
    r->asked_end = r->part->told_end;
}

void oracle_told(struct oracle_part *part, uint64_t leader_epoch, int64_t end)
{
    part->told_epoch = leader_epoch > part->told_epoch ? leader_epoch : part->told_epoch;
    part->told_end = end > part->told_end ? end : part->told_end;
}

/* Every record exactly once and in order: what an idempotent producer has sent has no gap either. */
static void follow_stream(struct oracle *o, struct oracle_reader *r, const struct oracle_stream *s, uint32_t seq,
                          int64_t offset)
{
    if (r->n_next < o->n_streams) {
        r->next = realloc(r->next, o->n_streams * sizeof *r->next);
        assert(r->next != NULL);
        memset(r->next + r->n_next, 0, (o->n_streams - r->n_next) * sizeof *r->next);
        r->n_next = o->n_streams;
    }
    if (s->producer_id >= 0 ? seq != r->next[s->id] : seq > r->next[s->id]) {
        oracle_violation(o, "group %" PRIu64 " partition %u offset %" PRId64 ": stream %u record %u, expected was record %u",
                         r->part->group, r->part->key.partition, offset, s->id, seq, r->next[s->id]);
    }
    if (s->producer_id >= 0 && seq == 0) {
        /* An older epoch of this producer may not come later (KIP-98). */
        for (uint32_t i = 0; i < o->n_streams; i++) {
            const struct oracle_stream *other = o->streams[i];
            if (other->part == s->part && other->producer_id == s->producer_id && other->epoch > s->epoch &&
                r->next[i] > 0) {
                oracle_violation(o, "partition %u offset %" PRId64 ": epoch %d of producer %" PRId64 " after epoch %d",
                                 s->part->key.partition, offset, s->epoch, s->producer_id, other->epoch);
            }
        }
    }
    if (seq == r->next[s->id]) {
        r->next[s->id]++;
    }
}

static void read_record(struct oracle *o, struct oracle_reader *r, const struct record_batch_header *h,
                        const struct record *record)
{
    struct oracle_part *p = r->part;
    uint32_t seq;
    struct oracle_stream *s = check_value(o, p, record, &seq);

    if (h->producer_id != s->producer_id ||
        (s->producer_id >= 0 && (h->producer_epoch != s->epoch ||
                                 (uint32_t)h->base_sequence + (uint32_t)(record->offset - h->base_offset) != seq))) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a batch of another producer, or with other sequence numbers",
                         p->key.partition, record->offset);
    }
    place(o, s, seq, record->offset, h->crc, false);
    if (r->complete) {
        follow_stream(o, r, s, seq, record->offset);
    }
}

static void read_batch(struct oracle *o, struct oracle_reader *r, const struct record_batch_header *h, const uint8_t *bytes)
{
    struct oracle_part *p = r->part;
    struct record_iter it;
    struct record record;
    int64_t expected = h->base_offset;

    if (!record_batch_intact(bytes, h->size)) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a batch without its crc", p->key.partition, h->base_offset);
    }
    if (record_iter_init(&it, bytes, h->size, oracle_real_scratch(o)) != 0) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a batch that cannot be read", p->key.partition, h->base_offset);
    }
    while (record_iter_next(&it, &record)) {
        if (record.offset != expected) {
            oracle_violation(o, "partition %u offset %" PRId64 ": expected was %" PRId64, p->key.partition, record.offset,
                             expected);
        }
        if (oracle_real_record(&record)) {
            oracle_real_read(o, p, h, &record);
        } else {
            read_record(o, r, h, &record);
        }
        p->slots[record.offset].time_ms = record.timestamp;
        expected++;
        o->counts.read_records++;
    }
    if (record_iter_error(&it) != 0 || expected != record_batch_offset_next(h)) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a batch that ends early", p->key.partition, h->base_offset);
    }
}

uint32_t oracle_read_batches(struct oracle *o, struct oracle_reader *r, const uint8_t *bytes, size_t size)
{
    struct oracle_part *p = r->part;
    uint32_t n = 0;

    while (size > 0) {
        struct record_batch_header h;
        if (record_batch_peek(bytes, size, &h) != 0) {
            oracle_violation(o, "partition %u: a fetch's answer is not whole batches", p->key.partition);
        }
        if (n == 0 ? h.base_offset > r->offset || record_batch_offset_next(&h) <= r->offset : h.base_offset != r->offset) {
            oracle_violation(o, "partition %u: asked for offset %" PRId64 ", got a batch at %" PRId64, p->key.partition,
                             r->offset, h.base_offset);
        }
        if (r->complete && h.base_offset != r->offset) {
            oracle_violation(o, "partition %u: offset %" PRId64 " lies inside a batch at %" PRId64, p->key.partition,
                             r->offset, h.base_offset);
        }
        oracle_check_committed(o, p, record_batch_offset_next(&h), "served");
        read_batch(o, r, &h, bytes);
        r->offset = record_batch_offset_next(&h);
        bytes += h.size;
        size -= h.size;
        n++;
    }
    return n;
}

uint32_t oracle_fetched(struct oracle *o, struct oracle_reader *r, uint64_t leader_epoch, int64_t high_watermark,
                        int64_t log_start, const uint8_t *bytes, size_t size)
{
    struct oracle_part *p = r->part;
    uint32_t n;

    if (log_start != 0) {
        oracle_violation(o, "partition %u: the log starts at %" PRId64 ", nothing was to expire", p->key.partition, log_start);
    }
    oracle_check_committed(o, p, high_watermark, "high watermark told");
    if (leader_epoch >= r->asked_epoch && high_watermark < r->asked_end) {
        oracle_violation(o, "group %" PRIu64 " partition %u: epoch %" PRIu64 " tells the high watermark %" PRId64 ", before the "
                         "question %" PRId64 " was told in epoch %" PRIu64, p->group, p->key.partition, leader_epoch,
                         high_watermark, r->asked_end, r->asked_epoch);
    }
    oracle_told(p, leader_epoch, high_watermark);
    /* A leader that was deposed without knowing may be behind: all it has is committed, but it is an older leader's word. */
    if (leader_epoch < r->leader_epoch) {
        o->counts.stale_answers++;
    } else {
        if (high_watermark < r->high_watermark) {
            oracle_violation(o, "group %" PRIu64 " partition %u: the high watermark went back for a reader, from %" PRId64
                             " to %" PRId64 " (leader epoch %" PRIu64 " after %" PRIu64 ")", p->group, p->key.partition,
                             r->high_watermark, high_watermark, leader_epoch, r->leader_epoch);
        }
        r->leader_epoch = leader_epoch;
        r->high_watermark = high_watermark;
    }
    n = oracle_read_batches(o, r, bytes, size);
    o->counts.reads += n > 0;
    return n;
}

void oracle_final_part(struct oracle *o, struct oracle_part *part, const struct oracle_reader *r, int64_t end)
{
    if (r->offset != end || end < part->n_slots || end < part->acked_end) {
        oracle_violation(o, "partition %u: read to the end at %" PRId64 " (latest offset %" PRId64 "), acknowledged or read "
                         "before was %" PRId64, part->key.partition, r->offset, end, part->n_slots);
    }
    for (int64_t i = 0; i < part->n_slots; i++) {
        if (part->slots[i].stream == NO_STREAM) {
            oracle_violation(o, "partition %u: offset %" PRId64 " was never read", part->key.partition, i);
        }
    }
    for (uint32_t i = 0; i < o->n_streams; i++) {
        struct oracle_stream *s = o->streams[i];
        for (uint32_t k = 0; s->part == part && k < s->sent; k++) {
            if (s->offsets[k] >= 0 && (i >= r->n_next || r->next[i] <= k)) {
                oracle_violation(o, "partition %u: stream %u record %u is gone", part->key.partition, i, k);
            }
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------------------------------- */

void oracle_records_free(struct oracle *o)
{
    struct oracle_part *p, *next_p;
    struct oracle_topic *t, *next_t;

    HASH_ITER(hh, o->parts, p, next_p)
    {
        HASH_DEL(o->parts, p);
        free(p->slots);
        free(p);
    }
    HASH_ITER(hh, o->topics, t, next_t)
    {
        HASH_DEL(o->topics, t);
        free(t);
    }
    for (uint32_t i = 0; i < o->n_streams; i++) {
        free(o->streams[i]->offsets);
        free(o->streams[i]->chances);
        free(o->streams[i]);
    }
    free(o->streams);
    oracle_real_free(o);
    group_ledgers_free(o);
}
