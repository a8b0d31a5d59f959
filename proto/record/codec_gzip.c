/* gzip: zlib's stream in gzip's wrapping, as Kafka has it. */
#include <stdlib.h>
#include <zlib.h>

#include "proto/record/codec_impl.h"

#define WINDOW_BITS (15 + 16) /* the largest window, 32 KiB; 16: gzip's header and trailer */
#define MEMORY_LEVEL 8        /* zlib's default */

int gzip_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    z_stream *z = s->gzip_compress;
    int rv;

    if (z == NULL) {
        z = calloc(1, sizeof *z);
        if (z == NULL) {
            return ERR_NOMEM;
        }
        if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
            free(z);
            return ERR_NOMEM;
        }
        s->gzip_compress = z;
    } else {
        (void)deflateReset(z);
    }
    rv = scratch_grow(s, size);
    if (rv != 0) {
        return rv;
    }
    if (size > UINT32_MAX) {
        return ERR_TOO_BIG;
    }
    z->next_in = (Bytef *)(uintptr_t)in;
    z->avail_in = (uInt)size;
    z->next_out = s->data;
    z->avail_out = (uInt)(size - 1);
    if (deflate(z, Z_FINISH) != Z_STREAM_END) {
        return ERR_TOO_BIG;
    }
    *out_size = z->total_out;
    return 0;
}

/* Inflate member after member (gzip files may be put in a row), growing the output. */
static int gzip_inflate(struct codec_scratch *s, z_stream *z, size_t *out_size)
{
    size_t used = 0;
    int rv;

    for (;;) {
        z->next_out = s->data + used;
        z->avail_out = (uInt)(s->capacity - used);
        rv = inflate(z, Z_NO_FLUSH);
        used = s->capacity - z->avail_out;
        if (rv == Z_STREAM_END) {
            if (z->avail_in == 0) {
                *out_size = used;
                return 0;
            }
            if (inflateReset(z) != Z_OK) {
                return ERR_MALFORMED;
            }
            continue;
        }
        if (rv == Z_MEM_ERROR) {
            return ERR_NOMEM;
        }
        /* Z_BUF_ERROR: it wants output memory or, where there is some left, input that is not there. */
        if ((rv != Z_OK && rv != Z_BUF_ERROR) || z->avail_out > 0) {
            return ERR_MALFORMED;
        }
        rv = scratch_extend(s, used);
        if (rv != 0) {
            return rv;
        }
    }
}

int gzip_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size)
{
    z_stream *z = s->gzip_decompress;
    int rv;

    if (size > UINT32_MAX || s->size_max > UINT32_MAX) {
        return ERR_TOO_BIG;
    }
    if (z == NULL) {
        z = calloc(1, sizeof *z);
        if (z == NULL) {
            return ERR_NOMEM;
        }
        if (inflateInit2(z, WINDOW_BITS) != Z_OK) {
            free(z);
            return ERR_NOMEM;
        }
        s->gzip_decompress = z;
    } else {
        (void)inflateReset(z);
    }
    rv = scratch_guess(s, size);
    if (rv != 0) {
        return rv;
    }
    z->next_in = (Bytef *)(uintptr_t)in;
    z->avail_in = (uInt)size;
    return gzip_inflate(s, z, out_size);
}

void gzip_free(struct z_stream_s *deflate, struct z_stream_s *inflate)
{
    if (deflate != NULL) {
        (void)deflateEnd(deflate);
        free(deflate);
    }
    if (inflate != NULL) {
        (void)inflateEnd(inflate);
        free(inflate);
    }
}
