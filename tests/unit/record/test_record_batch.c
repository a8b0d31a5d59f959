#include "golden.h"
#include "util.h"

#define SPEC_CRC 0x71, 0x6a, 0x61, 0x89 /* of bytes 21..69, computed with another program */

/* By hand from the specification: one record, key "k", value "v", time 1000. */
static const uint8_t by_hand[] = {
    0,        0,    0,    0,    0,    0,    0,    0,    /*  0 base offset */
    0,        0,    0,    58,                           /*  8 length: 70 - 12 */
    0xff,     0xff, 0xff, 0xff,                         /* 12 leader epoch -1 */
    2,                                                  /* 16 magic */
    SPEC_CRC,                                           /* 17 crc */
    0,        0,                                        /* 21 attributes */
    0,        0,    0,    0,                            /* 23 last offset delta */
    0,        0,    0,    0,    0,    0,    0x03, 0xe8, /* 27 base timestamp */
    0,        0,    0,    0,    0,    0,    0x03, 0xe8, /* 35 max timestamp */
    0xff,     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* 43 producer id */
    0xff,     0xff,                                     /* 51 producer epoch */
    0xff,     0xff, 0xff, 0xff,                         /* 53 base sequence */
    0,        0,    0,    1,                            /* 57 records */
    0x10,     0,    0,    0,    0x02, 'k',  0x02, 'v',  /* 61 length 8, attributes, time +0, offset +0, key, value */
    0,                                                  /* 69 no headers */
};

static int validate(const uint8_t *bytes, size_t size)
{
    struct record_batch_header h;
    return record_batch_validate(bytes, size, &limits_default, &h, NULL);
}

static void reads_and_writes_the_batch_made_by_hand(void **state)
{
    struct record_batch_header h;
    struct record_builder b;
    uint8_t memory[256];
    uint8_t *out;
    size_t size;

    assert_int_equal(record_batch_validate(by_hand, sizeof by_hand, &limits_default, &h, NULL), 0);
    assert_int_equal(h.base_offset, 0);
    assert_int_equal(h.size, sizeof by_hand);
    assert_int_equal(h.leader_epoch, -1);
    assert_int_equal(h.crc, 0x716a6189);
    assert_int_equal(h.attributes, 0);
    assert_int_equal(h.last_offset_delta, 0);
    assert_int_equal(h.base_timestamp, 1000);
    assert_int_equal(h.max_timestamp, 1000);
    assert_int_equal(h.producer_id, -1);
    assert_int_equal(h.producer_epoch, -1);
    assert_int_equal(h.base_sequence, -1);
    assert_int_equal(h.count, 1);

    record_builder_init(&b, memory, sizeof memory);
    assert_int_equal(record_builder_append(&b, "k", 1, "v", 1, NULL, 0, 1000), 0);
    assert_int_equal(record_builder_finish(&b, &RECORD_BATCH_PLAIN, NULL, &out, &size), 0);
    assert_int_equal(size, sizeof by_hand);
    assert_memory_equal(out, by_hand, size);
}

static void accepts_batches_of_another_client(void **state)
{
    const char *golden[] = {kafka_python_plain, kafka_python_idempotent, kafka_python_zstd, kafka_python_gzip};
    uint8_t codecs[] = {CODEC_NONE, CODEC_NONE, CODEC_ZSTD, CODEC_GZIP};

    for (size_t i = 0; i < 4; i++) {
        struct record_batch_header h;
        size_t size;
        uint8_t *bytes = bytes_of_hex(golden[i], &size);

        assert_int_equal(record_batch_validate(bytes, size, &limits_default, &h, NULL), 0);
        assert_int_equal(h.size, size);
        assert_int_equal(h.count, 4);
        assert_int_equal(h.last_offset_delta, 3);
        assert_int_equal(h.base_timestamp, 1700000000000);
        assert_int_equal(h.max_timestamp, 1700000000150);
        assert_int_equal(record_batch_codec(&h), codecs[i]);
        assert_int_equal(record_batch_is_transactional(&h), i == 1);
        assert_int_equal(h.producer_id, i == 1 ? 123456789 : -1);
        assert_int_equal(h.producer_epoch, i == 1 ? 7 : -1);
        assert_int_equal(h.base_sequence, i == 1 ? 2147483646 : -1);
        free(bytes);
    }
}

static void stamps_outside_the_crc(void **state)
{
    struct record_batch_header h;
    uint8_t bytes[sizeof by_hand];

    memcpy(bytes, by_hand, sizeof bytes);
    record_batch_set_base_offset(bytes, 0x0102030405060708);
    record_batch_set_leader_epoch(bytes, 0x11121314);
    assert_int_equal(record_batch_validate(bytes, sizeof bytes, &limits_default, &h, NULL), 0);
    assert_int_equal(h.base_offset, 0x0102030405060708);
    assert_int_equal(h.leader_epoch, 0x11121314);
    assert_int_equal(record_batch_offset_next(&h), 0x0102030405060709);
    /* nothing else moved */
    assert_memory_equal(bytes + 8, by_hand + 8, 4);
    assert_memory_equal(bytes + 16, by_hand + 16, sizeof bytes - 16);
}

static void stamps_a_new_producer_with_its_crc(void **state)
{
    struct record_batch_header h;
    uint8_t bytes[sizeof by_hand];

    memcpy(bytes, by_hand, sizeof bytes);
    record_batch_set_producer(bytes, sizeof bytes, 0x0102030405060708, 3, 41);
    assert_int_equal(record_batch_validate(bytes, sizeof bytes, &limits_default, &h, NULL), 0);
    assert_int_equal(h.producer_id, 0x0102030405060708);
    assert_int_equal(h.producer_epoch, 3);
    assert_int_equal(h.base_sequence, 41);
    assert_int_equal(h.count, 1);
}

static void detects_every_flipped_bit_but_in_the_stamps(void **state)
{
    for (size_t bit = 0; bit < sizeof by_hand * 8; bit++) {
        uint8_t bytes[sizeof by_hand];
        size_t at = bit / 8;
        bool stamp = at < 8 || (at >= 12 && at < 16);

        memcpy(bytes, by_hand, sizeof bytes);
        bytes[at] ^= (uint8_t)(1u << (bit % 8));
        if (stamp) {
            assert_int_equal(validate(bytes, sizeof bytes), 0);
        } else {
            assert_int_not_equal(validate(bytes, sizeof bytes), 0);
        }
        if (at >= RECORD_BATCH_CRC_BEGIN) {
            assert_int_equal(validate(bytes, sizeof bytes), ERR_CORRUPT);
        }
    }
}

/* Each case is a consistent batch but for one field; the crc is right. */
static void rejects_each_field_that_makes_no_sense(void **state)
{
    static const struct {
        size_t at;
        size_t width;
        int64_t value;
        int err;
    } cases[] = {
        {16, 1, 0, ERR_VERSION},
        {16, 1, 1, ERR_VERSION},
        {16, 1, 3, ERR_VERSION},
        {21, 2, RECORD_ATTRIBUTE_CONTROL, ERR_INVALID_RECORD},
        {21, 2, RECORD_ATTRIBUTE_APPEND_TIME, ERR_INVALID_RECORD},
        {21, 2, RECORD_ATTRIBUTE_TRANSACTIONAL, ERR_INVALID_RECORD}, /* without a producer id */
        {21, 2, 0x40, ERR_INVALID_RECORD},
        {21, 2, 0x4000, ERR_INVALID_RECORD},
        {21, 2, 5, ERR_UNSUPPORTED_CODEC},
        {21, 2, 7, ERR_UNSUPPORTED_CODEC},
        {21, 2, CODEC_ZSTD, 0}, /* what is inside is not looked at */
        {23, 4, 1, ERR_INVALID_RECORD},
        {23, 4, -1, ERR_INVALID_RECORD},
        {23, 4, INT32_MAX, ERR_INVALID_RECORD},
        {23, 4, INT32_MIN, ERR_INVALID_RECORD},
        {27, 8, -1, 0},
        {27, 8, -2, ERR_INVALID_RECORD},
        {27, 8, INT64_MIN, ERR_INVALID_RECORD},
        {27, 8, RECORD_TIMESTAMP_MAX, 0},
        {27, 8, RECORD_TIMESTAMP_MAX + 1, ERR_INVALID_RECORD},
        {35, 8, -1, 0}, /* some producers never set it */
        {35, 8, -2, ERR_INVALID_RECORD},
        {35, 8, INT64_MAX, ERR_INVALID_RECORD},
        {43, 8, -2, ERR_INVALID_RECORD},
        {43, 8, 5, ERR_INVALID_RECORD}, /* epoch and sequence are -1 */
        {57, 4, 0, ERR_INVALID_RECORD},
        {57, 4, 2, ERR_INVALID_RECORD},
        {57, 4, -1, ERR_INVALID_RECORD},
        {57, 4, INT32_MIN, ERR_INVALID_RECORD},
        {57, 4, INT32_MAX, ERR_INVALID_RECORD},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct record_batch_header h = {.count = 77};
        char errmsg[ERRMSG_SIZE] = "";
        uint8_t *bytes = bytes_copy(by_hand, sizeof by_hand);
        int rv;

        for (size_t j = 0; j < cases[i].width; j++) {
            bytes[cases[i].at + j] = (uint8_t)((uint64_t)cases[i].value >> (8 * (cases[i].width - 1 - j)));
        }
        fix_crc(bytes, sizeof by_hand);
        rv = record_batch_validate(bytes, sizeof by_hand, &limits_default, &h, errmsg);
        if (rv != cases[i].err) {
            fail_msg("case %zu: %s (%s) instead of %s", i, err_name(rv), errmsg, err_name(cases[i].err));
        }
        if (rv != 0) {
            assert_int_equal(h.count, 77);
            assert_true(strlen(errmsg) > 0);
        }
        free(bytes);
    }
}

static void wants_epoch_and_sequence_with_a_producer_id(void **state)
{
    uint8_t bytes[sizeof by_hand];

    memcpy(bytes, by_hand, sizeof bytes);
    record_batch_set_producer(bytes, sizeof bytes, 0, 0, 0);
    assert_int_equal(validate(bytes, sizeof bytes), 0);
    record_batch_set_producer(bytes, sizeof bytes, 0, 0, -1);
    assert_int_equal(validate(bytes, sizeof bytes), ERR_INVALID_RECORD);
    record_batch_set_producer(bytes, sizeof bytes, 0, -1, 0);
    assert_int_equal(validate(bytes, sizeof bytes), ERR_INVALID_RECORD);
    record_batch_set_producer(bytes, sizeof bytes, INT64_MAX, INT16_MAX, INT32_MAX);
    assert_int_equal(validate(bytes, sizeof bytes), 0);
}

static void finds_every_truncation_torn(void **state)
{
    size_t size;
    uint8_t *whole = bytes_of_hex(kafka_python_plain, &size);

    for (size_t n = 0; n < size; n++) {
        struct record_batch_header h = {.count = 77};
        uint8_t *cut = bytes_copy(whole, n);

        assert_int_equal(record_batch_peek(cut, n, &h), ERR_TORN);
        assert_int_equal(record_batch_validate(cut, n, &limits_default, &h, NULL), ERR_MALFORMED);
        assert_int_equal(h.count, 77);
        free(cut);
    }
    free(whole);
}

/* The same, but the length field and crc agree with the cut: the records' own lengths must catch it. */
static void finds_every_consistent_truncation(void **state)
{
    size_t size;
    uint8_t *whole = bytes_of_hex(kafka_python_plain, &size);

    for (size_t n = RECORD_BATCH_HEADER_SIZE; n < size; n++) {
        uint8_t *cut = bytes_copy(whole, n);

        put_be32(cut + 8, (uint32_t)n - RECORD_BATCH_LENGTH_END);
        fix_crc(cut, n);
        assert_int_equal(validate(cut, n), ERR_MALFORMED);
        free(cut);
    }
    free(whole);
}

static void refuses_more_than_one_batch(void **state)
{
    uint8_t two[2 * sizeof by_hand];

    memcpy(two, by_hand, sizeof by_hand);
    memcpy(two + sizeof by_hand, by_hand, sizeof by_hand);
    assert_int_equal(validate(two, sizeof two), ERR_MALFORMED);
    assert_int_equal(validate(two, sizeof by_hand + 1), ERR_MALFORMED);
}

static void walks_a_run_of_batches_up_to_a_cut_one(void **state)
{
    struct record_batch_header h;
    size_t size;
    uint8_t *second = bytes_of_hex(kafka_python_zstd, &size);
    size_t run_size = sizeof by_hand + size + 40;
    uint8_t *run = malloc(run_size);
    size_t at = 0;

    memcpy(run, by_hand, sizeof by_hand);
    memcpy(run + sizeof by_hand, second, size);
    memcpy(run + sizeof by_hand + size, by_hand, 40);
    assert_int_equal(record_batch_peek(run + at, run_size - at, &h), 0);
    assert_int_equal(h.count, 1);
    at += h.size;
    assert_int_equal(record_batch_peek(run + at, run_size - at, &h), 0);
    assert_int_equal(h.count, 4);
    at += h.size;
    assert_int_equal(record_batch_peek(run + at, run_size - at, &h), ERR_TORN);
    assert_int_equal(run_size - at, 40);
    free(run);
    free(second);
}

static void refuses_absurd_lengths_before_waiting_for_them(void **state)
{
    static const int32_t lengths[] = {INT32_MIN,
                                      -1,
                                      0,
                                      RECORD_BATCH_HEADER_SIZE - RECORD_BATCH_LENGTH_END - 1,
                                      RECORD_BATCH_SIZE_MAX - RECORD_BATCH_LENGTH_END + 1,
                                      INT32_MAX};
    uint8_t bytes[sizeof by_hand];
    struct record_batch_header h;

    memcpy(bytes, by_hand, sizeof bytes);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        put_be32(bytes + 8, (uint32_t)lengths[i]);
        assert_int_equal(record_batch_peek(bytes, sizeof bytes, &h), ERR_MALFORMED);
        assert_int_equal(record_batch_peek(bytes, 12, &h), ERR_MALFORMED);
        assert_int_equal(validate(bytes, sizeof bytes), ERR_MALFORMED);
    }
    put_be32(bytes + 8, RECORD_BATCH_SIZE_MAX - RECORD_BATCH_LENGTH_END);
    assert_int_equal(record_batch_peek(bytes, sizeof bytes, &h), ERR_TORN);
}

static void names_an_old_message_set_by_its_version(void **state)
{
    /* offset 8, size 4, crc 4, magic 1: a v1 message of 22 bytes */
    uint8_t old[34] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 22, 1, 2, 3, 4, 1};
    struct record_batch_header h;
    char errmsg[ERRMSG_SIZE];

    assert_int_equal(record_batch_validate(old, sizeof old, &limits_default, &h, errmsg), ERR_VERSION);
    assert_non_null(strstr(errmsg, "format 1"));
}

static void holds_the_size_limit_exactly(void **state)
{
    struct record_batch_limits limits = {.size_max = sizeof by_hand};
    struct record_batch_header h;

    assert_int_equal(record_batch_validate(by_hand, sizeof by_hand, &limits, &h, NULL), 0);
    limits.size_max--;
    assert_int_equal(record_batch_validate(by_hand, sizeof by_hand, &limits, &h, NULL), ERR_BATCH_TOO_BIG);
}

static void limits_the_count_that_a_compressed_batch_may_claim(void **state)
{
    uint8_t junk[8] = {0};
    size_t size;
    uint8_t *bytes = batch_of_records(junk, sizeof junk, RECORD_BATCH_COUNT_MAX, CODEC_ZSTD, &size);

    assert_int_equal(validate(bytes, size), 0);
    free(bytes);
    bytes = batch_of_records(junk, sizeof junk, RECORD_BATCH_COUNT_MAX + 1, CODEC_ZSTD, &size);
    assert_int_equal(validate(bytes, size), ERR_INVALID_RECORD);
    free(bytes);
}

static void checks_every_record(void **state)
{
    static const struct {
        const char *records;
        int32_t count;
        int err;
        const char *why;
    } cases[] = {
        {"0c000000010100", 1, 0, "the smallest: null key, null value"},
        {"0c000000000000", 1, 0, "empty key, empty value"},
        {"0c0000000101000c000002010100", 2, 0, "two"},
        {"0c0000000101000c000000010100", 2, ERR_INVALID_RECORD, "offset delta repeated"},
        {"0c0000000101000c000004010100", 2, ERR_INVALID_RECORD, "offset delta skipped"},
        {"0c000002010100", 1, ERR_INVALID_RECORD, "does not start at 0"},
        {"0c000001010100", 1, ERR_INVALID_RECORD, "offset delta -1"},
        {"0c00000001010000", 1, ERR_MALFORMED, "a byte behind the last"},
        {"0c000000010100", 2, ERR_MALFORMED, "fewer than claimed"},
        {"0c0000000101000c000002010100", 1, ERR_MALFORMED, "more than claimed"},
        {"", 1, ERR_MALFORMED, "none"},
        {"0a000000010100", 1, ERR_MALFORMED, "length one short"},
        {"0e000000010100", 1, ERR_MALFORMED, "length one long"},
        {"0e00000001010000", 1, ERR_MALFORMED, "a spare byte inside"},
        {"01000000010100", 1, ERR_MALFORMED, "length -1"},
        {"00000000010100", 1, ERR_MALFORMED, "length 0"},
        {"feffffff0f0000010100", 1, ERR_MALFORMED, "length 2^31-1"},
        {"ffffffff0f0000010100", 1, ERR_MALFORMED, "length -2^31"},
        {"8c80808000000000010100", 1, 0, "a longer varint than needed is still one"},
        {"8c8080808000000000010100", 1, ERR_MALFORMED, "a varint of six bytes"},
        {"feffffff1f0000010100", 1, ERR_MALFORMED, "a varint of 33 bits"},
        {"ffffffffffffffffffff", 1, ERR_MALFORMED, "a varint without end"},
        {"0c000000030100", 1, ERR_MALFORMED, "key length -2"},
        {"0c000000010300", 1, ERR_MALFORMED, "value length -2"},
        {"0c000000020100", 1, ERR_MALFORMED, "key longer than what is left"},
        {"16000000feffffff0f010100", 1, ERR_MALFORMED, "key length 2^31-1"},
        {"1600000001feffffff0f0100", 1, ERR_MALFORMED, "value length 2^31-1"},
        {"0c000000010101", 1, ERR_MALFORMED, "headers count -1"},
        {"0c000000010102", 1, ERR_MALFORMED, "headers count 1 but no header"},
        {"14000000010102000000", 1, ERR_MALFORMED, "header with a byte too many"},
        {"100000000101020000", 1, 0, "header with empty key and value"},
        {"100000000101020001", 1, 0, "header with null value"},
        {"100000000101020100", 1, ERR_MALFORMED, "header with null key"},
        {"100000000101020003", 1, ERR_MALFORMED, "header value length -2"},
        {"1400000001 01feffffff0f", 1, ERR_MALFORMED, "headers count 2^31-1"},
        {"20 00 ffffffffffffffffff01 00 01 01 00", 1, ERR_MALFORMED, "time delta, length two too many"},
        {"1e 00 ffffffffffffffffff01 00 01 01 00", 1, 0, "time delta -2^63"},
        {"1e 00 ffffffffffffffffff03 00 01 01 00", 1, ERR_MALFORMED, "time delta of 65 bits"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char hex[128];
        char errmsg[ERRMSG_SIZE] = "";
        struct record_batch_header h;
        size_t n = 0;
        size_t size;
        uint8_t *records;
        uint8_t *bytes;
        int rv;

        for (const char *c = cases[i].records; *c != 0; c++) {
            if (*c != ' ') {
                hex[n++] = *c;
            }
        }
        hex[n] = 0;
        records = bytes_of_hex(hex, &n);
        bytes = batch_of_records(records, n, cases[i].count, 0, &size);
        rv = record_batch_validate(bytes, size, &limits_default, &h, errmsg);
        if (rv != cases[i].err) {
            fail_msg("%s: %s (%s) instead of %s", cases[i].why, err_name(rv), errmsg, err_name(cases[i].err));
        }
        free(records);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_the_batch_made_by_hand),
        cmocka_unit_test(accepts_batches_of_another_client),
        cmocka_unit_test(stamps_outside_the_crc),
        cmocka_unit_test(stamps_a_new_producer_with_its_crc),
        cmocka_unit_test(detects_every_flipped_bit_but_in_the_stamps),
        cmocka_unit_test(rejects_each_field_that_makes_no_sense),
        cmocka_unit_test(wants_epoch_and_sequence_with_a_producer_id),
        cmocka_unit_test(finds_every_truncation_torn),
        cmocka_unit_test(finds_every_consistent_truncation),
        cmocka_unit_test(refuses_more_than_one_batch),
        cmocka_unit_test(walks_a_run_of_batches_up_to_a_cut_one),
        cmocka_unit_test(refuses_absurd_lengths_before_waiting_for_them),
        cmocka_unit_test(names_an_old_message_set_by_its_version),
        cmocka_unit_test(holds_the_size_limit_exactly),
        cmocka_unit_test(limits_the_count_that_a_compressed_batch_may_claim),
        cmocka_unit_test(checks_every_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
