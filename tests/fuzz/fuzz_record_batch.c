/* Any bytes as a produced batch. What the broker's check accepts, the iterator must read to the end; nothing may read
 * outside the input. The input is also tried with its length and crc made right, or the fuzzer would hardly get past.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/record/record_iter.h"

#define DECOMPRESSED_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read the ends of what a pointer and length name. */
static void touch(const uint8_t *bytes, int32_t length)
{
    if (length > 0) {
        uint8_t ends = bytes[0] ^ bytes[length - 1];
        __asm__ volatile("" : : "r"(ends));
    }
}

/* Walk it all; how many records there were. */
static int32_t walk(struct record_iter *it)
{
    struct record_header header;
    struct record record;
    int32_t n = 0;

    while (record_iter_next(it, &record)) {
        assert(record.key_length >= -1 && (record.key_length == -1) == (record.key == NULL));
        assert(record.value_length >= -1 && (record.value_length == -1) == (record.value == NULL));
        touch(record.key, record.key_length);
        touch(record.value, record.value_length);
        while (record_header_next(&record, &header)) {
            touch(header.key, header.key_length);
            touch(header.value, header.value_length);
        }
        n++;
    }
    return n;
}

static void one(const uint8_t *data, size_t size)
{
    struct record_batch_limits limits = {.size_max = RECORD_BATCH_SIZE_MAX};
    struct record_batch_header h;
    struct codec_scratch scratch;
    struct record_iter it;
    int32_t n;

    codec_scratch_init(&scratch, DECOMPRESSED_MAX);
    if (record_batch_peek(data, size, &h) == 0) {
        assert(h.size >= RECORD_BATCH_HEADER_SIZE && h.size <= size);
        if (record_iter_init(&it, data, size, &scratch) == 0) {
            n = walk(&it);
            assert(record_iter_error(&it) != 0 || n == h.count);
        }
    }
    if (record_batch_validate(data, size, &limits, &h, NULL) == 0 && record_batch_codec(&h) == CODEC_NONE) {
        assert(record_iter_init(&it, data, size, NULL) == 0);
        n = walk(&it);
        assert(record_iter_error(&it) == 0);
        assert(n == h.count && h.last_offset_delta == n - 1);
    }
    codec_scratch_close(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    uint32_t v;

    one(data, size);
    if (size < RECORD_BATCH_HEADER_SIZE || size > RECORD_BATCH_SIZE_MAX) {
        return 0;
    }
    copy = malloc(size);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    v = __builtin_bswap32((uint32_t)size - RECORD_BATCH_LENGTH_END);
    memcpy(copy + 8, &v, sizeof v);
    copy[16] = RECORD_BATCH_MAGIC;
    v = __builtin_bswap32(crc32c(0, copy + RECORD_BATCH_CRC_BEGIN, size - RECORD_BATCH_CRC_BEGIN));
    memcpy(copy + 17, &v, sizeof v);
    one(copy, size);
    free(copy);
    return 0;
}
