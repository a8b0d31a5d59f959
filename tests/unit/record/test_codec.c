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
    for (uint8_t codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        assert_int_equal(codec_compress(&s, codec, noise, sizeof noise, &out, &size), ERR_TOO_BIG);
        assert_int_equal(codec_compress(&s, codec, noise, 1, &out, &size), ERR_TOO_BIG);
        assert_int_equal(codec_compress(&s, codec, noise, 0, &out, &size), ERR_TOO_BIG);
    }
    assert_int_equal(codec_compress(&s, CODEC_NONE, same, sizeof same, &out, &size), ERR_UNSUPPORTED_CODEC);
    assert_int_equal(codec_compress(&s, 5, same, sizeof same, &out, &size), ERR_UNSUPPORTED_CODEC);
    for (uint8_t codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        assert_int_equal(codec_compress(&s, codec, same, sizeof same, &out, &size), 0);
        assert_true(size < 300);
        copy = bytes_copy(out, size);
        assert_int_equal(codec_decompress(&s, codec, copy, size, &out, &n), 0);
        assert_int_equal(n, sizeof same);
        assert_memory_equal(out, same, n);
        free(copy);
    }
    codec_scratch_close(&s);
}

/* Text of @size bytes that compresses, but not to nothing. */
static uint8_t *text_of(size_t size)
{
    uint8_t *text = malloc(size > 0 ? size : 1);
    uint32_t x = 7;

    assert_non_null(text);
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        text[i] = (uint8_t)(x % 97 < 60 ? 'e' : 'a' + (x >> 24) % 26);
    }
    return text;
}

static uint8_t *compressed(uint8_t codec, const uint8_t *in, size_t size, size_t *out_size)
{
    struct codec_scratch s;
    const uint8_t *out;
    uint8_t *copy;

    codec_scratch_init(&s, 0);
    assert_int_equal(codec_compress(&s, codec, in, size, &out, out_size), 0);
    copy = bytes_copy(out, *out_size);
    codec_scratch_close(&s);
    return copy;
}

/* Sizes around the blocks of snappy (32 KiB) and lz4 (64 KiB), and past the scratch's first memory. */
static void every_codec_gives_back_what_it_took(void **state)
{
    static const size_t sizes[] = {200, 32767, 32768, 32769, 65535, 65536, 65537, 1000000, 5000001};

    for (uint8_t codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct codec_scratch s;

        codec_scratch_init(&s, 0);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            const uint8_t *out;
            size_t size;
            size_t n;
            uint8_t *text = text_of(sizes[i]);
            uint8_t *small = compressed(codec, text, sizes[i], &size);

            assert_true(size < sizes[i]);
            assert_int_equal(codec_decompress(&s, codec, small, size, &out, &n), 0);
            assert_int_equal(n, sizes[i]);
            assert_memory_equal(out, text, n);
            free(small);
            free(text);
        }
        codec_scratch_close(&s);
    }
}

static void every_codecs_bomb_stops_at_the_limit(void **state)
{
    enum { MAX = 3000000 };

    for (uint8_t codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct codec_scratch s;
        const uint8_t *out;
        size_t size;
        size_t n;
        uint8_t *zeros = calloc(1, MAX + 1);
        uint8_t *bomb = compressed(codec, zeros, MAX + 1, &size);

        codec_scratch_init(&s, MAX);
        assert_int_equal(codec_decompress(&s, codec, bomb, size, &out, &n), ERR_TOO_BIG);
        assert_true(s.capacity <= MAX);
        free(bomb);
        bomb = compressed(codec, zeros, MAX, &size);
        assert_int_equal(codec_decompress(&s, codec, bomb, size, &out, &n), 0);
        assert_int_equal(n, MAX);
        codec_scratch_close(&s);
        free(bomb);
        free(zeros);
    }
}

static void every_cut_of_any_codec_is_malformed(void **state)
{
    for (uint8_t codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct codec_scratch s;
        const uint8_t *out;
        size_t size;
        size_t n;
        uint8_t *text = text_of(40000);
        uint8_t *whole = compressed(codec, text, 40000, &size);

        codec_scratch_init(&s, 0);
        for (size_t cut = 0; cut < size; cut += cut < 300 ? 1 : 97) {
            uint8_t *part = bytes_copy(whole, cut);
            int rv = codec_decompress(&s, codec, part, cut, &out, &n);
            /* xerial framing does not say where it ends: cut between two blocks it is a shorter stream */
            assert_true(rv == ERR_MALFORMED || (codec == CODEC_SNAPPY && rv == 0 && n < 40000));
            free(part);
        }
        assert_int_equal(codec_decompress(&s, codec, whole, size, &out, &n), 0); /* a failure leaves no trace */
        assert_int_equal(n, 40000);
        assert_memory_equal(out, text, n);
        codec_scratch_close(&s);
        free(whole);
        free(text);
    }
}

static void streams_in_a_row_are_one(void **state)
{
    for (uint8_t codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct codec_scratch s;
        const uint8_t *out;
        size_t size;
        size_t n;
        uint8_t *text = text_of(40000);
        uint8_t *one = compressed(codec, text, 40000, &size);
        uint8_t *two = malloc(2 * size);

        memcpy(two, one, size);
        memcpy(two + size, one, size);
        codec_scratch_init(&s, 0);
        assert_int_equal(codec_decompress(&s, codec, two, 2 * size, &out, &n), 0);
        assert_int_equal(n, 80000);
        assert_memory_equal(out, text, 40000);
        assert_memory_equal(out + 40000, text, 40000);
        codec_scratch_close(&s);
        free(two);
        free(one);
        free(text);
    }
}

/* As Java's clients write it: header, then each block behind its length; others send the block bare. */
static void snappy_is_read_framed_and_bare(void **state)
{
    static const uint8_t bare[] = {11, 40, 'h', 'e', 'l', 'l', 'o', ' ', 'w', 'o', 'r', 'l', 'd'};
    static const uint8_t header[] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 13};
    static const uint8_t liar[] = {0xff, 0xff, 0xff, 0x07, 0}; /* names 16 MiB */
    uint8_t framed[sizeof header + sizeof bare];
    struct codec_scratch s;
    const uint8_t *out;
    size_t n;

    memcpy(framed, header, sizeof header);
    memcpy(framed + sizeof header, bare, sizeof bare);
    codec_scratch_init(&s, 0);
    assert_int_equal(codec_decompress(&s, CODEC_SNAPPY, liar, sizeof liar, &out, &n), ERR_MALFORMED);
    assert_null(s.data); /* it was not believed */
    assert_int_equal(codec_decompress(&s, CODEC_SNAPPY, bare, sizeof bare, &out, &n), 0);
    assert_int_equal(n, 11);
    assert_memory_equal(out, "hello world", n);
    assert_int_equal(codec_decompress(&s, CODEC_SNAPPY, framed, sizeof framed, &out, &n), 0);
    assert_int_equal(n, 11);
    assert_memory_equal(out, "hello world", n);
    framed[19] = 14; /* a block that goes on past the end */
    assert_int_equal(codec_decompress(&s, CODEC_SNAPPY, framed, sizeof framed, &out, &n), ERR_MALFORMED);
    codec_scratch_close(&s);
}

/* Java's reader takes no frame whose blocks depend on each other. */
static void lz4_is_written_in_independent_blocks(void **state)
{
    size_t size;
    uint8_t *text = text_of(200000);
    uint8_t *frame = compressed(CODEC_LZ4, text, 200000, &size);

    assert_memory_equal(frame, "\x04\x22\x4d\x18", 4);
    assert_int_equal(frame[4] & 0x20, 0x20);
    free(frame);
    free(text);
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
        cmocka_unit_test(every_codec_gives_back_what_it_took),
        cmocka_unit_test(every_codecs_bomb_stops_at_the_limit),
        cmocka_unit_test(every_cut_of_any_codec_is_malformed),
        cmocka_unit_test(streams_in_a_row_are_one),
        cmocka_unit_test(snappy_is_read_framed_and_bare),
        cmocka_unit_test(lz4_is_written_in_independent_blocks),
        cmocka_unit_test(compresses_only_where_it_gets_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
