#include "proto/record/codec.h"

#include <stdlib.h>
#include <string.h>

#include "proto/record/codec_impl.h"

#define SCRATCH_SIZE_MIN ((size_t)64 << 10) /* bytes of the first allocation */
#define EXPANSION_GUESS 4                   /* of compressed records that do not say their size */

bool codec_known(uint8_t codec)
{
    switch (codec) {
#define X(name, number, text) case number:
        CODEC_TABLE(X)
#undef X
        return true;
    default:
        return false;
    }
}

const char *codec_name(uint8_t codec)
{
    switch (codec) {
#define X(name, number, text)                                                                                          \
    case number:                                                                                                       \
        return text;
        CODEC_TABLE(X)
#undef X
    default:
        return "unknown";
    }
}

void codec_scratch_init(struct codec_scratch *s, size_t size_max)
{
    s->data = NULL;
    s->capacity = 0;
    s->size_max = size_max != 0 ? size_max : CODEC_DECOMPRESSED_MAX;
    s->zstd_level = CODEC_ZSTD_LEVEL_DEFAULT;
    s->gzip_compress = NULL;
    s->gzip_decompress = NULL;
    s->lz4_decompress = NULL;
    s->zstd_compress = NULL;
    s->zstd_decompress = NULL;
}

void codec_scratch_close(struct codec_scratch *s)
{
    free(s->data);
    gzip_free(s->gzip_compress, s->gzip_decompress);
    lz4_free(s->lz4_decompress);
    zstd_free(s->zstd_compress, s->zstd_decompress);
    codec_scratch_init(s, s->size_max);
}

int scratch_grow(struct codec_scratch *s, size_t size)
{
    size_t capacity = SCRATCH_SIZE_MIN;
    uint8_t *data;

    if (size > s->size_max) {
        return ERR_TOO_BIG;
    }
    if (size <= s->capacity && s->data != NULL) {
        return 0;
    }
    while (capacity < size) {
        capacity *= 2;
    }
    if (capacity > s->size_max) {
        capacity = s->size_max;
    }
    /* Not realloc: there is nothing to keep. The old memory stays when the new cannot be had. */
    data = malloc(capacity);
    if (data == NULL) {
        return ERR_NOMEM;
    }
    free(s->data);
    s->data = data;
    s->capacity = capacity;
    return 0;
}

int scratch_guess(struct codec_scratch *s, size_t size)
{
    return scratch_grow(s, size < s->size_max / EXPANSION_GUESS ? size * EXPANSION_GUESS : s->size_max);
}

int scratch_extend(struct codec_scratch *s, size_t used)
{
    size_t capacity = s->capacity < s->size_max / 2 ? s->capacity * 2 : s->size_max;
    uint8_t *data;

    if (s->capacity >= s->size_max) {
        return ERR_TOO_BIG;
    }
    data = malloc(capacity);
    if (data == NULL) {
        return ERR_NOMEM;
    }
    memcpy(data, s->data, used);
    free(s->data);
    s->data = data;
    s->capacity = capacity;
    return 0;
}

int codec_compress(struct codec_scratch *s, uint8_t codec, const uint8_t *in, size_t size, const uint8_t **out,
                   size_t *out_size)
{
    int rv;

    if (codec == CODEC_NONE || !codec_known(codec)) {
        return ERR_UNSUPPORTED_CODEC;
    }
    if (size < 2) {
        return ERR_TOO_BIG;
    }
    switch ((enum codec)codec) {
    case CODEC_GZIP:
        rv = gzip_compress(s, in, size, out_size);
        break;
    case CODEC_SNAPPY:
        rv = snappy_frames_compress(s, in, size, out_size);
        break;
    case CODEC_LZ4:
        rv = lz4_compress(s, in, size, out_size);
        break;
    default:
        rv = zstd_compress(s, in, size, out_size);
        break;
    }
    if (rv == 0) {
        *out = s->data;
    }
    return rv;
}

int codec_decompress(struct codec_scratch *s, uint8_t codec, const uint8_t *in, size_t size, const uint8_t **out,
                     size_t *out_size)
{
    int rv;

    if (codec == CODEC_NONE || !codec_known(codec)) {
        return ERR_UNSUPPORTED_CODEC;
    }
    switch ((enum codec)codec) {
    case CODEC_GZIP:
        rv = gzip_decompress(s, in, size, out_size);
        break;
    case CODEC_SNAPPY:
        rv = snappy_frames_decompress(s, in, size, out_size);
        break;
    case CODEC_LZ4:
        rv = lz4_decompress(s, in, size, out_size);
        break;
    default:
        rv = zstd_decompress(s, in, size, out_size);
        break;
    }
    if (rv == 0) {
        *out = s->data;
    }
    return rv;
}
