#include "proto/base/varint.h"
#include "proto/kafka/kafka_codec.h"

struct decoder {
    struct cursor *c;
    struct kafka_arena *arena;
    int16_t version;
    bool flexible;
    int error; /* what went wrong, where it is not the bytes; the cursor is failed too */
};

static void decode_struct(struct decoder *d, const struct kafka_struct *s, uint8_t *out);

static void fail(struct decoder *d, int error)
{
    d->c->failed = true;
    if (d->error == 0) {
        d->error = error;
    }
}

/* A length or a count; -1 for null. A cursor that fails gives 0. */
static int32_t read_length(struct decoder *d, const struct kafka_field *f, bool is_short)
{
    bool compact = d->flexible && (f->flags & KAFKA_FIELD_CLASSIC) == 0;
    int32_t length;

    if (compact) {
        uint32_t plus_one = cursor_uvarint32(d->c);
        if (plus_one > (uint32_t)INT32_MAX) {
            fail(d, ERR_MALFORMED);
        }
        length = (int32_t)(plus_one - 1); /* 0 becomes -1 */
    } else {
        length = is_short ? cursor_i16_be(d->c) : cursor_i32_be(d->c);
    }
    if (length < -1 || (length == -1 && !kafka_field_nullable(f, d->version))) {
        d->c->failed = true;
    }
    return d->c->failed ? 0 : length;
}

static void decode_slice(struct decoder *d, const struct kafka_field *f, uint8_t *out)
{
    bool is_string = f->type == KAFKA_TYPE_STRING;
    struct kafka_bytes slice = {NULL, 0};

    slice.length = read_length(d, f, is_string);
    if (is_string && slice.length > KAFKA_STRING_SIZE_MAX) {
        fail(d, ERR_TOO_BIG);
        return;
    }
    if (slice.length > 0) {
        slice.data = cursor_bytes(d->c, (size_t)slice.length);
    }
    if (is_string) {
        *(struct kafka_string *)(void *)out = (struct kafka_string){(const char *)slice.data, slice.length};
    } else {
        *(struct kafka_bytes *)(void *)out = slice;
    }
}

static void decode_pointer(struct decoder *d, const struct kafka_field *f, uint8_t *out)
{
    void *inner = NULL;
    int8_t mark = cursor_i8_be(d->c);
    int rv;

    *(void **)(void *)out = NULL;
    if (mark < 0) {
        d->c->failed |= !kafka_field_nullable(f, d->version);
        return;
    }
    if (d->c->failed) {
        return;
    }
    rv = kafka_arena_alloc(d->arena, 1, f->inner->size, &inner);
    if (rv != 0) {
        fail(d, rv);
        return;
    }
    decode_struct(d, f->inner, inner);
    *(void **)(void *)out = inner;
}

/* One value: the field itself, or one item of it where it is an array. */
static void decode_value(struct decoder *d, const struct kafka_field *f, uint8_t *out)
{
    uint64_t bits;
    const uint8_t *p;

    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_BOOL:
        *(bool *)out = cursor_u8(d->c) != 0;
        break;
    case KAFKA_TYPE_INT8:
        *(int8_t *)out = cursor_i8_be(d->c);
        break;
    case KAFKA_TYPE_INT16:
    case KAFKA_TYPE_UINT16:
        *(int16_t *)(void *)out = cursor_i16_be(d->c);
        break;
    case KAFKA_TYPE_INT32:
    case KAFKA_TYPE_UINT32:
        *(int32_t *)(void *)out = cursor_i32_be(d->c);
        break;
    case KAFKA_TYPE_INT64:
        *(int64_t *)(void *)out = cursor_i64_be(d->c);
        break;
    case KAFKA_TYPE_FLOAT64:
        bits = (uint64_t)cursor_i64_be(d->c);
        memcpy(out, &bits, sizeof bits);
        break;
    case KAFKA_TYPE_UUID:
        p = cursor_bytes(d->c, sizeof(struct uuid));
        if (p != NULL) {
            memcpy(out, p, sizeof(struct uuid));
        }
        break;
    case KAFKA_TYPE_STRING:
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        decode_slice(d, f, out);
        break;
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) != 0) {
            decode_pointer(d, f, out);
        } else {
            decode_struct(d, f->inner, out);
        }
        break;
    }
}

static void decode_array(struct decoder *d, const struct kafka_field *f, uint8_t *out)
{
    size_t item_size = kafka_field_item_size(f);
    int32_t count = read_length(d, f, false);
    void *items = NULL;
    int rv;

    /* Every item takes some bytes: a count that these bytes cannot hold is a lie, and allocates nothing. */
    if (count > 0 && (size_t)count > cursor_left(d->c) / f->item_wire_min) {
        d->c->failed = true;
        return;
    }
    rv = kafka_arena_alloc(d->arena, count > 0 ? (size_t)count : 0, item_size, &items);
    if (rv != 0) {
        fail(d, rv);
        return;
    }
    for (int32_t i = 0; i < count && !d->c->failed; i++) {
        decode_value(d, f, (uint8_t *)items + (size_t)i * item_size);
    }
    *(void **)(void *)(out + f->offset) = items;
    *(int32_t *)(void *)(out + f->count_offset) = count;
}

static void decode_field(struct decoder *d, const struct kafka_field *f, uint8_t *out)
{
    if ((f->flags & KAFKA_FIELD_ARRAY) != 0) {
        decode_array(d, f, out);
    } else {
        decode_value(d, f, out + f->offset);
    }
}

static const struct kafka_field *find_tag(const struct kafka_struct *s, uint32_t tag, int16_t version)
{
    for (uint32_t i = 0; i < s->fields_count; i++) {
        const struct kafka_field *f = &s->fields[i];
        if (f->tag >= 0 && (uint32_t)f->tag == tag && kafka_field_in(f, version)) {
            return f;
        }
    }
    return NULL;
}

/* KIP-482: a count, then (tag, size, bytes) in the order of tags. Unknown ones are skipped: newer clients have them. */
static void decode_tags(struct decoder *d, const struct kafka_struct *s, uint8_t *out)
{
    uint32_t count = cursor_uvarint32(d->c);
    int64_t last = -1;

    for (uint32_t i = 0; i < count && !d->c->failed; i++) {
        uint32_t tag = cursor_uvarint32(d->c);
        uint32_t size = cursor_uvarint32(d->c);
        const uint8_t *bytes = cursor_bytes(d->c, size);
        const struct kafka_field *f;
        struct cursor *whole = d->c;
        struct cursor part;

        if (bytes == NULL || (int64_t)tag <= last) {
            d->c->failed = true; /* a tag twice would mean two values */
            return;
        }
        last = tag;
        f = find_tag(s, tag, d->version);
        if (f == NULL) {
            continue;
        }
        cursor_init(&part, bytes, size);
        d->c = &part;
        decode_field(d, f, out);
        d->c = whole;
        whole->failed |= part.failed || cursor_left(&part) != 0;
    }
}

static void decode_struct(struct decoder *d, const struct kafka_struct *s, uint8_t *out)
{
    kafka_struct_init(s, out);
    for (uint32_t i = 0; i < s->fields_count && !d->c->failed; i++) {
        const struct kafka_field *f = &s->fields[i];
        if (f->tag < 0 && kafka_field_in(f, d->version)) {
            decode_field(d, f, out);
        }
    }
    if (d->flexible) {
        decode_tags(d, s, out);
    }
}

int kafka_decode(const struct kafka_message *message, struct cursor *c, int16_t version, struct kafka_arena *arena,
                 void *out)
{
    struct decoder d = {c, arena, version, kafka_message_flexible(message, version), 0};

    if (!kafka_message_in(message, version)) {
        return ERR_VERSION;
    }
    decode_struct(&d, message->body, out);
    if (cursor_failed(c)) {
        return d.error != 0 ? d.error : ERR_MALFORMED;
    }
    return 0;
}
