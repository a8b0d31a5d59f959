/* Bytes that other people's clients sent and accepted (tests/interop/record says how they were taken): our decoder
 * reads them whole, and our encoder writes the same again. */
#include <dirent.h>

#include "proto/kafka/kafka_consumer.h"
#include "proto/kafka/kafka_header.h"
#include "proto/kafka/messages/join_group.h"
#include "proto/kafka/messages/sync_group.h"
#include "tests/unit/kafka/test.h"

#define LINE_SIZE 65536 /* bytes of the longest line */

struct tally {
    unsigned requests, responses;
    bool seen[128][32][2]; /* key, version, direction */
};

static size_t bytes_of_hex(const char *hex, uint8_t *out)
{
    size_t size = strspn(hex, "0123456789abcdef") / 2;

    for (size_t i = 0; i < size; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return size;
}

/* What real consumers put into JoinGroup and SyncGroup for each other. */
static void check_opaque(const struct kafka_message *m, const void *message, struct kafka_arena *arena)
{
    struct kafka_consumer_subscription subscription;
    struct kafka_consumer_assignment assignment;

    if (m == &kafka_message_join_group_request) {
        const struct kafka_join_group_request *r = message;
        for (int32_t i = 0; i < r->protocols_count; i++) {
            assert_int_equal(kafka_consumer_subscription_parse(r->protocols[i].metadata, arena, &subscription), 0);
            assert_int_equal(subscription.topics_count, 1);
            assert_true(kafka_string_equal(subscription.topics[0], kafka_string("golden")));
        }
    }
    if (m == &kafka_message_sync_group_request) {
        const struct kafka_sync_group_request *r = message;
        for (int32_t i = 0; i < r->assignments_count; i++) {
            assert_int_equal(kafka_consumer_assignment_parse(r->assignments[i].assignment, arena, &assignment), 0);
            assert_in_range(assignment.assigned_partitions_count, 0, 1); /* none: before metadata was there */
            for (int32_t j = 0; j < assignment.assigned_partitions_count; j++) {
                assert_true(kafka_string_equal(assignment.assigned_partitions[j].topic, kafka_string("golden")));
            }
        }
    }
}

/* @extra: bytes that the sender wrongly put behind the message. */
static void check_message(const struct kafka_message *m, int16_t version, struct cursor *c, size_t extra,
                          const char *line)
{
    const uint8_t *begin = c->data + c->position;
    size_t size = cursor_left(c) - extra;
    void *message = sample_new(m);
    uint8_t *again = malloc(size + 1);
    struct kafka_arena arena;
    struct writer w;
    int rv;

    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    rv = kafka_decode(m, c, version, &arena, message);
    if (rv != 0 || cursor_left(c) != extra) {
        fail_msg("%.60s: error %d, %zu bytes left", line, rv, cursor_left(c));
    }
    assert_int_equal(kafka_size(m, version, message), size);
    writer_init(&w, again, size);
    assert_int_equal(kafka_encode(m, &w, version, message), 0);
    if (strstr(line, "-encoder") == NULL) {
        check_opaque(m, message, &arena);
    }
    if (w.position != size || memcmp(begin, again, size) != 0) {
        fail_msg("%.60s: not what it was", line);
    }
    kafka_arena_close(&arena);
    free(again);
    free(message);
}

/* librdkafka 2.0.2 ends a flexible ListGroups request twice: why bytes behind a message are no error of the decoder. */
static size_t extra_bytes(const char *client, const struct kafka_message *m, int16_t version)
{
    return strcmp(client, "librdkafka-2.0.2") == 0 && strcmp(m->name, "list_groups_request") == 0 && version >= 3;
}

/* Whole frames without their size: header and message. */
static void check_line(const char *line, struct tally *tally)
{
    char client[64], api_name[64], direction[16];
    uint8_t *bytes = malloc(LINE_SIZE / 2);
    struct kafka_header h;
    struct cursor c;
    int version, at;

    assert_int_equal(sscanf(line, "%63s %63s %d %15s %n", client, api_name, &version, direction, &at), 4);
    h.api = NULL;
    for (size_t i = 0; i < kafka_apis_count; i++) {
        if (strcmp(kafka_apis[i].name, api_name) == 0) {
            h.api = &kafka_apis[i];
        }
    }
    assert_non_null(h.api);
    cursor_init(&c, bytes, bytes_of_hex(line + at, bytes));
    if (strcmp(direction, "request") == 0) {
        if (kafka_header_parse(&c, &h) != 0 || h.version != version || strcmp(h.api->name, api_name) != 0) {
            fail_msg("%.60s: header", line);
        }
        check_message(h.api->request, h.version, &c, extra_bytes(client, h.api->request, h.version), line);
        tally->requests++;
    } else {
        uint8_t header[KAFKA_RESPONSE_HEADER_SIZE_MAX];
        struct writer w;

        h.correlation_id = cursor_i32_be(&c);
        writer_init(&w, header, sizeof header);
        kafka_response_header_write(&w, &h, (int16_t)version);
        assert_memory_equal(bytes, header, w.position);
        c.position = w.position;
        check_message(h.api->response, (int16_t)version, &c, 0, line);
        tally->responses++;
    }
    tally->seen[h.api->key][version][strcmp(direction, "request") == 0] = true;
    free(bytes);
}

static void check_file(const char *name, struct tally *tally)
{
    char path[1024];
    char *line = malloc(LINE_SIZE);
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, name);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, LINE_SIZE, f) != NULL) {
        if (line[0] != '#' && line[0] != '\n') {
            check_line(line, tally);
        }
    }
    fclose(f);
    free(line);
}

static void what_others_sent_we_read_and_write_alike(void **state)
{
    struct tally tally = {0};
    DIR *dir = opendir(GOLDEN_DIR);
    struct dirent *e;

    (void)state;
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        if (strstr(e->d_name, ".txt") != NULL) {
            check_file(e->d_name, &tally);
        }
    }
    closedir(dir);
    print_message("%u requests, %u responses\n", tally.requests, tally.responses);
    for (size_t i = 0; i < kafka_apis_count; i++) {
        const struct kafka_api *api = &kafka_apis[i];
        for (int16_t v = api->version_min; v <= api->version_max; v++) {
            if (!tally.seen[api->key][v][0] || !tally.seen[api->key][v][1]) {
                fail_msg("%s version %d: nothing recorded", api->name, v);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_sent_we_read_and_write_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
