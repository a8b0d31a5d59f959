#include "proto/kafka/kafka_layout.h"

#include "proto/base/varint.h"
#include "proto/kafka/kafka_codec.h"

struct type_info {
    uint8_t size; /* in a C struct */
    uint8_t wire; /* on the wire; 0: it depends */
};

static const struct type_info types[] = {
    [KAFKA_TYPE_BOOL] = {sizeof(bool), 1},
    [KAFKA_TYPE_INT8] = {1, 1},
    [KAFKA_TYPE_INT16] = {2, 2},
    [KAFKA_TYPE_INT32] = {4, 4},
    [KAFKA_TYPE_INT64] = {8, 8},
    [KAFKA_TYPE_UINT16] = {2, 2},
    [KAFKA_TYPE_UINT32] = {4, 4},
    [KAFKA_TYPE_FLOAT64] = {sizeof(double), 8},
    [KAFKA_TYPE_UUID] = {sizeof(struct uuid), 16},
    [KAFKA_TYPE_STRING] = {sizeof(struct kafka_string), 0},
    [KAFKA_TYPE_BYTES] = {sizeof(struct kafka_bytes), 0},
    [KAFKA_TYPE_RECORDS] = {sizeof(struct kafka_bytes), 0},
    [KAFKA_TYPE_STRUCT] = {0, 0},
};

size_t kafka_field_item_size(const struct kafka_field *f)
{
    if (f->type != KAFKA_TYPE_STRUCT) {
        return types[f->type].size;
    }
    return (f->flags & KAFKA_FIELD_POINTER) != 0 ? sizeof(void *) : f->inner->size;
}

/* An integer of any width, widened. */
static int64_t read_integer(const struct kafka_field *f, const uint8_t *in)
{
    switch (f->type) {
    case KAFKA_TYPE_BOOL:
        return *(const bool *)in;
    case KAFKA_TYPE_INT8:
        return *(const int8_t *)in;
    case KAFKA_TYPE_INT16:
        return *(const int16_t *)(const void *)in;
    case KAFKA_TYPE_UINT16:
        return *(const uint16_t *)(const void *)in;
    case KAFKA_TYPE_INT32:
        return *(const int32_t *)(const void *)in;
    case KAFKA_TYPE_UINT32:
        return *(const uint32_t *)(const void *)in;
    default:
        return *(const int64_t *)(const void *)in;
    }
}

static void init_value(const struct kafka_field *f, uint8_t *out)
{
    int32_t length = (f->flags & KAFKA_FIELD_DEFAULT_NULL) != 0 ? -1 : 0;

    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_BOOL:
        *(bool *)out = f->default_value != 0;
        break;
    case KAFKA_TYPE_INT8:
        *(int8_t *)out = (int8_t)f->default_value;
        break;
    case KAFKA_TYPE_INT16:
    case KAFKA_TYPE_UINT16:
        *(int16_t *)(void *)out = (int16_t)f->default_value;
        break;
    case KAFKA_TYPE_INT32:
    case KAFKA_TYPE_UINT32:
        *(int32_t *)(void *)out = (int32_t)f->default_value;
        break;
    case KAFKA_TYPE_INT64:
        *(int64_t *)(void *)out = f->default_value;
        break;
    case KAFKA_TYPE_FLOAT64:
        *(double *)(void *)out = 0;
        break;
    case KAFKA_TYPE_UUID:
        memset(out, 0, sizeof(struct uuid));
        break;
    case KAFKA_TYPE_STRING:
        *(struct kafka_string *)(void *)out = (struct kafka_string){NULL, length};
        break;
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        *(struct kafka_bytes *)(void *)out = (struct kafka_bytes){NULL, length};
        break;
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) != 0) {
            *(void **)(void *)out = NULL;
        } else {
            kafka_struct_init(f->inner, out);
        }
        break;
    }
}

void kafka_struct_init(const struct kafka_struct *s, void *out)
{
    for (uint32_t i = 0; i < s->fields_count; i++) {
        const struct kafka_field *f = &s->fields[i];
        uint8_t *at = (uint8_t *)out + f->offset;

        if ((f->flags & KAFKA_FIELD_ARRAY) != 0) {
            *(void **)(void *)at = NULL;
            *(int32_t *)(void *)((uint8_t *)out + f->count_offset) =
                (f->flags & KAFKA_FIELD_DEFAULT_NULL) != 0 ? -1 : 0;
        } else {
            init_value(f, at);
        }
    }
}

static bool struct_is_default(const struct kafka_struct *s, const uint8_t *in)
{
    for (uint32_t i = 0; i < s->fields_count; i++) {
        if (!kafka_field_is_default(&s->fields[i], in)) {
            return false;
        }
    }
    return true;
}

bool kafka_field_is_default(const struct kafka_field *f, const uint8_t *in)
{
    const uint8_t *at = in + f->offset;
    int32_t length = (f->flags & KAFKA_FIELD_DEFAULT_NULL) != 0 ? -1 : 0;
    uint64_t bits;

    if ((f->flags & KAFKA_FIELD_ARRAY) != 0) {
        return *(const int32_t *)(const void *)(in + f->count_offset) == length;
    }
    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_FLOAT64:
        memcpy(&bits, at, sizeof bits);
        return bits == 0;
    case KAFKA_TYPE_UUID:
        return uuid_is_nil((const struct uuid *)(const void *)at);
    case KAFKA_TYPE_STRING:
        return ((const struct kafka_string *)(const void *)at)->length == length;
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        return ((const struct kafka_bytes *)(const void *)at)->length == length;
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) != 0) {
            return *(void *const *)(const void *)at == NULL;
        }
        return struct_is_default(f->inner, at);
    default:
        return read_integer(f, at) == f->default_value;
    }
}

static size_t uvarint_size(uint32_t value)
{
    return (32u - (unsigned)__builtin_clz(value | 1u) + 6u) / 7u;
}

static size_t length_size(const struct kafka_field *f, bool flexible, int32_t length, bool is_short)
{
    if (flexible && (f->flags & KAFKA_FIELD_CLASSIC) == 0) {
        return uvarint_size((uint32_t)length + 1);
    }
    return is_short ? 2 : 4;
}

static size_t struct_size(const struct kafka_struct *s, int16_t version, bool flexible, bool records, const uint8_t *in)
{
    size_t size = 0;
    uint32_t tags = 0;

    for (uint32_t i = 0; i < s->fields_count; i++) {
        const struct kafka_field *f = &s->fields[i];
        size_t field_size;

        if (!kafka_field_in(f, version) || (f->tag >= 0 && kafka_field_is_default(f, in))) {
            continue;
        }
        field_size = kafka_field_size(f, version, flexible, records, in);
        if (f->tag >= 0) {
            /* A tagged field's size covers its records, copied or not. */
            size_t whole = records ? field_size : kafka_field_size(f, version, flexible, true, in);
            size += uvarint_size((uint32_t)f->tag) + uvarint_size((uint32_t)whole);
            tags++;
        }
        size += field_size;
    }
    return size + (flexible ? uvarint_size(tags) : 0);
}

static size_t value_size(const struct kafka_field *f, int16_t version, bool flexible, bool records, const uint8_t *in)
{
    const void *inner;
    int32_t length;

    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_STRING:
        length = ((const struct kafka_string *)(const void *)in)->length;
        return length_size(f, flexible, length, true) + (length > 0 ? (size_t)length : 0);
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        length = ((const struct kafka_bytes *)(const void *)in)->length;
        return length_size(f, flexible, length, false) +
               (length > 0 && (records || f->type != KAFKA_TYPE_RECORDS) ? (size_t)length : 0);
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) == 0) {
            return struct_size(f->inner, version, flexible, records, in);
        }
        inner = *(void *const *)(const void *)in;
        return 1 + (inner != NULL ? struct_size(f->inner, version, flexible, records, inner) : 0);
    default:
        return types[f->type].wire;
    }
}

size_t kafka_field_size(const struct kafka_field *f, int16_t version, bool flexible, bool records, const uint8_t *in)
{
    const uint8_t *items;
    size_t item_size, size;
    int32_t count;

    if ((f->flags & KAFKA_FIELD_ARRAY) == 0) {
        return value_size(f, version, flexible, records, in + f->offset);
    }
    items = *(uint8_t *const *)(const void *)(in + f->offset);
    count = *(const int32_t *)(const void *)(in + f->count_offset);
    size = length_size(f, flexible, count, false);
    if (types[f->type].wire != 0) {
        return size + (count > 0 ? (size_t)count * types[f->type].wire : 0);
    }
    item_size = kafka_field_item_size(f);
    for (int32_t i = 0; i < count; i++) {
        size += value_size(f, version, flexible, records, items + (size_t)i * item_size);
    }
    return size;
}

size_t kafka_size(const struct kafka_message *message, int16_t version, const void *in)
{
    return struct_size(message->body, version, kafka_message_flexible(message, version), true, in);
}

size_t kafka_size_spliced(const struct kafka_message *message, int16_t version, const void *in)
{
    return struct_size(message->body, version, kafka_message_flexible(message, version), false, in);
}
