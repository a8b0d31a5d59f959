/* What the real client told its program, against what is in the logs: acknowledged records stand where it was said, failed
 * ones nowhere, unknown ones once or not at all; each at most once, in the order of the calls; readers get all, in order. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/record_iter.h"
#include "tests/sim/oracle_internal.h"
#include "tests/sim/real_client.h"

#define REAL_FLAG 0x80000000u /* in a stream's number: one of this file */

enum told { TOLD_NOTHING, TOLD_ACKED, TOLD_UNKNOWN, TOLD_FAILED };

/* The records of a stream in one of the topics that have had its name. */
struct real_life {
    struct list link; /* of real_stream.lives */
    struct uuid topic;
    uint32_t capacity;
    struct real_place {
        uint32_t partition;
        int64_t offset; /* -1: not seen there */
    } *places;          /* by sequence number */
};

struct real_stream {
    uint32_t id; /* with REAL_FLAG */
    unsigned topic;
    bool topic_goes; /* it may be deleted */
    uint32_t sent;
    uint32_t capacity;
    struct real_record {
        uint8_t told;
        int error;
    } *records;
    struct list lives;
};

struct oracle_real {
    struct real_stream **streams;
    uint32_t n_streams;
    struct codec_scratch scratch;
};

static struct oracle_real *real_of(struct oracle *o)
{
    if (o->real == NULL) {
        o->real = calloc(1, sizeof *o->real);
        assert(o->real != NULL);
        codec_scratch_init(&o->real->scratch, 0);
    }
    return o->real;
}

struct codec_scratch *oracle_real_scratch(struct oracle *o)
{
    return &real_of(o)->scratch;
}

struct real_stream *real_stream_new(struct oracle *o, unsigned topic, bool topic_goes)
{
    struct real_stream *s = calloc(1, sizeof *s);
    struct oracle_real *real = real_of(o);

    assert(s != NULL);
    s->id = REAL_FLAG | real->n_streams;
    s->topic = topic;
    s->topic_goes = topic_goes;
    list_init(&s->lives);
    real->streams = realloc(real->streams, (real->n_streams + 1) * sizeof(struct real_stream *));
    assert(real->streams != NULL);
    real->streams[real->n_streams++] = s;
    return s;
}

uint32_t real_stream_id(const struct real_stream *s)
{
    return s->id;
}

uint32_t real_stream_next(const struct real_stream *s)
{
    return s->sent;
}

void real_stream_sent(struct real_stream *s)
{
    if (s->sent == s->capacity) {
        s->capacity = s->capacity == 0 ? 256 : 2 * s->capacity;
        s->records = realloc(s->records, s->capacity * sizeof *s->records);
        assert(s->records != NULL);
    }
    s->records[s->sent++] = (struct real_record){TOLD_NOTHING, 0};
}

static struct real_life *life_of(struct real_stream *s, const struct uuid *topic)
{
    struct real_life *life = NULL;

    list_for_each(pos, &s->lives)
    {
        struct real_life *l = list_entry(pos, struct real_life, link);
        if (uuid_equal(&l->topic, topic)) {
            life = l;
        }
    }
    if (life == NULL) {
        life = calloc(1, sizeof *life);
        assert(life != NULL);
        life->topic = *topic;
        list_push_back(&s->lives, &life->link);
    }
    if (life->capacity < s->sent) {
        life->places = realloc(life->places, s->capacity * sizeof *life->places);
        assert(life->places != NULL);
        while (life->capacity < s->capacity) {
            life->places[life->capacity++] = (struct real_place){0, -1};
        }
    }
    return life;
}

/* Those of the same partition next to @seq stand on the right sides of @offset. */
static void check_order(struct oracle *o, const struct real_stream *s, const struct real_life *life, uint32_t seq)
{
    const struct real_place *mine = &life->places[seq];
    const struct real_place *other = NULL;
    uint32_t at;

    for (at = seq; at-- > 0;) {
        other = &life->places[at];
        if (other->offset >= 0 && other->partition == mine->partition) {
            if (other->offset >= mine->offset) {
                goto violation;
            }
            break;
        }
    }
    for (at = seq + 1; at < s->sent; at++) {
        other = &life->places[at];
        if (other->offset >= 0 && other->partition == mine->partition) {
            if (other->offset <= mine->offset) {
                goto violation;
            }
            break;
        }
    }
    return;
violation:
    oracle_violation(o, "real client: order: t%u/%u: record %u of stream %u stands at offset %" PRId64
                     ", record %u at %" PRId64, s->topic, mine->partition, seq, s->id & ~REAL_FLAG, mine->offset, at,
                     other->offset);
}

static void place(struct oracle *o, struct real_stream *s, uint32_t seq, struct oracle_part *p, int64_t offset)
{
    struct real_life *life = life_of(s, &p->key.topic);
    struct real_place *place = &life->places[seq];

    if (place->offset >= 0) {
        if (place->offset != offset || place->partition != p->key.partition) {
            oracle_violation(o, "real client: duplicate: record %u of stream %u stands at t%u/%u offset %" PRId64
                             " and at t%u/%u offset %" PRId64, seq, s->id & ~REAL_FLAG, s->topic, place->partition,
                             place->offset, s->topic, p->key.partition, offset);
        }
        return;
    }
    if (s->records[seq].told == TOLD_FAILED) {
        oracle_violation(o, "real client: record %u of stream %u was told as failed (%s) and stands at t%u/%u offset %" PRId64,
                         seq, s->id & ~REAL_FLAG, err_name(s->records[seq].error), s->topic, p->key.partition, offset);
    }
    *place = (struct real_place){p->key.partition, offset};
    check_order(o, s, life, seq);
}

/* Each record's fate is told once. */
static void tell(struct oracle *o, struct real_stream *s, uint32_t seq, enum told told, int error)
{
    if (seq >= s->sent || s->records[seq].told != TOLD_NOTHING) {
        oracle_violation(o, "real client: the fate of record %u of stream %u (%u sent) was told %s", seq, s->id & ~REAL_FLAG,
                         s->sent, seq >= s->sent ? "and it never was" : "twice");
    }
    s->records[seq] = (struct real_record){(uint8_t)told, error};
}

void real_stream_acked(struct oracle *o, struct real_stream *s, uint32_t seq, struct oracle_part *part, int64_t offset)
{
    tell(o, s, seq, TOLD_ACKED, 0);
    o->counts.real_acked_records++;
    if (part == NULL || offset < 0) {
        o->counts.real_acked_somewhere++;
        return;
    }
    oracle_check_committed(o, part, offset + 1, "acknowledged by the real client");
    (void)oracle_slot_take(o, part, offset, s->id, seq, 0, true);
    place(o, s, seq, part, offset);
    if (offset + 1 > part->acked_end) {
        part->acked_end = offset + 1;
    }
}

void real_stream_unknown(struct oracle *o, struct real_stream *s, uint32_t seq)
{
    tell(o, s, seq, TOLD_UNKNOWN, 0);
    o->counts.real_unknown++;
}

void real_stream_failed(struct oracle *o, struct real_stream *s, uint32_t seq, int error)
{
    tell(o, s, seq, TOLD_FAILED, error);
    o->counts.real_failed++;
    list_for_each(pos, &s->lives)
    {
        const struct real_life *life = list_entry(pos, struct real_life, link);
        if (seq < life->capacity && life->places[seq].offset >= 0) {
            oracle_violation(o, "real client: record %u of stream %u stands at t%u/%u offset %" PRId64
                             " and was told as failed: %s", seq, s->id & ~REAL_FLAG, s->topic, life->places[seq].partition,
                             life->places[seq].offset, err_name(error));
        }
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

bool oracle_real_record(const struct record *record)
{
    uint32_t head[3];

    if (record->value_length < ORACLE_VALUE_MIN) {
        return false;
    }
    memcpy(head, record->value, sizeof head);
    return (head[0] & REAL_FLAG) != 0;
}

void oracle_real_read(struct oracle *o, struct oracle_part *p, const struct record_batch_header *h, const struct record *record)
{
    const struct oracle_real *real = real_of(o);
    struct real_stream *s;
    uint8_t *expected;
    uint32_t head[3];

    memcpy(head, record->value, sizeof head);
    if ((head[0] & ~REAL_FLAG) >= real->n_streams || head[1] >= real->streams[head[0] & ~REAL_FLAG]->sent ||
        head[2] != (uint32_t)record->value_length || oracle_value_size(o, head[0], head[1]) != head[2]) {
        oracle_violation(o, "partition %u offset %" PRId64 ": a value that nobody sent", p->key.partition, record->offset);
    }
    s = real->streams[head[0] & ~REAL_FLAG];
    expected = malloc(head[2]);
    assert(expected != NULL);
    oracle_value(o, head[0], head[1], expected);
    if (memcmp(expected, record->value, head[2]) != 0) {
        oracle_violation(o, "partition %u offset %" PRId64 ": the real client's stream %u record %u has other bytes than were sent",
                         p->key.partition, record->offset, head[0] & ~REAL_FLAG, head[1]);
    }
    free(expected);
    if (h->producer_id < 0 || h->producer_epoch < 0 || h->base_sequence < 0) {
        oracle_violation(o, "partition %u offset %" PRId64 ": the real client's batch names no producer", p->key.partition,
                         record->offset);
    }
    (void)oracle_slot_take(o, p, record->offset, s->id, head[1], h->crc, false);
    place(o, s, head[1], p, record->offset);
}

void real_reader_got(struct oracle *o, struct oracle_reader *r, const uint8_t *bytes, size_t size, int64_t begin, int64_t end)
{
    if (begin != r->offset) {
        oracle_violation(o, "real client: partition %u: was at offset %" PRId64 ", got what begins at %" PRId64,
                         r->part->key.partition, r->offset, begin);
    }
    if (oracle_read_batches(o, r, bytes, size) == 0 || r->offset != end) {
        oracle_violation(o, "real client: partition %u: batches from offset %" PRId64 " end at %" PRId64 ", it says %" PRId64,
                         r->part->key.partition, begin, r->offset, end);
    }
    o->counts.real_reads++;
}

/* ---- the end ------------------------------------------------------------------------------------------------------------ */

static bool stands(struct oracle *o, const struct real_stream *s, uint32_t seq, bool *doomed)
{
    list_for_each(pos, &s->lives)
    {
        const struct real_life *life = list_entry(pos, struct real_life, link);
        if (oracle_topic_is_doomed(o, &life->topic)) {
            *doomed = true;
        } else if (seq < life->capacity && life->places[seq].offset >= 0) {
            return true;
        }
    }
    return false;
}

/* Everything that is there was read. What was acknowledged without a place must be there too; where a topic of the name was
 * deleted, it may have been in that one. */
void oracle_real_final(struct oracle *o)
{
    const struct oracle_real *real = real_of(o);

    for (uint32_t i = 0; i < real->n_streams; i++) {
        struct real_stream *s = real->streams[i];
        bool doomed = s->topic_goes;
        for (uint32_t k = 0; k < s->sent; k++) {
            if (s->records[k].told == TOLD_ACKED && !stands(o, s, k, &doomed) && !doomed) {
                oracle_violation(o, "real client: record %u of stream %u (topic t%u) was acknowledged and is not there", k, i,
                                 s->topic);
            }
        }
    }
}

void oracle_real_free(struct oracle *o)
{
    struct oracle_real *real = o->real;

    if (real == NULL) {
        return;
    }
    for (uint32_t i = 0; i < real->n_streams; i++) {
        struct real_stream *s = real->streams[i];
        while (!list_empty(&s->lives)) {
            struct real_life *life = list_entry(list_pop_front(&s->lives), struct real_life, link);
            free(life->places);
            free(life);
        }
        free(s->records);
        free(s);
    }
    free(real->streams);
    codec_scratch_close(&real->scratch);
    free(real);
    o->real = NULL;
}
