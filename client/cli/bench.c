#include "client/cli/bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The topic's partitions, creating it where it is missing. */
static int bench_topic(struct cli *cli, struct bench_args *a, bool create)
{
    struct cairn_topic_spec spec = {.name = a->topic, .partitions = a->partitions, .replication = a->replication};
    struct cairn_topic_info *info;
    struct cairn_error error;
    int rv = 0;

    if (create) {
        rv = cairn_admin_create_topic(cli->client, &spec, cli->timeout_ms, &error);
        if (rv != 0 && rv != CAIRN_ERR_TOPIC_EXISTS) {
            return cli_fail(&error);
        }
    }
    for (int i = 0;; i++) { /* a node may not have heard of it yet */
        rv = cairn_admin_describe_topic(cli->client, a->topic, cli->timeout_ms, &info, &error);
        if (rv != CAIRN_ERR_UNKNOWN_TOPIC || !create || i == 50) {
            break;
        }
        struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
    }
    if (rv != 0) {
        return cli_fail(&error);
    }
    a->partitions = info->partition_count;
    cairn_topic_info_free(info);
    return EXIT_OK;
}

int bench_begin(struct cli *cli, const struct command *command, int argc, char **argv, struct bench_args *a,
                bool create)
{
    int operands;
    int rv = cli_parse(cli, command, argc, argv, a, &operands);

    if (rv >= 0) {
        return rv;
    }
    if (a->topic == NULL) {
        a->topic = BENCH_TOPIC;
    }
    if (a->records == 0 && a->seconds_ms == 0) {
        a->seconds_ms = 10000;
    }
    if (a->size_bytes > (8u << 20)) {
        return cli_usage(command, "--size: at most 8M");
    }
    rv = cli_open(cli);
    rv = rv == EXIT_OK ? bench_topic(cli, a, create) : rv;
    return rv == EXIT_OK ? -1 : rv;
}

int bench_producer(struct cli *cli, const struct command *command, const struct bench_args *a,
                   struct cairn_producer **producer)
{
    struct cairn_options *options = cairn_options_new();
    struct cairn_error error;
    int rv;

    cli_option_set(options, "max_block_ms", cli->timeout_ms);
    rv = cli_options(command, &a->options, options);

    if (rv == EXIT_OK && a->compression != NULL) {
        (void)cairn_options_set(options, "compression", a->compression);
    }
    if (rv == EXIT_OK && a->linger_ms != NULL) {
        (void)cairn_options_set(options, "linger_ms", a->linger_ms);
    }
    if (rv == EXIT_OK && a->batch_size != NULL) {
        (void)cairn_options_set(options, "batch_size_bytes", a->batch_size);
    }
    if (rv == EXIT_OK && cairn_producer_open(cli->client, options, producer, &error) != 0) {
        rv = cli_fail(&error);
    }
    cairn_options_free(options);
    return rv;
}

char *bench_payload(size_t size)
{
    char *payload = malloc(size + 1);
    uint64_t x = 88172645463325252ull;

    for (size_t i = 0; payload != NULL && i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        payload[i] = (char)('!' + x % 90);
    }
    return payload;
}

static double us(const struct histogram *h, double percent)
{
    return (double)histogram_percentile(h, percent) / 1000;
}

static void print_json(const struct bench_args *a, const struct bench_result *r)
{
    double mb_s = (double)r->bytes / 1e6 / (r->seconds + 1e-9);
    json_t *out = json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I}", "bench", r->name, "topic", a->topic,
                            "partitions", (json_int_t)a->partitions, "records", (json_int_t)r->records, "bytes",
                            (json_int_t)r->bytes, "seconds", r->seconds, "records_per_second",
                            (double)r->records / (r->seconds + 1e-9), "mb_per_second", mb_s, "unknown",
                            (json_int_t)r->unknown, "failed", (json_int_t)r->failed);

    if (r->latency_ns != NULL && r->latency_ns->count > 0) {
        const struct histogram *h = r->latency_ns;
        json_object_set_new(out, "latency_us",
                            json_pack("{s:f, s:f, s:f, s:f, s:f}", "p50", us(h, 50), "p99", us(h, 99), "p99_9",
                                      us(h, 99.9), "max", (double)h->max / 1000, "mean",
                                      (double)h->sum / (double)h->count / 1000));
    }
    json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
    printf("\n");
    json_decref(out);
}

static const char *time_text(double value_us, char out[32])
{
    if (value_us >= 1e6) {
        snprintf(out, 32, "%.2f s", value_us / 1e6);
    } else if (value_us >= 10000) {
        snprintf(out, 32, "%.1f ms", value_us / 1000);
    } else {
        snprintf(out, 32, "%.0f us", value_us);
    }
    return out;
}

void bench_print(struct cli *cli, const struct bench_args *a, const struct bench_result *r)
{
    char text[4][HUMAN_SIZE];
    char times[4][32];

    if (cli->json) {
        print_json(a, r);
        return;
    }
    printf("%s: %s records, %s in %.2f s: %s records/s, %s/s\n", r->name, human_count((double)r->records, text[0]),
           human_bytes((double)r->bytes, text[1]), r->seconds,
           human_count((double)r->records / (r->seconds + 1e-9), text[2]),
           human_bytes((double)r->bytes / (r->seconds + 1e-9), text[3]));
    if (r->latency_ns != NULL && r->latency_ns->count > 0) {
        const struct histogram *h = r->latency_ns;
        printf("latency: p50 %s, p99 %s, p99.9 %s, max %s\n", time_text(us(h, 50), times[0]),
               time_text(us(h, 99), times[1]), time_text(us(h, 99.9), times[2]),
               time_text((double)h->max / 1000, times[3]));
    }
    if (r->unknown + r->failed > 0) {
        printf("not acknowledged: %llu with unknown outcome, %llu certainly not written\n",
               (unsigned long long)r->unknown, (unsigned long long)r->failed);
    }
}
