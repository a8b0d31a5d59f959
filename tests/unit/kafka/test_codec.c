/* What the codec does at its edges: hostile counts, limits, tags, versions that cannot say something. */
#include "proto/kafka/messages/api_versions.h"
#include "proto/kafka/messages/fetch.h"
#include "proto/kafka/messages/heartbeat.h"
#include "proto/kafka/messages/metadata.h"
#include "proto/kafka/messages/produce.h"
#include "tests/unit/kafka/messages/every_type.h"
#include "tests/unit/kafka/test.h"

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static size_t malloc_calls;    /* since a test set it to 0 */
static size_t malloc_fails_at; /* that call fails, counted from 1; 0: none does */

void *__wrap_malloc(size_t size)
{
    malloc_calls++;

    return malloc_calls == malloc_fails_at ? NULL : __real_malloc(size);
}

static int setup(void **state)
{
    (void)state;
    malloc_calls = 0;
    malloc_fails_at = 0;
    return 0;
}

#define DECODE(type, bytes, version, arena, out)                                                                       \
    decode(&kafka_message_##type, bytes, sizeof bytes - 1, version, arena, out)

static int decode(const struct kafka_message *m, const char *bytes, size_t size, int16_t version,
                  struct kafka_arena *arena, void *out)
{
    struct cursor c;
    int rv;

    cursor_init(&c, bytes, size);
    rv = kafka_decode(m, &c, version, arena, out);
    if (rv == 0) {
        assert_int_equal(cursor_left(&c), 0);
    } else {
        assert_true(rv == ERR_VERSION || cursor_failed(&c));
    }
    return rv;
}

static void a_count_that_the_bytes_cannot_hold_allocates_nothing(void **state)
{
    static const char classic[] = "\x7f\xff\xff\xff\0\0\0\0\0\0\0\0";
    static const char compact[] = "\xff\xff\xff\xff\x07\0\0\0\0\0\0\0\0"; /* 2^31 - 2 items */
    static const char overflown[] = "\xff\xff\xff\xff\x0f\0\0\0\0";       /* 2^32 - 2 */
    static const char negative[] = "\xff\xff\xff\xfe";
    struct kafka_metadata_request r;
    struct kafka_arena arena;

    (void)state;
    kafka_arena_init(&arena, SIZE_MAX);
    assert_int_equal(DECODE(metadata_request, classic, 1, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(metadata_request, compact, 9, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(metadata_request, overflown, 9, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(metadata_request, negative, 1, &arena, &r), ERR_MALFORMED);
    assert_int_equal(malloc_calls, 0);
    kafka_arena_close(&arena);
}

static void null_is_malformed_where_it_may_not_be(void **state)
{
    static const char null_array[] = "\xff\xff\xff\xff";
    static const char null_string[] = "\0\0\0\x01\xff\xff";
    struct kafka_metadata_request r;
    struct kafka_arena arena;

    (void)state;
    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    assert_int_equal(DECODE(metadata_request, null_array, 0, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(metadata_request, null_array, 1, &arena, &r), 0);
    assert_int_equal(r.topics_count, -1);
    assert_null(r.topics);
    assert_true(r.allow_auto_topic_creation); /* not in version 1: its default */
    assert_int_equal(DECODE(metadata_request, null_string, 1, &arena, &r), ERR_MALFORMED);
    kafka_arena_close(&arena);
}

static void a_string_longer_than_kafka_allows_is_too_big(void **state)
{
    size_t size = 3 + 32768 + 64;
    char *bytes = calloc(1, size);
    struct kafka_heartbeat_request r;
    struct kafka_arena arena;
    uint8_t out[16];
    struct writer w;

    (void)state;
    kafka_arena_init(&arena, 0);
    memcpy(bytes, "\x81\x80\x02", 3); /* 32768, compact */
    assert_int_equal(decode(&kafka_message_heartbeat_request, bytes, size, 4, &arena, &r), ERR_TOO_BIG);
    kafka_heartbeat_request_init(&r);
    r.group_id = (struct kafka_string){bytes, 32768};
    writer_init(&w, out, sizeof out);
    assert_int_equal(kafka_heartbeat_request_encode(&w, 4, &r), ERR_TOO_BIG);
    r.group_id.length = -2;
    writer_init(&w, out, sizeof out);
    assert_int_equal(kafka_heartbeat_request_encode(&w, 4, &r), ERR_INVALID);
    kafka_arena_close(&arena);
    free(bytes);
}

static void the_arena_holds_a_request_to_its_limit(void **state)
{
    uint8_t bytes[4 + 2 * 1000] = {0, 0, 0x03, 0xe8}; /* a thousand topics with empty names */
    struct kafka_metadata_request r;
    struct kafka_arena arena;
    size_t needed = 1000 * sizeof(struct kafka_metadata_request_topic);

    (void)state;
    kafka_arena_init(&arena, needed + 15);
    assert_int_equal(decode(&kafka_message_metadata_request, (char *)bytes, sizeof bytes, 1, &arena, &r), 0);
    assert_int_equal(r.topics_count, 1000);
    assert_int_equal(decode(&kafka_message_metadata_request, (char *)bytes, sizeof bytes, 1, &arena, &r), ERR_TOO_BIG);
    kafka_arena_reset(&arena);
    assert_int_equal(decode(&kafka_message_metadata_request, (char *)bytes, sizeof bytes, 1, &arena, &r), 0);
    kafka_arena_close(&arena);
    kafka_arena_init(&arena, needed - 1);
    assert_int_equal(decode(&kafka_message_metadata_request, (char *)bytes, sizeof bytes, 1, &arena, &r), ERR_TOO_BIG);
    kafka_arena_close(&arena);
}

static void small_requests_reach_malloc_once(void **state)
{
    static const char bytes[] = "\0\0\0\x02\0\x01x\0\x01y";
    struct kafka_metadata_request r;
    struct kafka_arena arena;

    (void)state;
    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(DECODE(metadata_request, bytes, 1, &arena, &r), 0);
        kafka_arena_reset(&arena);
    }
    assert_int_equal(malloc_calls, 1);
    kafka_arena_close(&arena);
}

static void an_arena_gives_aligned_memory_that_does_not_overlap(void **state)
{
    struct kafka_arena arena;
    uint8_t *given[200];
    size_t sizes[200];
    void *none = &arena;

    (void)state;
    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 200; i++) {
            void *p;
            sizes[i] = i % 7 == 0 ? 20000 + i : 1 + i;
            assert_int_equal(kafka_arena_alloc(&arena, sizes[i], 1, &p), 0);
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, (int)i, sizes[i]);
            given[i] = p;
        }
        for (unsigned i = 0; i < 200; i++) {
            for (size_t j = 0; j < sizes[i]; j++) {
                assert_int_equal(given[i][j], i);
            }
        }
        kafka_arena_reset(&arena);
    }
    assert_int_equal(kafka_arena_alloc(&arena, 0, 8, &none), 0);
    assert_null(none);
    assert_int_equal(kafka_arena_alloc(&arena, SIZE_MAX / 4, 8, &none), ERR_TOO_BIG);
    kafka_arena_close(&arena);
}

static void running_out_of_memory_is_an_error_at_each_allocation(void **state)
{
    struct kafka_arena source, arena;
    void *in, *out = sample_new(&kafka_message_every_type);
    struct sample s = {&source, 99, 5};
    uint8_t *bytes;
    size_t size;
    struct writer w;
    size_t failures = 0;

    (void)state;
    kafka_arena_init(&source, KAFKA_ARENA_SIZE_MAX);
    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    in = sample_new(&kafka_message_every_type);
    sample_fill(&s, kafka_message_every_type.body, in);
    size = kafka_size(&kafka_message_every_type, 5, in);
    bytes = malloc(size);
    writer_init(&w, bytes, size);
    assert_int_equal(kafka_encode(&kafka_message_every_type, &w, 5, in), 0);
    for (size_t at = 1;; at++) {
        int rv;
        malloc_calls = 0;
        malloc_fails_at = at;
        rv = decode(&kafka_message_every_type, (char *)bytes, size, 5, &arena, out);
        malloc_fails_at = 0;
        kafka_arena_close(&arena);
        if (rv == 0) {
            break;
        }
        assert_int_equal(rv, ERR_NOMEM);
        failures++;
    }
    assert_true(failures > 0);
    kafka_arena_close(&source);
    free(bytes);
    free(in);
    free(out);
}

static void unknown_tags_are_skipped(void **state)
{
    /* group "g", generation 1, member "m", no instance, tags 0 (3 bytes) and 300 (none) */
    static const char request[] = "\x02g\0\0\0\x01\x02m\0\x02\0\x03xyz\xac\x02\0";
    static const char too_many[] = "\x02g\0\0\0\x01\x02m\0\x03\0\x03xyz\xac\x02\0";
    static const char too_long[] = "\x02g\0\0\0\x01\x02m\0\x02\0\x03xyz\xac\x02\x01";
    struct kafka_heartbeat_request r;
    struct kafka_arena arena;

    (void)state;
    kafka_arena_init(&arena, 0);
    assert_int_equal(DECODE(heartbeat_request, request, 4, &arena, &r), 0);
    assert_int_equal(r.generation_id, 1);
    assert_int_equal(r.group_instance_id.length, -1);
    assert_int_equal(DECODE(heartbeat_request, too_many, 4, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(heartbeat_request, too_long, 4, &arena, &r), ERR_MALFORMED);
}

static void a_known_tag_has_exactly_its_size(void **state)
{
    /* ApiVersions response: no error, no keys, no throttling, then tag 1 (an int64). */
    static const char good[] = "\0\0\x01\0\0\0\0\x01\x01\x08\0\0\0\0\0\0\0\x2a";
    static const char longer[] = "\0\0\x01\0\0\0\0\x01\x01\x09\0\0\0\0\0\0\0\x2a\0";
    static const char shorter[] = "\0\0\x01\0\0\0\0\x01\x01\x07\0\0\0\0\0\0\x2a";
    static const char twice[] = "\0\0\x01\0\0\0\0\x02\x01\x08\0\0\0\0\0\0\0\x2a\x01\x08\0\0\0\0\0\0\0\x2a";
    struct kafka_api_versions_response r;
    struct kafka_arena arena;

    (void)state;
    kafka_arena_init(&arena, 0);
    assert_int_equal(DECODE(api_versions_response, good, 3, &arena, &r), 0);
    assert_int_equal(r.finalized_features_epoch, 42);
    assert_int_equal(DECODE(api_versions_response, longer, 3, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(api_versions_response, shorter, 3, &arena, &r), ERR_MALFORMED);
    assert_int_equal(DECODE(api_versions_response, twice, 3, &arena, &r), ERR_MALFORMED);
}

static void what_a_version_lacks_is_left_out_or_refused(void **state)
{
    struct kafka_heartbeat_request heartbeat;
    struct kafka_produce_response_partition partition;
    struct kafka_produce_response_topic topic;
    struct kafka_produce_response produce;
    uint8_t bytes[256];
    struct writer w;

    (void)state;
    kafka_heartbeat_request_init(&heartbeat);
    heartbeat.group_instance_id = kafka_string("static");
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_heartbeat_request_encode(&w, 3, &heartbeat), 0);
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_heartbeat_request_encode(&w, 2, &heartbeat), ERR_VERSION);

    kafka_produce_response_partition_init(&partition);
    kafka_produce_response_topic_init(&topic);
    kafka_produce_response_init(&produce);
    topic.partition_responses = &partition;
    topic.partition_responses_count = 1;
    produce.responses = &topic;
    produce.responses_count = 1;
    partition.log_start_offset = 17;              /* ignorable: silently left out of version 3 */
    partition.error_message = kafka_string("no"); /* likewise */
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_produce_response_encode(&w, 3, &produce), 0);
    assert_int_equal(w.position, kafka_produce_response_size(3, &produce));
    partition.current_leader.leader_id = 3; /* a hint: older versions do without */
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_produce_response_encode(&w, 9, &produce), 0);
    assert_int_equal(w.position, kafka_produce_response_size(9, &produce));
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_produce_response_encode(&w, 10, &produce), 0);
    assert_true(w.position > kafka_produce_response_size(9, &produce));
}

static void a_null_that_a_version_cannot_say_is_refused(void **state)
{
    struct kafka_metadata_request r;
    uint8_t bytes[64];
    struct writer w;

    (void)state;
    kafka_metadata_request_init(&r);
    r.topics_count = -1;
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_metadata_request_encode(&w, 1, &r), 0);
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_metadata_request_encode(&w, 0, &r), ERR_VERSION);
}

static void versions_beyond_the_schema_are_refused(void **state)
{
    static const int16_t beyond[] = {-1, 3, 18, INT16_MAX, INT16_MIN};
    struct kafka_fetch_request r;
    struct kafka_arena arena;
    uint8_t bytes[64] = {0};
    struct writer w;

    (void)state;
    kafka_arena_init(&arena, 0);
    kafka_fetch_request_init(&r);
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        int16_t v = beyond[i];
        writer_init(&w, bytes, sizeof bytes);
        assert_int_equal(kafka_fetch_request_encode(&w, v, &r), ERR_VERSION);
        assert_int_equal(decode(&kafka_message_fetch_request, (char *)bytes, sizeof bytes, v, &arena, &r), ERR_VERSION);
    }
}

static void strings_and_records_are_slices_of_the_input(void **state)
{
    static const char request[] = "\xff\xff\xff\xff\0\0\0\x05\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07\0\0\0\x03"
                                  "abc";
    struct kafka_produce_request r;
    struct kafka_arena arena;

    (void)state;
    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    assert_int_equal(DECODE(produce_request, request, 3, &arena, &r), 0);
    assert_int_equal(r.acks, -1);
    assert_int_equal(r.timeout_ms, 5);
    assert_ptr_equal(r.topic_data[0].name.data, request + 14);
    assert_ptr_equal(r.topic_data[0].partition_data[0].records.data, request + sizeof request - 4);
    assert_int_equal(r.topic_data[0].partition_data[0].records.length, 3);
    assert_true(kafka_string_equal(r.topic_data[0].name, kafka_string("t")));
    assert_false(kafka_string_equal(r.topic_data[0].name, kafka_string(NULL)));
    kafka_arena_close(&arena);
}

static void a_tags_size_covers_records_that_are_spliced(void **state)
{
    static const uint8_t batch[200] = {7};
    struct kafka_every_type_list_item item;
    struct kafka_every_type_list list;
    struct kafka_every_type m, out;
    struct kafka_splice splice;
    struct kafka_splices splices = {&splice, 0, 1};
    struct kafka_arena arena;
    struct cursor c;
    struct writer w;
    uint8_t bytes[512];
    size_t spliced;

    (void)state;
    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    kafka_every_type_init(&m);
    kafka_every_type_list_init(&list);
    kafka_every_type_list_item_init(&item);
    item.records = (struct kafka_bytes){batch, sizeof batch};
    list.lists = &item;
    list.lists_count = 1;
    m.lists = &list;
    m.lists_count = 1;
    writer_init(&w, bytes, sizeof bytes);
    assert_int_equal(kafka_encode_spliced(&kafka_message_every_type, &w, 4, &m, &splices), 0);
    spliced = w.position;
    assert_int_equal(splices.count, 1);
    assert_int_equal(spliced, kafka_size_spliced(&kafka_message_every_type, 4, &m));
    assert_int_equal(spliced + sizeof batch, kafka_every_type_size(4, &m));
    memmove(bytes + splice.position + sizeof batch, bytes + splice.position, spliced - splice.position);
    memcpy(bytes + splice.position, batch, sizeof batch);
    cursor_init(&c, bytes, spliced + sizeof batch);
    assert_int_equal(kafka_every_type_decode(&c, 4, &arena, &out), 0);
    assert_int_equal(out.lists[0].lists[0].records.length, sizeof batch);
    kafka_arena_close(&arena);
}

static void defaults_are_those_of_the_schema(void **state)
{
    struct kafka_every_type m;

    (void)state;
    memset(&m, 0x5a, sizeof m);
    kafka_every_type_init(&m);
    assert_true(m.a_bool);
    assert_int_equal(m.an_int8, -3);
    assert_int_equal(m.a_uint16, 65535);
    assert_int_equal(m.a_uint32, 0xfffffffeu);
    assert_true(m.an_int64 == INT64_MIN);
    assert_true(m.a_float64 == 0);
    assert_int_equal(m.some_text.length, 0);
    assert_int_equal(m.old_text.length, -1);
    assert_int_equal(m.inner.x, 7);
    assert_int_equal(m.inner.y_count, 0);
    assert_null(m.maybe);
    assert_int_equal(m.ids_count, -1);
    assert_int_equal(m.lists_count, 0);
    assert_int_equal(m.tagged_inner.p, 5);
    assert_null(m.tagged_maybe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_count_that_the_bytes_cannot_hold_allocates_nothing, setup),
        cmocka_unit_test_setup(null_is_malformed_where_it_may_not_be, setup),
        cmocka_unit_test_setup(a_string_longer_than_kafka_allows_is_too_big, setup),
        cmocka_unit_test_setup(the_arena_holds_a_request_to_its_limit, setup),
        cmocka_unit_test_setup(small_requests_reach_malloc_once, setup),
        cmocka_unit_test_setup(an_arena_gives_aligned_memory_that_does_not_overlap, setup),
        cmocka_unit_test_setup(running_out_of_memory_is_an_error_at_each_allocation, setup),
        cmocka_unit_test_setup(unknown_tags_are_skipped, setup),
        cmocka_unit_test_setup(a_known_tag_has_exactly_its_size, setup),
        cmocka_unit_test_setup(what_a_version_lacks_is_left_out_or_refused, setup),
        cmocka_unit_test_setup(a_null_that_a_version_cannot_say_is_refused, setup),
        cmocka_unit_test_setup(versions_beyond_the_schema_are_refused, setup),
        cmocka_unit_test_setup(strings_and_records_are_slices_of_the_input, setup),
        cmocka_unit_test_setup(a_tags_size_covers_records_that_are_spliced, setup),
        cmocka_unit_test_setup(defaults_are_those_of_the_schema, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
