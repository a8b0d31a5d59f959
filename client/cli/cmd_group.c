/* cairn group list|describe|lag|delete */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"
#include "client/cli/group_print.h"

static void print_json(json_t *out)
{
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

/* ---- list -----------------------------------------------------------------------------------------------------------
 */

static void list_json(const struct cairn_group_list *list)
{
    json_t *out = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const struct cairn_group_info *g = &list->groups[i];
        json_array_append_new(out,
                              json_pack("{s:s, s:s, s:s, s:I}", "name", g->name, "state", g->state, "protocol_type",
                                        g->protocol_type, "coordinator", (json_int_t)g->coordinator_node));
    }
    print_json(out);
}

static void list_text(struct cli *cli, const struct cairn_group_list *list)
{
    static const char *const titles[] = {"GROUP", "STATE", "TYPE", "COORDINATOR"};
    struct table *t;

    if (list->count == 0) {
        printf("No consumer groups.\n");
        return;
    }
    t = table_new(titles, "lllr");
    for (size_t i = 0; i < list->count; i++) {
        const struct cairn_group_info *g = &list->groups[i];
        char node[16];

        snprintf(node, sizeof node, "%u", g->coordinator_node);
        table_add(t, g->name, g->state, g->protocol_type[0] != '\0' ? g->protocol_type : "-", node);
    }
    table_print(t, cli);
    table_free(t);
}

static int run_list(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct cairn_group_list *list;
    struct cairn_error error;
    int rv = cli_begin(cli, command, argc, argv, NULL, NULL, NULL);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_list_groups(cli->client, cli->timeout_ms, &list, &error) != 0) {
        return cli_fail(&error);
    }
    if (cli->json) {
        list_json(list);
    } else {
        list_text(cli, list);
    }
    if (list->nodes_silent > 0) {
        fprintf(stderr, "cairn: %zu node%s did not answer; groups may be missing\n", list->nodes_silent,
                list->nodes_silent == 1 ? "" : "s");
    }
    cairn_group_list_free(list);
    return EXIT_OK;
}

/* ---- describe
 * --------------------------------------------------------------------------------------------------------- */

static void describe_json(const struct cairn_group_description *d, const struct cairn_group_lag *lag)
{
    json_t *members = json_array();

    for (size_t i = 0; i < d->member_count; i++) {
        const struct cairn_group_member *m = &d->members[i];
        json_t *partitions = json_array();

        for (size_t k = 0; k < m->partition_count; k++) {
            json_array_append_new(partitions, json_pack("{s:s, s:I}", "topic", m->partitions[k].topic, "partition",
                                                        (json_int_t)m->partitions[k].partition));
        }
        json_array_append_new(members,
                              json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", m->id, "instance", m->instance, "client_id",
                                        m->client_id, "host", m->client_host, "partitions", partitions));
    }
    print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "name", d->name, "state", d->state,
                         "protocol_type", d->protocol_type, "assignor", d->protocol, "leader", d->leader, "generation",
                         (json_int_t)d->generation, "coordinator", (json_int_t)d->coordinator_node, "members", members,
                         "offsets", lag_json(lag)));
}

/* Whose a partition is; NULL: nobody's. */
static const struct cairn_group_member *owner_find(const struct cairn_group_description *d, const char *topic,
                                                   int32_t partition)
{
    for (size_t i = 0; i < d->member_count; i++) {
        for (size_t k = 0; k < d->members[i].partition_count; k++) {
            const struct cairn_topic_partition *p = &d->members[i].partitions[k];
            if (p->partition == partition && strcmp(p->topic, topic) == 0) {
                return &d->members[i];
            }
        }
    }
    return NULL;
}

static bool committed(const struct cairn_group_lag *lag, const struct cairn_topic_partition *p)
{
    for (size_t i = 0; i < lag->count; i++) {
        if (lag->partitions[i].partition == p->partition && strcmp(lag->partitions[i].topic, p->topic) == 0) {
            return true;
        }
    }
    return false;
}

static void describe_text(struct cli *cli, const struct cairn_group_description *d, const struct cairn_group_lag *lag)
{
    static const char *const titles[] = {"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "BEHIND", "CLIENT", "MEMBER"};
    struct table *t = table_new(titles, "lrrrrrll");

    printf("Group %s: %s, %zu member%s%s%s, generation %d, coordinator node %u\n", d->name, d->state, d->member_count,
           d->member_count == 1 ? "" : "s", d->protocol[0] != '\0' ? ", " : "", d->protocol, d->generation,
           d->coordinator_node);
    for (size_t i = 0; i < lag->count; i++) {
        const struct cairn_partition_lag *p = &lag->partitions[i];
        const struct cairn_group_member *m = owner_find(d, p->topic, p->partition);
        struct lag_cells cells;

        lag_cells_fill(p, &cells);
        table_add(t, p->topic, cells.partition, cells.committed, cells.end, cells.lag, cells.behind,
                  m != NULL ? m->client_id : "-", m != NULL ? m->id : "-");
    }
    for (size_t i = 0; i < d->member_count; i++) { /* owned, and nothing committed yet */
        const struct cairn_group_member *m = &d->members[i];

        for (size_t k = 0; k < m->partition_count; k++) {
            char number[16];
            if (!committed(lag, &m->partitions[k])) {
                snprintf(number, sizeof number, "%d", m->partitions[k].partition);
                table_add(t, m->partitions[k].topic, number, "-", "-", "-", "-", m->client_id, m->id);
            }
        }
    }
    table_print(t, cli);
    table_free(t);
}

static int run_describe(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct cairn_group_description *d = NULL;
    struct cairn_group_lag *lag = NULL;
    struct cairn_error error;
    const char *name = NULL;
    int rv = cli_begin(cli, command, argc, argv, NULL, "group", &name);

    if (rv >= 0) {
        return rv;
    }
    rv = EXIT_OK;
    if (cairn_admin_describe_group(cli->client, name, cli->timeout_ms, &d, &error) != 0 ||
        cairn_admin_group_lag(cli->client, name, cli->timeout_ms, &lag, &error) != 0) {
        rv = cli_fail(&error);
    } else if (cli->json) {
        describe_json(d, lag);
    } else {
        describe_text(cli, d, lag);
    }
    cairn_group_description_free(d);
    cairn_group_lag_free(lag);
    return rv;
}

/* ---- lag
 * -------------------------------------------------------------------------------------------------------------- */

static void lag_text(struct cli *cli, const struct cairn_group_lag *lag)
{
    static const char *const titles[] = {"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "BEHIND"};
    struct table *t = table_new(titles, "lrrrrr");
    int64_t total = 0;
    bool unknown = false;

    for (size_t i = 0; i < lag->count; i++) {
        struct lag_cells cells;

        lag_cells_fill(&lag->partitions[i], &cells);
        table_add(t, lag->partitions[i].topic, cells.partition, cells.committed, cells.end, cells.lag, cells.behind);
        unknown = unknown || lag->partitions[i].lag < 0;
        total += lag->partitions[i].lag > 0 ? lag->partitions[i].lag : 0;
    }
    table_print(t, cli);
    table_free(t);
    printf("%s%lld record%s behind\n", unknown ? "at least " : "", (long long)total, total == 1 ? "" : "s");
}

static int run_lag(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct cairn_group_lag *lag;
    struct cairn_error error;
    const char *name = NULL;
    int rv = cli_begin(cli, command, argc, argv, NULL, "group", &name);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_group_lag(cli->client, name, cli->timeout_ms, &lag, &error) != 0) {
        return cli_fail(&error);
    }
    if (cli->json) {
        print_json(json_pack("{s:s, s:o}", "name", lag->name, "offsets", lag_json(lag)));
    } else {
        lag_text(cli, lag);
    }
    cairn_group_lag_free(lag);
    return EXIT_OK;
}

/* ---- delete
 * ----------------------------------------------------------------------------------------------------------- */

static int run_delete(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct cairn_error error;
    const char *name = NULL;
    int rv = cli_begin(cli, command, argc, argv, NULL, "group", &name);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_delete_group(cli->client, name, cli->timeout_ms, &error) != 0) {
        return cli_fail(&error);
    }
    if (cli->json) {
        print_json(json_pack("{s:s, s:b}", "group", name, "deleted", 1));
    } else {
        printf("Deleted group %s.\n", name);
    }
    return EXIT_OK;
}

const struct command command_group_list = {
    .name = "group list",
    .summary = "List the consumer groups",
    .examples = "  cairn group list\n  cairn group list --json\n",
    .run = run_list,
};

const struct command command_group_describe = {
    .name = "group describe",
    .summary = "Show a group's members, what they read, and how far they are",
    .operands = "NAME",
    .examples = "  cairn group describe billing\n  cairn group describe billing --json\n"
                "\nBEHIND is the age of the first record that is not processed.\n",
    .run = run_describe,
};

const struct command command_group_lag = {
    .name = "group lag",
    .summary = "Show how far a group is behind, in records and in time",
    .operands = "NAME",
    .examples = "  cairn group lag billing\n  cairn group lag billing --json\n"
                "\nBEHIND is the age of the first record that is not processed.\n",
    .run = run_lag,
};

const struct command command_group_delete = {
    .name = "group delete",
    .summary = "Delete a group that has no members, with its offsets",
    .operands = "NAME",
    .examples = "  cairn group delete billing\n",
    .run = run_delete,
};
