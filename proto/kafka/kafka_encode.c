#include "proto/base/varint.h"
#include "proto/kafka/kafka_codec.h"
#include "proto/kafka/kafka_layout.h"

struct encoder {
    struct writer *w;
    int16_t version;
    bool flexible;
    int error;                     /* why the message cannot be said; writing goes on, the result is thrown away */
    struct kafka_splices *splices; /* NULL: records are copied */
};

static void encode_struct(struct encoder *e, const struct kafka_struct *s, const uint8_t *in);

static void fail(struct encoder *e, int error)
{
    if (e->error == 0) {
        e->error = error;
    }
}

static void write_length(struct encoder *e, const struct kafka_field *f, int32_t length, bool is_short)
{
    if (length < 0 && (length != -1 || !kafka_field_nullable(f, e->version))) {
        fail(e, length == -1 ? ERR_VERSION : ERR_INVALID);
        length = 0;
    }
    if (e->flexible && (f->flags & KAFKA_FIELD_CLASSIC) == 0) {
        writer_uvarint32(e->w, (uint32_t)length + 1);
    } else if (is_short) {
        writer_i16_be(e->w, (int16_t)length);
    } else {
        writer_i32_be(e->w, length);
    }
}

static void encode_string(struct encoder *e, const struct kafka_field *f, const struct kafka_string *s)
{
    if (s->length > KAFKA_STRING_SIZE_MAX) {
        fail(e, ERR_TOO_BIG);
        return;
    }
    write_length(e, f, s->length, true);
    if (s->length > 0) {
        writer_bytes(e->w, s->data, (size_t)s->length);
    }
}

static void encode_bytes(struct encoder *e, const struct kafka_field *f, const struct kafka_bytes *bytes)
{
    write_length(e, f, bytes->length, false);
    if (bytes->length <= 0) {
        return;
    }
    if (f->type == KAFKA_TYPE_RECORDS && e->splices != NULL && e->splices->count < e->splices->count_max) {
        e->splices->items[e->splices->count++] = (struct kafka_splice){e->w->position, *bytes};
        return;
    }
    writer_bytes(e->w, bytes->data, (size_t)bytes->length);
}

static void encode_pointer(struct encoder *e, const struct kafka_field *f, const void *inner)
{
    if (inner == NULL) {
        if (!kafka_field_nullable(f, e->version)) {
            fail(e, ERR_VERSION);
        }
        writer_i8_be(e->w, -1);
        return;
    }
    writer_i8_be(e->w, 1);
    encode_struct(e, f->inner, inner);
}

static void encode_value(struct encoder *e, const struct kafka_field *f, const uint8_t *in)
{
    uint64_t bits;

    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_BOOL:
        writer_u8(e->w, *(const bool *)in ? 1 : 0);
        break;
    case KAFKA_TYPE_INT8:
        writer_i8_be(e->w, *(const int8_t *)in);
        break;
    case KAFKA_TYPE_INT16:
    case KAFKA_TYPE_UINT16:
        writer_i16_be(e->w, *(const int16_t *)(const void *)in);
        break;
    case KAFKA_TYPE_INT32:
    case KAFKA_TYPE_UINT32:
        writer_i32_be(e->w, *(const int32_t *)(const void *)in);
        break;
    case KAFKA_TYPE_INT64:
        writer_i64_be(e->w, *(const int64_t *)(const void *)in);
        break;
    case KAFKA_TYPE_FLOAT64:
        memcpy(&bits, in, sizeof bits);
        writer_i64_be(e->w, (int64_t)bits);
        break;
    case KAFKA_TYPE_UUID:
        writer_bytes(e->w, in, sizeof(struct uuid));
        break;
    case KAFKA_TYPE_STRING:
        encode_string(e, f, (const void *)in);
        break;
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        encode_bytes(e, f, (const void *)in);
        break;
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) != 0) {
            encode_pointer(e, f, *(void *const *)(const void *)in);
        } else {
            encode_struct(e, f->inner, in);
        }
        break;
    }
}

static void encode_field(struct encoder *e, const struct kafka_field *f, const uint8_t *in)
{
    if ((f->flags & KAFKA_FIELD_ARRAY) != 0) {
        const uint8_t *items = *(uint8_t *const *)(const void *)(in + f->offset);
        int32_t count = *(const int32_t *)(const void *)(in + f->count_offset);
        size_t item_size = kafka_field_item_size(f);

        write_length(e, f, count, false);
        for (int32_t i = 0; i < count && !e->w->failed; i++) {
            encode_value(e, f, items + (size_t)i * item_size);
        }
    } else {
        encode_value(e, f, in + f->offset);
    }
}

static void encode_tags(struct encoder *e, const struct kafka_struct *s, const uint8_t *in)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->fields_count; i++) {
        const struct kafka_field *f = &s->fields[i];
        count += f->tag >= 0 && kafka_field_in(f, e->version) && !kafka_field_is_default(f, in);
    }
    writer_uvarint32(e->w, count);
    for (uint32_t i = 0; count > 0 && i < s->fields_count; i++) {
        const struct kafka_field *f = &s->fields[i];
        if (f->tag >= 0 && kafka_field_in(f, e->version) && !kafka_field_is_default(f, in)) {
            writer_uvarint32(e->w, (uint32_t)f->tag);
            writer_uvarint32(e->w, (uint32_t)kafka_field_size(f, e->version, e->flexible, true, in));
            encode_field(e, f, in);
        }
    }
}

static void encode_struct(struct encoder *e, const struct kafka_struct *s, const uint8_t *in)
{
    for (uint32_t i = 0; i < s->fields_count; i++) {
        const struct kafka_field *f = &s->fields[i];
        if (!kafka_field_in(f, e->version)) {
            if ((f->flags & KAFKA_FIELD_IGNORABLE) == 0 && !kafka_field_is_default(f, in)) {
                fail(e, ERR_VERSION);
            }
        } else if (f->tag < 0) {
            encode_field(e, f, in);
        }
    }
    if (e->flexible) {
        encode_tags(e, s, in);
    }
}

int kafka_encode_spliced(const struct kafka_message *message, struct writer *w, int16_t version, const void *in,
                         struct kafka_splices *splices)
{
    struct encoder e = {w, version, kafka_message_flexible(message, version), 0, splices};

    if (!kafka_message_in(message, version)) {
        return ERR_VERSION;
    }
    encode_struct(&e, message->body, in);
    if (e.error != 0) {
        return e.error;
    }
    return writer_failed(w) ? ERR_BUFFER_FULL : 0;
}

int kafka_encode(const struct kafka_message *message, struct writer *w, int16_t version, const void *in)
{
    return kafka_encode_spliced(message, w, version, in, NULL);
}
