#include "util.h"

#include <zstd.h>

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

/* Allocations of this size and more fail; 0: none does. */
static size_t malloc_fails_from;

void *__wrap_malloc(size_t size)
{
    return malloc_fails_from != 0 && size >= malloc_fails_from ? NULL : __real_malloc(size);
}

/* Compressed with or without the size written in the frame, as producers do either way. */
static uint8_t *zstd_of_zeros(size_t zeros, bool with_size, size_t *size)
{
    size_t bound = ZSTD_compressBound(zeros);
    uint8_t *in = calloc(1, zeros > 0 ? zeros : 1);
    uint8_t *out = malloc(bound);
    ZSTD_CCtx *ctx = ZSTD_createCCtx();

    assert_non_null(in);
    assert_non_null(out);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, with_size);
    *size = ZSTD_compress2(ctx, out, bound, in, zeros);
    assert_false(ZSTD_isError(*size));
    ZSTD_freeCCtx(ctx);
    free(in);
    return out;
}

static void knows_kafkas_codec_numbers(void **state)
{
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(codec_known((uint8_t)i), i <= 4);
        assert_int_equal(codec_supported((uint8_t)i), i == 0 || i == 4);
    }
    assert_string_equal(codec_name(1), "gzip");
    assert_string_equal(codec_name(4), "zstd");
    assert_string_equal(codec_name(5), "unknown");
}

static void a_bomb_stops_at_the_limit(void **state)
{
    enum { MAX = 1 << 20 };
    static const bool with_size[] = {true, false};

    for (int i = 0; i < 2; i++) {
        struct codec_scratch s;
        const uint8_t *out;
        size_t size;
        size_t n;
        uint8_t *bomb = zstd_of_zeros(MAX + 1, with_size[i], &size);

        assert_true(size < 1000);
        codec_scratch_init(&s, MAX);
        assert_int_equal(codec_decompress(&s, CODEC_ZSTD, bomb, size, &out, &n), ERR_TOO_BIG);
        assert_true(s.capacity <= MAX);
        free(bomb);
        bomb = zstd_of_zeros(MAX, with_size[i], &size); /* exactly the limit is allowed */
        assert_int_equal(codec_decompress(&s, CODEC_ZSTD, bomb, size, &out, &n), 0);
        assert_int_equal(n, MAX);
        assert_int_equal(s.capacity, MAX);
        free(bomb);
        codec_scratch_close(&s);
    }
}

static void a_claimed_size_over_the_limit_allocates_nothing(void **state)
{
    struct codec_scratch s;
    const uint8_t *out;
    size_t size;
    size_t n;
    uint8_t *bomb = zstd_of_zeros(2 << 20, true, &size);

    codec_scratch_init(&s, 1 << 20);
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, bomb, size, &out, &n), ERR_TOO_BIG);
    assert_null(s.data);
    codec_scratch_close(&s);
    free(bomb);
}

/* Only the first frame's size is known beforehand: the rest must be found out, and limited, too. */
static void frames_in_a_row_count_together(void **state)
{
    struct codec_scratch s;
    const uint8_t *out;
    size_t size;
    size_t n;
    uint8_t *one = zstd_of_zeros(300000, true, &size);
    uint8_t *four = malloc(4 * size);

    for (int i = 0; i < 4; i++) {
        memcpy(four + (size_t)i * size, one, size);
    }
    codec_scratch_init(&s, 1200000);
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, four, 4 * size, &out, &n), 0);
    assert_int_equal(n, 1200000);
    codec_scratch_close(&s);
    codec_scratch_init(&s, 1199999);
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, four, 4 * size, &out, &n), ERR_TOO_BIG);
    codec_scratch_close(&s);
    free(four);
    free(one);
}

static void every_cut_of_a_frame_is_malformed(void **state)
{
    struct codec_scratch s;
    const uint8_t *out;
    size_t size;
    size_t n;
    uint8_t *frame = zstd_of_zeros(5000, true, &size);

    codec_scratch_init(&s, 0);
    for (size_t cut = 1; cut < size; cut++) {
        uint8_t *part = bytes_copy(frame, cut);
        assert_int_equal(codec_decompress(&s, CODEC_ZSTD, part, cut, &out, &n), ERR_MALFORMED);
        free(part);
    }
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, frame, size, &out, &n), 0);
    assert_int_equal(n, 5000);
    codec_scratch_close(&s);
    free(frame);
}

static void compresses_only_where_it_gets_smaller(void **state)
{
    uint8_t same[4096];
    uint8_t noise[64];
    struct codec_scratch s;
    const uint8_t *out;
    uint8_t *copy;
    size_t size;
    size_t n;
    uint32_t x = 1;

    memset(same, 'a', sizeof same);
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(x >> 24);
    }
    codec_scratch_init(&s, 0);
    assert_int_equal(codec_compress(&s, CODEC_ZSTD, noise, sizeof noise, &out, &size), ERR_TOO_BIG);
    assert_int_equal(codec_compress(&s, CODEC_ZSTD, noise, 1, &out, &size), ERR_TOO_BIG);
    assert_int_equal(codec_compress(&s, CODEC_ZSTD, noise, 0, &out, &size), ERR_TOO_BIG);
    assert_int_equal(codec_compress(&s, CODEC_NONE, same, sizeof same, &out, &size), ERR_UNSUPPORTED_CODEC);
    assert_int_equal(codec_compress(&s, CODEC_SNAPPY, same, sizeof same, &out, &size), ERR_UNSUPPORTED_CODEC);
    assert_int_equal(codec_compress(&s, CODEC_ZSTD, same, sizeof same, &out, &size), 0);
    assert_true(size < 100);
    copy = bytes_copy(out, size);
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, copy, size, &out, &n), 0);
    assert_int_equal(n, sizeof same);
    assert_memory_equal(out, same, n);
    codec_scratch_close(&s);
    free(copy);
}

static void running_out_of_memory_can_be_tried_again(void **state)
{
    struct codec_scratch s;
    const uint8_t *out;
    uint8_t *small;
    uint8_t *big;
    size_t small_size;
    size_t big_size;
    size_t n;

    small = zstd_of_zeros(1000, true, &small_size);
    big = zstd_of_zeros(1 << 20, true, &big_size);
    codec_scratch_init(&s, 0);
    malloc_fails_from = 1;
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, small, small_size, &out, &n), ERR_NOMEM);
    malloc_fails_from = 0;
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, small, small_size, &out, &n), 0);
    malloc_fails_from = 1;
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, big, big_size, &out, &n), ERR_NOMEM);
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, small, small_size, &out, &n), 0); /* what it had still serves */
    malloc_fails_from = 0;
    assert_int_equal(codec_decompress(&s, CODEC_ZSTD, big, big_size, &out, &n), 0);
    assert_int_equal(n, 1 << 20);
    codec_scratch_close(&s);
    free(small);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_kafkas_codec_numbers),
        cmocka_unit_test(a_bomb_stops_at_the_limit),
        cmocka_unit_test(a_claimed_size_over_the_limit_allocates_nothing),
        cmocka_unit_test(frames_in_a_row_count_together),
        cmocka_unit_test(every_cut_of_a_frame_is_malformed),
        cmocka_unit_test(running_out_of_memory_can_be_tried_again),
        cmocka_unit_test(compresses_only_where_it_gets_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
