/* cairn produce: a record for each line of files or standard input. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"

#define READ_SIZE (1u << 20) /* bytes at a time; a line is at most this long */
#define LOOK_EVERY 1024      /* records between looks at signals and progress */

struct produce_args {
    const char *topic;
    const char *delimiter;
    const char *partition;
    const char *compression;
    const char *ack_log;
    uint32_t delivery_timeout_ms;
    struct arg_list options;
};

static const struct arg produce_table[] = {
    {"topic", 't', ARG_TEXT, offsetof(struct produce_args, topic), "NAME", "where to (required)"},
    {"key-delimiter", 'K', ARG_TEXT, offsetof(struct produce_args, delimiter), "TEXT",
     "the line up to it is the key (no keys)"},
    {"partition", 'p', ARG_TEXT, offsetof(struct produce_args, partition), "N", "always this one (by key, or in turn)"},
    {"compression", 'z', ARG_TEXT, offsetof(struct produce_args, compression), "none|gzip|snappy|lz4|zstd",
     "of batches (none)"},
    {"delivery-timeout", 0, ARG_DURATION_MS, offsetof(struct produce_args, delivery_timeout_ms), "TIME",
     "then a record's outcome is unknown (30s)"},
    {"ack-log", 0, ARG_TEXT, offsetof(struct produce_args, ack_log), "FILE",
     "a line for each acknowledged record: partition offset time-ms key"},
    {"option", 'X', ARG_LIST, offsetof(struct produce_args, options), "NAME=VALUE",
     "any producer option of <cairn/options.h>"},
    {0},
};

struct produce {
    struct cli *cli;
    const struct produce_args *args;
    int32_t partition;
    size_t delimiter_size;
    struct cairn_producer *producer;
    struct progress progress;
    FILE *ack_log;
    uint64_t bytes;   /* read */
    uint64_t records; /* taken by the producer */
    uint64_t begin_ns;
    bool stop; /* told to */
    struct cairn_error error;
    /* Written by the delivery callback's thread. */
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t unknown;
    _Atomic uint64_t failed;
};

/* A tag in ack-log mode: the key, to be written once its record is acknowledged. */
struct tag {
    size_t size;
    char key[];
};

static void log_delivery(struct produce *p, const struct cairn_delivery *d)
{
    long long now_ms = wall_clock_ms();

    for (size_t i = 0; i < d->count; i++) {
        struct tag *tag = d->tags[i];

        if (d->code == CAIRN_OK) {
            fprintf(p->ack_log, "%d %lld %lld %.*s\n", d->partition,
                    d->base_offset < 0 ? -1ll : (long long)d->base_offset + (long long)i, now_ms,
                    tag != NULL ? (int)tag->size : 0, tag != NULL ? tag->key : "");
        }
        free(tag);
    }
}

static void on_delivery(void *arg, const struct cairn_delivery *d)
{
    struct produce *p = arg;

    if (p->ack_log != NULL) {
        log_delivery(p, d);
    }
    if (d->code == CAIRN_OK) {
        p->acknowledged += d->count;
        return;
    }
    if (d->code == CAIRN_ERR_UNKNOWN_OUTCOME) {
        p->unknown += d->count;
    } else {
        p->failed += d->count;
    }
    fprintf(stderr, "%scairn: %s partition %d: %zu record%s %s: %s\n", p->progress.drawn_ns != 0 ? "\r\033[K" : "",
            d->topic, d->partition, d->count, d->count == 1 ? "" : "s",
            d->code == CAIRN_ERR_UNKNOWN_OUTCOME ? "with unknown outcome" : "certainly not written", d->text);
}

static struct tag *tag_new(const struct cairn_message *m)
{
    struct tag *tag = malloc(sizeof *tag + m->key_size);

    if (tag != NULL) {
        tag->size = m->key_size;
        if (m->key_size > 0) {
            memcpy(tag->key, m->key, m->key_size);
        }
    }
    return tag;
}

/* False: the producer will not take it. */
static bool line_send(struct produce *p, const char *line, size_t size)
{
    struct cairn_message m = {.topic = p->args->topic, .partition = p->partition, .value = line, .value_size = size};
    const char *at;

    if (p->delimiter_size > 0) {
        at = memmem(line, size, p->args->delimiter, p->delimiter_size);
        if (at != NULL) {
            m.key = line;
            m.key_size = (size_t)(at - line);
            m.value = at + p->delimiter_size;
            m.value_size = size - m.key_size - p->delimiter_size;
        }
    }
    m.tag = p->ack_log != NULL ? tag_new(&m) : NULL;
    while (cairn_producer_send(p->producer, &m, &p->error) != 0) {
        if (p->error.code != CAIRN_ERR_BUFFER_FULL || cli_interrupted(p->cli)) {
            free(m.tag);
            return false;
        }
    }
    p->records++;
    if (p->records % LOOK_EVERY == 0) {
        progress_draw(&p->progress, p->bytes, p->records, p->acknowledged);
        p->stop = cli_interrupted(p->cli);
    }
    return true;
}

/* Send the whole lines of buffer[0..*used); what follows the last one moves to the front. */
static bool lines_send(struct produce *p, char *buffer, size_t *used, bool end)
{
    char *at = buffer;
    size_t left = *used;

    while (left > 0 && !p->stop) {
        char *newline = memchr(at, '\n', left);
        size_t size = newline != NULL ? (size_t)(newline - at) : left;

        if (newline == NULL && !end) {
            break;
        }
        if (!line_send(p, at, size)) {
            return false;
        }
        size += newline != NULL;
        p->bytes += size;
        at += size;
        left -= size;
    }
    memmove(buffer, at, left);
    *used = left;
    return true;
}

/* Until the descriptor is readable or we are told to stop. */
static bool wait_readable(struct produce *p, int fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = p->cli->signal_fd, .events = POLLIN}};

    while (poll(fds, 2, 200) == 0) {
        progress_draw(&p->progress, p->bytes, p->records, p->acknowledged);
    }
    p->stop = p->stop || (fds[1].revents != 0 && cli_interrupted(p->cli));
    return !p->stop;
}

static bool fd_send(struct produce *p, int fd, const char *name, char *buffer)
{
    size_t used = 0;
    ssize_t n;

    while (!p->stop && wait_readable(p, fd)) {
        n = read(fd, buffer + used, READ_SIZE - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            snprintf(p->error.text, sizeof p->error.text, "read %s: %s", name, strerror(errno));
            return false;
        }
        used += (size_t)n;
        if (!lines_send(p, buffer, &used, n == 0)) {
            return false;
        }
        if (n == 0) {
            return true;
        }
        if (used == READ_SIZE) {
            snprintf(p->error.text, sizeof p->error.text, "%s: a line is longer than %u bytes", name, READ_SIZE);
            return false;
        }
    }
    return true;
}

static bool inputs_send(struct produce *p, int count, char **names)
{
    char *buffer = malloc(READ_SIZE);
    bool ok = buffer != NULL;

    if (count == 0) {
        ok = ok && fd_send(p, STDIN_FILENO, "standard input", buffer);
    }
    for (int i = 0; i < count && ok && !p->stop; i++) {
        int fd = strcmp(names[i], "-") == 0 ? dup(STDIN_FILENO) : open(names[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            snprintf(p->error.text, sizeof p->error.text, "open %.150s: %s", names[i], strerror(errno));
            ok = false;
            break;
        }
        ok = fd_send(p, fd, names[i], buffer);
        close(fd);
    }
    free(buffer);
    return ok;
}

/* Bytes of all inputs; 0 where one of them is no regular file. */
static uint64_t inputs_size(int count, char **names)
{
    uint64_t size = 0;
    struct stat st;

    if (count == 0) {
        return fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    }
    for (int i = 0; i < count; i++) {
        if (stat(names[i], &st) != 0 || !S_ISREG(st.st_mode)) {
            return 0;
        }
        size += (uint64_t)st.st_size;
    }
    return size;
}

static void summary(struct produce *p)
{
    double seconds = (double)(clock_ns() - p->begin_ns) / 1e9;
    uint64_t pending = p->records - p->acknowledged - p->unknown - p->failed;
    char rate[HUMAN_SIZE];
    char bytes[HUMAN_SIZE];

    if (p->cli->json) {
        printf("{\"sent\": %llu, \"acknowledged\": %llu, \"unknown\": %llu, \"failed\": %llu, \"bytes\": %llu, "
               "\"seconds\": %.3f}\n",
               (unsigned long long)p->records, (unsigned long long)p->acknowledged,
               (unsigned long long)(p->unknown + pending), (unsigned long long)p->failed, (unsigned long long)p->bytes,
               seconds);
        return;
    }
    fprintf(stderr, "%llu of %llu records acknowledged in %.2f s (%s records/s, %s/s)",
            (unsigned long long)p->acknowledged, (unsigned long long)p->records, seconds,
            human_count((double)p->records / (seconds + 1e-9), rate),
            human_bytes((double)p->bytes / (seconds + 1e-9), bytes));
    if (p->unknown + pending > 0) {
        fprintf(stderr, "; %llu with unknown outcome", (unsigned long long)(p->unknown + pending));
    }
    if (p->failed > 0) {
        fprintf(stderr, "; %llu certainly not written", (unsigned long long)p->failed);
    }
    fprintf(stderr, "\n");
}

static int produce_open(struct produce *p, const struct command *command)
{
    struct cairn_options *options = cairn_options_new();
    int rv;

    cli_option_set(options, "max_block_ms", p->cli->timeout_ms);
    rv = cli_options(command, &p->args->options, options);
    if (rv == EXIT_OK && p->args->compression != NULL) {
        (void)cairn_options_set(options, "compression", p->args->compression);
    }
    if (rv == EXIT_OK && p->args->delivery_timeout_ms > 0) {
        cli_option_set(options, "delivery_timeout_ms", p->args->delivery_timeout_ms);
    }
    if (rv == EXIT_OK && p->args->ack_log != NULL) {
        p->ack_log = fopen(p->args->ack_log, "we");
        if (p->ack_log == NULL) {
            rv = cli_usage(command, "--ack-log %s: %s", p->args->ack_log, strerror(errno));
        }
    }
    rv = rv == EXIT_OK ? cli_open(p->cli) : rv;
    if (rv == EXIT_OK && cairn_producer_open(p->cli->client, options, &p->producer, &p->error) != 0) {
        rv = cli_fail(&p->error);
    }
    if (rv == EXIT_OK) {
        cairn_producer_on_delivery(p->producer, on_delivery, p);
    }
    cairn_options_free(options);
    return rv;
}

static int produce_end(struct produce *p, bool ok)
{
    uint32_t wait_ms = p->args->delivery_timeout_ms > 0 ? p->args->delivery_timeout_ms + 5000 : 40000;
    int rv = ok ? EXIT_OK : EXIT_FAILED;

    while (cairn_producer_flush(p->producer, 100, NULL) == CAIRN_ERR_TIMEOUT && wait_ms > 100) {
        progress_draw(&p->progress, p->bytes, p->records, p->acknowledged);
        wait_ms -= 100;
        if (cli_interrupted(p->cli)) {
            break;
        }
    }
    cairn_producer_close(p->producer, 0);
    progress_end(&p->progress);
    if (!ok) {
        fprintf(stderr, "cairn: %s\n", p->error.text);
        rv = p->error.code == CAIRN_ERR_LEADER_NOT_READY ? EXIT_UNREACHABLE : EXIT_FAILED;
    }
    summary(p);
    if (p->ack_log != NULL && fclose(p->ack_log) != 0) {
        fprintf(stderr, "cairn: write %s: %s\n", p->args->ack_log, strerror(errno));
        rv = EXIT_FAILED;
    }
    return p->acknowledged == p->records ? rv : EXIT_FAILED;
}

static int run_produce(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct produce_args a = {0};
    struct produce p = {.cli = cli, .args = &a};
    int64_t partition = CAIRN_PARTITION_ANY;
    int operands;
    bool ok;
    int rv = cli_parse(cli, command, argc, argv, &a, &operands);

    if (rv >= 0) {
        return rv;
    }
    if (a.topic == NULL) {
        return cli_usage(command, "which topic? --topic is missing");
    }
    if (a.partition != NULL && cli_number(command, "partition", a.partition, 0, INT32_MAX, &partition) != EXIT_OK) {
        return EXIT_USAGE;
    }
    p.partition = (int32_t)partition;
    p.delimiter_size = a.delimiter != NULL ? strlen(a.delimiter) : 0;
    rv = produce_open(&p, command);
    if (rv != EXIT_OK) {
        return rv;
    }
    p.begin_ns = clock_ns();
    progress_begin(&p.progress, cli, inputs_size(argc - operands, argv + operands), true);
    ok = inputs_send(&p, argc - operands, argv + operands);
    return produce_end(&p, ok);
}

const struct command command_produce = {
    .name = "produce",
    .summary = "Write a record for each line of files or standard input",
    .operands = "[FILE...]",
    .examples = "  echo hello | cairn produce --topic greetings\n"
                "  cairn produce --topic orders --key-delimiter : orders.txt\n"
                "  cairn produce --topic orders --compression zstd --ack-log acks.txt *.log\n"
                "\nEnds with 1 when any record was not acknowledged; `unknown' means it may be there.\n",
    .args = produce_table,
    .run = run_produce,
};
