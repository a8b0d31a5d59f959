#include "golden.h"
#include "util.h"

static void expect_bytes(const uint8_t *bytes, int32_t length, const char *expected, int32_t expected_length)
{
    assert_int_equal(length, expected_length);
    if (expected_length < 0) {
        assert_null(bytes);
    } else {
        assert_non_null(bytes);
        assert_memory_equal(bytes, expected, (size_t)expected_length);
    }
}

/* The four records that golden.h describes, from @base_offset. */
static void expect_golden_records(const uint8_t *bytes, size_t size, struct codec_scratch *scratch, int64_t base_offset)
{
    struct record_iter it;
    struct record_header header;
    struct record r;
    char value[100];

    memset(value, 'x', sizeof value);
    assert_int_equal(record_iter_init(&it, bytes, size, scratch), 0);

    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.offset, base_offset);
    assert_int_equal(r.timestamp, 1700000000000);
    expect_bytes(r.key, r.key_length, "key-0", 5);
    expect_bytes(r.value, r.value_length, "value-0", 7);
    assert_int_equal(r.header_count, 0);
    assert_false(record_header_next(&r, &header));

    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.offset, base_offset + 1);
    assert_int_equal(r.timestamp, 1700000000150);
    expect_bytes(r.key, r.key_length, NULL, -1);
    expect_bytes(r.value, r.value_length, value, 100);
    assert_int_equal(r.header_count, 2);
    assert_true(record_header_next(&r, &header));
    expect_bytes(header.key, header.key_length, "trace", 5);
    expect_bytes(header.value, header.value_length, "\x01\x02", 2);
    assert_true(record_header_next(&r, &header));
    expect_bytes(header.key, header.key_length, "", 0);
    expect_bytes(header.value, header.value_length, NULL, -1);
    assert_false(record_header_next(&r, &header));

    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.offset, base_offset + 2);
    assert_int_equal(r.timestamp, 1699999999900);
    expect_bytes(r.key, r.key_length, "gone", 4);
    expect_bytes(r.value, r.value_length, NULL, -1);

    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.offset, base_offset + 3);
    expect_bytes(r.key, r.key_length, "", 0);
    expect_bytes(r.value, r.value_length, "", 0);

    assert_false(record_iter_next(&it, &r));
    assert_int_equal(record_iter_error(&it), 0);
    assert_false(record_iter_next(&it, &r));
    assert_int_equal(record_iter_error(&it), 0);
}

static void reads_another_clients_plain_batch(void **state)
{
    size_t size;
    uint8_t *bytes = bytes_of_hex(kafka_python_plain, &size);

    record_batch_set_base_offset(bytes, 1000000);
    expect_golden_records(bytes, size, NULL, 1000000);
    free(bytes);
}

static void reads_other_clients_compressed_batches(void **state)
{
    static const char *const batches[] = {kafka_python_zstd, kafka_python_gzip, librdkafka_snappy,
                                          librdkafka_lz4,    librdkafka_gzip,   librdkafka_zstd};
    struct codec_scratch scratch;

    codec_scratch_init(&scratch, 0);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        size_t size;
        uint8_t *bytes = bytes_of_hex(batches[i], &size);

        expect_golden_records(bytes, size, &scratch, 0);
        expect_golden_records(bytes, size, &scratch, 0); /* the scratch is reused */
        free(bytes);
    }
    codec_scratch_close(&scratch);
}

static void refuses_codecs_it_cannot_open(void **state)
{
    struct codec_scratch scratch;
    struct record_iter it;
    size_t size;
    uint8_t *bytes = bytes_of_hex(kafka_python_zstd, &size);

    codec_scratch_init(&scratch, 0);
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), ERR_UNSUPPORTED_CODEC);
    bytes[22] = 5; /* no codec has this number */
    assert_int_equal(record_iter_init(&it, bytes, size, &scratch), ERR_UNSUPPORTED_CODEC);
    free(bytes);
    codec_scratch_close(&scratch);
}

static void takes_append_time_from_the_header(void **state)
{
    uint8_t record[] = {0x0c, 0, 0x04, 0, 1, 1, 0};
    struct record_iter it;
    struct record r;
    size_t size;
    uint8_t *bytes = batch_of_records(record, sizeof record, 1, RECORD_ATTRIBUTE_APPEND_TIME, &size);

    put_be64(bytes + 27, 100);
    put_be64(bytes + 35, 555);
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), 0);
    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.timestamp, 555);
    bytes[22] = 0;
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), 0);
    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.timestamp, 102);
    free(bytes);
}

/* Compaction takes records out and keeps the rest where they were. */
static void reads_a_compacted_batch_with_gaps(void **state)
{
    uint8_t records[] = {0x0c, 0, 0, 0x06, 1, 1, 0, 0x0c, 0, 0, 0x0e, 1, 1, 0};
    struct record_iter it;
    struct record r;
    size_t size;
    uint8_t *bytes = batch_of_records(records, sizeof records, 2, 0, &size);

    put_be32(bytes + 23, 9); /* the last offset delta stays what it was */
    record_batch_set_base_offset(bytes, 100);
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), 0);
    assert_int_equal(record_batch_offset_next(&it.batch), 110);
    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.offset, 103);
    assert_true(record_iter_next(&it, &r));
    assert_int_equal(r.offset, 107);
    assert_false(record_iter_next(&it, &r));
    assert_int_equal(record_iter_error(&it), 0);

    bytes[23 + 3] = 6; /* now the second lies behind the last */
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), 0);
    assert_true(record_iter_next(&it, &r));
    assert_false(record_iter_next(&it, &r));
    assert_int_equal(record_iter_error(&it), ERR_MALFORMED);
    free(bytes);
}

static void ends_with_an_error_where_records_do_not_add_up(void **state)
{
    static const struct {
        uint8_t records[16];
        size_t size;
        int32_t count;
        int yields;
    } cases[] = {
        {{0x0c, 0, 0, 0, 1, 1, 0, 0x0c, 0, 0, 0, 1, 1, 0}, 14, 2, 1}, /* delta repeated */
        {{0x0c, 0, 0, 0, 1, 1, 0, 0}, 8, 1, 1},                       /* a byte behind */
        {{0x0c, 0, 0, 0, 1, 1, 0}, 7, 2, 1},                          /* one is missing */
        {{0x0c, 0, 0, 0, 1, 1, 2}, 7, 1, 0},                          /* a header is missing */
        {{0x0c, 0, 0, 0, 1, 1, 0}, 7, 0, 0},                          /* count 0, yet there is one */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct record_iter it;
        struct record r;
        size_t size;
        uint8_t *bytes = batch_of_records(cases[i].records, cases[i].size, cases[i].count, 0, &size);

        put_be32(bytes + 23, 10);
        assert_int_equal(record_iter_init(&it, bytes, size, NULL), 0);
        for (int n = 0; n < cases[i].yields; n++) {
            assert_true(record_iter_next(&it, &r));
        }
        assert_false(record_iter_next(&it, &r));
        assert_int_equal(record_iter_error(&it), ERR_MALFORMED);
        assert_false(record_iter_next(&it, &r)); /* sticky */
        assert_int_equal(record_iter_error(&it), ERR_MALFORMED);
        free(bytes);
    }
}

static void survives_nonsense_from_the_header(void **state)
{
    uint8_t record[] = {0x0c, 0, 0, 0, 1, 1, 0};
    struct record_iter it;
    struct record r;
    size_t size;
    uint8_t *bytes = batch_of_records(record, sizeof record, 1, 0, &size);

    record_batch_set_base_offset(bytes, INT64_MAX);
    put_be64(bytes + 27, INT64_MAX);
    put_be32(bytes + 23, INT32_MAX);
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), 0);
    assert_true(record_batch_offset_next(&it.batch) < 0);
    assert_true(record_iter_next(&it, &r));
    put_be32(bytes + 57, (uint32_t)-1);
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), ERR_MALFORMED);
    put_be32(bytes + 57, 1);
    put_be32(bytes + 23, (uint32_t)-1);
    assert_int_equal(record_iter_init(&it, bytes, size, NULL), ERR_MALFORMED);
    free(bytes);
}

static void damaged_compressed_records_are_malformed(void **state)
{
    struct codec_scratch scratch;
    size_t size;
    uint8_t *bytes = bytes_of_hex(kafka_python_zstd, &size);
    struct record_iter it;

    codec_scratch_init(&scratch, 0);
    for (size_t at = RECORD_BATCH_HEADER_SIZE; at < size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct record r;
            int rv;

            bytes[at] ^= (uint8_t)(1u << bit);
            rv = record_iter_init(&it, bytes, size, &scratch);
            if (rv == 0) {
                while (record_iter_next(&it, &r)) {
                }
            } else {
                assert_true(rv == ERR_MALFORMED || rv == ERR_TOO_BIG);
            }
            bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
    codec_scratch_close(&scratch);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_another_clients_plain_batch),
        cmocka_unit_test(reads_other_clients_compressed_batches),
        cmocka_unit_test(refuses_codecs_it_cannot_open),
        cmocka_unit_test(takes_append_time_from_the_header),
        cmocka_unit_test(reads_a_compacted_batch_with_gaps),
        cmocka_unit_test(ends_with_an_error_where_records_do_not_add_up),
        cmocka_unit_test(survives_nonsense_from_the_header),
        cmocka_unit_test(damaged_compressed_records_are_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
