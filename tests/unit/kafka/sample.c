#include "tests/unit/kafka/sample.h"

#include <assert.h>
#include <stdlib.h>

uint64_t sample_random(struct sample *s, uint64_t end)
{
    s->state ^= s->state << 13; /* xorshift64 */
    s->state ^= s->state >> 7;
    s->state ^= s->state << 17;
    return end == 0 ? s->state : s->state % end;
}

static void *allocate(struct sample *s, size_t count, size_t item_size)
{
    void *p = NULL;
    int rv = kafka_arena_alloc(s->arena, count, item_size, &p);

    assert(rv == 0);
    return p;
}

/* Null now and then, where it may be; sometimes longer than a length of one byte can say. */
static int32_t random_length(struct sample *s, const struct kafka_field *f, bool array)
{
    if (kafka_field_nullable(f, s->version) && sample_random(s, 4) == 0) {
        return -1;
    }
    if (!array && sample_random(s, 40) == 0) {
        return 120 + (int32_t)sample_random(s, 300);
    }
    return (int32_t)sample_random(s, array ? 4 : 12);
}

static void fill_value(struct sample *s, const struct kafka_field *f, uint8_t *out)
{
    uint64_t number = sample_random(s, sample_random(s, 2) == 0 ? 3 : 0);
    int32_t length;
    uint8_t *bytes;

    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_BOOL:
        *(bool *)out = (number & 1) != 0;
        break;
    case KAFKA_TYPE_STRING:
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        length = random_length(s, f, false);
        bytes = allocate(s, length > 0 ? (size_t)length : 0, 1);
        for (int32_t i = 0; i < length; i++) {
            bytes[i] = (uint8_t)sample_random(s, 256);
        }
        *(struct kafka_bytes *)(void *)out = (struct kafka_bytes){bytes, length}; /* a string looks the same */
        break;
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) == 0) {
            sample_fill(s, f->inner, out);
        } else if (kafka_field_nullable(f, s->version) && sample_random(s, 3) == 0) {
            *(void **)(void *)out = NULL;
        } else {
            *(void **)(void *)out = allocate(s, 1, f->inner->size);
            sample_fill(s, f->inner, *(void **)(void *)out);
        }
        break;
    case KAFKA_TYPE_UUID:
        memcpy(out, &number, sizeof number);
        number = sample_random(s, 0);
        memcpy(out + 8, &number, sizeof number);
        break;
    default:
        memcpy(out, &number, kafka_field_item_size(f)); /* little-endian: the low bytes */
        break;
    }
}

static void fill_field(struct sample *s, const struct kafka_field *f, uint8_t *out)
{
    size_t item_size = kafka_field_item_size(f);
    int32_t count;
    uint8_t *items;

    if ((f->flags & KAFKA_FIELD_ARRAY) == 0) {
        fill_value(s, f, out + f->offset);
        return;
    }
    count = random_length(s, f, true);
    items = allocate(s, count > 0 ? (size_t)count : 0, item_size);
    for (int32_t i = 0; i < count; i++) {
        fill_value(s, f, items + (size_t)i * item_size);
    }
    *(void **)(void *)(out + f->offset) = items;
    *(int32_t *)(void *)(out + f->count_offset) = count;
}

void sample_fill(struct sample *s, const struct kafka_struct *type, void *out)
{
    kafka_struct_init(type, out);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct kafka_field *f = &type->fields[i];
        if (kafka_field_in(f, s->version) && (f->tag < 0 || sample_random(s, 2) == 0)) {
            fill_field(s, f, out);
        }
    }
}

static bool value_equal(const struct kafka_field *f, const uint8_t *a, const uint8_t *b, const char **inner)
{
    const struct kafka_bytes *x, *y;
    const void *p, *q;

    switch ((enum kafka_type)f->type) {
    case KAFKA_TYPE_STRING:
    case KAFKA_TYPE_BYTES:
    case KAFKA_TYPE_RECORDS:
        x = (const void *)a;
        y = (const void *)b;
        return x->length == y->length && (x->length <= 0 || memcmp(x->data, y->data, (size_t)x->length) == 0);
    case KAFKA_TYPE_STRUCT:
        if ((f->flags & KAFKA_FIELD_POINTER) == 0) {
            *inner = sample_difference(f->inner, a, b);
            return *inner == NULL;
        }
        p = *(void *const *)(const void *)a;
        q = *(void *const *)(const void *)b;
        if (p == NULL || q == NULL) {
            return p == q;
        }
        *inner = sample_difference(f->inner, p, q);
        return *inner == NULL;
    default:
        return memcmp(a, b, kafka_field_item_size(f)) == 0;
    }
}

const char *sample_difference(const struct kafka_struct *type, const void *a, const void *b)
{
    const uint8_t *x = a, *y = b;

    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct kafka_field *f = &type->fields[i];
        const char *inner = NULL;
        const uint8_t *p = x + f->offset, *q = y + f->offset;
        int32_t count = 1;

        if ((f->flags & KAFKA_FIELD_ARRAY) != 0) {
            count = *(const int32_t *)(const void *)(x + f->count_offset);
            if (count != *(const int32_t *)(const void *)(y + f->count_offset)) {
                return f->name;
            }
            p = *(uint8_t *const *)(const void *)p;
            q = *(uint8_t *const *)(const void *)q;
        }
        for (int32_t j = 0; j < count; j++) {
            size_t at = (size_t)j * kafka_field_item_size(f);
            if (!value_equal(f, p + at, q + at, &inner)) {
                return inner != NULL ? inner : f->name;
            }
        }
    }
    return NULL;
}

void *sample_new(const struct kafka_message *message)
{
    void *m = calloc(1, message->body->size);

    assert(m != NULL);
    return m;
}
