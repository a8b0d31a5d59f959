/* How a message is described to the codec: the tables that generate.py makes from schema/. Only the codec and tests
 * look inside; everyone else uses the generated calls of messages/<api>.h. */
#ifndef CAIRN_KAFKA_SCHEMA_H
#define CAIRN_KAFKA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/uuid.h"

/* Text inside what was received, or of the encoder's caller: not ours, no NUL at its end. Length -1: null. */
struct kafka_string {
    const char *data;
    int32_t length;
};

/* Likewise for bytes, and for record batches, which are never copied when decoded. */
struct kafka_bytes {
    const uint8_t *data;
    int32_t length;
};

enum kafka_type {
    KAFKA_TYPE_BOOL = 1,
    KAFKA_TYPE_INT8,
    KAFKA_TYPE_INT16,
    KAFKA_TYPE_INT32,
    KAFKA_TYPE_INT64,
    KAFKA_TYPE_UINT16,
    KAFKA_TYPE_UINT32,
    KAFKA_TYPE_FLOAT64,
    KAFKA_TYPE_UUID,
    KAFKA_TYPE_STRING,
    KAFKA_TYPE_BYTES,
    KAFKA_TYPE_RECORDS,
    KAFKA_TYPE_STRUCT,
};

enum {
    KAFKA_FIELD_ARRAY = 1,     /* a pointer and, at count_offset, an int32_t count (-1: null) */
    KAFKA_FIELD_POINTER = 2,   /* a struct that may be absent: a pointer, NULL for null */
    KAFKA_FIELD_IGNORABLE = 4, /* silently left out of versions that lack it */
    KAFKA_FIELD_CLASSIC = 8,   /* never in the compact encoding */
    KAFKA_FIELD_DEFAULT_NULL = 16,
};

struct kafka_struct;

struct kafka_field {
    const char *name;
    uint8_t type;                     /* enum kafka_type, of one item where it is an array */
    uint8_t flags;                    /* KAFKA_FIELD_ */
    int16_t tag;                      /* -1: not tagged */
    int16_t version_min, version_max; /* versions that have it, both inclusive */
    int16_t null_min, null_max;       /* versions in which it may be null, none where min > max */
    uint16_t offset;                  /* in the C struct */
    uint16_t count_offset;
    uint16_t item_wire_min; /* arrays: the fewest bytes of an item, at least 1 */
    int64_t default_value;
    const struct kafka_struct *inner; /* KAFKA_TYPE_STRUCT */
};

struct kafka_struct {
    const char *name;
    uint32_t size; /* of the C struct */
    const struct kafka_field *fields;
    uint32_t fields_count;
};

struct kafka_message {
    const char *name;
    int16_t api_key; /* -1: no request or response */
    int16_t version_min, version_max;
    int16_t flexible_min, flexible_max; /* compact encoding and tagged fields, none where min > max */
    const struct kafka_struct *body;
};

/* Every message that there is, for tests and fuzzing. */
extern const struct kafka_message *const kafka_messages[];
extern const size_t kafka_messages_count;

static inline bool kafka_field_in(const struct kafka_field *f, int16_t version)
{
    return version >= f->version_min && version <= f->version_max;
}

static inline bool kafka_field_nullable(const struct kafka_field *f, int16_t version)
{
    return version >= f->null_min && version <= f->null_max;
}

static inline bool kafka_message_in(const struct kafka_message *m, int16_t version)
{
    return version >= m->version_min && version <= m->version_max;
}

static inline bool kafka_message_flexible(const struct kafka_message *m, int16_t version)
{
    return version >= m->flexible_min && version <= m->flexible_max;
}

/* Bytes that one value (one item of an array) takes in a C struct. */
size_t kafka_field_item_size(const struct kafka_field *f);

#endif
