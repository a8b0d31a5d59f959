#include "node/control/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"

/* How many of the chosen stand in the rack of @node. */
static uint32_t rack_uses(const struct placement_node *nodes, uint32_t node, const uint32_t *chosen, uint32_t n_chosen)
{
    uint32_t uses = 0;
    if (nodes[node].rack[0] == '\0') {
        return 0;
    }
    for (uint32_t i = 0; i < n_chosen; i++) {
        uses += strcmp(nodes[chosen[i]].rack, nodes[node].rack) == 0;
    }
    return uses;
}

static bool is_chosen(const uint32_t *chosen, uint32_t n, uint32_t node)
{
    for (uint32_t i = 0; i < n; i++) {
        if (chosen[i] == node) {
            return true;
        }
    }
    return false;
}

/* Smaller is better: compared field by field. */
struct rank {
    uint32_t fields[4];
};

static bool better(const struct rank *a, const struct rank *b)
{
    for (size_t i = 0; i < 4; i++) {
        if (a->fields[i] != b->fields[i]) {
            return a->fields[i] < b->fields[i];
        }
    }
    return false;
}

static struct rank rank_of(const struct placement_node *nodes, uint32_t node, const uint32_t *chosen, uint32_t n_chosen)
{
    const struct placement_node *p = &nodes[node];
    if (n_chosen == 0) {
        return (struct rank){{!p->alive, p->leaders, p->replicas, 0}};
    }
    return (struct rank){{!p->alive, rack_uses(nodes, node, chosen, n_chosen), p->replicas, p->leaders}};
}

bool placement_choose(struct placement_node *nodes, uint32_t n, uint32_t replication, uint64_t salt,
                      uint32_t out[METADATA_REPLICAS_MAX])
{
    uint32_t chosen[METADATA_REPLICAS_MAX];
    uint32_t alive = 0;

    for (uint32_t i = 0; i < n; i++) {
        alive += nodes[i].alive;
    }
    if (replication == 0 || replication > METADATA_REPLICAS_MAX || replication > n || alive < replication / 2 + 1) {
        return false;
    }
    for (uint32_t r = 0; r < replication; r++) {
        uint32_t best = UINT32_MAX;
        struct rank best_rank = {{0}};
        for (uint32_t k = 0; k < n; k++) {
            uint32_t i = (uint32_t)((salt + k) % n); /* the first of equals wins: begin elsewhere each time */
            struct rank rank;
            if (is_chosen(chosen, r, i)) {
                continue;
            }
            rank = rank_of(nodes, i, chosen, r);
            if (best == UINT32_MAX || better(&rank, &best_rank)) {
                best = i;
                best_rank = rank;
            }
        }
        chosen[r] = best;
        nodes[best].replicas++;
        nodes[best].leaders += r == 0;
        out[r] = nodes[best].node;
    }
    return true;
}

/* ---- from the read model to a command ------------------------------------------------------------------------ */

static void count_replicas(const struct metadata_topic *t, struct placement_node *nodes, uint32_t n)
{
    for (uint32_t p = 0; p < t->n_partitions; p++) {
        for (uint32_t r = 0; r < t->partitions[p].n_replicas; r++) {
            for (uint32_t i = 0; i < n; i++) { /* few nodes: no index needed */
                if (nodes[i].node == t->partitions[p].replicas[r].node) {
                    nodes[i].replicas++;
                    nodes[i].leaders += nodes[i].node == t->partitions[p].preferred_node;
                    break;
                }
            }
        }
    }
}

static uint32_t gather(const struct control *c, struct placement_node nodes[METADATA_NODES_MAX])
{
    const struct metadata_fsm *m = c->metadata.fsm;
    uint32_t n = metadata_fsm_nodes(m);

    for (uint32_t i = 0; i < n; i++) {
        const struct metadata_node *node = metadata_fsm_node_at(m, i);
        nodes[i] =
            (struct placement_node){.node = node->node, .rack = node->rack, .alive = control_node_alive(c, node->node)};
    }
    list_for_each (pos, metadata_fsm_topics(m)) {
        count_replicas(list_entry(pos, struct metadata_topic, link), nodes, n);
    }
    if (metadata_fsm_coordinators(m) != NULL) {
        count_replicas(metadata_fsm_coordinators(m), nodes, n);
    }
    return n;
}

static Cairn__Command__MetadataCommand *command_new(struct control *c, const char *name, uint32_t partitions)
{
    Cairn__Command__MetadataCommand *command = calloc(1, sizeof *command);
    Cairn__Command__CreateTopic *create = calloc(1, sizeof *create);
    struct uuid id = uuid_from_random(env_random(c->env), env_random(c->env));

    if (command == NULL || create == NULL) {
        free(command);
        free(create);
        return NULL;
    }
    cairn__command__metadata_command__init(command);
    cairn__command__create_topic__init(create);
    command->kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_TOPIC;
    command->create_topic = create;
    create->name = strdup(name);
    create->topic_id.data = malloc(sizeof id.bytes);
    create->partitions = calloc(partitions, sizeof create->partitions[0]);
    if (create->name == NULL || create->topic_id.data == NULL || create->partitions == NULL) {
        cairn__command__metadata_command__free_unpacked(command, NULL);
        return NULL;
    }
    memcpy(create->topic_id.data, id.bytes, sizeof id.bytes);
    create->topic_id.len = sizeof id.bytes;
    return command;
}

static int add_partition(Cairn__Command__PartitionPlacement **placements, size_t *n_placements,
                         struct placement_node *nodes, uint32_t n, uint32_t replication, uint64_t salt)
{
    Cairn__Command__PartitionPlacement *placement = calloc(1, sizeof *placement);
    if (placement == NULL) {
        return ERR_NOMEM;
    }
    cairn__command__partition_placement__init(placement);
    placements[(*n_placements)++] = placement;
    placement->nodes = calloc(METADATA_REPLICAS_MAX, sizeof placement->nodes[0]);
    if (placement->nodes == NULL) {
        return ERR_NOMEM;
    }
    if (!placement_choose(nodes, n, replication, salt, placement->nodes)) {
        return ERR_INVALID_REPLICAS;
    }
    placement->n_nodes = replication;
    return 0;
}

static int check(const struct control *c, const char *name, uint32_t partitions, uint32_t replication, char *text)
{
    uint32_t n = metadata_fsm_nodes(c->metadata.fsm);
    uint32_t alive = 0;
    int rv = metadata_check_topic_name(name, text);

    if (rv != 0) {
        return rv;
    }
    if (metadata_fsm_topic_named(c->metadata.fsm, name) != NULL) {
        snprintf(text, ERRMSG_SIZE, "topic \"%s\" exists", name);
        return ERR_TOPIC_EXISTS;
    }
    if (partitions > METADATA_PARTITIONS_MAX) {
        snprintf(text, ERRMSG_SIZE, "%u partitions; allowed: 1 to %u", partitions, METADATA_PARTITIONS_MAX);
        return ERR_INVALID_PARTITIONS;
    }
    for (uint32_t i = 0; i < n; i++) {
        alive += control_node_alive(c, metadata_fsm_node_at(c->metadata.fsm, i)->node);
    }
    if (replication > METADATA_REPLICAS_MAX || replication > n) {
        snprintf(text, ERRMSG_SIZE, "%u replicas on %u nodes; allowed: 1 to %u", replication, n,
                 n < METADATA_REPLICAS_MAX ? n : METADATA_REPLICAS_MAX);
        return ERR_INVALID_REPLICAS;
    }
    if (alive < replication / 2 + 1) {
        snprintf(text, ERRMSG_SIZE, "%u replicas, but only %u of %u nodes are alive: no majority of them could start",
                 replication, alive, n);
        return ERR_INVALID_REPLICAS;
    }
    return 0;
}

int control_place_topic(struct control *c, const char *name, uint32_t partitions, uint32_t replication,
                        Cairn__Command__MetadataCommand **out, char *text)
{
    struct placement_node nodes[METADATA_NODES_MAX];
    Cairn__Command__MetadataCommand *command;
    uint64_t salt = env_random(c->env);
    uint32_t n;
    int rv;

    if (partitions == 0) {
        partitions = c->default_partitions > 0 ? c->default_partitions : 1;
    }
    if (replication == 0) {
        /* The default is meant for a whole cluster: a smaller one gets what it can hold. */
        n = metadata_fsm_nodes(c->metadata.fsm);
        replication = c->default_replication > 0 ? c->default_replication : 3;
        replication = replication > n && n > 0 ? n : replication;
    }
    rv = check(c, name, partitions, replication, text);
    if (rv != 0) {
        return rv;
    }
    command = command_new(c, name, partitions);
    if (command == NULL) {
        snprintf(text, ERRMSG_SIZE, "out of memory");
        return ERR_NOMEM;
    }
    n = gather(c, nodes);
    for (uint32_t i = 0; i < partitions; i++) {
        rv = add_partition(command->create_topic->partitions, &command->create_topic->n_partitions, nodes, n,
                           replication, salt + i);
        if (rv != 0) {
            snprintf(text, ERRMSG_SIZE, "place partition %u: %s", i, err_text(rv));
            cairn__command__metadata_command__free_unpacked(command, NULL);
            return rv;
        }
    }
    *out = command;
    return 0;
}

/* ---- more partitions ------------------------------------------------------------------------------------------ */

static int check_more(const struct control *c, const struct metadata_topic *t, uint32_t total, char *text)
{
    uint32_t alive = 0;
    uint32_t n = metadata_fsm_nodes(c->metadata.fsm);

    if (metadata_fsm_version(c->metadata.fsm) < 2) {
        snprintf(text, ERRMSG_SIZE, "not while nodes of an older version are part of the cluster");
        return ERR_VERSION;
    }
    if (total <= t->n_partitions || total > METADATA_PARTITIONS_MAX) {
        snprintf(text, ERRMSG_SIZE, "topic \"%s\" has %u partitions, %u are asked for; allowed: more than it has, up to %u",
                 t->name, t->n_partitions, total, METADATA_PARTITIONS_MAX);
        return ERR_INVALID_PARTITIONS;
    }
    for (uint32_t i = 0; i < n; i++) {
        alive += control_node_alive(c, metadata_fsm_node_at(c->metadata.fsm, i)->node);
    }
    if (t->replication > n || alive < t->replication / 2 + 1) {
        snprintf(text, ERRMSG_SIZE, "%u replicas, but only %u of %u nodes are alive: no majority of them could start",
                 t->replication, alive, n);
        return ERR_INVALID_REPLICAS;
    }
    return 0;
}

static Cairn__Command__MetadataCommand *more_new(const struct metadata_topic *t, uint32_t more)
{
    Cairn__Command__MetadataCommand *command = calloc(1, sizeof *command);
    Cairn__Command__CreatePartitions *create = calloc(1, sizeof *create);

    if (command == NULL || create == NULL) {
        free(command);
        free(create);
        return NULL;
    }
    cairn__command__metadata_command__init(command);
    cairn__command__create_partitions__init(create);
    command->kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_PARTITIONS;
    command->create_partitions = create;
    create->first = t->n_partitions;
    create->topic_id.data = malloc(sizeof t->id.bytes);
    create->partitions = calloc(more, sizeof create->partitions[0]);
    if (create->topic_id.data == NULL || create->partitions == NULL) {
        cairn__command__metadata_command__free_unpacked(command, NULL);
        return NULL;
    }
    memcpy(create->topic_id.data, t->id.bytes, sizeof t->id.bytes);
    create->topic_id.len = sizeof t->id.bytes;
    return command;
}

int control_place_partitions(struct control *c, const struct uuid *topic, uint32_t total,
                             Cairn__Command__MetadataCommand **out, char *text)
{
    const struct metadata_topic *t = metadata_fsm_topic(c->metadata.fsm, topic);
    struct placement_node nodes[METADATA_NODES_MAX];
    Cairn__Command__MetadataCommand *command;
    uint64_t salt = env_random(c->env);
    uint32_t n;
    int rv;

    if (t == NULL) {
        snprintf(text, ERRMSG_SIZE, "no topic has this id");
        return ERR_UNKNOWN_TOPIC;
    }
    rv = check_more(c, t, total, text);
    if (rv != 0) {
        return rv;
    }
    command = more_new(t, total - t->n_partitions);
    if (command == NULL) {
        snprintf(text, ERRMSG_SIZE, "out of memory");
        return ERR_NOMEM;
    }
    n = gather(c, nodes);
    for (uint32_t i = t->n_partitions; i < total; i++) {
        rv = add_partition(command->create_partitions->partitions, &command->create_partitions->n_partitions, nodes, n,
                           t->replication, salt + i);
        if (rv != 0) {
            snprintf(text, ERRMSG_SIZE, "place partition %u: %s", i, err_text(rv));
            cairn__command__metadata_command__free_unpacked(command, NULL);
            return rv;
        }
    }
    *out = command;
    return 0;
}

/* ---- coordinators -------------------------------------------------------------------------------------------- */

int control_place_coordinators(struct control *c, uint32_t count, Cairn__Command__MetadataCommand **out)
{
    struct placement_node nodes[METADATA_NODES_MAX];
    Cairn__Command__MetadataCommand *command = calloc(1, sizeof *command);
    Cairn__Command__CreateCoordinators *create = calloc(1, sizeof *create);
    uint64_t salt = env_random(c->env);
    uint32_t n = gather(c, nodes);
    uint32_t replication = n < CONTROL_COORDINATOR_REPLICAS ? n : CONTROL_COORDINATOR_REPLICAS;

    if (command == NULL || create == NULL) {
        free(command);
        free(create);
        return ERR_NOMEM;
    }
    cairn__command__metadata_command__init(command);
    cairn__command__create_coordinators__init(create);
    command->kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_COORDINATORS;
    command->create_coordinators = create;
    create->groups = calloc(count, sizeof create->groups[0]);
    for (uint32_t i = 0; i < count; i++) {
        int rv = create->groups == NULL
                     ? ERR_NOMEM
                     : add_partition(create->groups, &create->n_groups, nodes, n, replication, salt + i);
        if (rv != 0) {
            cairn__command__metadata_command__free_unpacked(command, NULL);
            return rv == ERR_NOMEM ? rv : ERR_LEADER_NOT_READY;
        }
    }
    *out = command;
    return 0;
}
