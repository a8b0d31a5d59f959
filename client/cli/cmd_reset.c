/* cairn group reset-offsets: plan where a group goes on, and set it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"

struct reset_args {
    struct arg_list topics;
    bool all_topics;
    const char *to_offset;
    bool to_earliest;
    bool to_latest;
    const char *to_datetime;
    const char *by_duration;
    const char *shift_by;
    bool dry_run;
    bool execute;
};

static const struct arg reset_table[] = {
    {"topic", 't', ARG_LIST, offsetof(struct reset_args, topics), "NAME[:N,N..]",
     "a topic, or some of its partitions; may be repeated"},
    {"all-topics", 0, ARG_FLAG, offsetof(struct reset_args, all_topics), NULL, "all that the group has committed of"},
    {"to-offset", 0, ARG_TEXT, offsetof(struct reset_args, to_offset), "N", "this offset"},
    {"to-earliest", 0, ARG_FLAG, offsetof(struct reset_args, to_earliest), NULL, "the first record that is there"},
    {"to-latest", 0, ARG_FLAG, offsetof(struct reset_args, to_latest), NULL, "the end"},
    {"to-datetime", 0, ARG_TEXT, offsetof(struct reset_args, to_datetime), "TIME",
     "the first record from then on: 2026-01-31T12:00:00[.000][Z|+01:00]; without a zone: UTC"},
    {"by-duration", 0, ARG_TEXT, offsetof(struct reset_args, by_duration), "TIME",
     "the first record of the last TIME: 90s, 15m, 12h, 7d"},
    {"shift-by", 0, ARG_TEXT, offsetof(struct reset_args, shift_by), "N", "N records on, or back (negative)"},
    {"dry-run", 0, ARG_FLAG, offsetof(struct reset_args, dry_run), NULL, "show the plan, change nothing (the default)"},
    {"execute", 0, ARG_FLAG, offsetof(struct reset_args, execute), NULL,
     "set the offsets; the group must have no members"},
    {0},
};

enum reset_kind { TO_NOTHING, TO_OFFSET, TO_EARLIEST, TO_LATEST, TO_TIME, SHIFT_BY };

struct plan_item {
    char *topic;
    int32_t partition;
    int64_t before; /* -1: nothing committed */
    int64_t after;
};

struct reset {
    struct cli *cli;
    const struct command *command;
    struct reset_args args;
    const char *group;
    enum reset_kind kind;
    int64_t number; /* offset, shift, or time in ms */
    struct plan_item *items;
    size_t count;
    struct cairn_error error;
};

/* "2026-01-31T12:00:00.000+01:00" as ms since 1970. */
static bool datetime_parse(const char *text, int64_t *ms)
{
    struct tm tm = {0};
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t millis = 0;
    int hours;
    int minutes;
    int n = 0;

    if (at == NULL) {
        at = strptime(text, "%Y-%m-%d", &tm);
    }
    if (at == NULL) {
        return false;
    }
    if (*at == '.') {
        int64_t scale = 100;
        for (at++; *at >= '0' && *at <= '9'; at++) {
            millis += (*at - '0') * scale;
            scale /= 10;
        }
    }
    *ms = (int64_t)timegm(&tm) * 1000 + millis;
    if (*at == 'Z') {
        at++;
    } else if ((*at == '+' || *at == '-') && sscanf(at + 1, "%2d:%2d%n", &hours, &minutes, &n) == 2) {
        *ms -= (*at == '-' ? -1 : 1) * (int64_t)(hours * 60 + minutes) * 60000;
        at += 1 + n;
    }
    return *at == '\0' && *ms >= 0;
}

/* "90s", "15m", "12h", "7d" in ms. */
static bool duration_parse(const char *text, int64_t *ms)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    int64_t unit = *end == '\0' || strcmp(end, "s") == 0 ? 1000
                   : strcmp(end, "m") == 0               ? 60000
                   : strcmp(end, "h") == 0               ? 3600000
                   : strcmp(end, "d") == 0               ? 86400000
                                                         : 0;

    *ms = n * unit;
    return end != text && unit != 0 && n >= 0 && n <= 1000000;
}

static int kind_parse(struct reset *r)
{
    const struct reset_args *a = &r->args;
    int chosen = (a->to_offset != NULL) + a->to_earliest + a->to_latest + (a->to_datetime != NULL) +
                 (a->by_duration != NULL) + (a->shift_by != NULL);

    if (chosen != 1) {
        return cli_usage(r->command, "where to? one of --to-offset, --to-earliest, --to-latest, --to-datetime, "
                                     "--by-duration and --shift-by is needed");
    }
    if (a->dry_run && a->execute) {
        return cli_usage(r->command, "--dry-run and --execute exclude each other");
    }
    if (a->all_topics == (a->topics.count > 0)) {
        return cli_usage(r->command, "which topics? --topic or --all-topics is needed");
    }
    r->kind = a->to_earliest ? TO_EARLIEST : a->to_latest ? TO_LATEST : TO_TIME;
    if (a->to_offset != NULL) {
        r->kind = TO_OFFSET;
        return cli_number(r->command, "to-offset", a->to_offset, 0, INT64_MAX, &r->number);
    }
    if (a->shift_by != NULL) {
        r->kind = SHIFT_BY;
        return cli_number(r->command, "shift-by", a->shift_by, -INT64_MAX / 2, INT64_MAX / 2, &r->number);
    }
    if (a->to_datetime != NULL && !datetime_parse(a->to_datetime, &r->number)) {
        return cli_usage(r->command, "--to-datetime: \"%s\" is not a time like 2026-01-31T12:00:00Z", a->to_datetime);
    }
    if (a->by_duration != NULL) {
        if (!duration_parse(a->by_duration, &r->number)) {
            return cli_usage(r->command, "--by-duration: \"%s\" is not a duration like 90s, 15m, 12h or 7d",
                             a->by_duration);
        }
        r->number = wall_clock_ms() - r->number;
    }
    return EXIT_OK;
}

static bool item_add(struct reset *r, const char *topic, int32_t partition)
{
    struct plan_item *items;

    for (size_t i = 0; i < r->count; i++) {
        if (r->items[i].partition == partition && strcmp(r->items[i].topic, topic) == 0) {
            return true;
        }
    }
    items = realloc(r->items, (r->count + 1) * sizeof *items);
    if (items == NULL) {
        return false;
    }
    r->items = items;
    items[r->count] = (struct plan_item){.topic = strdup(topic), .partition = partition, .before = -1};
    return items[r->count++].topic != NULL;
}

/* "orders" or "orders:0,3". */
static int topic_add(struct reset *r, const char *text)
{
    const char *colon = strchr(text, ':');
    char name[256];
    struct cairn_topic_info *info;
    int rv = EXIT_OK;

    snprintf(name, sizeof name, "%.*s", (int)(colon != NULL ? (size_t)(colon - text) : strlen(text)), text);
    if (cairn_admin_describe_topic(r->cli->client, name, r->cli->timeout_ms, &info, &r->error) != 0) {
        return cli_fail(&r->error);
    }
    for (uint32_t i = 0; colon == NULL && i < info->partition_count; i++) {
        rv = item_add(r, name, (int32_t)i) ? rv : EXIT_FAILED;
    }
    while (colon != NULL && rv == EXIT_OK) {
        const char *at = colon + 1;
        char number[16];
        int64_t n;

        colon = strchr(at, ',');
        snprintf(number, sizeof number, "%.*s", (int)(colon != NULL ? (size_t)(colon - at) : strlen(at)), at);
        rv = cli_number(r->command, "topic", number, 0, (int64_t)info->partition_count - 1, &n);
        if (rv == EXIT_OK && !item_add(r, name, (int32_t)n)) {
            rv = EXIT_FAILED;
        }
    }
    cairn_topic_info_free(info);
    return rv;
}

/* What is asked for, with what is committed now. A group that is not there yet can be given offsets. */
static int items_collect(struct reset *r)
{
    struct cairn_group_offsets *now;
    int rv = EXIT_OK;

    if (cairn_admin_group_offsets(r->cli->client, r->group, r->cli->timeout_ms, &now, &r->error) != 0) {
        return cli_fail(&r->error);
    }
    for (size_t i = 0; i < r->args.topics.count && rv == EXIT_OK; i++) {
        rv = topic_add(r, r->args.topics.items[i]);
    }
    for (size_t i = 0; i < now->count && rv == EXIT_OK; i++) {
        const struct cairn_topic_partition *p = &now->partitions[i];

        if (r->args.all_topics && !item_add(r, p->topic, p->partition)) {
            rv = EXIT_FAILED;
        }
        for (size_t k = 0; k < r->count; k++) {
            if (r->items[k].partition == p->partition && strcmp(r->items[k].topic, p->topic) == 0) {
                r->items[k].before = p->offset;
            }
        }
    }
    cairn_group_offsets_free(now);
    return rv;
}

/* Always an offset that is there, or the end. */
static int item_plan(struct reset *r, struct plan_item *item)
{
    struct cairn_client *client = r->cli->client;
    struct cairn_offsets there;
    int64_t to = r->number;

    if (cairn_admin_offsets(client, item->topic, item->partition, r->cli->timeout_ms, &there, &r->error) != 0) {
        return cli_fail(&r->error);
    }
    if (r->kind == TO_TIME && cairn_admin_offset_at(client, item->topic, item->partition, r->number, r->cli->timeout_ms,
                                                    &to, &r->error) != 0) {
        return cli_fail(&r->error);
    }
    if (r->kind == TO_LATEST || (r->kind == TO_TIME && to < 0)) {
        to = there.high_watermark;
    } else if (r->kind == TO_EARLIEST) {
        to = there.log_start;
    } else if (r->kind == SHIFT_BY) {
        to = (item->before >= 0 ? item->before : there.log_start) + r->number;
    }
    to = to < there.log_start ? there.log_start : to;
    item->after = to > there.high_watermark ? there.high_watermark : to;
    return EXIT_OK;
}

static void plan_print(const struct reset *r)
{
    static const char *const titles[] = {"TOPIC", "PARTITION", "COMMITTED", "NEW"};
    struct table *t = table_new(titles, "lrrr");

    for (size_t i = 0; i < r->count; i++) {
        const struct plan_item *item = &r->items[i];
        char cells[3][24];

        snprintf(cells[0], sizeof cells[0], "%d", item->partition);
        snprintf(cells[1], sizeof cells[1], item->before < 0 ? "-" : "%lld", (long long)item->before);
        snprintf(cells[2], sizeof cells[2], "%lld", (long long)item->after);
        table_add(t, item->topic, cells[0], cells[1], cells[2]);
    }
    table_print(t, r->cli);
    table_free(t);
    printf(r->args.execute ? "Offsets of group %s are set.\n"
                           : "Nothing is changed yet: add --execute to set the offsets of group %s.\n",
           r->group);
}

static void plan_json(const struct reset *r)
{
    json_t *offsets = json_array();
    json_t *out;

    for (size_t i = 0; i < r->count; i++) {
        const struct plan_item *item = &r->items[i];
        json_array_append_new(offsets, json_pack("{s:s, s:I, s:o, s:I}", "topic", item->topic, "partition",
                                                 (json_int_t)item->partition, "committed",
                                                 item->before < 0 ? json_null() : json_integer(item->before), "new",
                                                 (json_int_t)item->after));
    }
    out = json_pack("{s:s, s:b, s:o}", "group", r->group, "executed", r->args.execute, "offsets", offsets);
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

static int plan_execute(struct reset *r)
{
    struct cairn_topic_partition *offsets = calloc(r->count + 1, sizeof *offsets);
    int rv = EXIT_FAILED;

    for (size_t i = 0; offsets != NULL && i < r->count; i++) {
        offsets[i] = (struct cairn_topic_partition){
            .topic = r->items[i].topic, .partition = r->items[i].partition, .offset = r->items[i].after};
    }
    if (offsets != NULL) {
        rv = cairn_admin_commit_group(r->cli->client, r->group, offsets, r->count, r->cli->timeout_ms, &r->error) == 0
                 ? EXIT_OK
                 : cli_fail(&r->error);
        if (r->error.code == CAIRN_ERR_UNKNOWN_MEMBER && rv != EXIT_OK) {
            fprintf(stderr, "  The group has members: stop them, then try again.\n");
        }
    }
    free(offsets);
    return rv;
}

static int run_reset(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct reset r = {.cli = cli, .command = command};
    int rv = cli_begin(cli, command, argc, argv, &r.args, "group", &r.group);

    if (rv >= 0) {
        return rv;
    }
    rv = kind_parse(&r);
    rv = rv == EXIT_OK ? items_collect(&r) : rv;
    for (size_t i = 0; i < r.count && rv == EXIT_OK; i++) {
        rv = item_plan(&r, &r.items[i]);
    }
    if (rv == EXIT_OK && r.args.execute && r.count > 0) {
        rv = plan_execute(&r);
    }
    if (rv == EXIT_OK && cli->json) {
        plan_json(&r);
    } else if (rv == EXIT_OK) {
        plan_print(&r);
    }
    for (size_t i = 0; i < r.count; i++) {
        free(r.items[i].topic);
    }
    free(r.items);
    return rv;
}

const struct command command_group_reset_offsets = {
    .name = "group reset-offsets",
    .summary = "Set where a group without members goes on",
    .operands = "NAME",
    .examples =
        "  cairn group reset-offsets billing --topic orders --to-earliest\n"
        "  cairn group reset-offsets billing --topic orders:0,3 --to-offset 1000 --execute\n"
        "  cairn group reset-offsets billing --all-topics --by-duration 12h --execute\n"
        "  cairn group reset-offsets billing --all-topics --to-datetime 2026-01-31T12:00:00Z\n"
        "  cairn group reset-offsets billing --topic orders --shift-by -100\n"
        "\nWithout --execute the plan is shown and nothing is changed. Offsets outside of what is there become\n"
        "the first, or the end.\n",
    .args = reset_table,
    .run = run_reset,
};
