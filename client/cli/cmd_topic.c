/* cairn topic create|list|describe|delete */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"

struct create_args {
    uint32_t partitions;
    uint32_t replication;
    struct arg_list configs;
    bool validate_only;
    bool if_missing;
};

static const struct arg create_table[] = {
    {"partitions", 'p', ARG_U32, offsetof(struct create_args, partitions), "N", "partitions (the cluster's default)"},
    {"replication", 'r', ARG_U32, offsetof(struct create_args, replication), "N",
     "replicas of each (the cluster's default)"},
    {"replicas", 0, ARG_U32, offsetof(struct create_args, replication), "N", "the same"},
    {"config", 'c', ARG_LIST, offsetof(struct create_args, configs), "NAME=VALUE",
     "a setting of the topic; may be repeated"},
    {"if-missing", 0, ARG_FLAG, offsetof(struct create_args, if_missing), NULL, "a topic that exists is no error"},
    {"validate-only", 0, ARG_FLAG, offsetof(struct create_args, validate_only), NULL, "check, create nothing"},
    {0},
};

static int configs_parse(const struct command *command, const struct arg_list *list, struct cairn_setting *settings,
                         char (*names)[64])
{
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');

        if (equals == NULL || (size_t)(equals - list->items[i]) >= sizeof names[0]) {
            return cli_usage(command, "--config: \"%s\" is not NAME=VALUE", list->items[i]);
        }
        snprintf(names[i], sizeof names[i], "%.*s", (int)(equals - list->items[i]), list->items[i]);
        settings[i] = (struct cairn_setting){.name = names[i], .value = equals + 1};
    }
    return EXIT_OK;
}

static int run_create(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct create_args a = {0};
    struct cairn_setting settings[ARG_LIST_MAX];
    char names[ARG_LIST_MAX][64];
    struct cairn_topic_spec spec = {.configs = settings};
    struct cairn_error error;
    int rv = cli_begin(cli, command, argc, argv, &a, "topic", &spec.name);

    if (rv >= 0) {
        return rv;
    }
    rv = configs_parse(command, &a.configs, settings, names);
    if (rv != EXIT_OK) {
        return rv;
    }
    spec.partitions = a.partitions;
    spec.replication = a.replication;
    spec.config_count = a.configs.count;
    spec.validate_only = a.validate_only;
    rv = cairn_admin_create_topic(cli->client, &spec, cli->timeout_ms, &error);
    if (rv != 0 && !(rv == CAIRN_ERR_TOPIC_EXISTS && a.if_missing)) {
        return cli_fail(&error);
    }
    if (cli->json) {
        printf("{\"topic\": \"%s\", \"created\": %s}\n", spec.name, rv == 0 && !a.validate_only ? "true" : "false");
    } else if (a.validate_only) {
        printf("Topic %s could be created.\n", spec.name);
    } else {
        printf(rv == 0 ? "Created topic %s.\n" : "Topic %s exists.\n", spec.name);
    }
    return EXIT_OK;
}

static void list_json(const struct cairn_topic_list *list)
{
    json_t *out = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const struct cairn_topic_info *t = &list->topics[i];
        char id[37];

        id_text(t->id, id);
        json_array_append_new(out,
                              json_pack("{s:s, s:s, s:I, s:I}", "name", t->name, "id", id, "partitions",
                                        (json_int_t)t->partition_count, "replication", (json_int_t)t->replication));
    }
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

static int run_list(struct cli *cli, const struct command *command, int argc, char **argv)
{
    static const char *const titles[] = {"TOPIC", "PARTITIONS", "REPLICATION"};
    struct cairn_topic_list *list;
    struct cairn_error error;
    struct table *t;
    int rv = cli_begin(cli, command, argc, argv, NULL, NULL, NULL);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_list_topics(cli->client, cli->timeout_ms, &list, &error) != 0) {
        return cli_fail(&error);
    }
    if (cli->json) {
        list_json(list);
    } else if (list->count == 0) {
        printf("No topics yet. Create one: cairn topic create NAME\n");
    } else {
        t = table_new(titles, "lrr");
        for (size_t i = 0; i < list->count; i++) {
            char cells[2][16];
            snprintf(cells[0], sizeof cells[0], "%u", list->topics[i].partition_count);
            snprintf(cells[1], sizeof cells[1], "%u", list->topics[i].replication);
            table_add(t, list->topics[i].name, cells[0], cells[1]);
        }
        table_print(t, cli);
        table_free(t);
    }
    cairn_topic_list_free(list);
    return EXIT_OK;
}

struct describe_args {
    bool offsets;
};

static const struct arg describe_table[] = {
    {"offsets", 'o', ARG_FLAG, offsetof(struct describe_args, offsets), NULL,
     "ask the leaders for first and end offset too"},
    {0},
};

static void replicas_text(const struct cairn_partition_info *p, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < p->replica_count && at < size; i++) {
        at += (size_t)snprintf(out + at, size - at, "%s%u", i > 0 ? "," : "", p->replicas[i]);
    }
}

static void describe_text(struct cli *cli, const struct cairn_topic_info *info, const struct cairn_offsets *offsets)
{
    static const char *const titles[] = {"PARTITION", "LEADER", "EPOCH", "REPLICAS", "PREFERRED", "FIRST", "END"};
    struct table *t = table_new(titles, offsets != NULL ? "rrrlrrr" : "rrrlr");
    char id[37];

    id_text(info->id, id);
    printf("Topic %s (%s): %u partitions, %u replicas each\n", info->name, id, info->partition_count,
           info->replication);
    for (size_t i = 0; i < info->config_count; i++) {
        printf("  %s=%s\n", info->configs[i].name, info->configs[i].value);
    }
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct cairn_partition_info *p = &info->partitions[i];
        char cells[6][32];
        char replicas[128];
        char none[128];

        snprintf(cells[0], sizeof cells[0], "%u", p->partition);
        snprintf(cells[1], sizeof cells[1], "%u", p->leader_node);
        snprintf(cells[2], sizeof cells[2], "%llu", (unsigned long long)p->leader_epoch);
        snprintf(cells[3], sizeof cells[3], "%u", p->preferred_node);
        replicas_text(p, replicas, sizeof replicas);
        if (offsets != NULL) {
            snprintf(cells[4], sizeof cells[4], "%lld", (long long)offsets[i].log_start);
            snprintf(cells[5], sizeof cells[5], "%lld", (long long)offsets[i].high_watermark);
        }
        table_add(t, cells[0], p->leader_node != 0 ? cells[1] : coloured(cli, COLOUR_BAD, "none", none), cells[2],
                  replicas, cells[3], cells[4], cells[5]);
    }
    table_print(t, cli);
    table_free(t);
}

static void describe_json(const struct cairn_topic_info *info, const struct cairn_offsets *offsets)
{
    json_t *partitions = json_array();
    json_t *configs = json_object();
    json_t *out;
    char id[37];

    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct cairn_partition_info *p = &info->partitions[i];
        json_t *replicas = json_array();
        json_t *item;

        for (size_t k = 0; k < p->replica_count; k++) {
            json_array_append_new(replicas, json_integer(p->replicas[k]));
        }
        item = json_pack("{s:I, s:I, s:I, s:o, s:I}", "partition", (json_int_t)p->partition, "leader",
                         (json_int_t)p->leader_node, "leader_epoch", (json_int_t)p->leader_epoch, "replicas", replicas,
                         "preferred", (json_int_t)p->preferred_node);
        if (offsets != NULL) {
            json_object_set_new(item, "log_start", json_integer(offsets[i].log_start));
            json_object_set_new(item, "high_watermark", json_integer(offsets[i].high_watermark));
        }
        json_array_append_new(partitions, item);
    }
    for (size_t i = 0; i < info->config_count; i++) {
        json_object_set_new(configs, info->configs[i].name, json_string(info->configs[i].value));
    }
    id_text(info->id, id);
    out = json_pack("{s:s, s:s, s:I, s:o, s:o}", "name", info->name, "id", id, "replication",
                    (json_int_t)info->replication, "configs", configs, "partitions", partitions);
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

static int run_describe(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct describe_args a = {0};
    struct cairn_topic_info *info;
    struct cairn_offsets *offsets = NULL;
    struct cairn_error error;
    const char *name = NULL;
    int rv = cli_begin(cli, command, argc, argv, &a, "topic", &name);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_describe_topic(cli->client, name, cli->timeout_ms, &info, &error) != 0) {
        return cli_fail(&error);
    }
    rv = EXIT_OK;
    if (a.offsets) {
        offsets = calloc(info->partition_count + 1, sizeof *offsets);
        for (uint32_t i = 0; offsets != NULL && i < info->partition_count && rv == EXIT_OK; i++) {
            if (cairn_admin_offsets(cli->client, name, (int32_t)i, cli->timeout_ms, &offsets[i], &error) != 0) {
                rv = cli_fail(&error);
            }
        }
    }
    if (rv == EXIT_OK && cli->json) {
        describe_json(info, offsets);
    } else if (rv == EXIT_OK) {
        describe_text(cli, info, offsets);
    }
    free(offsets);
    cairn_topic_info_free(info);
    return rv;
}

static int run_delete(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct cairn_error error;
    const char *name = NULL;
    int rv = cli_begin(cli, command, argc, argv, NULL, "topic", &name);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_delete_topic(cli->client, name, cli->timeout_ms, &error) != 0) {
        return cli_fail(&error);
    }
    if (cli->json) {
        printf("{\"topic\": \"%s\", \"deleted\": true}\n", name);
    } else {
        printf("Deleted topic %s.\n", name);
    }
    return EXIT_OK;
}

const struct command command_topic_create = {
    .name = "topic create",
    .summary = "Create a topic",
    .operands = "NAME",
    .examples = "  cairn topic create orders\n"
                "  cairn topic create orders --partitions 6 --replication 3 --config retention.ms=86400000\n",
    .args = create_table,
    .run = run_create,
};

const struct command command_topic_list = {
    .name = "topic list",
    .summary = "List the topics",
    .examples = "  cairn topic list\n  cairn topic list --json\n",
    .run = run_list,
};

const struct command command_topic_describe = {
    .name = "topic describe",
    .summary = "Show a topic's partitions, leaders and settings",
    .operands = "NAME",
    .examples = "  cairn topic describe orders\n  cairn topic describe orders --offsets --json\n",
    .args = describe_table,
    .run = run_describe,
};

const struct command command_topic_delete = {
    .name = "topic delete",
    .summary = "Delete a topic and all its records",
    .operands = "NAME",
    .examples = "  cairn topic delete orders\n",
    .run = run_delete,
};
