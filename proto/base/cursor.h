/* Byte cursors with a sticky error: the only way that bytes come in from network and disk, and the size-checked way
 * out. A failed cursor stays failed, reads give zero and move nothing, so a parser checks once at its end. */
#ifndef CAIRN_BASE_CURSOR_H
#define CAIRN_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *data;
    size_t size;
    size_t position;
    bool failed;
};

static inline void cursor_init(struct cursor *c, const void *data, size_t size)
{
    c->data = data;
    c->size = size;
    c->position = 0;
    c->failed = false;
}

static inline bool cursor_failed(const struct cursor *c)
{
    return c->failed;
}

static inline size_t cursor_left(const struct cursor *c)
{
    return c->failed ? 0 : c->size - c->position;
}

/* The next @length bytes in place, or NULL (and failed) when fewer are left. */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t length)
{
    const uint8_t *p;
    if (c->failed || length > c->size - c->position) {
        c->failed = true;
        return NULL;
    }
    p = c->data + c->position;
    c->position += length;
    return p;
}

/* Fixed-width integers, little-endian (our own formats) and big-endian (_be: Kafka's). Generated below:
 * cursor_u8, cursor_u16, cursor_u32, cursor_u64, cursor_i32, cursor_i64, ..._be. */
#define CURSOR_READ(name, type, bytes, expr)                                                                           \
    static inline type name(struct cursor *c)                                                                          \
    {                                                                                                                  \
        const uint8_t *p = cursor_bytes(c, bytes);                                                                     \
        uint64_t v = 0;                                                                                                \
        if (p == NULL) {                                                                                               \
            return 0;                                                                                                  \
        }                                                                                                              \
        for (size_t i = 0; i < (bytes); i++) {                                                                         \
            v |= (uint64_t)p[i] << (8 * (expr));                                                                       \
        }                                                                                                              \
        return (type)v;                                                                                                \
    }
CURSOR_READ(cursor_u8, uint8_t, 1u, i)
CURSOR_READ(cursor_u16, uint16_t, 2u, i)
CURSOR_READ(cursor_u32, uint32_t, 4u, i)
CURSOR_READ(cursor_u64, uint64_t, 8u, i)
CURSOR_READ(cursor_i32, int32_t, 4u, i)
CURSOR_READ(cursor_i64, int64_t, 8u, i)
CURSOR_READ(cursor_i8_be, int8_t, 1u, i)
CURSOR_READ(cursor_i16_be, int16_t, 2u, (2u - 1 - i))
CURSOR_READ(cursor_i32_be, int32_t, 4u, (4u - 1 - i))
CURSOR_READ(cursor_u32_be, uint32_t, 4u, (4u - 1 - i))
CURSOR_READ(cursor_i64_be, int64_t, 8u, (8u - 1 - i))
#undef CURSOR_READ

/* The writing twin: fails, sticky, instead of writing past the end. */
struct writer {
    uint8_t *data;
    size_t size; /* capacity */
    size_t position;
    bool failed;
};

static inline void writer_init(struct writer *w, void *data, size_t size)
{
    w->data = data;
    w->size = size;
    w->position = 0;
    w->failed = false;
}

static inline bool writer_failed(const struct writer *w)
{
    return w->failed;
}

/* Room for @length bytes to fill in place, or NULL (and failed). */
static inline uint8_t *writer_reserve(struct writer *w, size_t length)
{
    uint8_t *p;
    if (w->failed || length > w->size - w->position) {
        w->failed = true;
        return NULL;
    }
    p = w->data + w->position;
    w->position += length;
    return p;
}

static inline void writer_bytes(struct writer *w, const void *bytes, size_t length)
{
    uint8_t *p = writer_reserve(w, length);
    if (p != NULL && length > 0) {
        memcpy(p, bytes, length);
    }
}

#define WRITER_PUT(name, type, bytes, expr)                                                                            \
    static inline void name(struct writer *w, type value)                                                              \
    {                                                                                                                  \
        uint8_t *p = writer_reserve(w, bytes);                                                                         \
        if (p == NULL) {                                                                                               \
            return;                                                                                                    \
        }                                                                                                              \
        for (size_t i = 0; i < (bytes); i++) {                                                                         \
            p[i] = (uint8_t)((uint64_t)value >> (8 * (expr)));                                                         \
        }                                                                                                              \
    }
WRITER_PUT(writer_u8, uint8_t, 1u, i)
WRITER_PUT(writer_u16, uint16_t, 2u, i)
WRITER_PUT(writer_u32, uint32_t, 4u, i)
WRITER_PUT(writer_u64, uint64_t, 8u, i)
WRITER_PUT(writer_i32, int32_t, 4u, i)
WRITER_PUT(writer_i64, int64_t, 8u, i)
WRITER_PUT(writer_i8_be, int8_t, 1u, i)
WRITER_PUT(writer_i16_be, int16_t, 2u, (2u - 1 - i))
WRITER_PUT(writer_i32_be, int32_t, 4u, (4u - 1 - i))
WRITER_PUT(writer_u32_be, uint32_t, 4u, (4u - 1 - i))
WRITER_PUT(writer_i64_be, int64_t, 8u, (8u - 1 - i))
#undef WRITER_PUT

#endif
