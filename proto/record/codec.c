#include "proto/record/codec.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define SCRATCH_SIZE_MIN ((size_t)64 << 10) /* bytes of the first allocation */
#define EXPANSION_GUESS 4                   /* of compressed records that do not say their size */

bool codec_known(uint8_t codec)
{
    switch (codec) {
#define X(name, number, text, supported) case number:
        CODEC_TABLE(X)
#undef X
        return true;
    default:
        return false;
    }
}

bool codec_supported(uint8_t codec)
{
    switch (codec) {
#define X(name, number, text, supported)                                                                               \
    case number:                                                                                                       \
        return supported;
        CODEC_TABLE(X)
#undef X
    default:
        return false;
    }
}

const char *codec_name(uint8_t codec)
{
    switch (codec) {
#define X(name, number, text, supported)                                                                               \
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
    s->zstd_compress = NULL;
    s->zstd_decompress = NULL;
}

void codec_scratch_close(struct codec_scratch *s)
{
    free(s->data);
    ZSTD_freeCCtx(s->zstd_compress);
    ZSTD_freeDCtx(s->zstd_decompress);
    codec_scratch_init(s, s->size_max);
}

/* At least @size bytes of output memory; the contents are lost. */
static int scratch_grow(struct codec_scratch *s, size_t size)
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

static int zstd_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    size_t n;
    int rv;

    if (s->zstd_compress == NULL) {
        s->zstd_compress = ZSTD_createCCtx();
        if (s->zstd_compress == NULL) {
            return ERR_NOMEM;
        }
    }
    rv = scratch_grow(s, size);
    if (rv != 0) {
        return rv;
    }
    /* One byte less than it is now: output that does not fit is not worth having. */
    n = ZSTD_compressCCtx(s->zstd_compress, s->data, size - 1, in, size, s->zstd_level);
    if (ZSTD_isError(n)) {
        return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? ERR_NOMEM : ERR_TOO_BIG;
    }
    *out_size = n;
    return 0;
}

/* In one shot rather than as a stream: a stream would allocate the window that the sender names (up to 128 MiB). Where
 * the sender did not say the size, guess and double: at most twice the work, and the scratch remembers. */
static int zstd_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    unsigned long long claimed = ZSTD_getFrameContentSize(in, size);
    size_t want;
    size_t n;
    int rv;

    if (claimed == ZSTD_CONTENTSIZE_ERROR) {
        return ERR_MALFORMED;
    }
    if (claimed == ZSTD_CONTENTSIZE_UNKNOWN) {
        want = size * EXPANSION_GUESS < s->size_max ? size * EXPANSION_GUESS : s->size_max;
    } else if (claimed > s->size_max) {
        return ERR_TOO_BIG;
    } else {
        want = (size_t)claimed;
    }
    if (s->zstd_decompress == NULL) {
        s->zstd_decompress = ZSTD_createDCtx();
        if (s->zstd_decompress == NULL) {
            return ERR_NOMEM;
        }
    }
    for (;;) {
        rv = scratch_grow(s, want);
        if (rv != 0) {
            return rv;
        }
        n = ZSTD_decompressDCtx(s->zstd_decompress, s->data, s->capacity, in, size);
        if (!ZSTD_isError(n)) {
            *out_size = n;
            return 0;
        }
        if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall) {
            return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? ERR_NOMEM : ERR_MALFORMED;
        }
        if (s->capacity >= s->size_max) {
            return ERR_TOO_BIG;
        }
        want = s->capacity < s->size_max / 2 ? s->capacity * 2 : s->size_max;
    }
}

int codec_compress(struct codec_scratch *s, uint8_t codec, const uint8_t *in, size_t size, const uint8_t **out,
                   size_t *out_size)
{
    int rv;

    if (codec != CODEC_ZSTD) {
        return ERR_UNSUPPORTED_CODEC;
    }
    if (size == 0) {
        return ERR_TOO_BIG;
    }
    rv = zstd_compress(s, in, size, out_size);
    if (rv == 0) {
        *out = s->data;
    }
    return rv;
}

int codec_decompress(struct codec_scratch *s, uint8_t codec, const uint8_t *in, size_t size, const uint8_t **out,
                     size_t *out_size)
{
    int rv;

    if (codec != CODEC_ZSTD) {
        return ERR_UNSUPPORTED_CODEC;
    }
    rv = zstd_decompress(s, in, size, out_size);
    if (rv == 0) {
        *out = s->data;
    }
    return rv;
}
