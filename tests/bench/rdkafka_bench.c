/* librdkafka through the Kafka port, as `cairn bench` goes through the native one: so much for so many seconds,
 * acknowledged by quorum, idempotent, or a topic read from its beginning. A line of JSON with the names that `cairn
 * bench --json` uses.
 *
 *   rdkafka_bench produce|consume HOST:PORT[,...] TOPIC SECONDS SIZE BATCH_BYTES */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_MS 100
#define QUIET_S 1.0
#define END_MS 60000
#define FETCH_BATCH 10000
#define PARTITIONS_MAX 1000

struct result {
    uint64_t records;
    uint64_t failed;
    uint64_t bytes;
    double seconds;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[512];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "rdkafka_bench: %s=%s: %s\n", name, value, why);
        exit(1);
    }
}

static rd_kafka_t *open_client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[512];
    rd_kafka_t *k = rd_kafka_new(type, conf, why, sizeof why);
    if (k == NULL) {
        fprintf(stderr, "rdkafka_bench: %s\n", why);
        exit(1);
    }
    return k;
}

static void on_delivery(rd_kafka_t *k, const rd_kafka_message_t *m, void *data)
{
    struct result *r = data;
    (void)k;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        r->failed++;
        return;
    }
    r->records++;
    r->bytes += m->len;
}

static struct result produce(rd_kafka_conf_t *conf, const char *topic, double seconds, size_t size,
                             const char *batch_bytes)
{
    struct result r = {0};
    uint8_t *value = calloc(1, size > 0 ? size : 1);
    double begin;
    rd_kafka_t *k;

    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "5");
    set(conf, "batch.size", batch_bytes);
    set(conf, "queue.buffering.max.messages", "500000");
    rd_kafka_conf_set_opaque(conf, &r);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    k = open_client(RD_KAFKA_PRODUCER, conf);
    begin = now();
    for (uint64_t n = 0; value != NULL && ((n & 1023) != 0 || now() < begin + seconds);) {
        rd_kafka_resp_err_t err = rd_kafka_producev(k, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, size),
                                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            n++;
        } else if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "rdkafka_bench: produce: %s\n", rd_kafka_err2str(err));
            exit(1);
        }
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR || (n & 255) == 0) {
            rd_kafka_poll(k, err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : 10);
        }
    }
    if (rd_kafka_flush(k, END_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        r.failed += (uint64_t)rd_kafka_outq_len(k);
    }
    r.seconds = now() - begin;
    rd_kafka_destroy(k);
    free(value);
    return r;
}

static void assign_all(rd_kafka_t *k, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *t = rd_kafka_topic_new(k, topic, NULL);
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t err = rd_kafka_metadata(k, 0, t, &metadata, END_MS);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt == 0 ||
        metadata->topics[0].partition_cnt > PARTITIONS_MAX) {
        fprintf(stderr, "rdkafka_bench: topic %s: %s\n", topic, rd_kafka_err2str(err));
        exit(1);
    }
    list = rd_kafka_topic_partition_list_new(metadata->topics[0].partition_cnt);
    for (int p = 0; p < metadata->topics[0].partition_cnt; p++) {
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    rd_kafka_assign(k, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(t);
}

/* From the first records until the time is over, or nothing is left: no records for long. */
static struct result consume(rd_kafka_conf_t *conf, const char *topic, double seconds)
{
    struct result r = {0};
    rd_kafka_message_t **messages = calloc(FETCH_BATCH, sizeof messages[0]);
    rd_kafka_queue_t *queue;
    rd_kafka_t *k;
    double begin = 0;
    double end = 0;
    double asked = now();

    if (messages == NULL) {
        exit(1);
    }
    set(conf, "group.id", "rdkafka-bench");
    set(conf, "enable.auto.commit", "false");
    set(conf, "fetch.message.max.bytes", "8000000");
    set(conf, "queued.max.messages.kbytes", "200000");
    k = open_client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(k);
    queue = rd_kafka_queue_get_consumer(k);
    assign_all(k, topic);
    while (r.records == 0 ? now() < asked + END_MS / 1000.0 : now() < begin + seconds && now() < end + QUIET_S) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, POLL_MS, messages, FETCH_BATCH);
        begin = n > 0 && r.records == 0 ? now() : begin;
        for (ssize_t i = 0; i < n; i++) {
            r.records += messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            r.failed += messages[i]->err != RD_KAFKA_RESP_ERR_NO_ERROR;
            r.bytes += messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR ? messages[i]->len : 0;
            rd_kafka_message_destroy(messages[i]);
        }
        end = n > 0 ? now() : end;
    }
    r.seconds = end > begin ? end - begin : 1e-9;
    rd_kafka_queue_destroy(queue);
    rd_kafka_consumer_close(k);
    rd_kafka_destroy(k);
    free(messages);
    return r;
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct result r;
    bool writes = argc > 1 && strcmp(argv[1], "produce") == 0;

    if (argc != 7 || (!writes && strcmp(argv[1], "consume") != 0)) {
        fprintf(stderr, "usage: rdkafka_bench produce|consume HOST:PORT[,...] TOPIC SECONDS SIZE BATCH_BYTES\n");
        return 2;
    }
    set(conf, "bootstrap.servers", argv[2]);
    r = writes ? produce(conf, argv[3], atof(argv[4]), (size_t)atol(argv[5]), argv[6])
               : consume(conf, argv[3], atof(argv[4]));
    printf("{\"records\": %llu, \"failed\": %llu, \"unknown\": 0, \"seconds\": %.3f, \"records_per_second\": %.0f, "
           "\"mb_per_second\": %.1f}\n",
           (unsigned long long)r.records, (unsigned long long)r.failed, r.seconds, (double)r.records / r.seconds,
           (double)r.bytes / r.seconds / 1e6);
    return r.failed > 0 || r.records == 0;
}
