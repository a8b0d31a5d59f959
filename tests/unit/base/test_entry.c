#include "proto/base/entry.h"

#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/base/cursor.h"
#include "tests/unit/base/check.h"
#include "tests/unit/base/fail_alloc.h"

static struct buf *buf_with(const char *text)
{
    struct buf *buf = buf_new(NULL, strlen(text) + 8);

    assert_non_null(buf);
    memset(buf->data, 0, buf->capacity);
    memcpy(buf->data + 8, text, strlen(text));
    return buf;
}

/* An entry with every field set, its payload 8 bytes into its buffer. */
static struct entry *sample(void)
{
    struct buf *buf = buf_with("123456789");
    struct entry *e = entry_new(ENTRY_BATCH, buf, buf->data + 8, 9);

    assert_non_null(e);
    buf_release(buf);
    e->group = UINT64_C(0x1112131415161718);
    e->index = UINT64_C(0x2122232425262728);
    e->term = UINT64_C(0x3132333435363738);
    e->time_ms = INT64_C(0x4142434445464748);
    e->base_offset = INT64_C(0x5152535455565758);
    return e;
}

static void refit_crc(uint8_t header[ENTRY_HEADER_SIZE])
{
    struct writer w;

    writer_init(&w, header + 60, 4);
    writer_u32(&w, crc32c(0, header, 60));
}

static void a_new_entry_holds_its_buffer_and_checksum(void **state)
{
    struct buf *buf = buf_with("123456789");
    struct entry *e = entry_new(ENTRY_BATCH, buf, buf->data + 8, 9);

    assert_int_equal(atomic_load(&buf->refs), 2);
    assert_true(e->crc == 0xe3069283u);
    assert_true(entry_intact(e));
    assert_int_equal(e->base_offset, -1);
    assert_int_equal(e->index, 0);
    assert_ptr_equal(entry_acquire(e), e);
    entry_release(e);
    assert_int_equal(atomic_load(&buf->refs), 2);
    entry_release(e);
    assert_int_equal(atomic_load(&buf->refs), 1);
    buf_release(buf);
    entry_release(NULL);
}

static void an_empty_entry_needs_no_buffer(void **state)
{
    struct entry *e = entry_new(ENTRY_BARRIER, NULL, NULL, 0);
    uint8_t header[ENTRY_HEADER_SIZE];
    struct entry *back;

    assert_non_null(e);
    assert_true(entry_intact(e));
    entry_encode_header(e, header);
    assert_int_equal(entry_decode(header, NULL, NULL, &back), 0);
    assert_null(back->buf);
    assert_int_equal(back->length, 0);
    entry_release(back);
    entry_release(e);
}

/* The format on disk and wire, byte for byte: a change here needs a new version. */
static void the_header_is_laid_out_as_documented(void **state)
{
    static const uint8_t expected[60] = {
        1,    3,    0,    0,    9,    0,    0,    0,    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12,
        0x11, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33,
        0x32, 0x31, 0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41, 0x58, 0x57, 0x56, 0x55, 0x54,
        0x53, 0x52, 0x51, 0x83, 0x92, 0x06, 0xe3, 0,    0,    0,    0,    0,    0,    0,    0,
    };
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];
    struct cursor c;

    entry_encode_header(e, header);
    assert_memory_equal(header, expected, sizeof(expected));
    cursor_init(&c, header + 60, 4);
    assert_true(cursor_u32(&c) == crc32c(0, expected, sizeof(expected)));
    entry_release(e);
}

static void header_and_payload_round_trip(void **state)
{
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];
    struct entry *back;

    entry_encode_header(e, header);
    assert_int_equal(entry_decode(header, e->buf, e->data, &back), 0);
    assert_int_equal(back->kind, e->kind);
    assert_int_equal(back->length, e->length);
    assert_true(back->crc == e->crc && back->group == e->group && back->index == e->index && back->term == e->term);
    assert_true(back->time_ms == e->time_ms && back->base_offset == e->base_offset);
    assert_ptr_equal(back->data, e->data);
    assert_ptr_equal(back->buf, e->buf);
    assert_int_equal(atomic_load(&e->buf->refs), 2);
    entry_release(e);
    assert_true(entry_intact(back)); /* its own reference keeps the bytes */
    entry_release(back);
}

static void damage_to_any_header_bit_is_noticed(void **state)
{
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];

    entry_encode_header(e, header);
    for (unsigned bit = 0; bit < ENTRY_HEADER_SIZE * 8; bit++) {
        struct entry out;
        struct entry untouched;
        memset(&out, 0x5a, sizeof(out));
        memcpy(&untouched, &out, sizeof(out));
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(entry_decode_header(header, &out), bit < 8 ? ERR_VERSION : ERR_MALFORMED);
        assert_memory_equal(&out, &untouched, sizeof(out));
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    entry_release(e);
}

/* A peer that lies with a fitting checksum. */
static void bad_values_under_a_fitting_checksum_are_refused(void **state)
{
    static const struct {
        unsigned at;
        uint8_t value;
        int rv;
    } rows[] = {
        {0, 2, ERR_VERSION},   {0, 0, ERR_VERSION},    {1, 0, ERR_MALFORMED},  {1, 5, ERR_MALFORMED},
        {2, 1, ERR_MALFORMED}, {3, 1, ERR_MALFORMED},  {7, 1, ERR_TOO_BIG},    {7, 0xff, ERR_TOO_BIG},
        {52, 1, ERR_MALFORMED}, {55, 1, ERR_MALFORMED}, {56, 1, ERR_MALFORMED}, {59, 1, ERR_MALFORMED},
    };
    struct entry *e = sample();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t header[ENTRY_HEADER_SIZE];
        struct entry out;
        memset(&out, 0, sizeof(out));
        entry_encode_header(e, header);
        header[rows[i].at] = rows[i].value;
        refit_crc(header);
        assert_int_equal(entry_decode_header(header, &out), rows[i].rv);
    }
    entry_release(e);
}

static void the_length_limit_is_exact(void **state)
{
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];
    struct entry out;
    struct writer w;

    memset(&out, 0, sizeof(out));
    entry_encode_header(e, header);
    writer_init(&w, header + 4, 4);
    writer_u32(&w, ENTRY_PAYLOAD_MAX);
    refit_crc(header);
    assert_int_equal(entry_decode_header(header, &out), 0);
    assert_int_equal(out.length, ENTRY_PAYLOAD_MAX);
    writer_init(&w, header + 4, 4);
    writer_u32(&w, ENTRY_PAYLOAD_MAX + 1);
    refit_crc(header);
    assert_int_equal(entry_decode_header(header, &out), ERR_TOO_BIG);
    entry_release(e);
}

static void a_length_past_the_buffer_is_an_error_not_a_read(void **state)
{
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];
    struct entry *out = NULL;

    entry_encode_header(e, header);
    header[4] = 200;
    refit_crc(header);
    assert_int_equal(entry_decode(header, e->buf, e->data, &out), ERR_MALFORMED);
    assert_int_equal(entry_decode(header, NULL, NULL, &out), ERR_MALFORMED);
    assert_null(out);
    assert_int_equal(atomic_load(&e->buf->refs), 1);
    entry_release(e);
}

static void damaged_payload_is_corrupt(void **state)
{
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];
    struct entry *out = NULL;

    entry_encode_header(e, header);
    e->buf->data[8 + 4] ^= 0x10;
    assert_false(entry_intact(e));
    assert_int_equal(entry_decode(header, e->buf, e->data, &out), ERR_CORRUPT);
    assert_null(out);
    assert_int_equal(atomic_load(&e->buf->refs), 1);
    /* Encoding again must not launder it: the leader's checksum stays. */
    entry_encode_header(e, header);
    assert_int_equal(entry_decode(header, e->buf, e->data, &out), ERR_CORRUPT);
    entry_release(e);
}

static void allocation_failure_takes_no_reference(void **state)
{
    struct entry *e = sample();
    uint8_t header[ENTRY_HEADER_SIZE];
    struct entry *out = NULL;

    entry_encode_header(e, header);
    fail_alloc_armed = true;
    assert_null(entry_new(ENTRY_BATCH, e->buf, e->data, 9));
    assert_int_equal(entry_decode(header, e->buf, e->data, &out), ERR_NOMEM);
    fail_alloc_armed = false;
    assert_null(out);
    assert_int_equal(atomic_load(&e->buf->refs), 1);
    entry_release(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_entry_holds_its_buffer_and_checksum),
        cmocka_unit_test(an_empty_entry_needs_no_buffer),
        cmocka_unit_test(the_header_is_laid_out_as_documented),
        cmocka_unit_test(header_and_payload_round_trip),
        cmocka_unit_test(damage_to_any_header_bit_is_noticed),
        cmocka_unit_test(bad_values_under_a_fitting_checksum_are_refused),
        cmocka_unit_test(the_length_limit_is_exact),
        cmocka_unit_test(a_length_past_the_buffer_is_an_error_not_a_read),
        cmocka_unit_test(damaged_payload_is_corrupt),
        cmocka_unit_test(allocation_failure_takes_no_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
