/* The compression codecs that a record batch can name, and the scratch memory they work in. Batches are compressed by
 * producers and opened by consumers: the node itself passes them on as they are. */
#ifndef CAIRN_RECORD_CODEC_H
#define CAIRN_RECORD_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define CODEC_DECOMPRESSED_MAX (64u << 20) /* bytes that one batch's records may have, whatever it claims */
#define CODEC_ZSTD_LEVEL_DEFAULT 1

/* Bits 0-2 of a batch's attributes. X(name, number, text) */
#define CODEC_TABLE(X)                                                                                                 \
    X(CODEC_NONE, 0, "none")                                                                                           \
    X(CODEC_GZIP, 1, "gzip")                                                                                           \
    X(CODEC_SNAPPY, 2, "snappy")                                                                                       \
    X(CODEC_LZ4, 3, "lz4")                                                                                             \
    X(CODEC_ZSTD, 4, "zstd")

enum codec {
#define X(name, number, text) name = number,
    CODEC_TABLE(X)
#undef X
};

bool codec_known(uint8_t codec);       /* a number of the table */
const char *codec_name(uint8_t codec); /* "unknown" where it is not in the table. Static storage. */

/* Output memory and codec state, reused from batch to batch. One user at a time. */
struct codec_scratch {
    uint8_t *data;   /* last output; valid until the next use */
    size_t capacity; /* bytes at @data, never above @size_max */
    size_t size_max; /* the bomb guard, bytes */
    int zstd_level;
    struct z_stream_s *gzip_compress; /* this and the following are made at first use */
    struct z_stream_s *gzip_decompress;
    struct LZ4F_dctx_s *lz4_decompress;
    struct ZSTD_CCtx_s *zstd_compress;
    struct ZSTD_DCtx_s *zstd_decompress;
};

/* @size_max 0: CODEC_DECOMPRESSED_MAX. Allocates nothing yet. */
void codec_scratch_init(struct codec_scratch *s, size_t size_max);
void codec_scratch_close(struct codec_scratch *s);

/* *out (inside @s) becomes @in compressed, if that takes fewer than @size bytes.
 * Errors: ERR_UNSUPPORTED_CODEC (also for CODEC_NONE), ERR_NOMEM, ERR_TOO_BIG (it does not get smaller, or
 * @size is above size_max). */
int codec_compress(struct codec_scratch *s, uint8_t codec, const uint8_t *in, size_t size, const uint8_t **out,
                   size_t *out_size) MUST_USE;

/* *out (inside @s) becomes @in decompressed. Never allocates beyond the scratch's size_max.
 * Errors: ERR_UNSUPPORTED_CODEC (also for CODEC_NONE), ERR_NOMEM, ERR_TOO_BIG (above size_max), ERR_MALFORMED. */
int codec_decompress(struct codec_scratch *s, uint8_t codec, const uint8_t *in, size_t size, const uint8_t **out,
                     size_t *out_size) MUST_USE;

#endif
