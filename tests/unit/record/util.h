/* Shared by this folder's tests. */
#ifndef TEST_RECORD_UTIL_H
#define TEST_RECORD_UTIL_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/record/record_batch.h"
#include "proto/record/record_builder.h"
#include "proto/record/record_iter.h"

/* The bytes of a hex text, in memory of exactly their size so that ASan sees one read too many. Free with free(). */
static inline uint8_t *bytes_of_hex(const char *hex, size_t *size)
{
    size_t n = strlen(hex) / 2;
    uint8_t *bytes = malloc(n);

    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    *size = n;
    return bytes;
}

/* A copy of exactly @size bytes. */
static inline uint8_t *bytes_copy(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}

/* Make a tampered batch consistent again, so that what a test broke is all that is wrong with it. */
static inline void fix_crc(uint8_t *bytes, size_t size)
{
    uint32_t crc = __builtin_bswap32(crc32c(0, bytes + RECORD_BATCH_CRC_BEGIN, size - RECORD_BATCH_CRC_BEGIN));
    memcpy(bytes + 17, &crc, sizeof crc);
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

/* A batch around records given as raw bytes, every header field consistent. Free with free(). */
static inline uint8_t *batch_of_records(const uint8_t *records, size_t records_size, int32_t count, uint16_t attributes,
                                        size_t *size)
{
    uint8_t *b;

    *size = RECORD_BATCH_HEADER_SIZE + records_size;
    b = calloc(1, *size);
    assert_non_null(b);
    put_be32(b + 8, (uint32_t)(*size - RECORD_BATCH_LENGTH_END));
    b[16] = RECORD_BATCH_MAGIC;
    b[21] = (uint8_t)(attributes >> 8);
    b[22] = (uint8_t)attributes;
    put_be32(b + 23, (uint32_t)(count - 1));
    put_be64(b + 43, (uint64_t)-1);
    b[51] = b[52] = 0xff;
    put_be32(b + 53, (uint32_t)-1);
    put_be32(b + 57, (uint32_t)count);
    memcpy(b + RECORD_BATCH_HEADER_SIZE, records, records_size);
    fix_crc(b, *size);
    return b;
}

static const struct record_batch_limits limits_default = {.size_max = 1u << 20};

#endif
