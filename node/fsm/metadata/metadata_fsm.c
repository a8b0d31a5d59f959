#include "node/fsm/metadata/metadata_fsm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/metadata_state.h"
#include "proto/base/crc32c.h"

struct metadata_fsm *metadata_fsm_new(void)
{
    struct metadata_fsm *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    list_init(&m->topics);
    m->replica_next = METADATA_ID_FIRST;
    m->group_next = METADATA_ID_FIRST;
    m->producer_id_next = 1;
    m->cluster_version = 1;
    return m;
}

static void node_free(struct metadata_node *n)
{
    for (uint32_t i = 0; i < n->n_listeners; i++) {
        free(n->listeners[i].key);
        free(n->listeners[i].value);
    }
    free(n);
}

void metadata_fsm_free(struct metadata_fsm *m)
{
    struct group_item *g;
    struct group_item *g_next;
    struct deleted_topic *del;
    struct deleted_topic *del_next;
    if (m == NULL) {
        return;
    }
    HASH_ITER(hh, m->groups, g, g_next)
    {
        HASH_DEL(m->groups, g);
        free(g);
    }
    HASH_ITER(hh, m->deleted, del, del_next)
    {
        HASH_DEL(m->deleted, del);
        free(del);
    }
    HASH_CLEAR(by_id, m->topics_by_id);
    HASH_CLEAR(by_name, m->topics_by_name);
    list_for_each_safe(pos, &m->topics)
    {
        metadata_topic_free(container_of(list_entry(pos, struct metadata_topic, link), struct topic_item, topic));
    }
    if (m->coordinators != NULL) {
        metadata_topic_free(m->coordinators);
    }
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        node_free(m->nodes[i]);
    }
    free(m);
}

void metadata_refuse(struct metadata_reply *reply, int error, const char *fmt, ...)
{
    va_list args;
    reply->error = error;
    va_start(args, fmt);
    vsnprintf(reply->text, sizeof reply->text, fmt, args);
    va_end(args);
}

bool metadata_uuid(const ProtobufCBinaryData *bytes, struct uuid *out)
{
    if (bytes->len != sizeof out->bytes) {
        return false;
    }
    memcpy(out->bytes, bytes->data, sizeof out->bytes);
    return !uuid_is_nil(out);
}

struct metadata_node *metadata_find_node(const struct metadata_fsm *m, uint32_t node)
{
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        if (m->nodes[i]->node == node) {
            return m->nodes[i];
        }
    }
    return NULL;
}

static bool registration_fits(const Cairn__Command__RegisterNode *c, struct uuid *disk_id, struct metadata_reply *reply)
{
    if (c->node == 0 || !metadata_uuid(&c->disk_id, disk_id)) {
        metadata_refuse(reply, ERR_INVALID, "a node needs an id above 0 and a disk id");
        return false;
    }
    if (c->peer_address[0] == '\0' || strlen(c->peer_address) >= METADATA_ADDRESS_MAX || strlen(c->rack) >= 64 ||
        c->n_listeners > METADATA_LISTENERS_MAX) {
        metadata_refuse(reply, ERR_INVALID, "node %u: its addresses or rack are missing or too long", c->node);
        return false;
    }
    return true;
}

int metadata_apply_register(struct metadata_fsm *m, const Cairn__Command__RegisterNode *c, bool founder,
                            struct metadata_reply *reply)
{
    struct uuid disk_id;
    struct metadata_node *old;
    struct metadata_node *n;
    uint32_t at = 0;

    if (!registration_fits(c, &disk_id, reply)) {
        return 0;
    }
    old = metadata_find_node(m, c->node);
    if (old != NULL && !uuid_equal(&old->disk_id, &disk_id)) {
        metadata_refuse(reply, ERR_DISK_WIPED,
                        "node %u is known with another disk: its data directory was emptied or replaced", c->node);
        return 0;
    }
    if (old == NULL && m->n_nodes == METADATA_NODES_MAX) {
        metadata_refuse(reply, ERR_BUSY, "the cluster has %d nodes, its limit", METADATA_NODES_MAX);
        return 0;
    }
    n = calloc(1, sizeof *n);
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->node = c->node;
    n->disk_id = disk_id;
    n->version_max = c->version_max;
    n->founder = founder;
    snprintf(n->peer_address, sizeof n->peer_address, "%s", c->peer_address);
    snprintf(n->rack, sizeof n->rack, "%s", c->rack);
    for (size_t i = 0; i < c->n_listeners; i++) {
        struct metadata_setting *s = &n->listeners[n->n_listeners++];
        s->key = strdup(c->listeners[i]->key);
        s->value = strdup(c->listeners[i]->value);
        if (s->key == NULL || s->value == NULL) {
            node_free(n);
            return ERR_NOMEM;
        }
    }
    while (at < m->n_nodes && m->nodes[at]->node < n->node) {
        at++;
    }
    if (old != NULL) {
        n->metadata_replica = old->metadata_replica;
        n->founder = old->founder;
        node_free(old);
    } else {
        memmove(&m->nodes[at + 1], &m->nodes[at], (m->n_nodes - at) * sizeof m->nodes[0]);
        m->n_nodes++;
    }
    m->nodes[at] = n;
    return 0;
}

static int apply_found(struct metadata_fsm *m, const Cairn__Command__FoundCluster *c, struct metadata_reply *reply)
{
    struct uuid id;
    if (!uuid_is_nil(&m->cluster_id)) {
        metadata_refuse(reply, ERR_EXISTS, "the cluster is founded already");
        return 0;
    }
    if (!metadata_uuid(&c->cluster_id, &id) || c->n_founders == 0) {
        metadata_refuse(reply, ERR_INVALID, "a founding needs a cluster id and founders");
        return 0;
    }
    for (size_t i = 0; i < c->n_founders; i++) {
        int rv = metadata_apply_register(m, c->founders[i], true, reply);
        if (rv != 0 || reply->error != 0) {
            return rv;
        }
        if (i < METADATA_VOTERS_MAX) {
            metadata_find_node(m, c->founders[i]->node)->metadata_replica = i + 1;
        }
    }
    m->cluster_id = id;
    return 0;
}

static void apply_allocate(struct metadata_fsm *m, const Cairn__Command__AllocateProducerIds *c,
                           struct metadata_reply *reply)
{
    if (c->count == 0 || c->count > METADATA_PRODUCER_BLOCK_MAX) {
        metadata_refuse(reply, ERR_INVALID, "a block of producer ids has 1 to %u", METADATA_PRODUCER_BLOCK_MAX);
        return;
    }
    reply->value = m->producer_id_next;
    m->producer_id_next += c->count;
}

static void apply_issue_replica(struct metadata_fsm *m, const Cairn__Command__IssueMetadataReplica *c,
                                struct metadata_reply *reply)
{
    struct metadata_node *n = metadata_find_node(m, c->node);
    if (n == NULL) {
        metadata_refuse(reply, ERR_NOT_FOUND, "node %u is not registered", c->node);
        return;
    }
    if (n->metadata_replica == 0) {
        n->metadata_replica = m->replica_next++;
    }
    reply->value = (int64_t)n->metadata_replica;
}

static int apply_command(struct metadata_fsm *m, const Cairn__Command__MetadataCommand *c, uint64_t index,
                         struct metadata_reply *reply)
{
    switch (c->kind_case) {
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_FOUND_CLUSTER:
        return apply_found(m, c->found_cluster, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_REGISTER_NODE:
        return metadata_apply_register(m, c->register_node, false, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_TOPIC:
        return metadata_apply_create_topic(m, c->create_topic, index, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC:
        return metadata_apply_delete_topic(m, c->delete_topic, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_ALTER_TOPIC:
        return metadata_apply_alter_topic(m, c->alter_topic, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_ALLOCATE_PRODUCER_IDS:
        apply_allocate(m, c->allocate_producer_ids, reply);
        return 0;
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_ISSUE_METADATA_REPLICA:
        apply_issue_replica(m, c->issue_metadata_replica, reply);
        return 0;
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_SET_CLUSTER_VERSION:
        m->cluster_version = c->set_cluster_version->version;
        return 0;
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_REPLACE_REPLICA:
        return metadata_apply_replace_replica(m, c->replace_replica, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_COORDINATORS:
        return metadata_apply_create_coordinators(m, c->create_coordinators, index, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_PARTITIONS:
        return metadata_apply_create_partitions(m, c->create_partitions, reply);
    case CAIRN__COMMAND__METADATA_COMMAND__KIND__NOT_SET:
    default:
        return ERR_VERSION;
    }
}

int metadata_fsm_apply(struct metadata_fsm *m, const struct entry *entry, struct metadata_reply *reply)
{
    Cairn__Command__MetadataCommand *c;
    int rv;

    memset(reply, 0, sizeof *reply);
    if (entry->kind != ENTRY_COMMAND) {
        m->index = entry->index;
        return entry->kind == ENTRY_BATCH ? ERR_MALFORMED : 0;
    }
    c = cairn__command__metadata_command__unpack(NULL, entry->length, entry->data);
    if (c == NULL) {
        return ERR_MALFORMED;
    }
    rv = c->version > METADATA_COMMAND_VERSION ? ERR_VERSION : apply_command(m, c, entry->index, reply);
    cairn__command__metadata_command__free_unpacked(c, NULL);
    if (rv != 0) {
        return rv;
    }
    m->index = entry->index;
    if (reply->error == 0) {
        m->revision = entry->index;
    }
    return 0;
}

/* The version in which its kind came: nodes of before can go on with everything else while a cluster is upgraded. */
static uint32_t kind_version(const Cairn__Command__MetadataCommand *command)
{
    return command->kind_case >= CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_COORDINATORS ? 2 : 1;
}

struct entry *metadata_command_entry(Cairn__Command__MetadataCommand *command)
{
    struct entry *entry;
    struct buf *buf;
    size_t size;

    command->version = kind_version(command);
    size = cairn__command__metadata_command__get_packed_size(command);
    buf = buf_new(NULL, size);
    if (buf == NULL) {
        return NULL;
    }
    cairn__command__metadata_command__pack(command, buf->data);
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, (uint32_t)size);
    buf_release(buf);
    if (entry != NULL) {
        entry->base_offset = -1;
    }
    return entry;
}

uint64_t metadata_fsm_index(const struct metadata_fsm *m)
{
    return m->index;
}

uint64_t metadata_fsm_revision(const struct metadata_fsm *m)
{
    return m->revision;
}

const struct uuid *metadata_fsm_cluster_id(const struct metadata_fsm *m)
{
    return &m->cluster_id;
}

static uint32_t digest_topic(uint32_t crc, const struct metadata_topic *t)
{
    crc = crc32c(crc, &t->id, sizeof t->id);
    crc = crc32c(crc, t->name, strlen(t->name));
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        const struct metadata_partition *p = &t->partitions[i];
        crc = crc32c(crc, &p->group, sizeof p->group);
        for (uint32_t r = 0; r < p->n_replicas; r++) {
            crc = crc32c(crc, &p->replicas[r].replica, sizeof p->replicas[r].replica);
            crc = crc32c(crc, &p->replicas[r].node, sizeof p->replicas[r].node);
        }
    }
    for (uint32_t i = 0; i < t->n_configs; i++) {
        crc = crc32c(crc, t->configs[i].key, strlen(t->configs[i].key));
        crc = crc32c(crc, t->configs[i].value, strlen(t->configs[i].value));
    }
    return crc;
}

uint32_t metadata_fsm_digest(const struct metadata_fsm *m)
{
    uint64_t counters[5] = {m->index, m->replica_next, m->group_next, (uint64_t)m->producer_id_next, m->n_nodes};
    uint32_t crc = crc32c(0, &m->cluster_id, sizeof m->cluster_id);
    crc = crc32c(crc, counters, sizeof counters);
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const struct metadata_node *n = m->nodes[i];
        crc = crc32c(crc, &n->node, sizeof n->node);
        crc = crc32c(crc, &n->disk_id, sizeof n->disk_id);
        crc = crc32c(crc, &n->metadata_replica, sizeof n->metadata_replica);
        crc = crc32c(crc, n->peer_address, strlen(n->peer_address));
    }
    list_for_each(pos, &m->topics)
    {
        crc = digest_topic(crc, list_entry(pos, struct metadata_topic, link));
    }
    if (m->coordinators != NULL) {
        crc = digest_topic(crc, &m->coordinators->topic);
    }
    return crc;
}

const struct metadata_node *metadata_fsm_node(const struct metadata_fsm *m, uint32_t node)
{
    return metadata_find_node(m, node);
}

uint32_t metadata_fsm_nodes(const struct metadata_fsm *m)
{
    return m->n_nodes;
}

const struct metadata_node *metadata_fsm_node_at(const struct metadata_fsm *m, uint32_t i)
{
    return i < m->n_nodes ? m->nodes[i] : NULL;
}

uint32_t metadata_fsm_version(const struct metadata_fsm *m)
{
    uint32_t version = METADATA_COMMAND_VERSION;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        version = m->nodes[i]->version_max < version ? m->nodes[i]->version_max : version;
    }
    return version;
}

const char *metadata_node_listener(const struct metadata_node *n, const char *listener)
{
    for (uint32_t i = 0; i < n->n_listeners; i++) {
        if (strcmp(n->listeners[i].key, listener) == 0) {
            return n->listeners[i].value;
        }
    }
    return NULL;
}
