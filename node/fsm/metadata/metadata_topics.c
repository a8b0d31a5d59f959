/* Topics, their partitions and groups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/metadata_state.h"

void metadata_topic_free(struct topic_item *item)
{
    for (uint32_t i = 0; i < item->topic.n_configs; i++) {
        free(item->topic.configs[i].key);
        free(item->topic.configs[i].value);
    }
    free(item->topic.partitions);
    free(item);
}

const struct metadata_topic *metadata_fsm_topic(const struct metadata_fsm *m, const struct uuid *id)
{
    struct topic_item *item;
    HASH_FIND(by_id, m->topics_by_id, id, sizeof *id, item);
    return item == NULL ? NULL : &item->topic;
}

const struct metadata_topic *metadata_fsm_topic_named(const struct metadata_fsm *m, const char *name)
{
    struct topic_item *item;
    HASH_FIND(by_name, m->topics_by_name, name, strlen(name), item);
    return item == NULL ? NULL : &item->topic;
}

const struct metadata_partition *metadata_topic_partition(const struct metadata_topic *t, int64_t partition)
{
    return t == NULL || partition < 0 || partition >= t->n_partitions ? NULL : &t->partitions[partition];
}

const struct list *metadata_fsm_topics(const struct metadata_fsm *m)
{
    return &m->topics;
}

uint32_t metadata_fsm_topic_count(const struct metadata_fsm *m)
{
    return (uint32_t)HASH_CNT(by_id, m->topics_by_id);
}

uint32_t metadata_fsm_partition_count(const struct metadata_fsm *m)
{
    return m->n_partitions;
}

static struct group_item *find_group(const struct metadata_fsm *m, uint64_t group)
{
    struct group_item *item;
    HASH_FIND(hh, m->groups, &group, sizeof group, item);
    return item;
}

const struct metadata_partition *metadata_fsm_partition_of_group(const struct metadata_fsm *m, uint64_t group)
{
    struct group_item *item = find_group(m, group);
    return item == NULL ? NULL : item->partition;
}

bool metadata_fsm_group_deleted(const struct metadata_fsm *m, uint64_t group)
{
    struct group_item *item = find_group(m, group);
    return item != NULL && item->partition == NULL;
}

bool metadata_fsm_topic_deleted(const struct metadata_fsm *m, const struct uuid *id)
{
    struct deleted_topic *del;
    HASH_FIND(hh, m->deleted, id, sizeof *id, del);
    return del != NULL;
}

uint32_t metadata_fsm_deleted_topics(const struct metadata_fsm *m)
{
    return (uint32_t)HASH_COUNT(m->deleted);
}

/* ---- create ---------------------------------------------------------------------------------------------------- */

static bool placement_fits(const struct metadata_fsm *m, const Cairn__Command__PartitionPlacement *p, size_t n,
                           struct metadata_reply *reply)
{
    if (p->n_nodes != n) {
        metadata_refuse(reply, ERR_INVALID_REPLICAS, "all partitions of a topic have the same number of replicas");
        return false;
    }
    for (size_t i = 0; i < p->n_nodes; i++) {
        if (metadata_find_node(m, p->nodes[i]) == NULL) {
            metadata_refuse(reply, ERR_INVALID_REPLICAS, "node %u is not part of the cluster", p->nodes[i]);
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (p->nodes[i] == p->nodes[j]) {
                metadata_refuse(reply, ERR_INVALID_REPLICAS, "two replicas of a partition on node %u", p->nodes[i]);
                return false;
            }
        }
    }
    return true;
}

static bool create_fits(const struct metadata_fsm *m, const Cairn__Command__CreateTopic *c, struct uuid *id,
                        struct metadata_reply *reply)
{
    int rv = metadata_check_topic_name(c->name, reply->text);
    if (rv != 0) {
        reply->error = rv;
        return false;
    }
    if (metadata_fsm_topic_named(m, c->name) != NULL) {
        metadata_refuse(reply, ERR_TOPIC_EXISTS, "topic \"%s\" exists", c->name);
        return false;
    }
    if (!metadata_uuid(&c->topic_id, id) || metadata_fsm_topic(m, id) != NULL) {
        metadata_refuse(reply, ERR_INVALID, "a topic needs an id of its own");
        return false;
    }
    if (metadata_fsm_topic_count(m) >= METADATA_TOPICS_MAX) {
        metadata_refuse(reply, ERR_BUSY, "the cluster has %u topics, its limit", METADATA_TOPICS_MAX);
        return false;
    }
    if (c->n_partitions == 0 || c->n_partitions > METADATA_PARTITIONS_MAX) {
        metadata_refuse(reply, ERR_INVALID_PARTITIONS, "a topic has 1 to %u partitions", METADATA_PARTITIONS_MAX);
        return false;
    }
    if (c->partitions[0]->n_nodes == 0 || c->partitions[0]->n_nodes > METADATA_REPLICAS_MAX) {
        metadata_refuse(reply, ERR_INVALID_REPLICAS, "a partition has 1 to %d replicas", METADATA_REPLICAS_MAX);
        return false;
    }
    for (size_t i = 0; i < c->n_partitions; i++) {
        if (!placement_fits(m, c->partitions[i], c->partitions[0]->n_nodes, reply)) {
            return false;
        }
    }
    if (c->n_configs > METADATA_CONFIGS_MAX) {
        metadata_refuse(reply, ERR_INVALID_CONFIG, "a topic has at most %d configs", METADATA_CONFIGS_MAX);
        return false;
    }
    for (size_t i = 0; i < c->n_configs; i++) {
        rv = metadata_check_config(c->configs[i]->key, c->configs[i]->value, reply->text);
        if (rv != 0) {
            reply->error = rv;
            return false;
        }
    }
    return true;
}

static int set_config(struct metadata_topic *t, const char *key, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < t->n_configs; i++) {
        if (strcmp(t->configs[i].key, key) == 0) {
            free(t->configs[i].value);
            t->configs[i].value = copy;
            return 0;
        }
    }
    t->configs[t->n_configs].key = strdup(key);
    t->configs[t->n_configs].value = copy;
    if (t->configs[t->n_configs].key == NULL) {
        free(copy);
        return ERR_NOMEM;
    }
    t->n_configs++;
    return 0;
}

static void unset_config(struct metadata_topic *t, const char *key)
{
    for (uint32_t i = 0; i < t->n_configs; i++) {
        if (strcmp(t->configs[i].key, key) == 0) {
            free(t->configs[i].key);
            free(t->configs[i].value);
            t->configs[i] = t->configs[--t->n_configs];
            return;
        }
    }
}

static int link_group(struct metadata_fsm *m, struct metadata_partition *p)
{
    struct group_item *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    g->group = p->group;
    g->partition = p;
    HASH_ADD(hh, m->groups, group, sizeof g->group, g);
    if (g->hh.tbl == NULL) {
        free(g);
        return ERR_NOMEM;
    }
    return 0;
}

static int link_groups(struct metadata_fsm *m, struct topic_item *item)
{
    for (uint32_t i = 0; i < item->topic.n_partitions; i++) {
        int rv = link_group(m, &item->topic.partitions[i]);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* Running out of memory between two tables is not undone: the caller stops this replica. */
static int link_topic(struct metadata_fsm *m, struct topic_item *item)
{
    HASH_ADD(by_id, m->topics_by_id, topic.id, sizeof item->topic.id, item);
    HASH_ADD_KEYPTR(by_name, m->topics_by_name, item->topic.name, strlen(item->topic.name), item);
    list_push_back(&m->topics, &item->topic.link);
    if (item->by_id.tbl == NULL || item->by_name.tbl == NULL) {
        return ERR_NOMEM;
    }
    m->n_partitions += item->topic.n_partitions;
    return link_groups(m, item);
}

static void place_partition(struct metadata_fsm *m, struct metadata_topic *t, uint32_t i, uint64_t group,
                            const Cairn__Command__PartitionPlacement *placement)
{
    struct metadata_partition *p = &t->partitions[i];
    p->topic = t;
    p->partition = i;
    p->group = group;
    p->preferred_node = placement->nodes[0];
    p->n_replicas = (uint32_t)placement->n_nodes;
    for (uint32_t r = 0; r < p->n_replicas; r++) {
        p->replicas[r].replica = m->replica_next++;
        p->replicas[r].node = placement->nodes[r];
        p->replicas[r].disk_id = metadata_find_node(m, placement->nodes[r])->disk_id;
        p->replicas[r].founder = true;
    }
}

int metadata_apply_create_topic(struct metadata_fsm *m, const Cairn__Command__CreateTopic *c, uint64_t index,
                                struct metadata_reply *reply)
{
    struct topic_item *item;
    struct metadata_topic *t;
    struct uuid id;

    if (!create_fits(m, c, &id, reply)) {
        return 0;
    }
    item = calloc(1, sizeof *item);
    if (item == NULL) {
        return ERR_NOMEM;
    }
    t = &item->topic;
    t->partitions = calloc(c->n_partitions, sizeof *t->partitions);
    if (t->partitions == NULL) {
        free(item);
        return ERR_NOMEM;
    }
    t->id = id;
    snprintf(t->name, sizeof t->name, "%s", c->name);
    t->n_partitions = (uint32_t)c->n_partitions;
    t->replication = (uint32_t)c->partitions[0]->n_nodes;
    t->created_index = index;
    for (size_t i = 0; i < c->n_configs; i++) {
        int rv = set_config(t, c->configs[i]->key, c->configs[i]->value);
        if (rv != 0) {
            metadata_topic_free(item);
            return rv;
        }
    }
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        place_partition(m, t, i, m->group_next++, c->partitions[i]);
    }
    reply->topic_id = id;
    return link_topic(m, item);
}

/* ---- coordinators ------------------------------------------------------------------------------------------------- */

const struct metadata_topic *metadata_fsm_coordinators(const struct metadata_fsm *m)
{
    return m->coordinators == NULL ? NULL : &m->coordinators->topic;
}

static bool coordinators_fit(const struct metadata_fsm *m, const Cairn__Command__CreateCoordinators *c,
                             struct metadata_reply *reply)
{
    if (m->coordinators != NULL) {
        metadata_refuse(reply, ERR_EXISTS, "the coordinators exist");
        return false;
    }
    if (c->n_groups == 0 || c->n_groups > METADATA_COORDINATORS_MAX) {
        metadata_refuse(reply, ERR_INVALID_PARTITIONS, "coordinators are 1 to %d", METADATA_COORDINATORS_MAX);
        return false;
    }
    if (c->groups[0]->n_nodes == 0 || c->groups[0]->n_nodes > METADATA_REPLICAS_MAX) {
        metadata_refuse(reply, ERR_INVALID_REPLICAS, "a coordinator has 1 to %d replicas", METADATA_REPLICAS_MAX);
        return false;
    }
    for (size_t i = 0; i < c->n_groups; i++) {
        if (!placement_fits(m, c->groups[i], c->groups[0]->n_nodes, reply)) {
            return false;
        }
    }
    return true;
}

int metadata_apply_create_coordinators(struct metadata_fsm *m, const Cairn__Command__CreateCoordinators *c, uint64_t index,
                                       struct metadata_reply *reply)
{
    struct topic_item *item;
    struct metadata_topic *t;

    if (!coordinators_fit(m, c, reply)) {
        return 0;
    }
    item = calloc(1, sizeof *item);
    if (item == NULL) {
        return ERR_NOMEM;
    }
    t = &item->topic;
    t->partitions = calloc(c->n_groups, sizeof *t->partitions);
    if (t->partitions == NULL) {
        free(item);
        return ERR_NOMEM;
    }
    list_init(&t->link);
    snprintf(t->name, sizeof t->name, "__consumer_offsets");
    t->n_partitions = (uint32_t)c->n_groups;
    t->replication = (uint32_t)c->groups[0]->n_nodes;
    t->created_index = index;
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        place_partition(m, t, i, METADATA_COORDINATOR_GROUP_FIRST + i, c->groups[i]);
    }
    m->coordinators = item;
    return link_groups(m, item);
}

/* ---- delete, alter, replace -------------------------------------------------------------------------------------- */

static struct topic_item *topic_of(const struct metadata_fsm *m, const ProtobufCBinaryData *bytes,
                                   struct metadata_reply *reply)
{
    struct topic_item *item = NULL;
    struct uuid id;
    if (metadata_uuid(bytes, &id)) {
        HASH_FIND(by_id, m->topics_by_id, &id, sizeof id, item);
    }
    if (item == NULL) {
        metadata_refuse(reply, ERR_UNKNOWN_TOPIC, "no topic has this id");
    }
    return item;
}

static bool partitions_fit(const struct metadata_fsm *m, const struct metadata_topic *t,
                           const Cairn__Command__CreatePartitions *c, struct metadata_reply *reply)
{
    if (c->first != t->n_partitions) {
        metadata_refuse(reply, ERR_INVALID_PARTITIONS, "the topic has %u partitions now, not %u", t->n_partitions, c->first);
        return false;
    }
    if (c->n_partitions == 0 || c->n_partitions > METADATA_PARTITIONS_MAX - t->n_partitions) {
        metadata_refuse(reply, ERR_INVALID_PARTITIONS, "a topic has 1 to %u partitions", METADATA_PARTITIONS_MAX);
        return false;
    }
    for (size_t i = 0; i < c->n_partitions; i++) {
        if (!placement_fits(m, c->partitions[i], t->replication, reply)) {
            return false;
        }
    }
    return true;
}

int metadata_apply_create_partitions(struct metadata_fsm *m, const Cairn__Command__CreatePartitions *c,
                                     struct metadata_reply *reply)
{
    struct topic_item *item = topic_of(m, &c->topic_id, reply);
    struct metadata_partition *partitions;
    struct metadata_topic *t;

    if (item == NULL || !partitions_fit(m, &item->topic, c, reply)) {
        return 0;
    }
    t = &item->topic;
    partitions = calloc(t->n_partitions + c->n_partitions, sizeof *partitions);
    if (partitions == NULL) {
        return ERR_NOMEM;
    }
    memcpy(partitions, t->partitions, t->n_partitions * sizeof *partitions);
    free(t->partitions);
    t->partitions = partitions;
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        find_group(m, partitions[i].group)->partition = &partitions[i]; /* it has moved */
    }
    for (size_t i = 0; i < c->n_partitions; i++) {
        place_partition(m, t, t->n_partitions, m->group_next++, c->partitions[i]);
        t->n_partitions++;
        m->n_partitions++;
        if (link_group(m, &partitions[t->n_partitions - 1]) != 0) {
            return ERR_NOMEM;
        }
    }
    reply->topic_id = t->id;
    return 0;
}

int metadata_apply_delete_topic(struct metadata_fsm *m, const Cairn__Command__DeleteTopic *c,
                                struct metadata_reply *reply)
{
    struct topic_item *item = topic_of(m, &c->topic_id, reply);
    struct deleted_topic *del;
    if (item == NULL) {
        return 0;
    }
    del = calloc(1, sizeof *del);
    if (del == NULL) {
        return ERR_NOMEM;
    }
    del->id = item->topic.id;
    HASH_ADD(hh, m->deleted, id, sizeof del->id, del);
    if (del->hh.tbl == NULL) {
        free(del);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < item->topic.n_partitions; i++) {
        find_group(m, item->topic.partitions[i].group)->partition = NULL;
    }
    m->n_partitions -= item->topic.n_partitions;
    HASH_DELETE(by_id, m->topics_by_id, item);
    HASH_DELETE(by_name, m->topics_by_name, item);
    list_remove(&item->topic.link);
    metadata_topic_free(item);
    return 0;
}

int metadata_apply_alter_topic(struct metadata_fsm *m, const Cairn__Command__AlterTopic *c,
                               struct metadata_reply *reply)
{
    struct topic_item *item = topic_of(m, &c->topic_id, reply);
    if (item == NULL) {
        return 0;
    }
    if (item->topic.n_configs + c->n_set > METADATA_CONFIGS_MAX) {
        metadata_refuse(reply, ERR_INVALID_CONFIG, "a topic has at most %d configs", METADATA_CONFIGS_MAX);
        return 0;
    }
    for (size_t i = 0; i < c->n_set; i++) {
        if (c->set[i]->value[0] != '\0') {
            reply->error = metadata_check_config(c->set[i]->key, c->set[i]->value, reply->text);
            if (reply->error != 0) {
                return 0;
            }
        }
    }
    for (size_t i = 0; i < c->n_set; i++) {
        if (c->set[i]->value[0] == '\0') {
            unset_config(&item->topic, c->set[i]->key);
        } else if (set_config(&item->topic, c->set[i]->key, c->set[i]->value) != 0) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

int metadata_apply_replace_replica(struct metadata_fsm *m, const Cairn__Command__ReplaceReplica *c,
                                   struct metadata_reply *reply)
{
    struct group_item *g = find_group(m, c->group);
    const struct metadata_node *n = metadata_find_node(m, c->node);
    if (g == NULL || g->partition == NULL || n == NULL) {
        metadata_refuse(reply, ERR_NOT_FOUND, "group %llu or node %u is not known", (unsigned long long)c->group, c->node);
        return 0;
    }
    for (uint32_t i = 0; i < g->partition->n_replicas; i++) {
        struct metadata_replica *r = &g->partition->replicas[i];
        if (r->replica == c->old_replica) {
            r->replica = m->replica_next++;
            r->node = n->node;
            r->disk_id = n->disk_id;
            r->founder = false;
            reply->value = (int64_t)r->replica;
            return 0;
        }
    }
    metadata_refuse(reply, ERR_NOT_FOUND, "group %llu has no such replica", (unsigned long long)c->group);
    return 0;
}
