#include "proto/base/cursor.h"

#include <string.h>

#include "tests/unit/base/check.h"

static const uint8_t BYTES[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xf8};

static void little_endian_reads(void **state)
{
    struct cursor c;

    cursor_init(&c, BYTES, sizeof(BYTES));
    assert_int_equal(cursor_u8(&c), 0x01);
    assert_int_equal(cursor_u16(&c), 0x0302);
    assert_int_equal(cursor_u32(&c), 0x07060504);
    assert_int_equal(cursor_left(&c), 1);
    cursor_init(&c, BYTES, sizeof(BYTES));
    assert_true(cursor_u64(&c) == UINT64_C(0xf807060504030201));
    cursor_init(&c, BYTES + 4, 4);
    assert_true(cursor_i32(&c) == INT32_C(-0x7f8f9fb));
    cursor_init(&c, BYTES, sizeof(BYTES));
    assert_true(cursor_i64(&c) < 0);
    assert_false(cursor_failed(&c));
    assert_int_equal(cursor_left(&c), 0);
}

static void big_endian_reads(void **state)
{
    static const uint8_t minus_two[] = {0xff, 0xfe};
    struct cursor c;

    cursor_init(&c, BYTES, sizeof(BYTES));
    assert_int_equal(cursor_i8_be(&c), 1);
    assert_int_equal(cursor_i16_be(&c), 0x0203);
    assert_int_equal(cursor_i32_be(&c), 0x04050607);
    assert_int_equal(cursor_i8_be(&c), -8);
    cursor_init(&c, BYTES, sizeof(BYTES));
    assert_true(cursor_i64_be(&c) == INT64_C(0x01020304050607f8));
    cursor_init(&c, BYTES + 4, 4);
    assert_true(cursor_u32_be(&c) == 0x050607f8u);
    cursor_init(&c, minus_two, sizeof(minus_two));
    assert_int_equal(cursor_i16_be(&c), -2);
}

static void a_short_read_gives_zero_moves_nothing_and_sticks(void **state)
{
    struct cursor c;

    cursor_init(&c, BYTES, 3);
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(cursor_failed(&c));
    assert_int_equal(c.position, 0);
    assert_int_equal(cursor_left(&c), 0);
    /* One byte would be there, but failed stays failed. */
    assert_int_equal(cursor_u8(&c), 0);
    assert_null(cursor_bytes(&c, 0));
    assert_int_equal(c.position, 0);
}

static void a_huge_length_does_not_wrap_around(void **state)
{
    struct cursor c;
    struct writer w;
    uint8_t out[4];

    cursor_init(&c, BYTES, sizeof(BYTES));
    (void)cursor_u32(&c);
    assert_null(cursor_bytes(&c, SIZE_MAX));
    assert_true(cursor_failed(&c));
    writer_init(&w, out, sizeof(out));
    writer_u8(&w, 1);
    assert_null(writer_reserve(&w, SIZE_MAX));
    assert_true(writer_failed(&w));
}

static void bytes_come_in_place(void **state)
{
    struct cursor c;

    cursor_init(&c, BYTES, sizeof(BYTES));
    assert_ptr_equal(cursor_bytes(&c, 2), BYTES);
    assert_ptr_equal(cursor_bytes(&c, 6), BYTES + 2);
    assert_non_null(cursor_bytes(&c, 0));
    assert_false(cursor_failed(&c));
    assert_null(cursor_bytes(&c, 1));
    assert_true(cursor_failed(&c));
}

static void what_is_written_is_read_back(void **state)
{
    uint8_t out[64];
    struct writer w;
    struct cursor c;

    writer_init(&w, out, sizeof(out));
    writer_u8(&w, 0xab);
    writer_u16(&w, 0xbeef);
    writer_u32(&w, 0xdeadbeefu);
    writer_u64(&w, UINT64_MAX - 1);
    writer_i32(&w, INT32_MIN);
    writer_i64(&w, INT64_MIN);
    writer_i8_be(&w, -1);
    writer_i16_be(&w, INT16_MIN);
    writer_i32_be(&w, -2);
    writer_u32_be(&w, 0xfeedfaceu);
    writer_i64_be(&w, -3);
    writer_bytes(&w, "end", 3);
    assert_false(writer_failed(&w));
    assert_int_equal(w.position, 1 + 2 + 4 + 8 + 4 + 8 + 1 + 2 + 4 + 4 + 8 + 3);

    cursor_init(&c, out, w.position);
    assert_int_equal(cursor_u8(&c), 0xab);
    assert_int_equal(cursor_u16(&c), 0xbeef);
    assert_true(cursor_u32(&c) == 0xdeadbeefu);
    assert_true(cursor_u64(&c) == UINT64_MAX - 1);
    assert_true(cursor_i32(&c) == INT32_MIN);
    assert_true(cursor_i64(&c) == INT64_MIN);
    assert_int_equal(cursor_i8_be(&c), -1);
    assert_int_equal(cursor_i16_be(&c), INT16_MIN);
    assert_int_equal(cursor_i32_be(&c), -2);
    assert_true(cursor_u32_be(&c) == 0xfeedfaceu);
    assert_true(cursor_i64_be(&c) == -3);
    assert_memory_equal(cursor_bytes(&c, 3), "end", 3);
    assert_false(cursor_failed(&c));
    assert_int_equal(cursor_left(&c), 0);
}

static void a_writer_stops_before_the_end_and_sticks(void **state)
{
    uint8_t out[4] = {0, 0, 0, 0x77};
    struct writer w;

    writer_init(&w, out, 3);
    writer_u16(&w, 0x0102);
    writer_u16(&w, 0x0304);
    assert_true(writer_failed(&w));
    writer_u8(&w, 9);
    assert_int_equal(w.position, 2);
    assert_int_equal(out[2], 0);
    assert_int_equal(out[3], 0x77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_endian_reads),
        cmocka_unit_test(big_endian_reads),
        cmocka_unit_test(a_short_read_gives_zero_moves_nothing_and_sticks),
        cmocka_unit_test(a_huge_length_does_not_wrap_around),
        cmocka_unit_test(bytes_come_in_place),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_writer_stops_before_the_end_and_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
