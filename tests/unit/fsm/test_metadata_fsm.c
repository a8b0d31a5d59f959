/* The cluster's state machine: founding, nodes, topics, ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/fsm/metadata/metadata_fsm.h"

struct world {
    struct metadata_fsm *fsm;
    uint64_t index;
    struct metadata_reply reply;
};

static uint8_t ids[64][16]; /* made-up uuids, by number */

static ProtobufCBinaryData id_bytes(unsigned n)
{
    memset(ids[n], (int)n + 1, sizeof ids[n]);
    return (ProtobufCBinaryData){.len = 16, .data = ids[n]};
}

static int propose(struct world *w, Cairn__Command__MetadataCommand *command)
{
    struct entry *entry = metadata_command_entry(command);
    int rv;
    assert_non_null(entry);
    entry->index = ++w->index;
    rv = metadata_fsm_apply(w->fsm, entry, &w->reply);
    entry_release(entry);
    return rv;
}

static char listener_name[] = "client";
static char addresses[16][32];

static Cairn__Command__RegisterNode registration(unsigned node, unsigned disk, Cairn__Command__Setting *listener,
                                                 Cairn__Command__Setting **listeners)
{
    Cairn__Command__RegisterNode r = CAIRN__COMMAND__REGISTER_NODE__INIT;
    snprintf(addresses[node], sizeof addresses[node], "127.0.0.1:%u", 7000 + node);
    cairn__command__setting__init(listener);
    listener->key = listener_name;
    listener->value = addresses[node];
    listeners[0] = listener;
    r.node = node;
    r.disk_id = id_bytes(disk);
    r.peer_address = addresses[node];
    r.n_listeners = 1;
    r.listeners = listeners;
    r.version_max = 1;
    return r;
}

static int register_node(struct world *w, unsigned node, unsigned disk)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__Setting listener;
    Cairn__Command__Setting *listeners[1];
    Cairn__Command__RegisterNode r = registration(node, disk, &listener, listeners);
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_REGISTER_NODE;
    command.register_node = &r;
    return propose(w, &command);
}

static void found(struct world *w)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__FoundCluster f = CAIRN__COMMAND__FOUND_CLUSTER__INIT;
    Cairn__Command__Setting listener[3];
    Cairn__Command__Setting *listeners[3][1];
    Cairn__Command__RegisterNode nodes[3];
    Cairn__Command__RegisterNode *pointers[3];
    for (unsigned i = 0; i < 3; i++) {
        nodes[i] = registration(i + 1, i + 1, &listener[i], listeners[i]);
        pointers[i] = &nodes[i];
    }
    f.cluster_id = id_bytes(60);
    f.n_founders = 3;
    f.founders = pointers;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_FOUND_CLUSTER;
    command.found_cluster = &f;
    assert_int_equal(propose(w, &command), 0);
}

static int setup(void **state)
{
    struct world *w = test_calloc(1, sizeof *w);
    w->fsm = metadata_fsm_new();
    found(w);
    assert_int_equal(w->reply.error, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    metadata_fsm_free(w->fsm);
    test_free(w);
    return 0;
}

static int create(struct world *w, const char *name, unsigned id, unsigned partitions, const char *config_value)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__CreateTopic c = CAIRN__COMMAND__CREATE_TOPIC__INIT;
    Cairn__Command__PartitionPlacement placements[8];
    Cairn__Command__PartitionPlacement *pointers[8];
    Cairn__Command__Setting config = CAIRN__COMMAND__SETTING__INIT;
    Cairn__Command__Setting *configs[1] = {&config};
    static uint32_t nodes[8][3];
    char key[] = "max.message.bytes";
    char value[32];
    char topic[300];

    for (unsigned i = 0; i < partitions; i++) {
        for (unsigned r = 0; r < 3; r++) {
            nodes[i][r] = (i + r) % 3 + 1;
        }
        cairn__command__partition_placement__init(&placements[i]);
        placements[i].n_nodes = 3;
        placements[i].nodes = nodes[i];
        pointers[i] = &placements[i];
    }
    snprintf(topic, sizeof topic, "%s", name);
    c.name = topic;
    c.topic_id = id_bytes(id);
    c.n_partitions = partitions;
    c.partitions = pointers;
    if (config_value != NULL) {
        snprintf(value, sizeof value, "%s", config_value);
        config.key = key;
        config.value = value;
        c.n_configs = 1;
        c.configs = configs;
    }
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_TOPIC;
    command.create_topic = &c;
    return propose(w, &command);
}

static void delete_topic(struct world *w, unsigned id)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__DeleteTopic d = CAIRN__COMMAND__DELETE_TOPIC__INIT;
    d.topic_id = id_bytes(id);
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC;
    command.delete_topic = &d;
    assert_int_equal(propose(w, &command), 0);
}

static void founders_have_their_rank_and_a_cluster_is_founded_once(void **state)
{
    struct world *w = *state;
    uint64_t revision = metadata_fsm_revision(w->fsm);
    assert_int_equal(metadata_fsm_nodes(w->fsm), 3);
    assert_int_equal(metadata_fsm_node(w->fsm, 2)->metadata_replica, 2);
    assert_string_equal(metadata_node_listener(metadata_fsm_node(w->fsm, 3), "client"), "127.0.0.1:7003");
    assert_null(metadata_node_listener(metadata_fsm_node(w->fsm, 3), "kafka"));
    found(w);
    assert_int_equal(w->reply.error, ERR_EXISTS);
    assert_int_equal(metadata_fsm_revision(w->fsm), revision);
    assert_int_equal(metadata_fsm_index(w->fsm), w->index);
}

static void a_wiped_disk_under_a_known_id_is_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(register_node(w, 2, 40), 0);
    assert_int_equal(w->reply.error, ERR_DISK_WIPED);
    assert_int_equal(register_node(w, 2, 2), 0);
    assert_int_equal(w->reply.error, 0);
    assert_int_equal(metadata_fsm_node(w->fsm, 2)->metadata_replica, 2); /* kept over a new registration */
}

static void nodes_stay_sorted_and_get_replica_ids_from_1024(void **state)
{
    struct world *w = *state;
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__IssueMetadataReplica issue = CAIRN__COMMAND__ISSUE_METADATA_REPLICA__INIT;
    assert_int_equal(register_node(w, 9, 9), 0);
    assert_int_equal(register_node(w, 5, 5), 0);
    assert_int_equal(metadata_fsm_node_at(w->fsm, 3)->node, 5);
    assert_int_equal(metadata_fsm_node_at(w->fsm, 4)->node, 9);
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ISSUE_METADATA_REPLICA;
    command.issue_metadata_replica = &issue;
    issue.node = 9;
    assert_int_equal(propose(w, &command), 0);
    assert_int_equal(w->reply.value, METADATA_ID_FIRST);
    assert_int_equal(propose(w, &command), 0);
    assert_int_equal(w->reply.value, METADATA_ID_FIRST); /* once a node */
    issue.node = 77;
    assert_int_equal(propose(w, &command), 0);
    assert_int_equal(w->reply.error, ERR_NOT_FOUND);
}

static void a_topic_gets_groups_and_replicas_that_are_never_issued_again(void **state)
{
    struct world *w = *state;
    const struct metadata_topic *t;
    uint64_t group;

    assert_int_equal(create(w, "orders", 10, 6, NULL), 0);
    assert_int_equal(w->reply.error, 0);
    t = metadata_fsm_topic_named(w->fsm, "orders");
    assert_non_null(t);
    assert_ptr_equal(t, metadata_fsm_topic(w->fsm, &w->reply.topic_id));
    assert_int_equal(metadata_fsm_partition_count(w->fsm), 6);
    for (uint32_t i = 0; i < 6; i++) {
        const struct metadata_partition *p = &t->partitions[i];
        assert_int_equal(p->group, METADATA_ID_FIRST + i);
        assert_int_equal(p->preferred_node, i % 3 + 1);
        assert_ptr_equal(metadata_fsm_partition_of_group(w->fsm, p->group), p);
        for (uint32_t r = 0; r < 3; r++) {
            assert_int_equal(p->replicas[r].replica, METADATA_ID_FIRST + i * 3 + r);
            assert_true(p->replicas[r].founder);
        }
    }
    group = t->partitions[0].group;
    delete_topic(w, 10);
    assert_null(metadata_fsm_topic_named(w->fsm, "orders"));
    assert_null(metadata_fsm_partition_of_group(w->fsm, group));
    assert_true(metadata_fsm_group_deleted(w->fsm, group));
    assert_false(metadata_fsm_group_deleted(w->fsm, group + 100));
    assert_int_equal(metadata_fsm_partition_count(w->fsm), 0);

    assert_int_equal(create(w, "orders", 11, 1, NULL), 0);
    t = metadata_fsm_topic_named(w->fsm, "orders");
    assert_int_equal(t->partitions[0].group, METADATA_ID_FIRST + 6);
    assert_int_equal(t->partitions[0].replicas[0].replica, METADATA_ID_FIRST + 18);
    delete_topic(w, 10);
    assert_int_equal(w->reply.error, ERR_UNKNOWN_TOPIC);
}

static void refused_topics_change_nothing(void **state)
{
    struct world *w = *state;
    char long_name[METADATA_NAME_MAX + 2];
    uint64_t revision;

    assert_int_equal(create(w, "a", 10, 1, NULL), 0);
    revision = metadata_fsm_revision(w->fsm);
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(create(w, "a", 11, 1, NULL), 0);
    assert_int_equal(w->reply.error, ERR_TOPIC_EXISTS);
    assert_int_equal(create(w, "b", 10, 1, NULL), 0);
    assert_int_equal(w->reply.error, ERR_INVALID);
    assert_int_equal(create(w, "..", 11, 1, NULL), 0);
    assert_int_equal(w->reply.error, ERR_INVALID_TOPIC);
    assert_int_equal(create(w, "a b", 11, 1, NULL), 0);
    assert_int_equal(w->reply.error, ERR_INVALID_TOPIC);
    assert_int_equal(create(w, long_name, 11, 1, NULL), 0);
    assert_int_equal(w->reply.error, ERR_INVALID_TOPIC);
    assert_int_equal(create(w, "b", 11, 0, NULL), 0);
    assert_int_equal(w->reply.error, ERR_INVALID_PARTITIONS);
    assert_int_equal(create(w, "b", 11, 1, "12"), 0);
    assert_int_equal(w->reply.error, ERR_INVALID_CONFIG);
    assert_true(w->reply.text[0] != '\0');
    assert_int_equal(metadata_fsm_topic_count(w->fsm), 1);
    assert_int_equal(metadata_fsm_revision(w->fsm), revision);
    assert_int_equal(metadata_fsm_index(w->fsm), w->index);
    assert_int_equal(create(w, "b", 11, 1, "4096"), 0);
    assert_int_equal(w->reply.error, 0);
    assert_string_equal(metadata_topic_config(metadata_fsm_topic_named(w->fsm, "b"), "max.message.bytes"), "4096");
    assert_string_equal(metadata_topic_config(metadata_fsm_topic_named(w->fsm, "a"), "max.message.bytes"), "1048588");
    assert_null(metadata_topic_config(metadata_fsm_topic_named(w->fsm, "a"), "no.such.key"));
}

static void producer_id_blocks_never_overlap(void **state)
{
    struct world *w = *state;
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__AllocateProducerIds a = CAIRN__COMMAND__ALLOCATE_PRODUCER_IDS__INIT;
    int64_t first;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ALLOCATE_PRODUCER_IDS;
    command.allocate_producer_ids = &a;
    a.node = 1;
    a.count = 1000;
    assert_int_equal(propose(w, &command), 0);
    first = w->reply.value;
    a.node = 2;
    assert_int_equal(propose(w, &command), 0);
    assert_int_equal(w->reply.value, first + 1000);
    a.count = METADATA_PRODUCER_BLOCK_MAX + 1;
    assert_int_equal(propose(w, &command), 0);
    assert_int_equal(w->reply.error, ERR_INVALID);
}

static void garbage_and_newer_commands_stop_the_replica(void **state)
{
    struct world *w = *state;
    struct buf *buf = buf_new(NULL, 8);
    struct entry *entry;
    memset(buf->data, 0xff, 8);
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, 8);
    entry->index = ++w->index;
    assert_int_equal(metadata_fsm_apply(w->fsm, entry, &w->reply), ERR_MALFORMED);
    entry_release(entry);
    buf->data[0] = 0x08; /* version = 2, nothing else */
    buf->data[1] = 0x02;
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, 2);
    entry->index = w->index;
    assert_int_equal(metadata_fsm_apply(w->fsm, entry, &w->reply), ERR_VERSION);
    entry_release(entry);
    buf_release(buf);
}

static void equal_commands_give_equal_digests(void **state)
{
    struct world *w = *state;
    struct world other = {.fsm = metadata_fsm_new()};
    found(&other);
    assert_int_equal(create(w, "a", 10, 3, "4096"), 0);
    assert_int_equal(create(&other, "a", 10, 3, "4096"), 0);
    assert_int_equal(metadata_fsm_digest(w->fsm), metadata_fsm_digest(other.fsm));
    assert_int_equal(register_node(w, 4, 4), 0);
    assert_int_equal(register_node(&other, 4, 5), 0);
    assert_int_not_equal(metadata_fsm_digest(w->fsm), metadata_fsm_digest(other.fsm));
    metadata_fsm_free(other.fsm);
}

static int create_coordinators(struct world *w, uint32_t first_node, unsigned count)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__CreateCoordinators c = CAIRN__COMMAND__CREATE_COORDINATORS__INIT;
    Cairn__Command__PartitionPlacement placement = CAIRN__COMMAND__PARTITION_PLACEMENT__INIT;
    Cairn__Command__PartitionPlacement *pointers[METADATA_COORDINATORS_MAX + 1];
    uint32_t nodes[2] = {first_node, 2};
    placement.n_nodes = 2;
    placement.nodes = nodes;
    for (unsigned i = 0; i < count; i++) {
        pointers[i] = &placement;
    }
    c.n_groups = count;
    c.groups = pointers;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_COORDINATORS;
    command.create_coordinators = &c;
    assert_int_equal(propose(w, &command), 0);
    return w->reply.error;
}

static void coordinators_are_made_once_under_fixed_group_ids(void **state)
{
    struct world *w = *state;
    const struct metadata_topic *t;
    uint32_t digest = metadata_fsm_digest(w->fsm);

    assert_null(metadata_fsm_coordinators(w->fsm));
    assert_int_equal(create_coordinators(w, 9, 16), ERR_INVALID_REPLICAS); /* no such node */
    assert_int_equal(create_coordinators(w, 2, 16), ERR_INVALID_REPLICAS); /* twice the same */
    assert_int_equal(create_coordinators(w, 1, 0), ERR_INVALID_PARTITIONS);
    assert_int_equal(create_coordinators(w, 1, METADATA_COORDINATORS_MAX + 1), ERR_INVALID_PARTITIONS);
    assert_null(metadata_fsm_coordinators(w->fsm));
    assert_int_equal(create_coordinators(w, 1, 16), 0);
    t = metadata_fsm_coordinators(w->fsm);
    assert_int_equal(t->n_partitions, 16);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(t->partitions[i].group, METADATA_COORDINATOR_GROUP_FIRST + i);
        assert_true(metadata_is_coordinator(t->partitions[i].group));
        assert_int_equal(t->partitions[i].replicas[0].replica, 1024 + 2 * i);
        assert_ptr_equal(metadata_fsm_partition_of_group(w->fsm, t->partitions[i].group), &t->partitions[i]);
    }
    assert_false(metadata_is_coordinator(METADATA_GROUP));
    assert_false(metadata_is_coordinator(METADATA_ID_FIRST));
    assert_int_equal(metadata_fsm_topic_count(w->fsm), 0); /* no topic that anybody sees */
    assert_true(list_empty(metadata_fsm_topics(w->fsm)));
    assert_int_not_equal(metadata_fsm_digest(w->fsm), digest);
    assert_int_equal(create_coordinators(w, 1, 16), ERR_EXISTS);
}

/* A node of before may be a member while a cluster is upgraded: what it knows carries the version that it knows. */
static void commands_carry_the_oldest_version_that_has_them(void **state)
{
    struct world *w = *state;
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__CreateCoordinators c = CAIRN__COMMAND__CREATE_COORDINATORS__INIT;
    Cairn__Command__AllocateProducerIds a = CAIRN__COMMAND__ALLOCATE_PRODUCER_IDS__INIT;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ALLOCATE_PRODUCER_IDS;
    command.allocate_producer_ids = &a;
    entry_release(metadata_command_entry(&command));
    assert_int_equal(command.version, 1);
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_COORDINATORS;
    command.create_coordinators = &c;
    entry_release(metadata_command_entry(&command));
    assert_int_equal(command.version, 2);
    assert_int_equal(metadata_fsm_version(w->fsm), 1); /* as the nodes here have registered */
}

static void deleted_topics_stay_known(void **state)
{
    struct world *w = *state;
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__DeleteTopic del = CAIRN__COMMAND__DELETE_TOPIC__INIT;
    struct uuid id;
    struct uuid other;
    create(w, "a", 10, 1, NULL);
    create(w, "b", 11, 1, NULL);
    memcpy(other.bytes, id_bytes(11).data, 16);
    del.topic_id = id_bytes(10);
    memcpy(id.bytes, del.topic_id.data, 16);
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC;
    command.delete_topic = &del;
    assert_int_equal(metadata_fsm_deleted_topics(w->fsm), 0);
    assert_false(metadata_fsm_topic_deleted(w->fsm, &id));
    assert_int_equal(propose(w, &command), 0);
    assert_true(metadata_fsm_topic_deleted(w->fsm, &id));
    assert_false(metadata_fsm_topic_deleted(w->fsm, &other));
    assert_int_equal(metadata_fsm_deleted_topics(w->fsm), 1);
}

static int create_partitions(struct world *w, unsigned id, unsigned first, unsigned more, unsigned replicas)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__CreatePartitions c = CAIRN__COMMAND__CREATE_PARTITIONS__INIT;
    Cairn__Command__PartitionPlacement placement = CAIRN__COMMAND__PARTITION_PLACEMENT__INIT;
    Cairn__Command__PartitionPlacement *pointers[8];
    uint32_t nodes[3] = {2, 3, 1};

    placement.n_nodes = replicas;
    placement.nodes = nodes;
    for (unsigned i = 0; i < more; i++) {
        pointers[i] = &placement;
    }
    c.topic_id = id_bytes(id);
    c.first = first;
    c.n_partitions = more;
    c.partitions = pointers;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_CREATE_PARTITIONS;
    command.create_partitions = &c;
    return propose(w, &command);
}

static void a_topic_gets_more_partitions_behind_those_it_has(void **state)
{
    struct world *w = *state;
    const struct metadata_topic *t;
    uint64_t groups[4];

    assert_int_equal(create(w, "a", 10, 2, NULL), 0);
    assert_int_equal(create(w, "b", 11, 1, NULL), 0);
    t = metadata_fsm_topic_named(w->fsm, "a");
    groups[0] = t->partitions[0].group;
    groups[1] = t->partitions[1].group;

    assert_int_equal(create_partitions(w, 10, 1, 2, 3), 0); /* proposed when it had one */
    assert_int_equal(w->reply.error, ERR_INVALID_PARTITIONS);
    assert_int_equal(create_partitions(w, 10, 2, 0, 3), 0);
    assert_int_equal(w->reply.error, ERR_INVALID_PARTITIONS);
    assert_int_equal(create_partitions(w, 10, 2, 2, 2), 0); /* fewer replicas than the topic has */
    assert_int_equal(w->reply.error, ERR_INVALID_REPLICAS);
    assert_int_equal(create_partitions(w, 12, 2, 2, 3), 0);
    assert_int_equal(w->reply.error, ERR_UNKNOWN_TOPIC);
    assert_int_equal(metadata_fsm_partition_count(w->fsm), 3);

    assert_int_equal(create_partitions(w, 10, 2, 2, 3), 0);
    assert_int_equal(w->reply.error, 0);
    t = metadata_fsm_topic_named(w->fsm, "a");
    assert_int_equal(t->n_partitions, 4);
    assert_int_equal(metadata_fsm_partition_count(w->fsm), 5);
    assert_int_equal(t->partitions[0].group, groups[0]);
    assert_int_equal(t->partitions[1].group, groups[1]);
    assert_true(t->partitions[2].group > metadata_fsm_topic_named(w->fsm, "b")->partitions[0].group);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(t->partitions[i].partition, i);
        assert_ptr_equal(t->partitions[i].topic, t);
        assert_ptr_equal(metadata_fsm_partition_of_group(w->fsm, t->partitions[i].group), &t->partitions[i]);
    }
    assert_int_equal(t->partitions[3].preferred_node, 2);
    groups[2] = t->partitions[2].group;
    delete_topic(w, 10);
    assert_true(metadata_fsm_group_deleted(w->fsm, groups[2]));
    assert_int_equal(metadata_fsm_partition_count(w->fsm), 1);
}

static void configs_are_kafkas_and_what_we_do_not_keep_is_refused(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        int error;
    } cases[] = {
        {"retention.ms", "-1", 0},
        {"retention.ms", "-2", ERR_INVALID_CONFIG},
        {"retention.ms", "5m", ERR_INVALID_CONFIG},
        {"retention.ms", "", ERR_INVALID_CONFIG},
        {"retention.ms", "99999999999999999999", ERR_INVALID_CONFIG},
        {"cleanup.policy", "compact,delete", 0},
        {"cleanup.policy", "compact,", ERR_INVALID_CONFIG},
        {"cleanup.policy", "shred", ERR_INVALID_CONFIG},
        {"compression.type", "zstd", 0},
        {"compression.type", "zstd,lz4", ERR_INVALID_CONFIG},
        {"min.cleanable.dirty.ratio", "0.25", 0},
        {"min.cleanable.dirty.ratio", "1.5", ERR_INVALID_CONFIG},
        {"preallocate", "true", 0},
        {"preallocate", "yes", ERR_INVALID_CONFIG},
        {"unclean.leader.election.enable", "false", 0},
        {"unclean.leader.election.enable", "true", ERR_INVALID_CONFIG},
        {"message.timestamp.type", "LogAppendTime", ERR_INVALID_CONFIG},
        {"max.message.bytes", "12", ERR_INVALID_CONFIG},
        {"no.such.key", "1", ERR_INVALID_CONFIG},
    };
    char text[ERRMSG_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(metadata_check_config(cases[i].key, cases[i].value, text), cases[i].error);
    }
    assert_int_equal(metadata_config_version("max.message.bytes"), 1);
    assert_int_equal(metadata_config_version("retention.ms"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(founders_have_their_rank_and_a_cluster_is_founded_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wiped_disk_under_a_known_id_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(nodes_stay_sorted_and_get_replica_ids_from_1024, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_gets_groups_and_replicas_that_are_never_issued_again, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_topics_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(producer_id_blocks_never_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_and_newer_commands_stop_the_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_commands_give_equal_digests, setup, teardown),
        cmocka_unit_test_setup_teardown(coordinators_are_made_once_under_fixed_group_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(commands_carry_the_oldest_version_that_has_them, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_gets_more_partitions_behind_those_it_has, setup, teardown),
        cmocka_unit_test_setup_teardown(configs_are_kafkas_and_what_we_do_not_keep_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(deleted_topics_stay_known, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
