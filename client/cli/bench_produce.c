/* cairn bench produce and cairn bench latency. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/bench.h"
#include "client/cli/commands.h"

#define CLOCK_EVERY 16 /* records between looks at the clock at full speed */
#define LOOK_EVERY 4096

struct bench_produce {
    struct cli *cli;
    const struct bench_args *args;
    struct cairn_producer *producer;
    char *payload;
    uint64_t begin_ns;
    uint64_t sent;
    struct cairn_error error;
    _Atomic uint64_t acknowledged; /* by the callback's thread, as are those below */
    uint64_t unknown;
    uint64_t failed;
    uint64_t end_ns;
    struct histogram latency_ns;
};

static void on_delivery(void *arg, const struct cairn_delivery *d)
{
    struct bench_produce *b = arg;
    uint64_t now_ns = clock_ns();

    b->end_ns = now_ns;
    if (d->code != CAIRN_OK) {
        *(d->code == CAIRN_ERR_UNKNOWN_OUTCOME ? &b->unknown : &b->failed) += d->count;
        return;
    }
    b->acknowledged += d->count;
    for (size_t i = 0; i < d->count; i++) {
        uint64_t sent_ns = (uint64_t)(uintptr_t)d->tags[i];
        if (sent_ns != 0) {
            histogram_add(&b->latency_ns, now_ns > sent_ns ? now_ns - sent_ns : 0);
        }
    }
}

/* Sleep until @when_ns: records then count from when they were due, not from when we got round to them. */
static void pace(uint64_t when_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(when_ns / 1000000000u), .tv_nsec = (long)(when_ns % 1000000000u)};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static bool over(const struct bench_produce *b, uint64_t now_ns)
{
    return (b->args->records > 0 && b->sent >= b->args->records) ||
           (b->args->seconds_ms > 0 && now_ns - b->begin_ns >= b->args->seconds_ms * 1000000ull);
}

static int produce_loop(struct bench_produce *b)
{
    struct cairn_message m = {.topic = b->args->topic,
                              .partition = CAIRN_PARTITION_ANY,
                              .value = b->payload,
                              .value_size = b->args->size_bytes};
    double interval_ns = b->args->rate > 0 ? 1e9 / (double)b->args->rate : 0;
    uint64_t now_ns = clock_ns();
    struct progress progress;

    progress_begin(&progress, b->cli, b->args->records, false);
    b->begin_ns = now_ns;
    while (!over(b, now_ns)) {
        m.tag = NULL;
        if (interval_ns > 0) {
            uint64_t due_ns = b->begin_ns + (uint64_t)((double)b->sent * interval_ns);
            if (due_ns > now_ns) {
                now_ns = clock_ns();
                if (due_ns > now_ns) {
                    pace(due_ns);
                    now_ns = clock_ns();
                }
            }
            m.tag = (void *)(uintptr_t)due_ns;
        } else if (b->sent % CLOCK_EVERY == 0) {
            now_ns = clock_ns();
            m.tag = (void *)(uintptr_t)now_ns;
        }
        m.partition = (int32_t)(b->sent % b->args->partitions);
        if (cairn_producer_send(b->producer, &m, &b->error) != 0) {
            if (b->error.code == CAIRN_ERR_BUFFER_FULL) {
                continue;
            }
            progress_end(&progress);
            return cli_fail(&b->error);
        }
        b->sent++;
        if (b->sent % LOOK_EVERY == 0) {
            progress_draw(&progress, b->sent, b->sent, b->acknowledged);
            if (cli_interrupted(b->cli)) {
                break;
            }
        }
    }
    progress_end(&progress);
    return EXIT_OK;
}

static int produce_finish(struct bench_produce *b, const char *name)
{
    struct bench_result result = {.name = name, .latency_ns = &b->latency_ns};

    (void)cairn_producer_flush(b->producer, 60000, NULL);
    cairn_producer_close(b->producer, 0);
    result.records = b->acknowledged;
    result.bytes = b->acknowledged * b->args->size_bytes;
    result.seconds = b->end_ns > b->begin_ns ? (double)(b->end_ns - b->begin_ns) / 1e9 : 0;
    result.unknown = b->unknown;
    result.failed = b->failed;
    bench_print(b->cli, b->args, &result);
    return b->acknowledged == b->sent ? EXIT_OK : EXIT_FAILED;
}

static int produce_begin(struct bench_produce *b, const struct command *command, const struct bench_args *a)
{
    int rv = bench_producer(b->cli, command, a, &b->producer);

    if (rv != EXIT_OK) {
        return rv;
    }
    b->args = a;
    b->payload = bench_payload(a->size_bytes);
    histogram_init(&b->latency_ns);
    cairn_producer_on_delivery(b->producer, on_delivery, b);
    return b->payload != NULL ? EXIT_OK : EXIT_FAILED;
}

static int run_produce(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct bench_args a = {.size_bytes = 1024};
    struct bench_produce *b;
    int rv = bench_begin(cli, command, argc, argv, &a, true);

    if (rv >= 0) {
        return rv;
    }
    b = calloc(1, sizeof *b);
    if (b == NULL) {
        return EXIT_FAILED;
    }
    b->cli = cli;
    rv = produce_begin(b, command, &a);
    rv = rv == EXIT_OK ? produce_loop(b) : rv;
    if (b->producer != NULL) {
        int end = produce_finish(b, "produce");
        rv = rv == EXIT_OK ? end : rv;
    }
    free(b->payload);
    free(b);
    return rv;
}

/* One record at a time: each is flushed before the next. */
static int latency_loop(struct bench_produce *b)
{
    struct cairn_message m = {.topic = b->args->topic, .value = b->payload, .value_size = b->args->size_bytes};
    double interval_ns = b->args->rate > 0 ? 1e9 / (double)b->args->rate : 0;
    uint64_t warm_ns = clock_ns() + b->args->warmup_ms * 1000000ull;
    bool warm = b->args->warmup_ms == 0;
    uint64_t now_ns = clock_ns();
    struct progress progress;

    progress_begin(&progress, b->cli, b->args->records, false);
    b->begin_ns = now_ns;
    while (!over(b, now_ns) && !cli_interrupted(b->cli)) {
        if (!warm && now_ns >= warm_ns) {
            warm = true;
            b->begin_ns = now_ns;
            b->sent = 0;
            b->acknowledged = 0;
        }
        if (interval_ns > 0) {
            pace(b->begin_ns + (uint64_t)((double)b->sent * interval_ns));
        }
        m.partition = (int32_t)(b->sent % b->args->partitions);
        m.tag = warm ? (void *)(uintptr_t)clock_ns() : NULL;
        if (cairn_producer_send(b->producer, &m, &b->error) != 0 ||
            cairn_producer_flush(b->producer, 60000, &b->error) != 0) {
            progress_end(&progress);
            return cli_fail(&b->error);
        }
        b->sent++;
        progress_draw(&progress, b->sent, b->sent, b->acknowledged);
        now_ns = clock_ns();
    }
    progress_end(&progress);
    return EXIT_OK;
}

static int run_latency(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct bench_args a = {.size_bytes = 100, .warmup_ms = 500};
    struct bench_produce *b;
    int rv = bench_begin(cli, command, argc, argv, &a, true);

    if (rv >= 0) {
        return rv;
    }
    b = calloc(1, sizeof *b);
    if (b == NULL) {
        return EXIT_FAILED;
    }
    b->cli = cli;
    rv = produce_begin(b, command, &a);
    rv = rv == EXIT_OK ? latency_loop(b) : rv;
    if (b->producer != NULL) {
        int end = produce_finish(b, "latency");
        rv = rv == EXIT_OK ? end : rv;
    }
    free(b->payload);
    free(b);
    return rv;
}

static const struct arg produce_table[] = {
    BENCH_ARG_TOPIC,
    BENCH_ARG_PARTITIONS,
    BENCH_ARG_REPLICATION,
    {"size", 0, ARG_SIZE, offsetof(struct bench_args, size_bytes), "BYTES", "of a record's value (1k)"},
    BENCH_ARG_RECORDS,
    BENCH_ARG_SECONDS,
    {"rate", 'r', ARG_U64, offsetof(struct bench_args, rate), "N",
     "records a second, constantly; latency counts from when each was due"},
    {"compression", 'z', ARG_TEXT, offsetof(struct bench_args, compression), "none|gzip|snappy|lz4|zstd",
     "of batches (none)"},
    {"linger", 0, ARG_TEXT, offsetof(struct bench_args, linger_ms), "MS", "option linger_ms"},
    {"batch-size", 0, ARG_TEXT, offsetof(struct bench_args, batch_size), "BYTES", "option batch_size_bytes"},
    BENCH_ARG_OPTION,
    {0},
};

static const struct arg latency_table[] = {
    BENCH_ARG_TOPIC,
    BENCH_ARG_PARTITIONS,
    BENCH_ARG_REPLICATION,
    {"size", 0, ARG_SIZE, offsetof(struct bench_args, size_bytes), "BYTES", "of a record's value (100)"},
    BENCH_ARG_RECORDS,
    BENCH_ARG_SECONDS,
    {"rate", 'r', ARG_U64, offsetof(struct bench_args, rate), "N", "records a second (as fast as answers come)"},
    {"warmup", 0, ARG_DURATION_MS, offsetof(struct bench_args, warmup_ms), "TIME", "not counted (500ms)"},
    BENCH_ARG_OPTION,
    {0},
};

const struct command command_bench_produce = {
    .name = "bench produce",
    .summary = "Measure how much can be written",
    .examples = "  cairn bench produce --size 1k --seconds 30\n"
                "  cairn bench produce --size 100 --records 10000000 --partitions 6 --json\n"
                "  cairn bench produce --size 1k --rate 50000 --seconds 1m\n",
    .args = produce_table,
    .run = run_produce,
};

const struct command command_bench_latency = {
    .name = "bench latency",
    .summary = "Measure one record at a time: send, wait until it is durable",
    .examples = "  cairn bench latency --size 100 --seconds 10\n  cairn bench latency --rate 200 --json\n",
    .args = latency_table,
    .run = run_latency,
};
