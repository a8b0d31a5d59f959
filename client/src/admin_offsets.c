/* First and end offset of a partition: asked of its leader, found by metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/src/admin.h"
#include "proto/native/native.pb-c.h"

#define RETRY_MS 50

struct leader {
    uint8_t topic_id[16];
    uint32_t node; /* 0: none known */
    char address[CLIENT_ADDRESS_SIZE];
};

static int leader_find(const Cairn__Native__MetadataResponse *m, const char *name, int32_t partition,
                       struct leader *out)
{
    const Cairn__Native__TopicInfo *t = NULL;

    for (size_t i = 0; i < m->n_topics && t == NULL; i++) {
        t = strcmp(m->topics[i]->name, name) == 0 ? m->topics[i] : NULL;
    }
    if (t == NULL || t->error != 0) {
        return t != NULL ? (int)t->error : ERR_UNKNOWN_TOPIC;
    }
    if (partition < 0 || (size_t)partition >= t->n_partitions || t->topic_id.len != 16) {
        return ERR_NOT_FOUND;
    }
    memcpy(out->topic_id, t->topic_id.data, 16);
    for (size_t i = 0; i < t->n_partitions; i++) {
        if (t->partitions[i]->partition == (uint32_t)partition) {
            out->node = t->partitions[i]->leader_node;
        }
    }
    for (size_t i = 0; i < m->n_nodes; i++) {
        if (m->nodes[i]->node == out->node) {
            snprintf(out->address, sizeof out->address, "%s", m->nodes[i]->address);
        }
    }
    return 0;
}

static int leader_ask(struct cairn_client *client, const char *name, int32_t partition, uint32_t timeout_ms,
                      const char *what, struct leader *out, struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_METADATA, .timeout_ms = timeout_ms, .repeatable = true};
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    Cairn__Native__MetadataResponse *answer;
    char *names[1] = {(char *)(uintptr_t)name};
    uint8_t message[CLIENT_TOPIC_NAME_MAX + 16];
    int rv;

    if (strlen(name) > CLIENT_TOPIC_NAME_MAX) {
        return error_set(error, ERR_INVALID_TOPIC, "%s: the name is too long", what);
    }
    m.topics = names;
    m.n_topics = 1;
    a.message = message;
    a.message_size = cairn__native__metadata_request__pack(&m, message);
    rv = admin_run(&a, what, error);
    if (rv != 0) {
        return rv;
    }
    answer = cairn__native__metadata_response__unpack(NULL, a.answer_size, a.answer);
    admin_release(&a);
    if (answer == NULL) {
        return error_set(error, ERR_MALFORMED, "%s: the node's answer cannot be read", what);
    }
    rv = leader_find(answer, name, partition, out);
    cairn__native__metadata_response__free_unpacked(answer, NULL);
    return rv == 0 ? 0 : error_set(error, rv, "%s: %s", what, err_text(rv));
}

/* The offsets of some times of a partition. */
struct times {
    int64_t timestamps_ms[2]; /* or CAIRN_OFFSET_EARLIEST, CAIRN_OFFSET_LATEST */
    size_t count;
    int64_t offsets[2]; /* out; -1: nothing at or after that time */
};

static int offsets_read(const struct admin_call *a, struct times *t)
{
    Cairn__Native__ListOffsetsResponse *answer =
        cairn__native__list_offsets_response__unpack(NULL, a->answer_size, a->answer);
    int rv = ERR_MALFORMED;

    if (answer == NULL) {
        return rv;
    }
    if (answer->n_partitions == t->count) {
        rv = 0;
        for (size_t i = 0; i < t->count; i++) {
            rv = answer->partitions[i]->error != 0 ? (int)answer->partitions[i]->error : rv;
            t->offsets[i] = answer->partitions[i]->offset;
        }
    }
    cairn__native__list_offsets_response__free_unpacked(answer, NULL);
    return rv;
}

static int offsets_ask(struct cairn_client *client, const struct leader *leader, int32_t partition, uint32_t timeout_ms,
                       const char *what, struct times *t, struct cairn_error *error)
{
    struct admin_call a = {.client = client,
                           .call = CALL_LIST_OFFSETS,
                           .timeout_ms = timeout_ms,
                           .repeatable = true,
                           .target = leader->node,
                           .target_address = leader->address};
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition items[2];
    Cairn__Native__ListOffsetsPartition *pointers[2] = {&items[0], &items[1]};
    int rv;

    for (size_t i = 0; i < t->count; i++) {
        cairn__native__list_offsets_partition__init(&items[i]);
        items[i].topic_id.data = (uint8_t *)(uintptr_t)leader->topic_id;
        items[i].topic_id.len = sizeof leader->topic_id;
        items[i].partition = (uint32_t)partition;
        items[i].timestamp_ms = t->timestamps_ms[i];
    }
    m.n_partitions = t->count;
    m.partitions = pointers;
    rv = admin_run_packed(&a, &m.base, what, error);
    if (rv == 0) {
        rv = offsets_read(&a, t);
        admin_release(&a);
        if (rv != 0) {
            error_set(error, rv, "%s: %s", what, err_text(rv));
        }
    }
    return rv;
}

static int times_run(struct cairn_client *client, const char *name, int32_t partition, uint32_t timeout_ms,
                     struct times *t, struct cairn_error *error)
{
    uint64_t deadline_ns = driver_now_ns() + timeout_ms * NS_PER_MS;
    char what[160];
    int rv;

    snprintf(what, sizeof what, "offsets of %.100s partition %d", name, partition);
    for (;;) {
        struct leader leader = {.node = 0};
        uint64_t now_ns = driver_now_ns();
        uint32_t left_ms = now_ns < deadline_ns ? (uint32_t)((deadline_ns - now_ns) / NS_PER_MS) + 1 : 0;

        if (left_ms == 0) {
            return error_set(error, ERR_TIMEOUT, "%s: no leader answered in %u ms", what, timeout_ms);
        }
        rv = leader_ask(client, name, partition, left_ms, what, &leader, error);
        if (rv != 0) {
            return rv;
        }
        if (leader.node != 0) {
            rv = offsets_ask(client, &leader, partition, left_ms, what, t, error);
            if (rv == 0 || !err_retriable(rv) || rv == ERR_TIMEOUT) {
                return rv;
            }
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000}, NULL);
    }
}

int cairn_admin_offsets(struct cairn_client *client, const char *name, int32_t partition, uint32_t timeout_ms,
                        struct cairn_offsets *offsets, struct cairn_error *error)
{
    struct times t = {.timestamps_ms = {CAIRN_OFFSET_EARLIEST, CAIRN_OFFSET_LATEST}, .count = 2};
    int rv = times_run(client, name, partition, timeout_ms, &t, error);

    if (rv == 0) {
        offsets->log_start = t.offsets[0];
        offsets->high_watermark = t.offsets[1];
    }
    return rv;
}

int cairn_admin_offset_at(struct cairn_client *client, const char *name, int32_t partition, int64_t timestamp_ms,
                          uint32_t timeout_ms, int64_t *offset, struct cairn_error *error)
{
    struct times t = {.timestamps_ms = {timestamp_ms}, .count = 1};
    int rv;

    if (timestamp_ms < 0) {
        return error_set(error, ERR_INVALID, "offset at a time: %lld is none", (long long)timestamp_ms);
    }
    rv = times_run(client, name, partition, timeout_ms, &t, error);
    if (rv == 0) {
        *offset = t.offsets[0];
    }
    return rv;
}
