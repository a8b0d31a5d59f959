/* snappy, which has no frame of its own. Java's writes "xerial" framing (a header, then blocks of 32 KiB, each behind
 * its length), and so do we; others write one bare block. Readers take both. */
#include <snappy-c.h>
#include <string.h>

#include "proto/record/codec_impl.h"
#include "proto/record/record_wire.h"

#define BLOCK_SIZE ((size_t)32 << 10)
#define HEADER_SIZE 16 /* magic, version, oldest version that can read it */
#define LENGTH_SIZE 4
#define VERSION 1
/* The best that an element does is 64 bytes out of 3: what claims more lies, and gets no memory. */
#define EXPANSION_MAX 22

static const uint8_t magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

int snappy_frames_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    size_t blocks = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    size_t used = HEADER_SIZE;
    int rv = scratch_grow(s, HEADER_SIZE + blocks * (LENGTH_SIZE + snappy_max_compressed_length(BLOCK_SIZE)));

    if (rv != 0) {
        return rv;
    }
    memcpy(s->data, magic, sizeof magic);
    wire_put_be32(s->data + 8, VERSION);
    wire_put_be32(s->data + 12, VERSION);
    for (size_t at = 0; at < size; at += BLOCK_SIZE) {
        size_t n = size - at < BLOCK_SIZE ? size - at : BLOCK_SIZE;
        size_t length = s->capacity - used - LENGTH_SIZE;
        if (snappy_compress((const char *)in + at, n, (char *)s->data + used + LENGTH_SIZE, &length) != SNAPPY_OK) {
            return ERR_TOO_BIG;
        }
        wire_put_be32(s->data + used, (uint32_t)length);
        used += LENGTH_SIZE + length;
    }
    if (used >= size) {
        return ERR_TOO_BIG;
    }
    *out_size = used;
    return 0;
}

/* The next block at *in, of *left bytes, or *left 0 at the end. The header may stand again between two blocks: streams
 * may be put in a row. False: malformed. */
static bool block_next(const uint8_t **in, size_t *left, const uint8_t **block, size_t *length)
{
    while (*left >= HEADER_SIZE && memcmp(*in, magic, sizeof magic) == 0) {
        *in += HEADER_SIZE;
        *left -= HEADER_SIZE;
    }
    if (*left == 0) {
        *block = NULL;
        return true;
    }
    if (*left < LENGTH_SIZE) {
        return false;
    }
    *length = (size_t)(*in)[0] << 24 | (size_t)(*in)[1] << 16 | (size_t)(*in)[2] << 8 | (*in)[3];
    if (*length > *left - LENGTH_SIZE) {
        return false;
    }
    *block = *in + LENGTH_SIZE;
    *in += LENGTH_SIZE + *length;
    *left -= LENGTH_SIZE + *length;
    return true;
}

static bool block_size(const uint8_t *block, size_t length, size_t *size)
{
    return snappy_uncompressed_length((const char *)block, length, size) == SNAPPY_OK &&
           *size / EXPANSION_MAX <= length;
}

static int block_open(struct codec_scratch *s, const uint8_t *block, size_t length, size_t *used)
{
    size_t size = s->capacity - *used;

    if (snappy_uncompress((const char *)block, length, (char *)s->data + *used, &size) != SNAPPY_OK) {
        return ERR_MALFORMED;
    }
    *used += size;
    return 0;
}

/* All sizes are added up first, so that memory is had once. */
static int frames_size(const uint8_t *in, size_t left, size_t size_max, size_t *total)
{
    const uint8_t *block;
    size_t length;
    size_t size;

    *total = 0;
    for (;;) {
        if (!block_next(&in, &left, &block, &length)) {
            return ERR_MALFORMED;
        }
        if (block == NULL) {
            return 0;
        }
        if (!block_size(block, length, &size)) {
            return ERR_MALFORMED;
        }
        if (size > size_max - *total) {
            return ERR_TOO_BIG;
        }
        *total += size;
    }
}

int snappy_frames_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    const uint8_t *block;
    size_t length;
    size_t total;
    size_t used = 0;
    int rv;

    if (size < HEADER_SIZE || memcmp(in, magic, sizeof magic) != 0) {
        if (!block_size(in, size, &total)) {
            return ERR_MALFORMED;
        }
        rv = scratch_grow(s, total);
        rv = rv == 0 ? block_open(s, in, size, &used) : rv;
        if (rv == 0) {
            *out_size = used;
        }
        return rv;
    }
    rv = frames_size(in, size, s->size_max, &total);
    rv = rv == 0 ? scratch_grow(s, total) : rv;
    while (rv == 0 && block_next(&in, &size, &block, &length) && block != NULL) {
        rv = block_open(s, block, length, &used);
    }
    if (rv == 0) {
        *out_size = used;
    }
    return rv;
}
