/* lz4 in its frame format. Kafka's Java readers take frames of independent blocks only. */
#include <lz4frame.h>
#include <string.h>

#include "proto/record/codec_impl.h"

int lz4_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    size_t n;
    int rv;

    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    rv = scratch_grow(s, LZ4F_compressFrameBound(size, &preferences));
    if (rv != 0) {
        return rv;
    }
    n = LZ4F_compressFrame(s->data, s->capacity, in, size, &preferences);
    if (LZ4F_isError(n)) {
        return ERR_NOMEM; /* the memory was of the size asked for: nothing else can fail */
    }
    if (n >= size) {
        return ERR_TOO_BIG;
    }
    *out_size = n;
    return 0;
}

/* Its error numbers are no public names; the text is. */
static int lz4_error(size_t code)
{
    return strcmp(LZ4F_getErrorName(code), "ERROR_allocation_failed") == 0 ? ERR_NOMEM : ERR_MALFORMED;
}

int lz4_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    size_t used = 0;
    size_t hint = 1; /* 0: a frame is complete */
    int rv;

    if (s->lz4_decompress == NULL && LZ4F_isError(LZ4F_createDecompressionContext(&s->lz4_decompress, LZ4F_VERSION))) {
        return ERR_NOMEM;
    }
    LZ4F_resetDecompressionContext(s->lz4_decompress);
    rv = scratch_guess(s, size);
    while (rv == 0) {
        size_t produced = s->capacity - used;
        size_t consumed = size;

        hint = LZ4F_decompress(s->lz4_decompress, s->data + used, &produced, in, &consumed, NULL);
        if (LZ4F_isError(hint)) {
            return lz4_error(hint);
        }
        in += consumed;
        size -= consumed;
        used += produced;
        if (hint == 0 && size == 0) {
            *out_size = used;
            return 0;
        }
        if (used == s->capacity) {
            rv = scratch_extend(s, used);
        } else if (consumed == 0 && produced == 0) {
            return ERR_MALFORMED; /* it wants input that is not there */
        }
    }
    return rv;
}

void lz4_free(struct LZ4F_dctx_s *decompress)
{
    (void)LZ4F_freeDecompressionContext(decompress);
}
