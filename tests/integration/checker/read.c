/* Readers: one a partition that follows the log while it grows, and one that reads it all again in the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/checker/checker.h"

#define RETRY_US 20000

static struct ck_reader *readers_new(const struct checker *ck, bool again)
{
    struct ck_reader *readers = calloc(ck->n_partitions, sizeof *readers);
    for (uint32_t i = 0; readers != NULL && i < ck->n_partitions; i++) {
        readers[i].partition = i;
        readers[i].again = again;
        readers[i].end = -1;
        readers[i].sequences = calloc(ck->args.streams + 1, sizeof(uint64_t));
        if (readers[i].sequences == NULL) {
            return NULL;
        }
    }
    return readers;
}

int read_init(struct checker *ck, char *errmsg)
{
    uint32_t n = ck->n_partitions;
    ck->follow = readers_new(ck, false);
    ck->again = readers_new(ck, true);
    ck->begin = calloc(n, sizeof *ck->begin);
    ck->end = calloc(n, sizeof *ck->end);
    ck->listing = calloc(n, sizeof *ck->listing);
    ck->listed = calloc(n, sizeof *ck->listed);
    ck->seen = calloc(n, sizeof *ck->seen);
    ck->n_seen = calloc(n, sizeof *ck->n_seen);
    ck->seen_capacity = calloc(n, sizeof *ck->seen_capacity);
    if (ck->follow == NULL || ck->again == NULL || ck->begin == NULL || ck->end == NULL || ck->listing == NULL ||
        ck->listed == NULL || ck->seen == NULL || ck->n_seen == NULL || ck->seen_capacity == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "out of memory");
        return ERR_NOMEM;
    }
    return 0;
}

static void readers_free(struct ck_reader *readers, uint32_t n)
{
    for (uint32_t i = 0; readers != NULL && i < n; i++) {
        free(readers[i].sequences);
    }
    free(readers);
}

void read_close(struct checker *ck)
{
    for (uint32_t i = 0; ck->seen != NULL && i < ck->n_partitions; i++) {
        free(ck->seen[i]);
    }
    readers_free(ck->follow, ck->n_partitions);
    readers_free(ck->again, ck->n_partitions);
    free(ck->begin);
    free(ck->end);
    free(ck->listing);
    free(ck->listed);
    free(ck->seen);
    free(ck->n_seen);
    free(ck->seen_capacity);
    free(ck->directs);
}

/* ---- fetch ------------------------------------------------------------------------------------------------------------------- */

static void take_part(struct checker *ck, struct ck_reader *reader, const Cairn__Native__FetchPartitionResult *r,
                      const struct frame *frame)
{
    if (r->error != 0) {
        reader->retry_us = ck->now_us + RETRY_US;
        meta_want(ck);
        if (r->error == ERR_NOT_LEADER) {
            meta_hint(ck, reader->partition, r->leader_node, r->leader_epoch, "fetch");
        } else if (!err_retriable((int)r->error)) {
            violation(ck, reader->partition, reader->next, "fetch was refused: %s", err_name((int)r->error));
        }
        return;
    }
    if (r->size != frame->header.payload_length) {
        violation(ck, reader->partition, reader->next, "a fetch response of %u bytes says that it has %u",
                  frame->header.payload_length, r->size);
        return;
    }
    if (r->high_watermark < reader->high_watermark) {
        violation(ck, reader->partition, reader->next, "the high watermark went back from %lld to %lld",
                  (long long)reader->high_watermark, (long long)r->high_watermark);
    } else {
        reader->high_watermark = r->high_watermark;
    }
    verify_batches(ck, reader, frame->payload, r->size);
}

static void fetched(struct checker *ck, struct ck_request *request, int status, const struct frame *frame)
{
    struct ck_reader *reader = request->owner;
    Cairn__Native__FetchResponse *m;

    reader->busy = false;
    if (status != 0 || frame == NULL) {
        reader->retry_us = ck->now_us + RETRY_US;
        meta_want(ck);
        return;
    }
    m = cairn__native__fetch_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL || m->n_partitions != 1 || m->partitions[0]->partition != reader->partition) {
        violation(ck, reader->partition, reader->next, "a fetch response that does not fit its request");
    } else {
        take_part(ck, reader, m->partitions[0], frame);
    }
    if (m != NULL) {
        cairn__native__fetch_response__free_unpacked(m, NULL);
    }
}

static void fetch(struct checker *ck, struct ck_reader *reader)
{
    int leader = meta_leader(ck, reader->partition);
    struct ck_conn *conn = leader < 0 ? NULL : conn_to(ck, OWNER_READER, (uint32_t)leader);
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition part = CAIRN__NATIVE__FETCH_PARTITION__INIT;
    Cairn__Native__FetchPartition *parts[1] = {&part};
    struct ck_request request = {.done = fetched, .owner = reader, .partition = reader->partition};

    if (conn == NULL) {
        meta_want(ck);
        return;
    }
    part.topic_id.data = ck->topic_id.bytes;
    part.topic_id.len = sizeof ck->topic_id.bytes;
    part.partition = reader->partition;
    part.offset = reader->next;
    part.max_bytes = FETCH_MAX_BYTES;
    m.partitions = parts;
    m.n_partitions = 1;
    m.max_wait_ms = FETCH_WAIT_MS;
    m.min_bytes = 1;
    m.max_bytes = FETCH_MAX_BYTES;
    reader->busy = true;
    conn_request(conn, CALL_FETCH, &m.base, NULL, 0, &request);
}

void read_tick(struct checker *ck, struct ck_reader *readers)
{
    for (uint32_t i = 0; i < ck->n_partitions; i++) {
        struct ck_reader *reader = &readers[i];
        if (!reader->busy && ck->now_us >= reader->retry_us && (reader->end < 0 || reader->next < reader->end)) {
            fetch(ck, reader);
        }
    }
}

bool read_finished(const struct checker *ck, const struct ck_reader *readers, const int64_t *end)
{
    for (uint32_t i = 0; i < ck->n_partitions; i++) {
        if (readers[i].next < end[i] || readers[i].busy) {
            return false;
        }
    }
    return true;
}

/* ---- end offsets --------------------------------------------------------------------------------------------------------------- */

static void listed(struct checker *ck, struct ck_request *request, int status, const struct frame *frame)
{
    int64_t *out = request->owner;
    uint32_t partition = request->partition;
    Cairn__Native__ListOffsetsResponse *m;

    ck->listing[partition] = false;
    ck->list_retry_us = ck->now_us + RETRY_US;
    if (status != 0 || frame == NULL) {
        meta_want(ck);
        return;
    }
    m = cairn__native__list_offsets_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL || m->n_partitions != 1 || m->partitions[0]->partition != partition) {
        violation(ck, partition, -1, "a list offsets response that does not fit its request");
    } else if (m->partitions[0]->error == 0) {
        out[partition] = m->partitions[0]->offset;
        ck->listed[partition] = true;
    } else {
        meta_hint(ck, partition, m->partitions[0]->leader_node, m->partitions[0]->leader_epoch, "list offsets");
        meta_want(ck);
    }
    if (m != NULL) {
        cairn__native__list_offsets_response__free_unpacked(m, NULL);
    }
}

static void list_one(struct checker *ck, uint32_t partition, int64_t *out)
{
    int leader = meta_leader(ck, partition);
    struct ck_conn *conn = leader < 0 ? NULL : conn_to(ck, OWNER_READER, (uint32_t)leader);
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition part = CAIRN__NATIVE__LIST_OFFSETS_PARTITION__INIT;
    Cairn__Native__ListOffsetsPartition *parts[1] = {&part};
    struct ck_request request = {.done = listed, .owner = out, .partition = partition};

    if (conn == NULL) {
        meta_want(ck);
        return;
    }
    part.topic_id.data = ck->topic_id.bytes;
    part.topic_id.len = sizeof ck->topic_id.bytes;
    part.partition = partition;
    part.timestamp_ms = -1;
    m.partitions = parts;
    m.n_partitions = 1;
    ck->listing[partition] = true;
    conn_request(conn, CALL_LIST_OFFSETS, &m.base, NULL, 0, &request);
}

bool read_list_offsets(struct checker *ck, int64_t *out)
{
    bool all = true;
    for (uint32_t i = 0; i < ck->n_partitions; i++) {
        if (!ck->listed[i]) {
            all = false;
            if (!ck->listing[i] && ck->now_us >= ck->list_retry_us) {
                list_one(ck, i, out);
            }
        }
    }
    if (all) {
        memset(ck->listed, 0, ck->n_partitions * sizeof *ck->listed);
    }
    return all;
}
