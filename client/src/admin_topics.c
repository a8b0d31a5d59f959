#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/admin.h"
#include "proto/native/native.pb-c.h"

int cairn_admin_create_topic(struct cairn_client *client, const struct cairn_topic_spec *spec, uint32_t timeout_ms,
                             struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_CREATE_TOPIC, .timeout_ms = timeout_ms};
    Cairn__Native__CreateTopicRequest m = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    Cairn__Native__KeyValue *items;
    Cairn__Native__KeyValue **pointers;
    char what[160];
    int rv = ERR_NOMEM;

    if (spec->name == NULL) {
        return error_set(error, ERR_INVALID, "create topic: no name given");
    }
    snprintf(what, sizeof what, "create topic %.100s", spec->name);
    items = calloc(spec->config_count + 1, sizeof *items);
    pointers = calloc(spec->config_count + 1, sizeof *pointers);
    if (items == NULL || pointers == NULL) {
        error_set(error, rv, "%s: out of memory", what);
        goto out;
    }
    for (size_t i = 0; i < spec->config_count; i++) {
        cairn__native__key_value__init(&items[i]);
        items[i].key = admin_borrow(spec->configs[i].name);
        items[i].value = admin_borrow(spec->configs[i].value);
        pointers[i] = &items[i];
    }
    m.name = admin_borrow(spec->name);
    m.partitions = spec->partitions;
    m.replication = spec->replication;
    m.n_configs = spec->config_count;
    m.configs = pointers;
    m.timeout_ms = timeout_ms;
    m.validate_only = spec->validate_only;
    a.repeatable = spec->validate_only;
    rv = admin_run_packed(&a, &m.base, what, error);
    admin_release(&a);
out:
    free(items);
    free(pointers);
    return rv;
}

int cairn_admin_delete_topic(struct cairn_client *client, const char *name, uint32_t timeout_ms,
                             struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_DELETE_TOPIC, .timeout_ms = timeout_ms};
    Cairn__Native__DeleteTopicRequest m = CAIRN__NATIVE__DELETE_TOPIC_REQUEST__INIT;
    char what[160];
    int rv;

    snprintf(what, sizeof what, "delete topic %.100s", name);
    m.name = admin_borrow(name);
    m.timeout_ms = timeout_ms;
    rv = admin_run_packed(&a, &m.base, what, error);
    admin_release(&a);
    return rv;
}

static void id_copy(uint8_t out[CAIRN_ID_SIZE], const ProtobufCBinaryData *id)
{
    if (id->len == CAIRN_ID_SIZE) {
        memcpy(out, id->data, CAIRN_ID_SIZE);
    }
}

static size_t topic_info_size(const Cairn__Native__TopicInfo *t)
{
    size_t size = ADMIN_ROUND(sizeof(struct cairn_topic_info)) + ADMIN_ROUND(strlen(t->name) + 1) +
                  ADMIN_ROUND(t->n_partitions * sizeof(struct cairn_partition_info)) +
                  ADMIN_ROUND(t->n_configs * sizeof(struct cairn_setting));

    for (size_t i = 0; i < t->n_partitions; i++) {
        size += ADMIN_ROUND(t->partitions[i]->n_replicas * sizeof(uint32_t));
    }
    for (size_t i = 0; i < t->n_configs; i++) {
        size += ADMIN_ROUND(strlen(t->configs[i]->key) + 1) + ADMIN_ROUND(strlen(t->configs[i]->value) + 1);
    }
    return size;
}

static struct cairn_topic_info *topic_info_build(const Cairn__Native__TopicInfo *t)
{
    struct admin_memory m;
    struct cairn_topic_info *info;
    struct cairn_partition_info *partitions;
    struct cairn_setting *configs;

    if (!admin_memory_init(&m, topic_info_size(t))) {
        return NULL;
    }
    info = admin_memory_take(&m, sizeof *info); /* first: freeing it frees all */
    info->name = admin_memory_text(&m, t->name);
    id_copy(info->id, &t->topic_id);
    info->partition_count = (uint32_t)t->n_partitions;
    info->replication = t->replication;
    partitions = admin_memory_take(&m, t->n_partitions * sizeof *partitions);
    for (size_t i = 0; i < t->n_partitions; i++) {
        const Cairn__Native__PartitionInfo *in = t->partitions[i];
        uint32_t *replicas = admin_memory_take(&m, in->n_replicas * sizeof *replicas);

        if (in->n_replicas > 0) {
            memcpy(replicas, in->replicas, in->n_replicas * sizeof *replicas);
        }
        partitions[i] = (struct cairn_partition_info){.partition = in->partition,
                                                      .leader_node = in->leader_node,
                                                      .leader_epoch = in->leader_epoch,
                                                      .replicas = replicas,
                                                      .replica_count = in->n_replicas,
                                                      .preferred_node = in->preferred_node};
    }
    info->partitions = partitions;
    configs = admin_memory_take(&m, t->n_configs * sizeof *configs);
    for (size_t i = 0; i < t->n_configs; i++) {
        configs[i].name = admin_memory_text(&m, t->configs[i]->key);
        configs[i].value = admin_memory_text(&m, t->configs[i]->value);
    }
    info->configs = configs;
    info->config_count = t->n_configs;
    return info;
}

int cairn_admin_describe_topic(struct cairn_client *client, const char *name, uint32_t timeout_ms,
                               struct cairn_topic_info **info, struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_DESCRIBE_TOPIC, .timeout_ms = timeout_ms, .repeatable = true};
    Cairn__Native__DescribeTopicRequest m = CAIRN__NATIVE__DESCRIBE_TOPIC_REQUEST__INIT;
    Cairn__Native__DescribeTopicResponse *answer;
    char what[160];
    int rv;

    snprintf(what, sizeof what, "describe topic %.100s", name);
    m.name = admin_borrow(name);
    rv = admin_run_packed(&a, &m.base, what, error);
    if (rv != 0) {
        return rv;
    }
    answer = cairn__native__describe_topic_response__unpack(NULL, a.answer_size, a.answer);
    admin_release(&a);
    if (answer == NULL || answer->topic == NULL) {
        rv = error_set(error, ERR_MALFORMED, "%s: the node's answer cannot be read", what);
    } else if (answer->topic->error != 0) {
        rv = error_set(error, (int)answer->topic->error, "%s: %s", what, err_text((int)answer->topic->error));
    } else {
        *info = topic_info_build(answer->topic);
        rv = *info != NULL ? 0 : error_set(error, ERR_NOMEM, "%s: out of memory", what);
    }
    if (answer != NULL) {
        cairn__native__describe_topic_response__free_unpacked(answer, NULL);
    }
    return rv;
}

static struct cairn_topic_list *topic_list_build(const Cairn__Native__ListTopicsResponse *answer)
{
    size_t size =
        ADMIN_ROUND(sizeof(struct cairn_topic_list)) + ADMIN_ROUND(answer->n_topics * sizeof(struct cairn_topic_info));
    struct admin_memory m;
    struct cairn_topic_list *list;
    struct cairn_topic_info *topics;

    for (size_t i = 0; i < answer->n_topics; i++) {
        size += ADMIN_ROUND(strlen(answer->topics[i]->name) + 1);
    }
    if (!admin_memory_init(&m, size)) {
        return NULL;
    }
    list = admin_memory_take(&m, sizeof *list);
    topics = admin_memory_take(&m, answer->n_topics * sizeof *topics);
    for (size_t i = 0; i < answer->n_topics; i++) {
        const Cairn__Native__TopicSummary *in = answer->topics[i];

        topics[i].name = admin_memory_text(&m, in->name);
        id_copy(topics[i].id, &in->topic_id);
        topics[i].partition_count = in->partitions;
        topics[i].replication = in->replication;
    }
    list->topics = topics;
    list->count = answer->n_topics;
    return list;
}

int cairn_admin_list_topics(struct cairn_client *client, uint32_t timeout_ms, struct cairn_topic_list **list,
                            struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_LIST_TOPICS, .timeout_ms = timeout_ms, .repeatable = true};
    Cairn__Native__ListTopicsRequest m = CAIRN__NATIVE__LIST_TOPICS_REQUEST__INIT;
    Cairn__Native__ListTopicsResponse *answer;
    int rv;

    rv = admin_run_packed(&a, &m.base, "list topics", error);
    if (rv != 0) {
        return rv;
    }
    answer = cairn__native__list_topics_response__unpack(NULL, a.answer_size, a.answer);
    admin_release(&a);
    if (answer == NULL) {
        return error_set(error, ERR_MALFORMED, "list topics: the node's answer cannot be read");
    }
    *list = topic_list_build(answer);
    cairn__native__list_topics_response__free_unpacked(answer, NULL);
    return *list != NULL ? 0 : error_set(error, ERR_NOMEM, "list topics: out of memory");
}

void cairn_topic_info_free(struct cairn_topic_info *info)
{
    free(info);
}

void cairn_topic_list_free(struct cairn_topic_list *list)
{
    free(list);
}
