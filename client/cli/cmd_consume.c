/* cairn consume: print the records of a topic. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"
#include "client/cli/record_print.h"

#define POLL_MS 200

struct consume_args {
    const char *topic;
    const char *from;
    const char *group;
    struct arg_list partitions;
    bool follow;
    uint64_t count;
    const char *format;
    struct arg_list options;
};

static const struct arg consume_table[] = {
    {"topic", 't', ARG_TEXT, offsetof(struct consume_args, topic), "NAME", "what to read (required)"},
    {"from", 0, ARG_TEXT, offsetof(struct consume_args, from), "earliest|latest|OFFSET",
     "where to begin (earliest; with --follow: latest)"},
    {"partition", 'p', ARG_LIST, offsetof(struct consume_args, partitions), "N",
     "only this one; may be repeated (all)"},
    {"follow", 'f', ARG_FLAG, offsetof(struct consume_args, follow), NULL,
     "go on with what is written (else end at today's end; with --group: when there is nothing more to read)"},
    {"group", 'g', ARG_TEXT, offsetof(struct consume_args, group), "NAME",
     "as a member of this consumer group: goes on from what it has committed, and commits"},
    {"count", 'n', ARG_U64, offsetof(struct consume_args, count), "N", "end after so many records"},
    {"format", 'F', ARG_TEXT, offsetof(struct consume_args, format), "TEXT",
     "%k key %v value %o offset %p partition %t time-ms %T topic %s size %h headers %% \\n \\t (%v\\n)"},
    {"option", 'X', ARG_LIST, offsetof(struct consume_args, options), "NAME=VALUE",
     "any consumer option of <cairn/options.h>"},
    {0},
};

struct consume {
    struct cli *cli;
    const struct consume_args *args;
    struct cairn_consumer *consumer;
    uint32_t partition_count;
    struct cairn_topic_partition *assigned; /* by the group; room for all */
    int64_t *ends;                          /* of each partition: where to end; -1: not read */
    uint64_t records;
    struct cairn_error error;
};

static int parse_from(const struct consume_args *a, const struct command *command, int64_t *from)
{
    if (a->from == NULL) {
        *from = a->follow && a->group == NULL ? CAIRN_OFFSET_LATEST : CAIRN_OFFSET_EARLIEST;
    } else if (strcmp(a->from, "earliest") == 0) {
        *from = CAIRN_OFFSET_EARLIEST;
    } else if (strcmp(a->from, "latest") == 0) {
        *from = CAIRN_OFFSET_LATEST;
    } else if (a->group != NULL || a->from[0] < '0' || a->from[0] > '9') {
        return cli_usage(command, "--from: \"%s\" is not allowed, only earliest, latest%s", a->from,
                         a->group == NULL ? " or an offset" : ": a group begins at what it has committed");
    } else {
        return cli_number(command, "from", a->from, 0, INT64_MAX, from);
    }
    return EXIT_OK;
}

static bool partition_wanted(const struct consume_args *a, uint32_t partition)
{
    for (size_t i = 0; i < a->partitions.count; i++) {
        if (strtoul(a->partitions.items[i], NULL, 10) == partition) {
            return true;
        }
    }
    return a->partitions.count == 0;
}

static int partitions_check(const struct consume *c, const struct command *command)
{
    const struct arg_list *list = &c->args->partitions;
    int64_t n;

    if (c->args->group != NULL && list->count > 0) {
        return cli_usage(command, "--partition: with --group, the group deals partitions out");
    }
    for (size_t i = 0; i < list->count; i++) {
        if (cli_number(command, "partition", list->items[i], 0, (int64_t)c->partition_count - 1, &n) != EXIT_OK) {
            return EXIT_USAGE;
        }
    }
    return EXIT_OK;
}

/* Assign what is wanted, and note where each ends. */
static int consume_assign(struct consume *c, int64_t from)
{
    const char *topic = c->args->topic;

    c->ends = malloc((c->partition_count + 1) * sizeof *c->ends);
    for (uint32_t i = 0; c->ends != NULL && i < c->partition_count; i++) {
        struct cairn_offsets offsets;
        int64_t begin = from;

        c->ends[i] = -1;
        if (!partition_wanted(c->args, i)) {
            continue;
        }
        if (!c->args->follow) {
            if (cairn_admin_offsets(c->cli->client, topic, (int32_t)i, c->cli->timeout_ms, &offsets, &c->error) != 0) {
                return cli_fail(&c->error);
            }
            begin = from == CAIRN_OFFSET_EARLIEST ? offsets.log_start
                    : from == CAIRN_OFFSET_LATEST ? offsets.high_watermark
                                                  : from;
            if (begin >= offsets.high_watermark) {
                continue; /* nothing there */
            }
            c->ends[i] = offsets.high_watermark;
        }
        if (cairn_consumer_assign(c->consumer, topic, (int32_t)i, begin, &c->error) != 0) {
            return cli_fail(&c->error);
        }
    }
    return c->ends != NULL ? EXIT_OK : EXIT_FAILED;
}

/* All that the group has given us is read to the end. */
static bool group_done(struct consume *c)
{
    size_t count;

    cairn_consumer_assignment(c->consumer, c->assigned, c->partition_count, &count);
    for (size_t i = 0; i < count && i < c->partition_count; i++) {
        const struct cairn_topic_partition *p = &c->assigned[i];
        int64_t end;

        if (cairn_consumer_high_watermark(c->consumer, p->topic, p->partition, &end) != 0 || end < 0 ||
            p->offset < end) {
            return false;
        }
    }
    return count > 0;
}

/* Every partition was read to where it ended. */
static bool consume_done(struct consume *c)
{
    int64_t position;

    if (c->args->count > 0 && c->records >= c->args->count) {
        return true;
    }
    if (c->args->follow) {
        return false;
    }
    if (c->args->group != NULL) {
        return group_done(c);
    }
    for (uint32_t i = 0; i < c->partition_count; i++) {
        if (c->ends[i] >= 0 && (cairn_consumer_position(c->consumer, c->args->topic, (int32_t)i, &position) != 0 ||
                                position < c->ends[i])) {
            return false;
        }
    }
    return true;
}

/* Print what one poll gave. False: standard output takes no more. */
static bool records_print(struct consume *c, struct cairn_records *records)
{
    const char *format = c->args->format != NULL ? c->args->format : "%v\\n";
    int32_t partition = cairn_records_partition(records);
    struct cairn_record record;
    int64_t first = -1;

    while ((c->args->count == 0 || c->records < c->args->count) && cairn_records_next(records, &record)) {
        if (c->ends != NULL && !c->args->follow && record.offset >= c->ends[partition]) {
            continue; /* came after the end that we saw */
        }
        first = first < 0 ? record.offset : first;
        c->records++;
        if (c->cli->json) {
            record_print_json(stdout, c->args->topic, partition, &record);
        } else {
            record_print(stdout, format, c->args->topic, partition, &record);
        }
        if (ferror(stdout)) {
            break;
        }
    }
    if (c->args->follow || c->args->group != NULL) {
        fflush(stdout); /* what the next poll commits must be out */
    }
    if (ferror(stdout) && c->args->group != NULL && first >= 0) {
        (void)cairn_consumer_seek(c->consumer, c->args->topic, partition, first, NULL); /* that was not processed */
    }
    return !ferror(stdout);
}

static int consume_loop(struct consume *c)
{
    uint64_t quiet_ns = clock_ns();

    while (!consume_done(c) && !cli_interrupted(c->cli)) {
        struct cairn_records *records;

        if (cairn_consumer_poll(c->consumer, POLL_MS, &records, &c->error) != 0) {
            return cli_fail(&c->error);
        }
        if (records == NULL) {
            fflush(stdout);
            if (!c->args->follow && clock_ns() - quiet_ns > c->cli->timeout_ms * 1000000ull) {
                fprintf(stderr, "cairn: %s in %u ms\n",
                        c->args->group != NULL ? "the group gave no partition to read" : "no answer",
                        c->cli->timeout_ms);
                return EXIT_UNREACHABLE;
            }
            continue;
        }
        quiet_ns = clock_ns();
        if (!records_print(c, records)) {
            return EXIT_OK; /* the reader left */
        }
    }
    return EXIT_OK;
}

/* What begins where: by hand, or through a group. */
static int consume_begin(struct consume *c, const struct command *command, int64_t from)
{
    struct cairn_options *options = cairn_options_new();
    int rv = cli_options(command, &c->args->options, options);

    if (c->args->group != NULL) {
        (void)cairn_options_set(options, "group_id", c->args->group);
        (void)cairn_options_set(options, "from_offset", from == CAIRN_OFFSET_LATEST ? "latest" : "earliest");
        c->assigned = calloc((size_t)c->partition_count + 1, sizeof *c->assigned);
        rv = c->assigned == NULL ? EXIT_FAILED : rv;
    }
    if (rv == EXIT_OK && cairn_consumer_open(c->cli->client, options, &c->consumer, &c->error) != 0) {
        rv = cli_fail(&c->error);
    }
    cairn_options_free(options);
    if (rv == EXIT_OK && c->args->group == NULL) {
        return consume_assign(c, from);
    }
    if (rv == EXIT_OK && cairn_consumer_subscribe(c->consumer, &c->args->topic, 1, &c->error) != 0) {
        rv = cli_fail(&c->error);
    }
    return rv;
}

static int run_consume(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct consume_args a = {0};
    struct consume c = {.cli = cli, .args = &a};
    struct cairn_topic_info *info;
    int64_t from;
    int operands;
    int rv = cli_parse(cli, command, argc, argv, &a, &operands);

    if (rv >= 0) {
        return rv;
    }
    if (a.topic == NULL) {
        return cli_usage(command, "which topic? --topic is missing");
    }
    rv = parse_from(&a, command, &from);
    rv = rv == EXIT_OK ? cli_open(cli) : rv;
    if (rv != EXIT_OK) {
        return rv;
    }
    if (cairn_admin_describe_topic(cli->client, a.topic, cli->timeout_ms, &info, &c.error) != 0) {
        return cli_fail(&c.error);
    }
    c.partition_count = info->partition_count;
    cairn_topic_info_free(info);
    setvbuf(stdout, NULL, _IOFBF, 1u << 20);
    rv = partitions_check(&c, command);
    rv = rv == EXIT_OK ? consume_begin(&c, command, from) : rv;
    rv = rv == EXIT_OK ? consume_loop(&c) : rv;
    fflush(stdout); /* before it is committed */
    cairn_consumer_close(c.consumer);
    free(c.assigned);
    free(c.ends);
    return rv;
}

const struct command command_consume = {
    .name = "consume",
    .summary = "Print the records of a topic",
    .examples = "  cairn consume --topic orders\n"
                "  cairn consume --topic orders --follow --format '%p/%o %k=%v\\n'\n"
                "  cairn consume --topic orders --group billing --follow\n"
                "  cairn consume --topic orders --partition 2 --from 1000 --count 10 --json\n",
    .args = consume_table,
    .run = run_consume,
};
