/* Kafka messages to bytes and back, one codec for all of them, driven by the tables that generate.py makes. Included by
 * the generated messages/<api>.h, whose typed calls are the way in. */
#ifndef CAIRN_KAFKA_CODEC_H
#define CAIRN_KAFKA_CODEC_H

#include <string.h>

#include "proto/base/cursor.h"
#include "proto/base/err.h"
#include "proto/kafka/kafka_arena.h"
#include "proto/kafka/kafka_schema.h"

#define KAFKA_STRING_SIZE_MAX 32767 /* bytes; Kafka's own bound for the compact encoding too */

/* Records left out of an encoded message, to be sent from where they are: they belong before byte @position of what
 * was written. */
struct kafka_splice {
    size_t position;
    struct kafka_bytes bytes;
};

struct kafka_splices {
    struct kafka_splice *items; /* the caller's */
    uint32_t count;             /* in order of position */
    uint32_t count_max;
};

/* Read a message of @version from @c, which moves behind it; bytes that follow are the caller's to judge. Strings,
 * bytes and records in @out point into @c's bytes; arrays are the arena's. Fields that @version lacks have their
 * defaults; unknown tagged fields are skipped. After an error @out is not to be used. Errors: ERR_MALFORMED;
 * ERR_TOO_BIG a string or the arena's limit; ERR_NOMEM; ERR_VERSION not one of the message's. */
int kafka_decode(const struct kafka_message *message, struct cursor *c, int16_t version, struct kafka_arena *arena,
                 void *out) MUST_USE;

/* Write @in as @version has it. A field that @version lacks is left out where it has its default or is ignorable.
 * Errors: ERR_VERSION such a field is neither, or a null that @version cannot say, or no version of this message;
 * ERR_TOO_BIG a string longer than KAFKA_STRING_SIZE_MAX; ERR_INVALID a negative length; ERR_BUFFER_FULL @w is. */
int kafka_encode(const struct kafka_message *message, struct writer *w, int16_t version, const void *in) MUST_USE;

/* The same, but records are noted in @splices instead of copied, as long as there is room (then they are copied). */
int kafka_encode_spliced(const struct kafka_message *message, struct writer *w, int16_t version, const void *in,
                         struct kafka_splices *splices) MUST_USE;

/* Bytes that kafka_encode() writes, where it succeeds. */
size_t kafka_size(const struct kafka_message *message, int16_t version, const void *in);

/* The same without the bytes of records: what kafka_encode_spliced() needs when there are splices enough. */
size_t kafka_size_spliced(const struct kafka_message *message, int16_t version, const void *in);

/* Every field at its default; the generated kafka_..._init() are the typed way. */
void kafka_struct_init(const struct kafka_struct *s, void *out);

/* A string of a C string, which it points to; NULL becomes null. */
static inline struct kafka_string kafka_string(const char *text)
{
    struct kafka_string s = {text, text == NULL ? -1 : (int32_t)strlen(text)};
    return s;
}

static inline bool kafka_string_equal(struct kafka_string a, struct kafka_string b)
{
    return a.length == b.length && (a.length <= 0 || memcmp(a.data, b.data, (size_t)a.length) == 0);
}

#endif
