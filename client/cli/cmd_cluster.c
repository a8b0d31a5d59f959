/* cairn cluster status */
#include <jansson.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"

static json_t *nodes_json(const struct cairn_cluster_status *s)
{
    json_t *nodes = json_array();

    for (size_t i = 0; i < s->node_count; i++) {
        const struct cairn_node_info *n = &s->nodes[i];
        json_array_append_new(nodes, json_pack("{s:I, s:s, s:s, s:b}", "node", (json_int_t)n->node, "address",
                                               n->address, "rack", n->rack, "alive", n->alive));
    }
    return nodes;
}

static json_t *shards_json(const struct cairn_cluster_status *s)
{
    json_t *shards = json_array();

    for (size_t i = 0; i < s->shard_count; i++) {
        const struct cairn_shard_status *h = &s->shards[i];
        json_array_append_new(shards,
                              json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "shard", (json_int_t)h->shard, "groups",
                                        (json_int_t)h->groups, "leading", (json_int_t)h->leading, "log_bytes",
                                        (json_int_t)h->log_bytes, "log_bytes_max", (json_int_t)h->log_bytes_max,
                                        "groups_damaged", (json_int_t)h->groups_damaged));
    }
    return shards;
}

static void status_json(const struct cairn_cluster_status *s)
{
    json_t *voters = json_array();
    json_t *out;
    char id[37];

    for (size_t i = 0; i < s->metadata_voter_count; i++) {
        json_array_append_new(voters, json_integer(s->metadata_voters[i]));
    }
    id_text(s->cluster_id, id);
    out = json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:o}", "cluster_id", id, "node",
                    (json_int_t)s->node, "node_version", s->node_version, "uptime_ms", (json_int_t)s->uptime_ms,
                    "metadata_leader", (json_int_t)s->metadata_leader_node, "metadata_term",
                    (json_int_t)s->metadata_term, "metadata_voters", voters, "nodes", nodes_json(s), "topics",
                    (json_int_t)s->topics, "partitions", (json_int_t)s->partitions, "partitions_without_leader",
                    (json_int_t)s->partitions_without_leader, "shards", shards_json(s));
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

static bool is_voter(const struct cairn_cluster_status *s, uint32_t node)
{
    for (size_t i = 0; i < s->metadata_voter_count; i++) {
        if (s->metadata_voters[i] == node) {
            return true;
        }
    }
    return false;
}

static void nodes_text(struct cli *cli, const struct cairn_cluster_status *s)
{
    static const char *const titles[] = {"NODE", "ADDRESS", "RACK", "STATE", "METADATA"};
    struct table *t = table_new(titles, "rllll");

    for (size_t i = 0; i < s->node_count; i++) {
        const struct cairn_node_info *n = &s->nodes[i];
        char number[16];
        char state[128];

        snprintf(number, sizeof number, "%u", n->node);
        table_add(t, number, n->address, n->rack[0] != '\0' ? n->rack : "-",
                  n->alive ? coloured(cli, COLOUR_GOOD, "alive", state) : coloured(cli, COLOUR_BAD, "DOWN", state),
                  n->node == s->metadata_leader_node ? "leader"
                  : is_voter(s, n->node)             ? "voter"
                                                     : "learner");
    }
    table_print(t, cli);
    table_free(t);
}

static void shards_text(struct cli *cli, const struct cairn_cluster_status *s)
{
    static const char *const titles[] = {"SHARD", "GROUPS", "LEADING", "LOG", "OF", "DAMAGED"};
    struct table *t = table_new(titles, "rrrrrr");

    for (size_t i = 0; i < s->shard_count; i++) {
        const struct cairn_shard_status *h = &s->shards[i];
        char cells[4][16];
        char bytes[2][HUMAN_SIZE];

        snprintf(cells[0], sizeof cells[0], "%u", h->shard);
        snprintf(cells[1], sizeof cells[1], "%u", h->groups);
        snprintf(cells[2], sizeof cells[2], "%u", h->leading);
        snprintf(cells[3], sizeof cells[3], "%u", h->groups_damaged);
        table_add(t, cells[0], cells[1], cells[2], human_bytes((double)h->log_bytes, bytes[0]),
                  h->log_bytes_max > 0 ? human_bytes((double)h->log_bytes_max, bytes[1]) : "-", cells[3]);
    }
    printf("\nShards of node %u (version %s):\n", s->node, s->node_version);
    table_print(t, cli);
    table_free(t);
}

static void status_text(struct cli *cli, const struct cairn_cluster_status *s)
{
    char id[37];
    char cell[128];
    char up[HUMAN_SIZE];

    id_text(s->cluster_id, id);
    printf("Cluster %s: %zu node%s, %u topic%s, %u partition%s", id, s->node_count, s->node_count == 1 ? "" : "s",
           s->topics, s->topics == 1 ? "" : "s", s->partitions, s->partitions == 1 ? "" : "s");
    if (s->partitions_without_leader > 0) {
        char text[64];
        snprintf(text, sizeof text, ", %u without a leader", s->partitions_without_leader);
        printf("%s", coloured(cli, COLOUR_BAD, text, cell));
    }
    if (s->metadata_leader_node == 0) {
        printf("\nThe metadata group has %s.", coloured(cli, COLOUR_BAD, "no leader that this node knows", cell));
    }
    printf("\nAs node %u sees it, up for %s.\n\n", s->node, human_time((double)s->uptime_ms / 1000, up));
    nodes_text(cli, s);
    if (s->shard_count > 0) {
        shards_text(cli, s);
    }
}

static int run_status(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct cairn_cluster_status *status;
    struct cairn_error error;
    int rv = cli_begin(cli, command, argc, argv, NULL, NULL, NULL);

    if (rv >= 0) {
        return rv;
    }
    if (cairn_admin_cluster_status(cli->client, cli->timeout_ms, &status, &error) != 0) {
        return cli_fail(&error);
    }
    if (cli->json) {
        status_json(status);
    } else {
        status_text(cli, status);
    }
    cairn_cluster_status_free(status);
    return EXIT_OK;
}

const struct command command_cluster_status = {
    .name = "cluster status",
    .summary = "Show the cluster's nodes, leaders and health",
    .examples = "  cairn cluster status\n"
                "  cairn cluster status --bootstrap node1:7400,node2:7400 --json\n",
    .run = run_status,
};
