#include "golden.h"
#include "util.h"

static void append_golden_records(struct record_builder *b)
{
    struct record_header headers[2] = {
        {(const uint8_t *)"trace", (const uint8_t *)"\x01\x02", 5, 2},
        {(const uint8_t *)"", NULL, 0, -1},
    };
    char value[100];

    memset(value, 'x', sizeof value);
    assert_int_equal(record_builder_append(b, "key-0", 5, "value-0", 7, NULL, 0, 1700000000000), 0);
    assert_int_equal(record_builder_append(b, NULL, -1, value, 100, headers, 2, 1700000000150), 0);
    assert_int_equal(record_builder_append(b, "gone", 4, NULL, -1, NULL, 0, 1699999999900), 0);
    assert_int_equal(record_builder_append(b, "", 0, "", 0, NULL, 0, 1700000000150), 0);
}

static void expect_golden(const struct record_batch_stamp *stamp, const char *golden)
{
    struct record_builder b;
    uint8_t memory[1024];
    uint8_t *out;
    size_t size;
    size_t golden_size;
    uint8_t *expected = bytes_of_hex(golden, &golden_size);

    record_builder_init(&b, memory, sizeof memory);
    append_golden_records(&b);
    assert_int_equal(record_builder_size(&b), golden_size);
    assert_int_equal(record_builder_finish(&b, stamp, NULL, &out, &size), 0);
    assert_int_equal(size, golden_size);
    record_batch_set_leader_epoch(out, 0); /* kafka-python sends 0 there, we -1: "not known" */
    assert_memory_equal(out, expected, size);
    free(expected);
}

static void writes_the_bytes_of_another_client(void **state)
{
    struct record_batch_stamp idempotent = {.producer_id = 123456789,
                                            .producer_epoch = 7,
                                            .base_sequence = 2147483646,
                                            .attributes = RECORD_ATTRIBUTE_TRANSACTIONAL};

    expect_golden(&RECORD_BATCH_PLAIN, kafka_python_plain);
    expect_golden(&idempotent, kafka_python_idempotent);
}

/* xorshift: the same records on every run. */
static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

struct sample {
    int32_t key_length;
    int32_t value_length;
    int32_t header_count;
    int64_t timestamp;
    uint32_t at; /* into the noise */
};

static struct sample sample_make(uint32_t *x)
{
    /* around the borders of one-, two- and three-byte varints, and null */
    static const int32_t lengths[] = {-1, 0, 1, 62, 63, 64, 65, 100, 127, 128, 1000, 8190, 8191, 8192};
    struct sample s;

    s.key_length = lengths[next_random(x) % 9];
    s.value_length = lengths[next_random(x) % 14];
    s.header_count = next_random(x) % 4 == 0 ? (int32_t)(next_random(x) % 3) : 0;
    s.timestamp = 1700000000000 + (int32_t)next_random(x);
    s.at = next_random(x) % 4096;
    return s;
}

static void round_trip(uint32_t seed, const uint8_t *noise, struct codec_scratch *scratch, uint8_t codec)
{
    enum { COUNT = 300, CAPACITY = 1 << 20 };
    struct sample samples[COUNT];
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct record_batch_header h;
    struct record_builder b;
    struct record_iter it;
    struct record r;
    uint8_t *memory = malloc(CAPACITY);
    int64_t timestamp_max = 0;
    uint8_t *out;
    size_t size;

    stamp.codec = codec;
    record_builder_init(&b, memory, CAPACITY);
    for (int i = 0; i < COUNT; i++) {
        struct sample *s = &samples[i];
        struct record_header headers[3];
        size_t before = record_builder_size(&b);

        *s = sample_make(&seed);
        timestamp_max = s->timestamp > timestamp_max ? s->timestamp : timestamp_max;
        for (int j = 0; j < s->header_count; j++) {
            headers[j] = (struct record_header){noise + j, noise + s->at, j * 40, j - 1};
        }
        assert_int_equal(record_builder_append(&b, noise + s->at, s->key_length, noise + s->at + 1, s->value_length,
                                               headers, s->header_count, s->timestamp),
                         0);
        assert_true(record_builder_size(&b) - before <=
                    record_size_max(s->key_length, s->value_length, headers, s->header_count));
    }
    assert_int_equal(record_builder_finish(&b, &stamp, scratch, &out, &size), 0);
    assert_int_equal(record_batch_validate(out, size, &limits_default, &h, NULL), 0);
    assert_int_equal(h.count, COUNT);
    assert_int_equal(record_batch_codec(&h), codec);
    assert_int_equal(h.base_timestamp, samples[0].timestamp);
    assert_int_equal(h.max_timestamp, timestamp_max);

    assert_int_equal(record_iter_init(&it, out, size, scratch), 0);
    for (int i = 0; i < COUNT; i++) {
        const struct sample *s = &samples[i];
        struct record_header header;

        assert_true(record_iter_next(&it, &r));
        assert_int_equal(r.offset, i);
        assert_int_equal(r.timestamp, s->timestamp);
        assert_int_equal(r.key_length, s->key_length);
        assert_int_equal(r.value_length, s->value_length);
        assert_int_equal(r.key == NULL, s->key_length < 0);
        assert_int_equal(r.value == NULL, s->value_length < 0);
        assert_true(s->key_length <= 0 || memcmp(r.key, noise + s->at, (size_t)s->key_length) == 0);
        assert_true(s->value_length <= 0 || memcmp(r.value, noise + s->at + 1, (size_t)s->value_length) == 0);
        for (int j = 0; j < s->header_count; j++) {
            assert_true(record_header_next(&r, &header));
            assert_int_equal(header.key_length, j * 40);
            assert_int_equal(header.value_length, j - 1);
            assert_memory_equal(header.key, noise + j, (size_t)j * 40);
        }
        assert_false(record_header_next(&r, &header));
    }
    assert_false(record_iter_next(&it, &r));
    assert_int_equal(record_iter_error(&it), 0);
    free(memory);
}

static void whatever_goes_in_comes_out(void **state)
{
    struct codec_scratch scratch;
    uint8_t *noise = malloc(16384);

    for (size_t i = 0; i < 16384; i++) {
        noise[i] = (uint8_t)(i * 7 % 251); /* compresses */
    }
    codec_scratch_init(&scratch, 0);
    for (uint32_t seed = 1; seed <= 10; seed++) {
        round_trip(seed, noise, NULL, CODEC_NONE);
        round_trip(seed, noise, &scratch, CODEC_ZSTD);
    }
    codec_scratch_close(&scratch);
    free(noise);
}

static void fills_the_memory_to_the_last_byte(void **state)
{
    enum { RECORD = 9 }; /* bytes of a record with 1-byte key and value */
    struct record_builder b;
    size_t capacity = RECORD_BATCH_HEADER_SIZE + 3 * RECORD;
    uint8_t *memory = malloc(capacity); /* exactly: ASan watches the end */
    struct record_batch_header h;
    uint8_t *out;
    size_t size;

    record_builder_init(&b, memory, capacity);
    assert_true(record_builder_empty(&b));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(record_builder_append(&b, "k", 1, "v", 1, NULL, 0, 5), 0);
        }
        assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, NULL, 0, 5), ERR_BUFFER_FULL);
        assert_int_equal(record_builder_append(&b, "k", 1, memory, 3 * RECORD, NULL, 0, 5), ERR_TOO_BIG);
        assert_int_equal(record_builder_finish(&b, &RECORD_BATCH_PLAIN, NULL, &out, &size), 0);
        assert_int_equal(size, capacity);
        assert_int_equal(record_batch_validate(out, size, &limits_default, &h, NULL), 0);
        assert_int_equal(h.count, 3);
        record_builder_reset(&b);
        assert_true(record_builder_empty(&b));
    }
    free(memory);
}

/* A record that fits an empty batch exactly, but whose deltas take more bytes here, is not too big: it is for the next.
 */
static void tells_full_from_never_fitting(void **state)
{
    char value[1000] = "";
    struct record_builder b;
    uint8_t memory[RECORD_BATCH_HEADER_SIZE + 200];
    int32_t fits = 0;

    record_builder_init(&b, memory, sizeof memory);
    while (record_builder_append(&b, NULL, -1, value, fits + 1, NULL, 0, 0) == 0) {
        record_builder_reset(&b);
        fits++;
    }
    assert_int_equal(record_builder_append(&b, NULL, -1, value, fits + 1, NULL, 0, 0), ERR_TOO_BIG);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, NULL, 0, 0), 0);
    assert_int_equal(record_builder_append(&b, NULL, -1, value, fits, NULL, 0, 1000000), ERR_BUFFER_FULL);
    assert_int_equal(record_builder_append(&b, NULL, -1, value, fits + 1, NULL, 0, 1000000), ERR_TOO_BIG);
}

static void refuses_invalid_arguments_and_stays_as_it_was(void **state)
{
    struct record_header null_key = {NULL, NULL, -1, -1};
    struct record_header bad_value = {(const uint8_t *)"", NULL, 0, -2};
    struct record_builder b;
    uint8_t memory[256];
    uint8_t *out;
    size_t size;

    record_builder_init(&b, memory, sizeof memory);
    assert_int_equal(record_builder_append(&b, NULL, -2, NULL, -1, NULL, 0, 0), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -2, NULL, 0, 0), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, INT32_MIN, NULL, 0, 0), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, &null_key, 1, 0), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, &bad_value, 1, 0), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, NULL, -1, 0), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, NULL, 0, -2), ERR_INVALID);
    assert_int_equal(record_builder_append(&b, NULL, -1, NULL, -1, NULL, 0, RECORD_TIMESTAMP_MAX + 1), ERR_INVALID);
    assert_true(record_builder_empty(&b));
    assert_int_equal(record_builder_size(&b), RECORD_BATCH_HEADER_SIZE);
    assert_int_equal(record_builder_finish(&b, &RECORD_BATCH_PLAIN, NULL, &out, &size), ERR_INVALID);
}

static void a_record_without_room_leaves_no_trace(void **state)
{
    struct record_batch_header h;
    struct record_builder b;
    uint8_t memory[128];
    uint8_t big[100] = {0};
    uint8_t *out;
    size_t size;

    record_builder_init(&b, memory, sizeof memory);
    assert_int_equal(record_builder_append(&b, NULL, -1, big, 100, NULL, 0, 999), ERR_TOO_BIG);
    assert_int_equal(record_builder_append(&b, NULL, -1, big, 20, NULL, 0, 7), 0);
    assert_int_equal(record_builder_append(&b, NULL, -1, big, 50, NULL, 0, 8), ERR_BUFFER_FULL);
    assert_int_equal(record_builder_finish(&b, &RECORD_BATCH_PLAIN, NULL, &out, &size), 0);
    assert_int_equal(record_batch_validate(out, size, &limits_default, &h, NULL), 0);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.base_timestamp, 7);
    assert_int_equal(h.max_timestamp, 7);
}

static void stays_uncompressed_where_compression_does_not_pay(void **state)
{
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct codec_scratch scratch;
    struct record_batch_header h;
    struct record_builder b;
    uint8_t memory[256];
    uint8_t *out;
    size_t size;

    codec_scratch_init(&scratch, 0);
    stamp.codec = CODEC_ZSTD;
    record_builder_init(&b, memory, sizeof memory);
    assert_int_equal(record_builder_append(&b, "k", 1, "v", 1, NULL, 0, 5), 0);
    assert_int_equal(record_builder_finish(&b, &stamp, &scratch, &out, &size), 0);
    assert_int_equal(record_batch_validate(out, size, &limits_default, &h, NULL), 0);
    assert_int_equal(record_batch_codec(&h), CODEC_NONE);
    codec_scratch_close(&scratch);
}

static void a_codec_it_lacks_leaves_the_batch_open(void **state)
{
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct codec_scratch scratch;
    struct record_builder b;
    uint8_t memory[256];
    uint8_t *out;
    size_t size;

    codec_scratch_init(&scratch, 0);
    record_builder_init(&b, memory, sizeof memory);
    assert_int_equal(record_builder_append(&b, "k", 1, "v", 1, NULL, 0, 5), 0);
    stamp.codec = 5;
    assert_int_equal(record_builder_finish(&b, &stamp, &scratch, &out, &size), ERR_UNSUPPORTED_CODEC);
    stamp.codec = CODEC_ZSTD;
    assert_int_equal(record_builder_finish(&b, &stamp, NULL, &out, &size), ERR_UNSUPPORTED_CODEC);
    assert_int_equal(record_builder_append(&b, "k", 1, "v", 1, NULL, 0, 5), 0);
    stamp.codec = CODEC_NONE;
    assert_int_equal(record_builder_finish(&b, &stamp, NULL, &out, &size), 0);
    codec_scratch_close(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_bytes_of_another_client),
        cmocka_unit_test(whatever_goes_in_comes_out),
        cmocka_unit_test(fills_the_memory_to_the_last_byte),
        cmocka_unit_test(tells_full_from_never_fitting),
        cmocka_unit_test(refuses_invalid_arguments_and_stays_as_it_was),
        cmocka_unit_test(a_record_without_room_leaves_no_trace),
        cmocka_unit_test(stays_uncompressed_where_compression_does_not_pay),
        cmocka_unit_test(a_codec_it_lacks_leaves_the_batch_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
