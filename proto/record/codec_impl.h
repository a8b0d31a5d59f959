/* What the codecs share. Private to proto/record. */
#ifndef CAIRN_RECORD_CODEC_IMPL_H
#define CAIRN_RECORD_CODEC_IMPL_H

#include "proto/record/codec.h"

/* At least @size bytes of output memory; the contents are lost. Errors: ERR_TOO_BIG (above size_max), ERR_NOMEM. */
int scratch_grow(struct codec_scratch *s, size_t size) MUST_USE;

/* A first guess of the output memory where the input of @size bytes does not say what it becomes. Errors: ERR_NOMEM. */
int scratch_guess(struct codec_scratch *s, size_t size) MUST_USE;

/* More output memory than there is, the first @used bytes kept. Errors: ERR_TOO_BIG (there is size_max), ERR_NOMEM. */
int scratch_extend(struct codec_scratch *s, size_t used) MUST_USE;

/* One of each for each codec: @in into the scratch. Compressing, output that does not fit @size - 1 bytes is
 * ERR_TOO_BIG; @size is not 0. */
int gzip_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int gzip_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int snappy_frames_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int snappy_frames_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int lz4_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int lz4_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int zstd_compress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;
int zstd_decompress(struct codec_scratch *s, const uint8_t *in, size_t size, size_t *out_size) MUST_USE;

/* Free their state; NULL is allowed. */
void gzip_free(struct z_stream_s *deflate, struct z_stream_s *inflate);
void lz4_free(struct LZ4F_dctx_s *decompress);
void zstd_free(struct ZSTD_CCtx_s *compress, struct ZSTD_DCtx_s *decompress);

#endif
