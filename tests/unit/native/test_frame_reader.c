#include "util.h"

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static bool malloc_fails;

void *__wrap_malloc(size_t size)
{
    return malloc_fails ? NULL : __real_malloc(size);
}

static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* Byte @i of what follows the header of frame number @n. */
static uint8_t body_byte(uint32_t n, size_t i)
{
    return (uint8_t)(n * 31 + i * 7 + (i >> 8));
}

/* Append frame number @n to @out. Returns its size. */
static size_t put_frame(uint8_t *out, uint32_t n, uint32_t message_length, uint32_t payload_length)
{
    struct frame_header h = {.kind = FRAME_REQUEST,
                             .call = CALL_PRODUCE,
                             .call_version = 1,
                             .correlation = n,
                             .message_length = message_length,
                             .payload_length = payload_length};

    frame_encode_header(&h, out);
    for (size_t i = 0; i < (size_t)message_length + payload_length; i++) {
        out[FRAME_HEADER_SIZE + i] = body_byte(n, i);
    }
    return frame_size(&h);
}

static void expect_frame(const struct frame *f, uint32_t n)
{
    size_t size = (size_t)f->header.message_length + f->header.payload_length;

    assert_int_equal(f->header.correlation, n);
    assert_ptr_equal(f->payload, f->message + f->header.message_length);
    assert_true(f->message >= f->buf->data + FRAME_HEADER_SIZE);
    assert_true(f->message + size <= f->buf->data + f->buf->capacity);
    for (size_t i = 0; i < size; i++) {
        if (f->message[i] != body_byte(n, i)) {
            fail_msg("frame %u, byte %zu of %zu", n, i, size);
        }
    }
}

/* Feed @size bytes in one read, as far as the reader allows. Returns how many it took. */
static size_t feed(struct frame_reader *r, const uint8_t *bytes, size_t size)
{
    uint8_t *base;
    size_t length;

    assert_int_equal(frame_reader_alloc(r, &base, &length), 0);
    assert_true(length > 0);
    assert_true(r->frame_bytes != 0 || length >= FRAME_READ_ROOM_MIN); /* worth its system call */
    if (length > size) {
        length = size;
    }
    memcpy(base, bytes, length);
    frame_reader_commit(r, length);
    return length;
}

/* A stream of many frames in reads of random size; the receiver keeps a third of them and looks again at the end. */
static void stream_round_trip(struct buf_pool *pool, uint32_t seed, size_t read_max, size_t buffer_size)
{
    enum { FRAMES = 200, STREAM_MAX = 16 << 20 };
    struct frame kept[FRAMES];
    uint8_t *stream = malloc(STREAM_MAX);
    struct frame_reader r;
    uint32_t seen = 0;
    size_t kept_count = 0;
    size_t size = 0;
    size_t at = 0;

    for (uint32_t n = 0; n < FRAMES; n++) {
        uint32_t message = next_random(&seed) % 3 == 0 ? 0 : next_random(&seed) % 300;
        uint32_t payload = next_random(&seed) % 4 == 0 ? next_random(&seed) % 60000 : next_random(&seed) % 500;
        if (next_random(&seed) % 40 == 0) {
            payload = next_random(&seed) % 400000;
        }
        size += put_frame(stream + size, n, message, payload);
    }
    frame_reader_init(&r, pool, &limits_default, buffer_size);
    while (at < size) {
        struct frame f;
        size_t left = size - at;
        size_t n = 1 + next_random(&seed) % read_max;

        at += feed(&r, stream + at, n < left ? n : left);
        while (frame_reader_next(&r, &f)) {
            expect_frame(&f, seen++);
            if (next_random(&seed) % 3 == 0) {
                kept[kept_count++] = f;
            } else {
                buf_release(f.buf);
            }
        }
        assert_int_equal(frame_reader_error(&r), 0);
    }
    assert_int_equal(seen, FRAMES);
    assert_false(frame_reader_partial(&r));
    frame_reader_close(&r);
    for (size_t i = 0; i < kept_count; i++) {
        expect_frame(&kept[i], kept[i].header.correlation);
        buf_release(kept[i].buf);
    }
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    free(stream);
}

static void yields_what_was_sent_however_it_was_cut(void **state)
{
    struct buf_pool *pool = buf_pool_new(8 << 20);

    for (uint32_t seed = 1; seed <= 4; seed++) {
        stream_round_trip(pool, seed, 200, FRAME_READ_BUFFER_SIZE_MIN);
        stream_round_trip(pool, seed, 5000, FRAME_READ_BUFFER_SIZE_MIN);
        stream_round_trip(pool, seed, 1 << 20, FRAME_READ_BUFFER_SIZE_MIN);
        stream_round_trip(pool, seed, 1 << 20, 0);
    }
    buf_pool_free(pool);
}

static void reads_a_stream_byte_by_byte(void **state)
{
    uint8_t stream[1000];
    struct frame_reader r;
    struct frame f;
    uint32_t seen = 0;
    size_t size = 0;

    size += put_frame(stream + size, 0, 10, 20);
    size += put_frame(stream + size, 1, 0, 0);
    size += put_frame(stream + size, 2, 0, 1);
    size += put_frame(stream + size, 3, 1, 0);
    frame_reader_init(&r, NULL, &limits_default, 0);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(feed(&r, stream + i, 1), 1);
        while (frame_reader_next(&r, &f)) {
            expect_frame(&f, seen++);
            buf_release(f.buf);
        }
        assert_int_equal(frame_reader_error(&r), 0);
    }
    assert_int_equal(seen, 4);
    frame_reader_close(&r);
}

static void frames_point_where_the_socket_was_read_to(void **state)
{
    uint8_t stream[2000];
    struct frame_reader r;
    struct frame a;
    struct frame b;
    uint8_t *base;
    size_t length;
    size_t size = 0;

    size += put_frame(stream + size, 0, 5, 700);
    size += put_frame(stream + size, 1, 6, 800);
    frame_reader_init(&r, NULL, &limits_default, 0);
    assert_int_equal(frame_reader_alloc(&r, &base, &length), 0);
    memcpy(base, stream, size);
    frame_reader_commit(&r, size);
    assert_true(frame_reader_next(&r, &a));
    assert_true(frame_reader_next(&r, &b));
    assert_false(frame_reader_next(&r, &b));
    assert_ptr_equal(a.message, base + 32);
    assert_ptr_equal(a.payload, base + 32 + 5);
    assert_ptr_equal(b.payload, base + 32 + 5 + 700 + 32 + 6);
    assert_ptr_equal(a.buf, b.buf);
    /* both are still held: the next read goes behind them, in the same buffer */
    assert_int_equal(frame_reader_alloc(&r, &base, &length), 0);
    assert_ptr_equal(base, b.payload + 800);
    buf_release(a.buf);
    buf_release(b.buf);
    frame_reader_close(&r);
}

static void a_large_payload_is_moved_once_to_a_buffer_of_its_own(void **state)
{
    enum { PAYLOAD = 1 << 20 };
    struct buf_pool *pool = buf_pool_new(8 << 20);
    uint8_t *stream = malloc(PAYLOAD + 1000);
    struct frame_reader r;
    struct buf *own = NULL;
    struct frame f;
    uint8_t *base;
    size_t length;
    size_t moved;
    size_t size;
    size_t at;

    size = put_frame(stream, 0, 3, PAYLOAD);
    frame_reader_init(&r, pool, &limits_default, 0);
    at = feed(&r, stream, size); /* an ordinary buffer full */
    assert_int_equal(at, FRAME_READ_BUFFER_SIZE);
    moved = at;
    while (!frame_reader_next(&r, &f)) {
        size_t n = size - at < 10000 ? size - at : 10000;
        assert_int_equal(frame_reader_alloc(&r, &base, &length), 0);
        assert_int_equal(length, size - at); /* not a byte of the next frame */
        assert_ptr_equal(base, r.buf->data + at);
        assert_true(own == NULL || own == r.buf);
        own = r.buf;
        memcpy(base, stream + at, n);
        frame_reader_commit(&r, n);
        at += n;
    }
    assert_true(moved <= FRAME_READ_BUFFER_SIZE);
    expect_frame(&f, 0);
    assert_ptr_equal(f.buf, own);
    assert_null(r.buf); /* what is left of it would pin a megabyte for a small message */
    buf_release(f.buf);
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    frame_reader_close(&r);
    buf_pool_free(pool);
    free(stream);
}

static void idle_connections_hold_no_buffer(void **state)
{
    struct buf_pool *pool = buf_pool_new(1 << 20);
    uint8_t stream[100];
    struct frame_reader r;
    struct frame f;
    size_t size = put_frame(stream, 0, 10, 10);

    frame_reader_init(&r, pool, &limits_default, 0);
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    feed(&r, stream, size);
    assert_true(frame_reader_next(&r, &f));
    buf_release(f.buf);
    assert_false(frame_reader_next(&r, &f));
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    /* a frame that is kept keeps the buffer, until the idle connection is trimmed and the frame let go */
    feed(&r, stream, size);
    assert_true(frame_reader_next(&r, &f));
    {
        struct frame none;
        assert_false(frame_reader_next(&r, &none));
    }
    assert_non_null(r.buf);
    frame_reader_trim(&r);
    assert_null(r.buf);
    expect_frame(&f, 0);
    buf_release(f.buf);
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    /* a partial frame is not trimmed away */
    feed(&r, stream, size - 1);
    frame_reader_trim(&r);
    assert_true(frame_reader_partial(&r));
    assert_false(frame_reader_next(&r, &f));
    feed(&r, stream + size - 1, 1);
    assert_true(frame_reader_next(&r, &f));
    expect_frame(&f, 0);
    buf_release(f.buf);
    frame_reader_close(&r);
    buf_pool_free(pool);
}

static void a_partial_frame_is_moved_without_a_new_buffer_when_it_is_alone(void **state)
{
    uint8_t *stream = malloc(FRAME_READ_BUFFER_SIZE_MIN * 2);
    struct frame_reader r;
    struct buf *buf;
    struct frame f;
    uint8_t *base;
    size_t length;
    size_t first;
    size_t size;
    size_t at;

    first = put_frame(stream, 0, 0, 10000);
    size = first + put_frame(stream + first, 1, 0, 12000);
    frame_reader_init(&r, NULL, &limits_default, FRAME_READ_BUFFER_SIZE_MIN);
    at = feed(&r, stream, size);
    assert_int_equal(at, FRAME_READ_BUFFER_SIZE_MIN);
    buf = r.buf;
    assert_true(frame_reader_next(&r, &f));
    buf_release(f.buf);
    assert_false(frame_reader_next(&r, &f));
    assert_int_equal(frame_reader_alloc(&r, &base, &length), 0);
    assert_ptr_equal(r.buf, buf);
    assert_ptr_equal(base, buf->data + at - first);
    feed(&r, stream + at, size - at);
    assert_true(frame_reader_next(&r, &f));
    expect_frame(&f, 1);
    buf_release(f.buf);
    frame_reader_close(&r);
    free(stream);
}

static void frames_before_garbage_are_yielded_and_none_behind(void **state)
{
    uint8_t stream[500];
    struct frame_reader r;
    struct frame f;
    uint8_t *base;
    size_t length;
    size_t size = 0;

    size += put_frame(stream + size, 0, 4, 4);
    memset(stream + size, 'G', FRAME_HEADER_SIZE);
    size += FRAME_HEADER_SIZE;
    size += put_frame(stream + size, 1, 4, 4);
    frame_reader_init(&r, NULL, &limits_default, 0);
    feed(&r, stream, size);
    assert_true(frame_reader_next(&r, &f));
    expect_frame(&f, 0);
    buf_release(f.buf);
    for (int i = 0; i < 3; i++) {
        assert_false(frame_reader_next(&r, &f));
        assert_int_equal(frame_reader_error(&r), ERR_MALFORMED);
        assert_int_equal(frame_reader_alloc(&r, &base, &length), ERR_MALFORMED);
    }
    frame_reader_close(&r);
}

static void lengths_are_checked_before_anything_is_allocated(void **state)
{
    struct buf_pool *pool = buf_pool_new(1 << 20);
    struct frame_limits limits = {.message_max = 100, .payload_max = 1000};
    uint8_t stream[3000];
    struct frame_reader r;
    struct frame f;
    size_t size;

    size = put_frame(stream, 0, 100, 1000);
    size += put_frame(stream + size, 1, 0, 1001);
    frame_reader_init(&r, pool, &limits, FRAME_READ_BUFFER_SIZE_MIN);
    feed(&r, stream, 32 + 1100 + 32); /* the second frame's header alone */
    assert_true(frame_reader_next(&r, &f));
    buf_release(f.buf);
    assert_false(frame_reader_next(&r, &f));
    assert_int_equal(frame_reader_error(&r), ERR_TOO_BIG);
    assert_int_equal(buf_pool_bytes_out(pool), FRAME_READ_BUFFER_SIZE_MIN);
    frame_reader_close(&r);
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    buf_pool_free(pool);
}

static void running_out_of_memory_loses_nothing(void **state)
{
    uint8_t *stream = malloc(200000);
    struct frame_reader r;
    struct frame f;
    uint8_t *base;
    size_t length;
    size_t size = put_frame(stream, 0, 10, 150000);
    size_t at;
    int rv;

    frame_reader_init(&r, NULL, &limits_default, 0);
    malloc_fails = true;
    rv = frame_reader_alloc(&r, &base, &length);
    malloc_fails = false;
    assert_int_equal(rv, ERR_NOMEM);
    at = feed(&r, stream, 5000);
    assert_false(frame_reader_next(&r, &f));
    malloc_fails = true;
    rv = frame_reader_alloc(&r, &base, &length); /* now in need of a larger one */
    malloc_fails = false;
    assert_int_equal(rv, ERR_NOMEM);
    assert_int_equal(frame_reader_error(&r), 0);
    at += feed(&r, stream + at, size - at);
    assert_int_equal(at, size);
    assert_true(frame_reader_next(&r, &f));
    expect_frame(&f, 0);
    buf_release(f.buf);
    frame_reader_close(&r);
    free(stream);
}

static void frames_outlive_their_reader(void **state)
{
    uint8_t stream[500];
    struct frame_reader r;
    struct frame f;
    size_t size = put_frame(stream, 9, 50, 300);

    frame_reader_init(&r, NULL, &limits_default, 0);
    feed(&r, stream, size);
    assert_true(frame_reader_next(&r, &f));
    frame_reader_close(&r);
    expect_frame(&f, 9);
    buf_release(f.buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yields_what_was_sent_however_it_was_cut),
        cmocka_unit_test(reads_a_stream_byte_by_byte),
        cmocka_unit_test(frames_point_where_the_socket_was_read_to),
        cmocka_unit_test(a_large_payload_is_moved_once_to_a_buffer_of_its_own),
        cmocka_unit_test(idle_connections_hold_no_buffer),
        cmocka_unit_test(a_partial_frame_is_moved_without_a_new_buffer_when_it_is_alone),
        cmocka_unit_test(frames_before_garbage_are_yielded_and_none_behind),
        cmocka_unit_test(lengths_are_checked_before_anything_is_allocated),
        cmocka_unit_test(running_out_of_memory_loses_nothing),
        cmocka_unit_test(frames_outlive_their_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
