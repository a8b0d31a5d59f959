/* Offsets that consumer groups have committed: commit, fetch, delete. */
#include <stdlib.h>

#include "node/native/native_group.h"

/* Zeroed parts for the one call of @r, which keeps them. NULL: out of memory. */
static struct coordinator_part *parts_new(struct group_request *r, size_t n)
{
    r->memory = calloc(n + 1, sizeof(struct coordinator_part));
    return r->memory;
}

/* A topic id that is none is answered as a topic that does not exist: the nil one is nobody's. */
static void set_topic(struct coordinator_part *part, const ProtobufCBinaryData *topic_id, uint32_t partition)
{
    if (!native_uuid(topic_id, &part->topic)) {
        part->topic_name = "";
    }
    part->partition = partition > INT32_MAX ? INT32_MAX : (int32_t)partition;
}

/* ---- commit ----------------------------------------------------------------------------------------------------- */

static void committed(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_commit *commit = &g->calls[0].op.u.commit;
    Cairn__Native__CommitOffsetsResponse response = CAIRN__NATIVE__COMMIT_OFFSETS_RESPONSE__INIT;
    void *block = NULL;
    void **results;

    if (commit->request.error != 0) {
        group_request_fail(r, commit->request.error, commit->group, NULL);
        return;
    }
    results = group_messages_new(commit->n_parts, sizeof(Cairn__Native__CommitOffsetResult), &block);
    if (results == NULL) { /* committed, but there is no telling which */
        native_fail(&r->request, ERR_UNKNOWN_OUTCOME, NULL);
        return;
    }
    for (uint32_t i = 0; i < commit->n_parts; i++) {
        Cairn__Native__CommitOffsetResult *result = results[i];
        cairn__native__commit_offset_result__init(result);
        result->topic_id = native_uuid_bytes(&commit->parts[i].topic);
        result->partition = (uint32_t)commit->parts[i].partition;
        result->error = (uint32_t)commit->parts[i].error;
    }
    response.n_offsets = commit->n_parts;
    response.offsets = (Cairn__Native__CommitOffsetResult **)results;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

int native_commit_offsets(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__commit_offsets_request__descriptor);
    const Cairn__Native__CommitOffsetsRequest *m = (const Cairn__Native__CommitOffsetsRequest *)(const void *)message;
    struct coordinator_commit *commit;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_COMMIT, &r);
    if (rv != 0) {
        return rv;
    }
    commit = &r->groups->calls[0].op.u.commit;
    commit->group = m->group;
    commit->member = m->member;
    commit->instance = group_instance(m->instance);
    commit->generation = m->generation;
    commit->retention_ms = m->retention_ms <= 0 ? -1 : m->retention_ms;
    commit->parts = parts_new(r, m->n_offsets);
    commit->n_parts = (uint32_t)m->n_offsets;
    if (commit->parts == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    for (size_t i = 0; i < m->n_offsets; i++) {
        const Cairn__Native__CommitOffset *in = m->offsets[i];
        struct coordinator_part *part = &commit->parts[i];
        set_topic(part, &in->topic_id, in->partition);
        part->offset = in->offset;
        part->leader_epoch = in->leader_epoch == 0 || in->leader_epoch > INT32_MAX ? -1 : (int32_t)in->leader_epoch;
        part->metadata = in->metadata.data;
        part->metadata_size = (uint32_t)in->metadata.len;
    }
    group_request_ask(r, committed);
    return 0;
}

/* ---- fetch ------------------------------------------------------------------------------------------------------ */

static void fetched(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_fetch *fetch = &g->calls[0].op.u.fetch;
    Cairn__Native__FetchOffsetsResponse response = CAIRN__NATIVE__FETCH_OFFSETS_RESPONSE__INIT;
    void *block = NULL;
    void **offsets;

    if (fetch->request.error != 0) {
        group_request_fail(r, fetch->request.error, fetch->group, NULL);
        return;
    }
    offsets = group_messages_new(fetch->n_parts, sizeof(Cairn__Native__FetchedOffset), &block);
    if (offsets == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    for (uint32_t i = 0; i < fetch->n_parts; i++) {
        struct coordinator_part *part = &fetch->parts[i];
        Cairn__Native__FetchedOffset *offset = offsets[i];
        cairn__native__fetched_offset__init(offset);
        offset->topic_id = native_uuid_bytes(&part->topic);
        offset->topic = (char *)(uintptr_t)(part->topic_name == NULL ? "" : part->topic_name);
        offset->partition = (uint32_t)part->partition;
        offset->offset = part->offset;
        offset->leader_epoch = part->leader_epoch < 0 ? 0 : (uint64_t)part->leader_epoch;
        offset->metadata = group_bytes(part->metadata_out);
        offset->error = (uint32_t)part->error;
    }
    response.n_offsets = fetch->n_parts;
    response.offsets = (Cairn__Native__FetchedOffset **)offsets;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

int native_fetch_offsets(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__fetch_offsets_request__descriptor);
    const Cairn__Native__FetchOffsetsRequest *m = (const Cairn__Native__FetchOffsetsRequest *)(const void *)message;
    struct coordinator_fetch *fetch;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_FETCH, &r);
    if (rv != 0) {
        return rv;
    }
    fetch = &r->groups->calls[0].op.u.fetch;
    fetch->group = m->group;
    fetch->all = m->n_partitions == 0;
    if (!fetch->all) {
        fetch->parts = parts_new(r, m->n_partitions);
        fetch->n_parts = (uint32_t)m->n_partitions;
        if (fetch->parts == NULL) {
            native_fail(&r->request, ERR_NOMEM, NULL);
            return 0;
        }
        for (size_t i = 0; i < m->n_partitions; i++) {
            set_topic(&fetch->parts[i], &m->partitions[i]->topic_id, m->partitions[i]->partition);
        }
    }
    group_request_ask(r, fetched);
    return 0;
}

/* ---- delete ----------------------------------------------------------------------------------------------------- */

static void forgotten(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_forget *forget = &g->calls[0].op.u.forget;
    Cairn__Native__DeleteOffsetsResponse response = CAIRN__NATIVE__DELETE_OFFSETS_RESPONSE__INIT;
    void *block = NULL;
    void **results;

    if (forget->request.error != 0) {
        group_request_fail(r, forget->request.error, forget->group, NULL);
        return;
    }
    results = group_messages_new(forget->n_parts, sizeof(Cairn__Native__DeleteOffsetResult), &block);
    if (results == NULL) {
        native_fail(&r->request, ERR_UNKNOWN_OUTCOME, NULL);
        return;
    }
    for (uint32_t i = 0; i < forget->n_parts; i++) {
        Cairn__Native__DeleteOffsetResult *result = results[i];
        cairn__native__delete_offset_result__init(result);
        result->topic_id = native_uuid_bytes(&forget->parts[i].topic);
        result->partition = (uint32_t)forget->parts[i].partition;
        result->error = (uint32_t)forget->parts[i].error;
    }
    response.n_offsets = forget->n_parts;
    response.offsets = (Cairn__Native__DeleteOffsetResult **)results;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

int native_delete_offsets(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__delete_offsets_request__descriptor);
    const Cairn__Native__DeleteOffsetsRequest *m = (const Cairn__Native__DeleteOffsetsRequest *)(const void *)message;
    struct coordinator_forget *forget;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_FORGET, &r);
    if (rv != 0) {
        return rv;
    }
    forget = &r->groups->calls[0].op.u.forget;
    forget->group = m->group;
    forget->parts = parts_new(r, m->n_partitions);
    forget->n_parts = (uint32_t)m->n_partitions;
    if (forget->parts == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    for (size_t i = 0; i < m->n_partitions; i++) {
        set_topic(&forget->parts[i], &m->partitions[i]->topic_id, m->partitions[i]->partition);
    }
    group_request_ask(r, forgotten);
    return 0;
}
