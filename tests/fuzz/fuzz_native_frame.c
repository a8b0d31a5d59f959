/* Any bytes as a stream of frames, cut into reads by the input's own first byte. Two readers see the same stream, one
 * in large reads and one in small ones, and must agree on every frame and on the error. Each header's checksum is made
 * right on the way, or the fuzzer would hardly get past it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/native/frame.h"

#define MESSAGE_MAX 4096u
#define PAYLOAD_MAX 100000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    uint32_t frames;
    uint32_t digest; /* of all frames' bytes */
    int err;
    bool partial;
};

static void run(const uint8_t *data, size_t size, size_t read_max, bool keep, struct result *result)
{
    struct frame_limits limits = {.message_max = MESSAGE_MAX, .payload_max = PAYLOAD_MAX};
    struct frame_reader r;
    struct frame f;
    struct buf *kept = NULL;
    uint8_t *base;
    size_t length;
    size_t at = 0;

    memset(result, 0, sizeof *result);
    frame_reader_init(&r, NULL, &limits, FRAME_READ_BUFFER_SIZE_MIN);
    while (at < size && frame_reader_error(&r) == 0) {
        if (frame_reader_alloc(&r, &base, &length) != 0) {
            break;
        }
        assert(length > 0);
        length = length < read_max ? length : read_max;
        length = length < size - at ? length : size - at;
        memcpy(base, data + at, length);
        frame_reader_commit(&r, length);
        at += length;
        while (frame_reader_next(&r, &f)) {
            assert(f.header.message_length <= MESSAGE_MAX && f.header.payload_length <= PAYLOAD_MAX);
            result->frames++;
            result->digest = crc32c(result->digest, f.message, f.header.message_length);
            result->digest = crc32c(result->digest, f.payload, f.header.payload_length);
            if (keep) {
                buf_release(kept);
                kept = f.buf;
            } else {
                buf_release(f.buf);
            }
        }
    }
    result->err = frame_reader_error(&r);
    result->partial = result->err == 0 && frame_reader_partial(&r);
    frame_reader_close(&r);
    buf_release(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result large;
    struct result small;
    uint8_t *stream;
    size_t at = 0;

    if (size < 1) {
        return 0;
    }
    stream = malloc(size);
    if (stream == NULL) {
        return 0;
    }
    size--;
    memcpy(stream, data + 1, size);
    /* Odd: leave the bytes alone. Even: follow the frames and repair magic, version and checksum of each. */
    while (data[0] % 2 == 0 && size - at >= FRAME_HEADER_SIZE) {
        uint32_t magic = FRAME_MAGIC;
        uint32_t lengths[2];
        uint32_t crc;
        memcpy(stream + at, &magic, sizeof magic);
        stream[at + 4] = FRAME_VERSION;
        memcpy(lengths, stream + at + 16, sizeof lengths);
        lengths[0] %= MESSAGE_MAX + 2;
        lengths[1] %= PAYLOAD_MAX + 2;
        memcpy(stream + at + 16, lengths, sizeof lengths);
        memset(stream + at + 24, 0, 4);
        crc = crc32c(0, stream + at, 28);
        memcpy(stream + at + 28, &crc, sizeof crc);
        if (size - at - FRAME_HEADER_SIZE < (size_t)lengths[0] + lengths[1]) {
            break;
        }
        at += FRAME_HEADER_SIZE + lengths[0] + lengths[1];
    }
    run(stream, size, SIZE_MAX, true, &large);
    run(stream, size, 1u + data[0] / 2u, data[0] % 4 < 2, &small);
    assert(large.frames == small.frames && large.digest == small.digest && large.err == small.err);
    assert(large.partial == small.partial);
    free(stream);
    return 0;
}
