/* The library as programs use it: threads, real sockets, the public headers. */
#include <cairn/cairn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/client/check.h"
#include "tests/unit/client/server.h"

static struct cairn_client *open_client(struct server *s)
{
    struct cairn_client *client = NULL;
    struct cairn_error error;

    assert_int_equal(cairn_client_open(s->bootstrap, NULL, &client, &error), 0);
    return client;
}

static struct cairn_options *options_of(const char *name, const char *value)
{
    struct cairn_options *o = cairn_options_new();

    assert_int_equal(cairn_options_set(o, name, value), 0);
    return o;
}

static size_t consume_all(struct cairn_client *client, int partitions, size_t wanted, int64_t *sum)
{
    struct cairn_consumer *consumer;
    struct cairn_records *records;
    struct cairn_record record;
    int64_t next[8] = {0};
    size_t n = 0;

    assert_int_equal(cairn_consumer_open(client, NULL, &consumer, NULL), 0);
    for (int i = 0; i < partitions; i++) {
        assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, i, CAIRN_OFFSET_EARLIEST, NULL), 0);
    }
    while (n < wanted) {
        assert_int_equal(cairn_consumer_poll(consumer, 5000, &records, NULL), 0);
        assert_non_null(records);
        while (cairn_records_next(records, &record)) {
            char value[32] = {0};

            assert_int_equal(record.offset, next[cairn_records_partition(records)]++);
            memcpy(value, record.value, record.value_size < 31 ? record.value_size : 31);
            *sum += atoll(value);
            n++;
        }
    }
    cairn_consumer_close(consumer);
    return n;
}

static void count_delivered(void *arg, const struct cairn_delivery *delivery)
{
    _Atomic size_t *counts = arg;

    for (size_t i = 0; i < delivery->count; i++) {
        counts[delivery->code == CAIRN_OK ? 0 : 1] += (size_t)(uintptr_t)delivery->tags[i];
    }
}

static void what_is_sent_is_read_back(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_producer *producer;
    struct cairn_producer_stats stats;
    struct cairn_error error = {0};
    _Atomic size_t counts[2] = {0, 0};
    int64_t expected = 0;
    int64_t sum = 0;
    const size_t n = 200000;

    server_start(&s, 3, 1);
    client = open_client(&s);
    assert_int_equal(cairn_producer_open(client, NULL, &producer, &error), 0);
    cairn_producer_on_delivery(producer, count_delivered, counts);
    for (size_t i = 0; i < n; i++) {
        char value[32];
        struct cairn_message m = {.topic = WORLD_TOPIC,
                                  .partition = i % 2 == 0 ? CAIRN_PARTITION_ANY : (int32_t)(i % 3),
                                  .value = value,
                                  .value_size = (size_t)snprintf(value, sizeof value, "%zu", i),
                                  .tag = (void *)(uintptr_t)1};
        expected += (int64_t)i;
        assert_int_equal(cairn_producer_send(producer, &m, &error), 0);
        if (i == n / 2) {
            server_cut(&s, 1);
        }
    }
    assert_int_equal(cairn_producer_flush(producer, 20000, &error), 0);
    cairn_producer_stats(producer, &stats);
    assert_int_equal(stats.records_sent, n);
    assert_int_equal(stats.records_acknowledged, n);
    assert_int_equal(stats.buffer_used_bytes, 0);
    assert_int_equal(counts[0], n);
    assert_int_equal(consume_all(client, 3, n, &sum), n);
    assert_int_equal(sum, expected);
    cairn_producer_close(producer, 1000);
    cairn_client_close(client);
    server_stop(&s);
}

struct sender {
    struct cairn_producer *producer;
    int partition;
    size_t count;
};

static void *sender_main(void *arg)
{
    struct sender *t = arg;

    for (size_t i = 0; i < t->count; i++) {
        struct cairn_message m = {
            .topic = WORLD_TOPIC, .partition = t->partition, .value = "1", .value_size = 1, .key = "k", .key_size = 1};
        if (cairn_producer_send(t->producer, &m, NULL) != 0) {
            return arg;
        }
        if (i % 1000 == 0 && cairn_producer_flush(t->producer, 10000, NULL) != 0) {
            return arg;
        }
    }
    return NULL;
}

static void threads_share_a_producer(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_producer *producer;
    struct cairn_options *o = options_of("compression", "zstd");
    pthread_t threads[4];
    struct sender senders[4];
    int64_t sum = 0;

    server_start(&s, 4, 2);
    client = open_client(&s);
    assert_int_equal(cairn_producer_open(client, o, &producer, NULL), 0);
    for (int i = 0; i < 4; i++) {
        senders[i] = (struct sender){.producer = producer, .partition = i, .count = 20000};
        pthread_create(&threads[i], NULL, sender_main, &senders[i]);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(cairn_producer_flush(producer, 10000, NULL), 0);
    assert_int_equal(consume_all(client, 4, 80000, &sum), 80000);
    assert_int_equal(sum, 80000);
    cairn_producer_close(producer, 1000);
    cairn_client_close(client);
    cairn_options_free(o);
    server_stop(&s);
}

static void every_codec_travels(void **state)
{
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    char value[10000];
    struct server s;
    struct cairn_client *client;
    struct cairn_consumer *consumer;
    struct cairn_records *records;
    struct cairn_record record;

    memset(value, 'v', sizeof value);
    server_start(&s, 1, 8);
    client = open_client(&s);
    assert_int_equal(cairn_consumer_open(client, NULL, &consumer, NULL), 0);
    assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, 0, 0, NULL), 0);
    for (int i = 0; i < 5; i++) {
        struct cairn_options *o = options_of("compression", codecs[i]);
        struct cairn_message m = {.topic = WORLD_TOPIC, .partition = 0, .value = value, .value_size = sizeof value};
        struct cairn_producer *producer;

        value[0] = (char)('0' + i);
        assert_int_equal(cairn_producer_open(client, o, &producer, NULL), 0);
        assert_int_equal(cairn_producer_send(producer, &m, NULL), 0);
        assert_int_equal(cairn_producer_flush(producer, 5000, NULL), 0);
        assert_int_equal(cairn_consumer_poll(consumer, 5000, &records, NULL), 0);
        assert_non_null(records);
        assert_true(cairn_records_next(records, &record));
        assert_int_equal(record.value_size, sizeof value);
        assert_memory_equal(record.value, value, sizeof value);
        assert_true(i == 0 ? cairn_records_size(records) > sizeof value : cairn_records_size(records) < 1000);
        assert_false(cairn_records_next(records, &record));
        cairn_producer_close(producer, 1000);
        cairn_options_free(o);
    }
    cairn_consumer_close(consumer);
    cairn_client_close(client);
    server_stop(&s);
}

static void headers_and_nulls_travel(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_producer *producer;
    struct cairn_consumer *consumer;
    struct cairn_records *records;
    struct cairn_record record;
    struct cairn_record_header header;
    const struct cairn_header headers[] = {{.key = "a", .value = "1", .value_size = 1}, {.key = "b"}};
    struct cairn_message m = {
        .topic = WORLD_TOPIC, .partition = 0, .key = "", .headers = headers, .header_count = 2, .timestamp_ms = 12345};

    server_start(&s, 1, 3);
    client = open_client(&s);
    assert_int_equal(cairn_producer_open(client, NULL, &producer, NULL), 0);
    assert_int_equal(cairn_producer_send(producer, &m, NULL), 0);
    assert_int_equal(cairn_producer_flush(producer, 5000, NULL), 0);
    assert_int_equal(cairn_consumer_open(client, NULL, &consumer, NULL), 0);
    assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, 0, 0, NULL), 0);
    assert_int_equal(cairn_consumer_poll(consumer, 5000, &records, NULL), 0);
    assert_true(cairn_records_next(records, &record));
    assert_int_equal(record.timestamp_ms, 12345);
    assert_non_null(record.key);
    assert_int_equal(record.key_size, 0);
    assert_null(record.value);
    assert_int_equal(record.header_count, 2);
    assert_true(cairn_record_header(&record, &header));
    assert_int_equal(header.key_size, 1);
    assert_memory_equal(header.value, "1", 1);
    assert_true(cairn_record_header(&record, &header));
    assert_memory_equal(header.key, "b", 1);
    assert_null(header.value);
    assert_false(cairn_record_header(&record, &header));
    assert_false(cairn_records_next(records, &record));
    cairn_producer_close(producer, 1000);
    cairn_consumer_close(consumer);
    cairn_client_close(client);
    server_stop(&s);
}

static void damaged_batches_are_told_and_fetched_again(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_consumer *consumer;
    struct cairn_records *records;
    struct cairn_record record;
    struct cairn_error error;
    size_t n = 0;
    int rv;

    server_start(&s, 1, 4);
    world_append(&s.world, 0, 10, CODEC_NONE);
    world_append(&s.world, 0, 10, CODEC_NONE);
    s.world.partitions[0].batches[1].bytes[s.world.partitions[0].batches[1].size - 1] ^= 1;
    client = open_client(&s);
    assert_int_equal(cairn_consumer_open(client, NULL, &consumer, NULL), 0);
    assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, 0, 0, NULL), 0);
    assert_int_equal(cairn_consumer_poll(consumer, 5000, &records, &error), 0);
    while (cairn_records_next(records, &record)) {
        n++;
    }
    assert_int_equal(n, 10);
    rv = cairn_consumer_poll(consumer, 5000, &records, &error);
    assert_int_equal(rv, CAIRN_ERR_CORRUPT);
    assert_non_null(strstr(error.text, "offset 10"));
    pthread_mutex_lock(&s.mutex);
    s.world.partitions[0].batches[1].bytes[s.world.partitions[0].batches[1].size - 1] ^= 1; /* repaired */
    pthread_mutex_unlock(&s.mutex);
    while (n < 20) {
        rv = cairn_consumer_poll(consumer, 5000, &records, &error);
        assert_true(rv == 0 || rv == CAIRN_ERR_CORRUPT);
        while (rv == 0 && cairn_records_next(records, &record)) {
            assert_int_equal(record.offset, n);
            n++;
        }
    }
    cairn_consumer_close(consumer);
    cairn_client_close(client);
    server_stop(&s);
}

static void admin_calls_find_who_decides(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_error error;
    struct cairn_topic_info *info;
    struct cairn_topic_list *list;
    struct cairn_cluster_status *status;
    struct cairn_offsets offsets;

    server_start(&s, 3, 5);
    pthread_mutex_lock(&s.mutex);
    world_append(&s.world, 2, 10, CODEC_NONE);
    s.world.partitions[2].log_start = 4;
    pthread_mutex_unlock(&s.mutex);
    client = open_client(&s);
    assert_int_equal(cairn_admin_create_topic(client, &(struct cairn_topic_spec){.name = "new"}, 5000, &error), 0);
    assert_int_equal(cairn_admin_create_topic(client, &(struct cairn_topic_spec){.name = WORLD_TOPIC}, 5000, &error),
                     CAIRN_ERR_TOPIC_EXISTS);
    assert_non_null(strstr(error.text, "create topic orders: a topic named orders exists"));
    assert_int_equal(cairn_admin_describe_topic(client, WORLD_TOPIC, 5000, &info, &error), 0);
    assert_int_equal(info->partition_count, 3);
    assert_int_equal(info->partitions[1].leader_node, 2);
    cairn_topic_info_free(info);
    assert_int_equal(cairn_admin_describe_topic(client, "nope", 5000, &info, &error), CAIRN_ERR_UNKNOWN_TOPIC);
    assert_int_equal(cairn_admin_list_topics(client, 5000, &list, &error), 0);
    assert_int_equal(list->count, 1);
    assert_string_equal(list->topics[0].name, WORLD_TOPIC);
    cairn_topic_list_free(list);
    assert_int_equal(cairn_admin_cluster_status(client, 5000, &status, &error), 0);
    assert_int_equal(status->metadata_voter_count, 3);
    assert_string_equal(status->node_version, "9.9");
    cairn_cluster_status_free(status);
    assert_int_equal(cairn_admin_offsets(client, WORLD_TOPIC, 2, 5000, &offsets, &error), 0);
    assert_int_equal(offsets.log_start, 4);
    assert_int_equal(offsets.high_watermark, 10);
    cairn_client_close(client);
    server_stop(&s);
}

static void an_unreachable_cluster_is_a_timeout_with_words(void **state)
{
    struct cairn_client *client;
    struct cairn_error error;
    struct cairn_cluster_status *status;
    struct cairn_producer *producer;
    struct cairn_options *o = options_of("max_block_ms", "200");
    struct cairn_message m = {.topic = "t", .value = "v", .value_size = 1};

    assert_int_equal(cairn_client_open("127.0.0.1:1", NULL, &client, &error), 0);
    assert_int_equal(cairn_admin_cluster_status(client, 300, &status, &error), CAIRN_ERR_TIMEOUT);
    assert_non_null(strstr(error.text, "127.0.0.1:1"));
    assert_int_equal(cairn_producer_open(client, o, &producer, &error), 0);
    assert_int_equal(cairn_producer_send(producer, &m, &error), CAIRN_ERR_LEADER_NOT_READY);
    cairn_producer_close(producer, 100);
    cairn_client_close(client);
    cairn_options_free(o);
}

static void options_are_checked(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_producer *producer;
    struct cairn_error error;
    struct cairn_options *bad_name = options_of("linger", "1");
    struct cairn_options *bad_value = options_of("compression", "brotli");
    struct cairn_options *bad_number = options_of("in_flight_max", "6");

    server_start(&s, 1, 6);
    client = open_client(&s);
    assert_int_equal(cairn_producer_open(client, bad_name, &producer, &error), CAIRN_ERR_CONFIG);
    assert_non_null(strstr(error.text, "linger"));
    assert_int_equal(cairn_producer_open(client, bad_value, &producer, &error), CAIRN_ERR_CONFIG);
    assert_non_null(strstr(error.text, "none|gzip|snappy|lz4|zstd"));
    assert_int_equal(cairn_producer_open(client, bad_number, &producer, &error), CAIRN_ERR_CONFIG);
    cairn_client_close(client);
    assert_int_equal(cairn_client_open("nonsense", NULL, &client, &error), CAIRN_ERR_INVALID);
    assert_int_equal(cairn_client_open("", NULL, &client, &error), CAIRN_ERR_INVALID);
    cairn_options_free(bad_name);
    cairn_options_free(bad_value);
    cairn_options_free(bad_number);
    server_stop(&s);
}

static void full_buffer_blocks_only_as_long_as_allowed(void **state)
{
    struct server s;
    struct cairn_client *client;
    struct cairn_producer *producer;
    struct cairn_error error;
    struct cairn_options *o = options_of("max_block_ms", "100");
    char value[1000] = {0};
    struct cairn_message m = {.topic = WORLD_TOPIC, .partition = 0, .value = value, .value_size = sizeof value};
    int rv = 0;

    server_start(&s, 1, 7);
    client = open_client(&s);
    cairn_options_set(o, "buffer_max_bytes", "262144");
    cairn_options_set(o, "batch_size_bytes", "16384");
    assert_int_equal(cairn_producer_open(client, o, &producer, &error), 0);
    assert_int_equal(cairn_producer_send(producer, &m, &error), 0);
    assert_int_equal(cairn_producer_flush(producer, 5000, &error), 0);
    pthread_mutex_lock(&s.mutex);
    s.world.node_deaf[1] = true;
    pthread_mutex_unlock(&s.mutex);
    for (int i = 0; i < 1000 && rv == 0; i++) {
        rv = cairn_producer_send(producer, &m, &error);
    }
    assert_int_equal(rv, CAIRN_ERR_BUFFER_FULL);
    assert_int_equal(cairn_producer_flush(producer, 50, &error), CAIRN_ERR_TIMEOUT);
    cairn_producer_close(producer, 0); /* what was sent ends unknown; nothing hangs */
    cairn_client_close(client);
    cairn_options_free(o);
    server_stop(&s);
}

/* The public numbers are those of the one table: a code added there must be added to <cairn/error.h> too. */
static void public_codes_follow_the_table(void **state)
{
    char *header = calloc(1, 65536);
    FILE *f = fopen(PUBLIC_CODES, "r");

    assert_non_null(f);
    assert_true(fread(header, 1, 65535, f) > 0);
    fclose(f);
#define X(name, number, retriable, text)                                                                               \
    if (strstr(header, "CAIRN_" #name " = " #number) == NULL) {                                                        \
        print_error("<cairn/error.h> lacks CAIRN_" #name " = " #number "\n");                                          \
        fail();                                                                                                        \
    }
    ERR_TABLE(X)
#undef X
    free(header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_read_back),
        cmocka_unit_test(threads_share_a_producer),
        cmocka_unit_test(every_codec_travels),
        cmocka_unit_test(headers_and_nulls_travel),
        cmocka_unit_test(damaged_batches_are_told_and_fetched_again),
        cmocka_unit_test(admin_calls_find_who_decides),
        cmocka_unit_test(an_unreachable_cluster_is_a_timeout_with_words),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(full_buffer_blocks_only_as_long_as_allowed),
        cmocka_unit_test(public_codes_follow_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
