/* cairn bench consume */
#include <stdlib.h>

#include "client/cli/bench.h"
#include "client/cli/commands.h"

#define POLL_MS 200
#define QUIET_POLLS 5 /* nothing for so long: the end */

struct bench_consume {
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t records;
    uint64_t bytes; /* keys and values */
    uint64_t touched;
};

static bool over(const struct bench_consume *b, const struct bench_args *a, uint64_t now_ns)
{
    return (a->records > 0 && b->records >= a->records) ||
           (a->seconds_ms > 0 && b->begin_ns != 0 && now_ns - b->begin_ns >= a->seconds_ms * 1000000ull);
}

static int consume_loop(struct cli *cli, const struct bench_args *a, struct cairn_consumer *consumer,
                        struct bench_consume *b)
{
    struct cairn_error error;
    struct progress progress;
    unsigned quiet = 0;

    progress_begin(&progress, cli, a->records, false);
    while (!over(b, a, clock_ns()) && quiet < QUIET_POLLS && !cli_interrupted(cli)) {
        struct cairn_records *records;
        struct cairn_record record;

        if (cairn_consumer_poll(consumer, POLL_MS, &records, &error) != 0) {
            progress_end(&progress);
            return cli_fail(&error);
        }
        if (records == NULL) {
            quiet += b->records > 0 || progress.begin_ns + cli->timeout_ms * 1000000ull < clock_ns();
            continue;
        }
        quiet = 0;
        if (b->begin_ns == 0) {
            b->begin_ns = clock_ns();
        }
        while (cairn_records_next(records, &record)) {
            b->records++;
            b->bytes += record.key_size + record.value_size;
            b->touched += record.value_size > 0 ? *(const unsigned char *)record.value : 0;
        }
        b->end_ns = clock_ns();
        progress_draw(&progress, b->records, b->records, b->records);
    }
    progress_end(&progress);
    return EXIT_OK;
}

static int run_consume(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct bench_args a = {0};
    struct bench_consume b = {0};
    struct bench_result result = {.name = "consume"};
    struct cairn_consumer *consumer = NULL;
    struct cairn_options *options;
    struct cairn_error error;
    int rv = bench_begin(cli, command, argc, argv, &a, false);

    if (rv >= 0) {
        return rv;
    }
    options = cairn_options_new();
    rv = cli_options(command, &a.options, options);
    if (rv == EXIT_OK && cairn_consumer_open(cli->client, options, &consumer, &error) != 0) {
        rv = cli_fail(&error);
    }
    for (uint32_t i = 0; i < a.partitions && rv == EXIT_OK; i++) {
        if (cairn_consumer_assign(consumer, a.topic, (int32_t)i, CAIRN_OFFSET_EARLIEST, &error) != 0) {
            rv = cli_fail(&error);
        }
    }
    if (rv == EXIT_OK) {
        rv = consume_loop(cli, &a, consumer, &b);
    }
    cairn_consumer_close(consumer);
    cairn_options_free(options);
    if (rv == EXIT_OK) {
        result.records = b.records;
        result.bytes = b.bytes;
        result.seconds = b.end_ns > b.begin_ns ? (double)(b.end_ns - b.begin_ns) / 1e9 : 0;
        bench_print(cli, &a, &result);
    }
    return rv;
}

static const struct arg consume_table[] = {
    BENCH_ARG_TOPIC, BENCH_ARG_RECORDS, BENCH_ARG_SECONDS, BENCH_ARG_OPTION, {0},
};

const struct command command_bench_consume = {
    .name = "bench consume",
    .summary = "Measure how fast a topic can be read, from its beginning",
    .examples = "  cairn bench consume --topic cairn-bench\n"
                "  cairn bench consume --records 10000000 --json\n",
    .args = consume_table,
    .run = run_consume,
};
