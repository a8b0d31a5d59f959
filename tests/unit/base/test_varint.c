#include "proto/base/varint.h"

#include <string.h>

#include "tests/unit/base/check.h"

static void known_encodings(void **state)
{
    static const struct {
        int64_t value;
        size_t size;
        uint8_t bytes[10];
    } rows[] = {
        {0, 1, {0x00}},
        {-1, 1, {0x01}},
        {1, 1, {0x02}},
        {63, 1, {0x7e}},
        {-64, 1, {0x7f}},
        {64, 2, {0x80, 0x01}},
        {-65, 2, {0x81, 0x01}},
        {8191, 2, {0xfe, 0x7f}},
        {8192, 3, {0x80, 0x80, 0x01}},
        {INT32_MAX, 5, {0xfe, 0xff, 0xff, 0xff, 0x0f}},
        {INT32_MIN, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
        {INT64_MAX, 10, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
        {INT64_MIN, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t out[16];
        struct writer w;
        struct cursor c;
        writer_init(&w, out, sizeof(out));
        writer_varint64(&w, rows[i].value);
        assert_int_equal(w.position, rows[i].size);
        assert_memory_equal(out, rows[i].bytes, rows[i].size);
        assert_int_equal(varint_size(rows[i].value), rows[i].size);
        cursor_init(&c, out, w.position);
        assert_true(cursor_varint64(&c) == rows[i].value);
        assert_int_equal(cursor_left(&c), 0);
        assert_false(cursor_failed(&c));
        if (rows[i].value < INT32_MIN || rows[i].value > INT32_MAX) {
            continue;
        }
        writer_init(&w, out, sizeof(out));
        writer_varint32(&w, (int32_t)rows[i].value);
        assert_int_equal(w.position, rows[i].size);
        assert_memory_equal(out, rows[i].bytes, rows[i].size);
        cursor_init(&c, out, w.position);
        assert_true(cursor_varint32(&c) == rows[i].value);
    }
}

static void round_trip_around_every_power_of_two(void **state)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            int64_t value = (int64_t)((UINT64_C(1) << bit) + (uint64_t)(int64_t)delta);
            uint8_t out[16];
            struct writer w;
            struct cursor c;
            writer_init(&w, out, sizeof(out));
            writer_varint64(&w, value);
            assert_int_equal(w.position, varint_size(value));
            cursor_init(&c, out, w.position);
            assert_true(cursor_varint64(&c) == value);
        }
    }
}

static void unsigned_round_trip(void **state)
{
    static const uint32_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX - 1, UINT32_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        uint8_t out[8];
        struct writer w;
        struct cursor c;
        writer_init(&w, out, sizeof(out));
        writer_uvarint32(&w, values[i]);
        cursor_init(&c, out, w.position);
        assert_true(cursor_uvarint32(&c) == values[i]);
        assert_int_equal(cursor_left(&c), 0);
    }
}

static void every_truncation_fails(void **state)
{
    uint8_t out[16];
    struct writer w;

    writer_init(&w, out, sizeof(out));
    writer_varint64(&w, INT64_MIN);
    for (size_t n = 0; n < w.position; n++) {
        struct cursor c;
        cursor_init(&c, out, n);
        assert_true(cursor_varint64(&c) == 0);
        assert_true(cursor_failed(&c));
        assert_int_equal(c.position, 0);
    }
}

static void overlong_and_overflowing_encodings_fail(void **state)
{
    static const uint8_t six[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    static const uint8_t bit32[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    static const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    static const uint8_t bit64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct cursor c;

    cursor_init(&c, six, sizeof(six));
    assert_int_equal(cursor_varint32(&c), 0);
    assert_true(cursor_failed(&c));
    cursor_init(&c, bit32, sizeof(bit32));
    assert_int_equal(cursor_uvarint32(&c), 0);
    assert_true(cursor_failed(&c));
    cursor_init(&c, eleven, sizeof(eleven));
    assert_true(cursor_varint64(&c) == 0);
    assert_true(cursor_failed(&c));
    cursor_init(&c, bit64, sizeof(bit64));
    assert_true(cursor_varint64(&c) == 0);
    assert_true(cursor_failed(&c));
}

static void zero_padding_is_accepted_as_kafka_does(void **state)
{
    static const uint8_t padded[] = {0x82, 0x80, 0x00};
    struct cursor c;

    cursor_init(&c, padded, sizeof(padded));
    assert_int_equal(cursor_varint32(&c), 1);
    assert_int_equal(cursor_left(&c), 0);
}

static void a_failed_cursor_stays_failed(void **state)
{
    static const uint8_t fine[] = {0x02};
    struct cursor c;

    cursor_init(&c, fine, sizeof(fine));
    c.failed = true;
    assert_int_equal(cursor_varint32(&c), 0);
    assert_int_equal(c.position, 0);
}

static void a_full_writer_fails_whole(void **state)
{
    uint8_t out[2] = {0x55, 0x55};
    struct writer w;

    writer_init(&w, out, 1);
    writer_varint32(&w, 64);
    assert_true(writer_failed(&w));
    assert_int_equal(out[0], 0x55);
    assert_int_equal(out[1], 0x55);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_encodings),
        cmocka_unit_test(round_trip_around_every_power_of_two),
        cmocka_unit_test(unsigned_round_trip),
        cmocka_unit_test(every_truncation_fails),
        cmocka_unit_test(overlong_and_overflowing_encodings_fail),
        cmocka_unit_test(zero_padding_is_accepted_as_kafka_does),
        cmocka_unit_test(a_failed_cursor_stays_failed),
        cmocka_unit_test(a_full_writer_fails_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
