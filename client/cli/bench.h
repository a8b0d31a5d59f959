/* What the benches share: their options, the topic, and how results are told. */
#ifndef CAIRN_CLI_BENCH_H
#define CAIRN_CLI_BENCH_H

#include "client/cli/cli.h"
#include "proto/base/histogram.h"

struct bench_args {
    const char *topic;
    uint32_t partitions;
    uint32_t replication;
    uint64_t size_bytes;
    uint64_t records;
    uint32_t seconds_ms;
    uint32_t warmup_ms;
    uint64_t rate; /* records a second, 0: as many as possible */
    const char *compression;
    const char *linger_ms;
    const char *batch_size;
    struct arg_list options;
};

#define BENCH_TOPIC "cairn-bench"

/* The rows of a bench's table. */
#define BENCH_ARG_TOPIC                                                                                                \
    {                                                                                                                  \
        "topic", 't', ARG_TEXT, offsetof(struct bench_args, topic), "NAME", "(" BENCH_TOPIC "; created if missing)"    \
    }
#define BENCH_ARG_PARTITIONS                                                                                           \
    {                                                                                                                  \
        "partitions", 'p', ARG_U32, offsetof(struct bench_args, partitions), "N", "of the topic, when it is created"   \
    }
#define BENCH_ARG_REPLICATION                                                                                          \
    {                                                                                                                  \
        "replication", 0, ARG_U32, offsetof(struct bench_args, replication), "N", "of the topic, when it is created"   \
    }
#define BENCH_ARG_RECORDS                                                                                              \
    {                                                                                                                  \
        "records", 'n', ARG_U64, offsetof(struct bench_args, records), "N", "end after so many"                        \
    }
#define BENCH_ARG_SECONDS                                                                                              \
    {                                                                                                                  \
        "seconds", 's', ARG_DURATION_MS, offsetof(struct bench_args, seconds_ms), "TIME", "end after (10s)"            \
    }
#define BENCH_ARG_OPTION                                                                                               \
    {                                                                                                                  \
        "option", 'X', ARG_LIST, offsetof(struct bench_args, options), "NAME=VALUE", "any option of <cairn/options.h>" \
    }

struct bench_result {
    const char *name;
    uint64_t records;
    uint64_t bytes; /* of values */
    double seconds;
    uint64_t unknown;
    uint64_t failed;
    const struct histogram *latency_ns; /* may be NULL or empty */
};

/* Parse, connect, see to the topic (its partitions come back in a->partitions). -1: go on; else the exit code. */
int bench_begin(struct cli *cli, const struct command *command, int argc, char **argv, struct bench_args *a,
                bool create);
/* The producer of @a; EXIT_OK or told. */
int bench_producer(struct cli *cli, const struct command *command, const struct bench_args *a,
                   struct cairn_producer **producer);
void bench_print(struct cli *cli, const struct bench_args *a, const struct bench_result *r);

/* Bytes that do not compress well, @size of them; free() them. */
char *bench_payload(size_t size);

#endif
