/* The table of APIs, and the headers around their messages. */
#include "proto/kafka/kafka_header.h"
#include "proto/kafka/messages/api_versions.h"
#include "proto/kafka/messages/produce.h"
#include "tests/unit/kafka/test.h"

#define NEVER INT16_MAX

/* What is advertised, written down a second time on purpose: a slip in a schema's head would lock clients out. */
static const struct {
    int16_t key, min, max, flexible;
} expected[] = {
    {0, 0, 11, 9}, {1, 4, 17, 12}, {2, 1, 10, 6},     {3, 0, 13, 9}, {8, 2, 9, 8},  {9, 1, 9, 6},  {10, 0, 5, 3},
    {11, 0, 9, 6}, {12, 0, 4, 4},  {13, 0, 5, 4},     {14, 0, 5, 4}, {15, 0, 6, 5}, {16, 0, 5, 3}, {17, 0, 1, NEVER},
    {18, 0, 4, 3}, {19, 2, 7, 5},  {20, 1, 6, 4},     {21, 0, 2, 2}, {22, 0, 5, 2}, {23, 2, 4, 4}, {32, 1, 4, 4},
    {33, 0, 2, 2}, {35, 1, 4, 2},  {36, 0, 2, 2},     {37, 0, 3, 2}, {42, 0, 2, 2}, {43, 0, 2, 2}, {44, 0, 1, 1},
    {45, 0, 1, 0}, {46, 0, 0, 0},  {47, 0, 0, NEVER}, {60, 0, 2, 0}, {61, 0, 0, 0},
};

static void the_table_advertises_phase_1(void **state)
{
    (void)state;
    assert_int_equal(kafka_apis_count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < kafka_apis_count; i++) {
        const struct kafka_api *api = &kafka_apis[i];

        assert_int_equal(api->key, expected[i].key);
        assert_int_equal(api->version_min, expected[i].min);
        assert_int_equal(api->version_max, expected[i].max);
        assert_int_equal(api->flexible_min, expected[i].flexible);
        assert_int_equal(api->request->api_key, api->key);
        assert_int_equal(api->response->api_key, api->key);
        assert_ptr_equal(kafka_api_find(api->key), api);
    }
    assert_string_equal(kafka_api_find(22)->name, "InitProducerId");
}

static void keys_that_are_not_ours_are_not_found(void **state)
{
    (void)state;
    for (int key = INT16_MIN; key <= INT16_MAX; key++) {
        const struct kafka_api *api = kafka_api_find((int16_t)key);
        assert_true(api == NULL || api->key == key);
    }
    assert_null(kafka_api_find(4));
    assert_null(kafka_api_find(7));
    assert_null(kafka_api_find(34));
    assert_null(kafka_api_find(-1));
    assert_null(kafka_api_find(62));
}

static void old_produce_is_advertised_and_not_served(void **state)
{
    const struct kafka_api *produce = kafka_api_find(KAFKA_API_PRODUCE);

    (void)state;
    assert_false(kafka_api_serves(produce, 2));
    assert_true(kafka_api_serves(produce, 3));
    assert_true(kafka_api_serves(produce, 11));
    assert_false(kafka_api_serves(produce, 12));
}

static void headers_follow_the_flexible_version_but_for_api_versions(void **state)
{
    const struct kafka_api *produce = kafka_api_find(KAFKA_API_PRODUCE);
    const struct kafka_api *versions = kafka_api_find(KAFKA_API_API_VERSIONS);
    struct kafka_header h = {produce, 0, 9, 0x01020304, {NULL, -1}};
    uint8_t bytes[KAFKA_RESPONSE_HEADER_SIZE_MAX];
    struct writer w;

    (void)state;
    assert_int_equal(kafka_api_request_header(produce, 8), 1);
    assert_int_equal(kafka_api_request_header(produce, 9), 2);
    assert_int_equal(kafka_api_response_header(produce, 8), 0);
    assert_int_equal(kafka_api_response_header(produce, 9), 1);
    assert_int_equal(kafka_api_request_header(versions, 3), 2);
    assert_int_equal(kafka_api_response_header(versions, 3), 0);

    writer_init(&w, bytes, sizeof bytes);
    kafka_response_header_write(&w, &h, 9);
    assert_int_equal(w.position, 5);
    assert_int_equal(kafka_response_header_bytes(&h, 9), 5);
    assert_memory_equal(bytes, "\x01\x02\x03\x04\0", 5);
    h.api = versions;
    writer_init(&w, bytes, sizeof bytes);
    kafka_response_header_write(&w, &h, 4);
    assert_int_equal(w.position, 4);
    writer_init(&w, bytes, 3);
    kafka_response_header_write(&w, &h, 4);
    assert_true(writer_failed(&w));
}

#define PARSE(c, bytes, h) (cursor_init(c, bytes, sizeof bytes - 1), kafka_header_parse(c, h))

static void a_request_header_is_read_by_its_version(void **state)
{
    static const char classic[] = "\0\0\0\x03\0\0\0\x2a\0\x02meX";
    static const char flexible[] = "\0\0\0\x09\0\0\0\x2a\xff\xff\x01\x05\x02zzX"; /* no client id, one unknown tag */
    struct kafka_header h;
    struct cursor c;

    (void)state;
    assert_int_equal(PARSE(&c, classic, &h), 0);
    assert_int_equal(h.version, 3);
    assert_int_equal(h.correlation_id, 42);
    assert_true(kafka_string_equal(h.client_id, kafka_string("me")));
    assert_int_equal(cursor_left(&c), 1);
    assert_int_equal(PARSE(&c, flexible, &h), 0);
    assert_int_equal(h.client_id.length, -1);
    assert_int_equal(cursor_left(&c), 1);
    for (size_t cut = 0; cut < sizeof flexible - 2; cut++) {
        cursor_init(&c, flexible, cut);
        assert_int_equal(kafka_header_parse(&c, &h), ERR_MALFORMED);
    }
}

static void a_header_that_we_cannot_read_still_has_its_correlation(void **state)
{
    static const char unknown_key[] = "\0\x04\0\0\0\0\0\x07";
    static const char unknown_version[] = "\0\x12\0\x63\0\0\0\x07\xff\xff\xff\xff";
    static const char negative_version[] = "\0\x12\xff\xff\0\0\0\x07";
    struct kafka_header h;
    struct cursor c;

    (void)state;
    assert_int_equal(PARSE(&c, unknown_key, &h), ERR_UNKNOWN_CALL);
    assert_null(h.api);
    assert_int_equal(h.key, 4);
    assert_int_equal(h.correlation_id, 7);
    assert_int_equal(PARSE(&c, unknown_version, &h), ERR_VERSION);
    assert_int_equal(h.api->key, KAFKA_API_API_VERSIONS);
    assert_int_equal(h.version, 99);
    assert_int_equal(h.correlation_id, 7);
    assert_int_equal(PARSE(&c, negative_version, &h), ERR_VERSION);
}

/* KIP-511: the answer to an ApiVersions request of an unknown version. */
static void api_versions_falls_back_to_version_0(void **state)
{
    struct kafka_header h = {kafka_api_find(KAFKA_API_API_VERSIONS), 18, 99, 7, {NULL, -1}};
    struct kafka_api_versions_response_api key = {18, 0, 4};
    struct kafka_api_versions_response r;
    uint8_t bytes[64];
    struct writer w;

    (void)state;
    kafka_api_versions_response_init(&r);
    r.error_code = 35;
    r.api_keys = &key;
    r.api_keys_count = 1;
    writer_init(&w, bytes, sizeof bytes);
    kafka_response_header_write(&w, &h, 0);
    assert_int_equal(kafka_api_versions_response_encode(&w, 0, &r), 0);
    assert_int_equal(w.position, 16);
    assert_memory_equal(bytes, "\0\0\0\x07\0\x23\0\0\0\x01\0\x12\0\0\0\x04", 16);
}

static void a_frame_has_a_size_that_can_be(void **state)
{
    uint32_t size = 77;

    (void)state;
    assert_int_equal(kafka_frame_size((const uint8_t *)"\0\0\0\x08", 1000, &size), 0);
    assert_int_equal(size, 8);
    assert_int_equal(kafka_frame_size((const uint8_t *)"\0\0\x03\xe8", 1000, &size), 0);
    assert_int_equal(size, 1000);
    assert_int_equal(kafka_frame_size((const uint8_t *)"\0\0\x03\xe9", 1000, &size), ERR_TOO_BIG);
    assert_int_equal(kafka_frame_size((const uint8_t *)"\0\0\0\x07", 1000, &size), ERR_MALFORMED);
    assert_int_equal(kafka_frame_size((const uint8_t *)"\xff\xff\xff\xff", 1000, &size), ERR_MALFORMED);
    assert_int_equal(kafka_frame_size((const uint8_t *)"GET ", 1000, &size), ERR_TOO_BIG);
    assert_int_equal(size, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_advertises_phase_1),
        cmocka_unit_test(keys_that_are_not_ours_are_not_found),
        cmocka_unit_test(old_produce_is_advertised_and_not_served),
        cmocka_unit_test(headers_follow_the_flexible_version_but_for_api_versions),
        cmocka_unit_test(a_request_header_is_read_by_its_version),
        cmocka_unit_test(a_header_that_we_cannot_read_still_has_its_correlation),
        cmocka_unit_test(api_versions_falls_back_to_version_0),
        cmocka_unit_test(a_frame_has_a_size_that_can_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
