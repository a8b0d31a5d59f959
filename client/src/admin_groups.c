/* What an administrator asks about consumer groups, and does to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/src/admin.h"
#include "client/src/core/membership_wire.h"
#include "proto/native/native.pb-c.h"

#define RETRY_MS 50

static int answer_malformed(const char *what, struct cairn_error *error)
{
    return error_set(error, ERR_MALFORMED, "%s: the node's answer cannot be read", what);
}

static int answer_nomem(const char *what, struct cairn_error *error)
{
    return error_set(error, ERR_NOMEM, "%s: out of memory", what);
}

/* ---- list -----------------------------------------------------------------------------------------------------------
 */

struct list_part { /* one node's groups */
    uint32_t node;
    Cairn__Native__ListGroupsResponse *answer; /* NULL: it did not answer */
};

static int info_compare(const void *a, const void *b)
{
    const struct cairn_group_info *x = a;
    const struct cairn_group_info *y = b;

    return strcmp(x->name, y->name);
}

static struct cairn_group_list *list_build(const struct list_part *parts, size_t count)
{
    size_t size = ADMIN_ROUND(sizeof(struct cairn_group_list));
    struct admin_memory m;
    struct cairn_group_list *list;
    struct cairn_group_info *groups;
    size_t total = 0;
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; parts[i].answer != NULL && k < parts[i].answer->n_groups; k++) {
            const Cairn__Native__GroupSummary *in = parts[i].answer->groups[k];
            size += ADMIN_ROUND(strlen(in->group) + 1) + ADMIN_ROUND(strlen(in->state) + 1) +
                    ADMIN_ROUND(strlen(in->protocol_type) + 1);
            total++;
        }
    }
    if (!admin_memory_init(&m, size + ADMIN_ROUND(total * sizeof *groups))) {
        return NULL;
    }
    list = admin_memory_take(&m, sizeof *list);
    groups = admin_memory_take(&m, total * sizeof *groups);
    for (size_t i = 0; i < count; i++) {
        list->nodes_silent += parts[i].answer == NULL;
        for (size_t k = 0; parts[i].answer != NULL && k < parts[i].answer->n_groups; k++) {
            const Cairn__Native__GroupSummary *in = parts[i].answer->groups[k];
            groups[n++] = (struct cairn_group_info){.name = admin_memory_text(&m, in->group),
                                                    .state = admin_memory_text(&m, in->state),
                                                    .protocol_type = admin_memory_text(&m, in->protocol_type),
                                                    .coordinator_node = parts[i].node};
        }
    }
    qsort(groups, n, sizeof *groups, info_compare);
    for (size_t i = 0; i < n; i++) { /* a coordinator that moved between two answers is told of twice */
        if (i == 0 || strcmp(groups[i].name, groups[list->count - 1].name) != 0) {
            groups[list->count++] = groups[i];
        }
    }
    list->groups = groups;
    return list;
}

int cairn_admin_list_groups(struct cairn_client *client, uint32_t timeout_ms, struct cairn_group_list **list,
                            struct cairn_error *error)
{
    Cairn__Native__ListGroupsRequest m = CAIRN__NATIVE__LIST_GROUPS_REQUEST__INIT;
    struct cairn_cluster_status *status;
    struct list_part *parts;
    int rv = cairn_admin_cluster_status(client, timeout_ms, &status, error);

    if (rv != 0) {
        return rv;
    }
    parts = calloc(status->node_count + 1, sizeof *parts);
    if (parts == NULL) {
        cairn_cluster_status_free(status);
        return answer_nomem("list groups", error);
    }
    for (size_t i = 0; i < status->node_count; i++) {
        struct admin_call a = {.client = client,
                               .call = CALL_LIST_GROUPS,
                               .timeout_ms = timeout_ms,
                               .repeatable = true,
                               .target = status->nodes[i].node,
                               .target_address = status->nodes[i].address,
                               .pinned = true};

        parts[i].node = status->nodes[i].node;
        if (status->nodes[i].alive && admin_run_packed(&a, &m.base, "list groups", error) == 0) {
            parts[i].answer = cairn__native__list_groups_response__unpack(NULL, a.answer_size, a.answer);
            admin_release(&a);
        }
    }
    *list = list_build(parts, status->node_count);
    rv = *list != NULL ? 0 : answer_nomem("list groups", error);
    for (size_t i = 0; i < status->node_count; i++) {
        if (parts[i].answer != NULL) {
            cairn__native__list_groups_response__free_unpacked(parts[i].answer, NULL);
        }
    }
    free(parts);
    cairn_cluster_status_free(status);
    return rv;
}

/* ---- describe
 * --------------------------------------------------------------------------------------------------------- */

/* What a member's assignment says, if it can be read. */
static void assignment_parse(const Cairn__Native__DescribedMember *in, struct kafka_arena *arena,
                             struct kafka_consumer_assignment *out)
{
    struct kafka_bytes bytes = {.data = in->assignment.data, .length = (int32_t)in->assignment.len};

    if (kafka_consumer_assignment_parse(bytes, arena, out) != 0) {
        kafka_consumer_assignment_init(out);
    }
}

static size_t member_size(const Cairn__Native__DescribedMember *in, const struct kafka_consumer_assignment *a)
{
    size_t size = ADMIN_ROUND(strlen(in->member) + 1) + ADMIN_ROUND(strlen(in->instance) + 1) +
                  ADMIN_ROUND(strlen(in->client_id) + 1) + ADMIN_ROUND(strlen(in->client_host) + 1);
    size_t partitions = 0;

    for (int32_t i = 0; i < a->assigned_partitions_count; i++) {
        partitions += (size_t)a->assigned_partitions[i].partitions_count;
        size += ADMIN_ROUND((size_t)a->assigned_partitions[i].topic.length + 1);
    }
    return size + ADMIN_ROUND(partitions * sizeof(struct cairn_topic_partition));
}

static void member_build(struct admin_memory *m, const Cairn__Native__DescribedMember *in,
                         const struct kafka_consumer_assignment *a, struct cairn_group_member *out)
{
    struct cairn_topic_partition *partitions;
    size_t count = 0;

    out->id = admin_memory_text(m, in->member);
    out->instance = admin_memory_text(m, in->instance);
    out->client_id = admin_memory_text(m, in->client_id);
    out->client_host = admin_memory_text(m, in->client_host);
    for (int32_t i = 0; i < a->assigned_partitions_count; i++) {
        count += (size_t)a->assigned_partitions[i].partitions_count;
    }
    partitions = admin_memory_take(m, count * sizeof *partitions);
    out->partitions = partitions;
    for (int32_t i = 0; i < a->assigned_partitions_count; i++) {
        const struct kafka_consumer_assignment_topic *t = &a->assigned_partitions[i];
        char *name = admin_memory_take(m, (size_t)t->topic.length + 1);

        memcpy(name, t->topic.data, (size_t)t->topic.length);
        for (int32_t k = 0; k < t->partitions_count; k++) {
            partitions[out->partition_count++] =
                (struct cairn_topic_partition){.topic = name, .partition = t->partitions[k], .offset = -1};
        }
    }
}

static struct cairn_group_description *description_build(const Cairn__Native__GroupDescription *in)
{
    struct kafka_consumer_assignment *assignments = calloc(in->n_members + 1, sizeof *assignments);
    size_t size = ADMIN_ROUND(sizeof(struct cairn_group_description)) + ADMIN_ROUND(strlen(in->group) + 1) +
                  ADMIN_ROUND(strlen(in->state) + 1) + ADMIN_ROUND(strlen(in->protocol_type) + 1) +
                  ADMIN_ROUND(strlen(in->protocol) + 1) + ADMIN_ROUND(strlen(in->leader) + 1) +
                  ADMIN_ROUND(in->n_members * sizeof(struct cairn_group_member));
    struct cairn_group_description *d = NULL;
    struct cairn_group_member *members;
    struct kafka_arena arena;
    struct admin_memory m;

    kafka_arena_init(&arena, MEMBERSHIP_WIRE_ARENA_MAX);
    for (size_t i = 0; assignments != NULL && i < in->n_members; i++) {
        assignment_parse(in->members[i], &arena, &assignments[i]);
        size += member_size(in->members[i], &assignments[i]);
    }
    if (assignments != NULL && admin_memory_init(&m, size)) {
        d = admin_memory_take(&m, sizeof *d);
        d->name = admin_memory_text(&m, in->group);
        d->state = admin_memory_text(&m, in->state);
        d->protocol_type = admin_memory_text(&m, in->protocol_type);
        d->protocol = admin_memory_text(&m, in->protocol);
        d->leader = admin_memory_text(&m, in->leader);
        d->generation = in->generation;
        d->coordinator_node = in->coordinator_node;
        members = admin_memory_take(&m, in->n_members * sizeof *members);
        for (size_t i = 0; i < in->n_members; i++) {
            member_build(&m, in->members[i], &assignments[i], &members[i]);
        }
        d->members = members;
        d->member_count = in->n_members;
    }
    kafka_arena_close(&arena);
    free(assignments);
    return d;
}

/* A call about one group that names it inside, too, and may answer for it alone: asked again as long as that error may
 * pass. @read gives it. */
static int group_run(struct admin_call *a, const ProtobufCMessage *m, const char *what,
                     int (*read)(struct admin_call *a, void *out), void *out, struct cairn_error *error)
{
    uint64_t deadline_ns = driver_now_ns() + a->timeout_ms * NS_PER_MS;
    int rv;

    for (;;) {
        rv = admin_run_packed(a, m, what, error);
        if (rv != 0) {
            return rv;
        }
        rv = read(a, out);
        admin_release(a);
        if (rv == 0) {
            return 0;
        }
        if (!err_retriable(rv) || driver_now_ns() >= deadline_ns) {
            return rv == ERR_MALFORMED ? answer_malformed(what, error)
                                       : error_set(error, rv, "%s: %s", what, err_text(rv));
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000}, NULL);
    }
}

static int describe_read(struct admin_call *a, void *out)
{
    Cairn__Native__DescribeGroupsResponse *answer =
        cairn__native__describe_groups_response__unpack(NULL, a->answer_size, a->answer);
    struct cairn_group_description **description = out;
    int rv = ERR_MALFORMED;

    if (answer != NULL && answer->n_groups == 1) {
        rv = (int)answer->groups[0]->error;
        if (rv == 0) {
            *description = description_build(answer->groups[0]);
            rv = *description != NULL ? 0 : ERR_NOMEM;
        }
    }
    if (answer != NULL) {
        cairn__native__describe_groups_response__free_unpacked(answer, NULL);
    }
    return rv;
}

int cairn_admin_describe_group(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                               struct cairn_group_description **description, struct cairn_error *error)
{
    struct admin_call a = {
        .client = client, .call = CALL_DESCRIBE_GROUPS, .timeout_ms = timeout_ms, .repeatable = true, .group = group};
    Cairn__Native__DescribeGroupsRequest m = CAIRN__NATIVE__DESCRIBE_GROUPS_REQUEST__INIT;
    char *names[1] = {admin_borrow(group)};
    char what[160];

    snprintf(what, sizeof what, "describe group %.100s", group);
    m.groups = names;
    m.n_groups = 1;
    return group_run(&a, &m.base, what, describe_read, description, error);
}

/* ---- delete
 * ----------------------------------------------------------------------------------------------------------- */

static int delete_read(struct admin_call *a, void *out)
{
    Cairn__Native__DeleteGroupsResponse *answer =
        cairn__native__delete_groups_response__unpack(NULL, a->answer_size, a->answer);
    int rv = ERR_MALFORMED;

    if (answer != NULL) {
        rv = answer->n_groups == 1 ? (int)answer->groups[0]->error : rv;
        cairn__native__delete_groups_response__free_unpacked(answer, NULL);
    }
    return rv;
}

int cairn_admin_delete_group(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                             struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_DELETE_GROUPS, .timeout_ms = timeout_ms, .group = group};
    Cairn__Native__DeleteGroupsRequest m = CAIRN__NATIVE__DELETE_GROUPS_REQUEST__INIT;
    char *names[1] = {admin_borrow(group)};
    char what[160];

    snprintf(what, sizeof what, "delete group %.100s", group);
    m.groups = names;
    m.n_groups = 1;
    return group_run(&a, &m.base, what, delete_read, NULL, error);
}

/* ---- lag
 * -------------------------------------------------------------------------------------------------------------- */

static int lag_compare(const void *a, const void *b)
{
    const struct cairn_partition_lag *x = a;
    const struct cairn_partition_lag *y = b;
    int n = strcmp(x->topic, y->topic);

    return n != 0 ? n : (x->partition > y->partition) - (x->partition < y->partition);
}

static struct cairn_group_lag *lag_build(const Cairn__Native__GroupLag *in)
{
    size_t size = ADMIN_ROUND(sizeof(struct cairn_group_lag)) + ADMIN_ROUND(strlen(in->group) + 1) +
                  ADMIN_ROUND(in->n_partitions * sizeof(struct cairn_partition_lag));
    struct cairn_partition_lag *partitions;
    struct cairn_group_lag *lag;
    struct admin_memory m;

    for (size_t i = 0; i < in->n_partitions; i++) {
        size += ADMIN_ROUND(strlen(in->partitions[i]->topic) + 1);
    }
    if (!admin_memory_init(&m, size)) {
        return NULL;
    }
    lag = admin_memory_take(&m, sizeof *lag);
    lag->name = admin_memory_text(&m, in->group);
    partitions = admin_memory_take(&m, in->n_partitions * sizeof *partitions);
    for (size_t i = 0; i < in->n_partitions; i++) {
        const Cairn__Native__PartitionLag *p = in->partitions[i];
        partitions[i] = (struct cairn_partition_lag){.topic = admin_memory_text(&m, p->topic),
                                                     .partition = (int32_t)p->partition,
                                                     .offset = p->offset,
                                                     .end_offset = p->end_offset,
                                                     .lag = p->lag,
                                                     .lag_ms = p->lag_ms,
                                                     .code = (int)p->error};
    }
    qsort(partitions, in->n_partitions, sizeof *partitions, lag_compare);
    lag->partitions = partitions;
    lag->count = in->n_partitions;
    return lag;
}

static int lag_read(struct admin_call *a, void *out)
{
    Cairn__Native__GroupLagResponse *answer =
        cairn__native__group_lag_response__unpack(NULL, a->answer_size, a->answer);
    struct cairn_group_lag **lag = out;
    int rv = ERR_MALFORMED;

    if (answer != NULL && answer->n_groups == 1) {
        rv = (int)answer->groups[0]->error;
        if (rv == 0) {
            *lag = lag_build(answer->groups[0]);
            rv = *lag != NULL ? 0 : ERR_NOMEM;
        }
    }
    if (answer != NULL) {
        cairn__native__group_lag_response__free_unpacked(answer, NULL);
    }
    return rv;
}

int cairn_admin_group_lag(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                          struct cairn_group_lag **lag, struct cairn_error *error)
{
    struct admin_call a = {.client = client,
                           .call = CALL_GROUP_LAG,
                           .timeout_ms = timeout_ms,
                           .repeatable = true,
                           .patient = true,
                           .group = group};
    Cairn__Native__GroupLagRequest m = CAIRN__NATIVE__GROUP_LAG_REQUEST__INIT;
    char *names[1] = {admin_borrow(group)};
    char what[160];

    snprintf(what, sizeof what, "lag of group %.100s", group);
    m.groups = names;
    m.n_groups = 1;
    return group_run(&a, &m.base, what, lag_read, lag, error);
}

/* ---- offsets
 * ---------------------------------------------------------------------------------------------------------- */

static int offset_compare(const void *a, const void *b)
{
    const struct cairn_topic_partition *x = a;
    const struct cairn_topic_partition *y = b;
    int n = strcmp(x->topic, y->topic);

    return n != 0 ? n : (x->partition > y->partition) - (x->partition < y->partition);
}

static struct cairn_group_offsets *offsets_build(const Cairn__Native__FetchOffsetsResponse *in)
{
    size_t size = ADMIN_ROUND(sizeof(struct cairn_group_offsets)) +
                  ADMIN_ROUND(in->n_offsets * sizeof(struct cairn_topic_partition));
    struct cairn_topic_partition *partitions;
    struct cairn_group_offsets *out;
    struct admin_memory m;

    for (size_t i = 0; i < in->n_offsets; i++) {
        size += ADMIN_ROUND(strlen(in->offsets[i]->topic) + 1);
    }
    if (!admin_memory_init(&m, size)) {
        return NULL;
    }
    out = admin_memory_take(&m, sizeof *out);
    partitions = admin_memory_take(&m, in->n_offsets * sizeof *partitions);
    for (size_t i = 0; i < in->n_offsets; i++) {
        const Cairn__Native__FetchedOffset *o = in->offsets[i];
        if (o->error == 0 && o->offset >= 0) {
            partitions[out->count++] = (struct cairn_topic_partition){
                .topic = admin_memory_text(&m, o->topic), .partition = (int32_t)o->partition, .offset = o->offset};
        }
    }
    qsort(partitions, out->count, sizeof *partitions, offset_compare);
    out->partitions = partitions;
    return out;
}

static int offsets_read(struct admin_call *a, void *out)
{
    Cairn__Native__FetchOffsetsResponse *answer =
        cairn__native__fetch_offsets_response__unpack(NULL, a->answer_size, a->answer);
    struct cairn_group_offsets **offsets = out;

    if (answer == NULL) {
        return ERR_MALFORMED;
    }
    *offsets = offsets_build(answer);
    cairn__native__fetch_offsets_response__free_unpacked(answer, NULL);
    return *offsets != NULL ? 0 : ERR_NOMEM;
}

int cairn_admin_group_offsets(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                              struct cairn_group_offsets **offsets, struct cairn_error *error)
{
    struct admin_call a = {
        .client = client, .call = CALL_FETCH_OFFSETS, .timeout_ms = timeout_ms, .repeatable = true, .group = group};
    Cairn__Native__FetchOffsetsRequest m = CAIRN__NATIVE__FETCH_OFFSETS_REQUEST__INIT;
    char what[160];

    snprintf(what, sizeof what, "offsets of group %.100s", group);
    m.group = admin_borrow(group);
    return group_run(&a, &m.base, what, offsets_read, offsets, error);
}

/* ---- set offsets
 * ------------------------------------------------------------------------------------------------------ */

static int commit_read(struct admin_call *a, void *out)
{
    Cairn__Native__CommitOffsetsResponse *answer =
        cairn__native__commit_offsets_response__unpack(NULL, a->answer_size, a->answer);
    int rv = 0;

    if (answer == NULL) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < answer->n_offsets && rv == 0; i++) {
        rv = (int)answer->offsets[i]->error;
    }
    cairn__native__commit_offsets_response__free_unpacked(answer, NULL);
    return rv;
}

/* The id of @offsets[i]'s topic: the last one's, or asked for. */
static int commit_topic(struct cairn_client *client, const struct cairn_topic_partition *offsets, size_t i,
                        uint8_t (*ids)[CAIRN_ID_SIZE], uint32_t timeout_ms, struct cairn_error *error)
{
    struct cairn_topic_info *info;
    int rv;

    if (i > 0 && strcmp(offsets[i].topic, offsets[i - 1].topic) == 0) {
        memcpy(ids[i], ids[i - 1], CAIRN_ID_SIZE);
        return 0;
    }
    rv = cairn_admin_describe_topic(client, offsets[i].topic, timeout_ms, &info, error);
    if (rv == 0) {
        memcpy(ids[i], info->id, CAIRN_ID_SIZE);
        cairn_topic_info_free(info);
    }
    return rv;
}

int cairn_admin_commit_group(struct cairn_client *client, const char *group,
                             const struct cairn_topic_partition *offsets, size_t count, uint32_t timeout_ms,
                             struct cairn_error *error)
{
    struct admin_call a = {
        .client = client, .call = CALL_COMMIT_OFFSETS, .timeout_ms = timeout_ms, .repeatable = true, .group = group};
    Cairn__Native__CommitOffsetsRequest m = CAIRN__NATIVE__COMMIT_OFFSETS_REQUEST__INIT;
    Cairn__Native__CommitOffset *items = calloc(count + 1, sizeof *items);
    Cairn__Native__CommitOffset **pointers = calloc(count + 1, sizeof *pointers);
    uint8_t(*ids)[CAIRN_ID_SIZE] = calloc(count + 1, sizeof *ids);
    char what[160];
    int rv = 0;

    snprintf(what, sizeof what, "set offsets of group %.100s", group);
    if (items == NULL || pointers == NULL || ids == NULL) {
        rv = answer_nomem(what, error);
    }
    for (size_t i = 0; i < count && rv == 0; i++) {
        rv = commit_topic(client, offsets, i, ids, timeout_ms, error);
        cairn__native__commit_offset__init(&items[i]);
        items[i].topic_id.data = ids[i];
        items[i].topic_id.len = CAIRN_ID_SIZE;
        items[i].partition = (uint32_t)offsets[i].partition;
        items[i].offset = offsets[i].offset;
        pointers[i] = &items[i];
    }
    m.group = admin_borrow(group);
    m.generation = -1;
    m.offsets = pointers;
    m.n_offsets = count;
    rv = rv == 0 ? group_run(&a, &m.base, what, commit_read, NULL, error) : rv;
    free(items);
    free(pointers);
    free(ids);
    return rv;
}

void cairn_group_offsets_free(struct cairn_group_offsets *offsets)
{
    free(offsets);
}

void cairn_group_list_free(struct cairn_group_list *list)
{
    free(list);
}

void cairn_group_description_free(struct cairn_group_description *description)
{
    free(description);
}

void cairn_group_lag_free(struct cairn_group_lag *lag)
{
    free(lag);
}
