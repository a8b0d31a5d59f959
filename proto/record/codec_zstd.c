/* zstd, as every Kafka client since KIP-110 writes it. */
#include <zstd.h>
#include <zstd_errors.h>

#include "proto/record/codec_impl.h"

int zstd_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
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
int zstd_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    unsigned long long claimed = ZSTD_getFrameContentSize(in, size);
    size_t n;
    int rv;

    if (claimed == ZSTD_CONTENTSIZE_ERROR) {
        return ERR_MALFORMED;
    }
    if (s->zstd_decompress == NULL) {
        s->zstd_decompress = ZSTD_createDCtx();
        if (s->zstd_decompress == NULL) {
            return ERR_NOMEM;
        }
    }
    if (claimed == ZSTD_CONTENTSIZE_UNKNOWN) {
        rv = scratch_guess(s, size);
    } else {
        rv = claimed > s->size_max ? ERR_TOO_BIG : scratch_grow(s, (size_t)claimed);
    }
    while (rv == 0) {
        n = ZSTD_decompressDCtx(s->zstd_decompress, s->data, s->capacity, in, size);
        if (!ZSTD_isError(n)) {
            *out_size = n;
            return 0;
        }
        if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall) {
            return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? ERR_NOMEM : ERR_MALFORMED;
        }
        rv = scratch_extend(s, 0);
    }
    return rv;
}

void zstd_free(struct ZSTD_CCtx_s *compress, struct ZSTD_DCtx_s *decompress)
{
    ZSTD_freeCCtx(compress);
    ZSTD_freeDCtx(decompress);
}
