/* Fetch and list offsets: committed batches by offset or time, and the purgatory of fetches that wait for more. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/shard/shard_internal.h"
#include "proto/base/mutant.h"

static void fetch_try(struct partition *p, struct partition_fetch *fetch);
static void fetch_read(struct partition *p, struct partition_fetch *fetch);

static void fetch_finish(struct partition_fetch *fetch, int error)
{
    struct partition *p = partition_find(fetch->op.shard, fetch->group);
    fetch->error = error;
    /* What was found before stands, and so does who told it: it may have been deposed since. */
    if (error == 0 || fetch->n == 0) {
        partition_fill_end(p, &fetch->where, error, fetch->term);
    }
    shard_op_complete(&fetch->op);
}

void partition_fetch_release(struct partition_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->n; i++) {
        entry_release(fetch->entries[i]);
    }
    free(fetch->entries);
    fetch->entries = NULL;
    fetch->n = 0;
    fetch->bytes = 0;
}

static void fetch_confirmed(struct group_barrier *barrier, int status)
{
    struct partition_fetch *fetch = container_of(barrier, struct partition_fetch, barrier);
    struct partition *p = partition_find(fetch->op.shard, fetch->group);
    if (p == NULL) {
        fetch_finish(fetch, ERR_UNKNOWN_TOPIC);
        return;
    }
    if (status != 0) {
        fetch_finish(fetch, ERR_NOT_LEADER);
        return;
    }
    fetch->confirmed = true;
    fetch_try(p, fetch);
}

static void fetch_confirm(struct partition *p, struct partition_fetch *fetch)
{
    int rv;
    fetch->barrier.done = fetch_confirmed;
    rv = group_barrier(p->group, &fetch->barrier);
    if (rv != 0) {
        fetch_finish(fetch, rv);
    }
}

/* The read's entries, which it takes over, behind those that the fetch has. False: no memory, they are dropped. */
static bool fetch_add(struct partition_fetch *fetch, struct entry **entries, uint32_t n)
{
    struct entry **grown;
    if (fetch->entries == NULL) {
        fetch->entries = entries;
        fetch->n = n;
        return true;
    }
    grown = realloc(fetch->entries, (fetch->n + (size_t)n) * sizeof *grown);
    if (grown != NULL) {
        memcpy(grown + fetch->n, entries, n * sizeof *grown);
        fetch->entries = grown;
        fetch->n += n;
    }
    for (uint32_t i = 0; grown == NULL && i < n; i++) {
        entry_release(entries[i]);
    }
    free(entries);
    return grown != NULL;
}

/* Keep the batches, drop Raft's own entries, what lies before the asked offset, and what is committed but not applied yet:
 * the answer names the high watermark, and nothing above it is served. */
static int fetch_keep(struct partition_fetch *fetch, int64_t high_watermark)
{
    struct wal_read *read = &fetch->read;
    int64_t position = fetch->position;
    uint32_t bytes = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < read->n; i++) {
        struct entry *entry = read->entries[i];
        struct record_batch_header batch;
        if (entry->kind == ENTRY_BATCH && record_batch_peek(entry->data, entry->length, &batch) == 0 &&
            record_batch_offset_next(&batch) > position &&
            (record_batch_offset_next(&batch) <= high_watermark || MUTANT(SERVE_ABOVE_HIGH_WATERMARK))) {
            read->entries[n++] = entry;
            bytes += entry->length;
            position = record_batch_offset_next(&batch);
        } else {
            entry_release(entry);
        }
    }
    if (!fetch_add(fetch, read->entries, n)) {
        return ERR_NOMEM;
    }
    fetch->bytes += bytes;
    fetch->position = position;
    fetch->op.shard->stats.fetched_bytes += bytes;
    return 0;
}

/* The disk fails a read now and then; a place that stays unreadable is as good as rotten. It takes a while to tell: many
 * clients read the same place at the same moment. */
static bool stays_unreadable(struct partition *p, uint64_t index)
{
    uint64_t now_ms = env_now_ms(p->shard->env);
    if (p->unreadable != index || p->unreadable_n == 0) {
        p->unreadable = index;
        p->unreadable_n = 0;
        p->unreadable_ms = now_ms;
    }
    p->unreadable_n++;
    return p->unreadable_n >= SHARD_READ_FAILURES_MAX && now_ms - p->unreadable_ms >= SHARD_UNREADABLE_MS;
}

static void read_well(struct partition *p, const struct wal_read *read)
{
    if (p != NULL && p->unreadable == read->first) {
        p->unreadable_n = 0;
    }
}

/* An entry that rotted stops its replica (I6), and the client finds another one. */
static int read_failed(struct partition *p, const struct wal_read *read, int status)
{
    if (p != NULL && (status == ERR_CORRUPT || (status == ERR_IO && stays_unreadable(p, read->first)))) {
        group_damaged(p->group, "an entry read for a client is corrupt");
        return ERR_NOT_LEADER;
    }
    return status == ERR_NOT_FOUND || status == ERR_IO ? ERR_LEADER_NOT_READY : status; /* moved away, or not now: ask again */
}

/* One read less: who waits for its turn goes on. */
static void reading_ended(struct partition_fetch *done)
{
    struct shard *shard = done->op.shard;
    struct list *pos;
    shard->reading_bytes -= done->reading_bytes;
    while (shard->reading_bytes < SHARD_READING_MAX_BYTES && (pos = list_pop_front(&shard->readers)) != NULL) {
        struct partition_fetch *fetch = list_entry(pos, struct partition_fetch, link);
        struct partition *p = partition_find(shard, fetch->group);
        fetch->parked = false;
        if (p == NULL) {
            fetch_finish(fetch, ERR_UNKNOWN_TOPIC);
        } else {
            fetch_read(p, fetch);
        }
    }
}

static void fetch_read_done(struct wal_read *read, int status)
{
    struct partition_fetch *fetch = container_of(read, struct partition_fetch, read);
    struct partition *p = partition_find(fetch->op.shard, fetch->group);
    if (status == 0) {
        read_well(p, read);
        status = fetch_keep(fetch, p == NULL ? 0 : partition_fsm_high_watermark(p->fsm));
        status = p == NULL ? ERR_UNKNOWN_TOPIC : status;
    } else {
        status = read_failed(p, read, status);
    }
    fetch_finish(fetch, status);
}

static void fetch_read_later(struct wal_read *read, int status)
{
    struct partition_fetch *fetch = container_of(read, struct partition_fetch, read);
    reading_ended(fetch);
    fetch_read_done(read, status);
}

static void fetch_read(struct partition *p, struct partition_fetch *fetch)
{
    struct shard *shard = p->shard;
    struct wal_group *log = wal_group_find(shard->wal, p->id);
    uint32_t max_bytes = fetch->max_bytes;
    uint64_t index = 0;
    int rv = partition_fsm_find_offset(p->fsm, fetch->position, &index);
    if (rv != 0) {
        fetch_finish(fetch, rv);
        return;
    }
    /* What comes from the disk takes memory of its own: so many at a time, the others in their order. */
    if (shard->reading_bytes >= SHARD_READING_MAX_BYTES && (log == NULL || wal_cached(log, index) == NULL)) {
        fetch->parked = true;
        list_push_back(&shard->readers, &fetch->link);
        return;
    }
    if (max_bytes == 0 || max_bytes > SHARD_FETCH_BYTES_MAX) {
        max_bytes = SHARD_FETCH_BYTES_MAX;
    }
    fetch->read = (struct wal_read){
        .group = p->id,
        .first = index,
        .n_max = WAL_READ_ENTRIES_MAX,
        .bytes_max = max_bytes > fetch->bytes ? max_bytes - fetch->bytes : 0,
        .done = fetch_read_later,
    };
    /* One batch always comes, however little was asked for. */
    fetch->reading_bytes = max_bytes > SHARD_READING_MIN_BYTES ? max_bytes : SHARD_READING_MIN_BYTES;
    shard->reading_bytes += fetch->reading_bytes;
    if (group_read(p->group, &fetch->read)) {
        shard->reading_bytes -= fetch->reading_bytes;
        fetch_read_done(&fetch->read, 0);
    }
}

static void fetch_try(struct partition *p, struct partition_fetch *fetch)
{
    int64_t high_watermark = partition_fsm_high_watermark(p->fsm);
    int rv = partition_check_leading(p);
    if (rv != 0 && !MUTANT(FETCH_FROM_FOLLOWER)) {
        fetch_finish(fetch, rv);
        return;
    }
    fetch->term = p->term;
    /* After a stall another leader may have been elected: nothing is said before a quorum has confirmed this one. An
     * offset out of range makes consumers reset, so it is never said on this replica's word alone. */
    if (!fetch->confirmed && (!group_confirmed(p->group) || fetch->position > high_watermark ||
                              fetch->position < partition_fsm_log_start(p->fsm)) &&
        !MUTANT(OUT_OF_RANGE_WITHOUT_BARRIER) && !MUTANT(FETCH_FROM_FOLLOWER)) {
        fetch_confirm(p, fetch);
        return;
    }
    if (fetch->position == high_watermark) {
        if (fetch->wait && !fetch->cancelled) {
            fetch->parked = true;
            fetch->confirmed = false; /* the loop may stall before it is woken */
            list_push_back(&p->parked, &fetch->link);
        } else {
            fetch_finish(fetch, 0);
        }
        return;
    }
    fetch_read(p, fetch);
}

void partition_fetch_run(struct shard *shard, struct shard_op *op)
{
    struct partition_fetch *fetch = container_of(op, struct partition_fetch, op);
    struct partition *p = partition_find(shard, fetch->group);
    fetch->confirmed = false;
    if (fetch->n == 0) {
        fetch->position = fetch->offset;
    }
    if (p == NULL) {
        fetch->error = ERR_UNKNOWN_TOPIC;
        shard_op_complete(op);
        return;
    }
    fetch_try(p, fetch);
}

void partition_wake_fetches(struct partition *p)
{
    bool leads = partition_check_leading(p) == 0;
    struct list ready;
    struct list *at;

    list_init(&ready);
    list_for_each_safe(pos, &p->parked)
    {
        struct partition_fetch *fetch = list_entry(pos, struct partition_fetch, link);
        if (!leads || partition_fsm_high_watermark(p->fsm) > fetch->position) {
            list_remove(pos);
            list_push_back(&ready, pos);
        }
    }
    /* The end of one may cancel others, here and in the list of parked ones: each time from the front. */
    while ((at = list_pop_front(&ready)) != NULL) {
        struct partition_fetch *fetch = list_entry(at, struct partition_fetch, link);
        fetch->parked = false;
        fetch_try(p, fetch);
    }
}

void partition_end_readers(struct shard *shard)
{
    struct list *pos;
    while ((pos = list_pop_front(&shard->readers)) != NULL) {
        struct partition_fetch *fetch = list_entry(pos, struct partition_fetch, link);
        fetch->parked = false;
        fetch_finish(fetch, ERR_SHUTDOWN);
    }
}

static void cancel_run(struct shard *shard, struct shard_op *op)
{
    struct partition_fetch *fetch = container_of(op, struct partition_fetch, cancel);
    fetch->cancelled = true;
    if (fetch->parked) {
        fetch->parked = false;
        list_remove(&fetch->link);
        fetch_finish(fetch, 0);
    }
    shard_op_complete(op);
}

void partition_fetch_cancel(struct shards *set, struct partition_fetch *fetch, void (*cancelled)(struct shard_op *op))
{
    fetch->cancel.run = cancel_run;
    fetch->cancel.done = cancelled;
    shards_submit(set, fetch->group, &fetch->cancel);
}

/* ---- list offsets --------------------------------------------------------------------------------------------------- */

static void list_finish(struct partition_list_offsets *list, int error)
{
    struct partition *p = partition_find(list->op.shard, list->group);
    list->error = error;
    partition_fill_end(p, &list->where, error, list->term);
    shard_op_complete(&list->op);
}

/* The batch may begin before the asked time: walk its records. */
static void list_read_done(struct wal_read *read, int status)
{
    struct partition_list_offsets *list = container_of(read, struct partition_list_offsets, read);
    struct record_iter it;
    struct record record;
    int rv = status;

    if (rv == 0) {
        rv = record_iter_init(&it, read->entries[0]->data, read->entries[0]->length, &list->op.shard->scratch);
        while (rv == 0 && record_iter_next(&it, &record)) {
            if (record.timestamp >= list->time_ms && record.offset >= list->offset) {
                list->offset = record.offset;
                list->timestamp_ms = record.timestamp;
                break;
            }
        }
        for (uint32_t i = 0; i < read->n; i++) {
            entry_release(read->entries[i]);
        }
        free(read->entries);
        read->entries = NULL;
        rv = 0; /* records that we cannot open: the batch's first offset stands as the answer */
    } else {
        rv = read_failed(partition_find(list->op.shard, list->group), read, rv);
    }
    list_finish(list, rv);
}

static void list_by_time(struct partition *p, struct partition_list_offsets *list)
{
    uint64_t index = 0;
    int rv = partition_fsm_find_time(p->fsm, list->time_ms, &list->offset, &index);
    if (rv == ERR_NOT_FOUND) {
        list->offset = -1;
        list_finish(list, 0);
        return;
    }
    list->timestamp_ms = list->time_ms;
    list->read = (struct wal_read){
        .group = p->id, .first = index, .n_max = 1, .bytes_max = SHARD_FETCH_BYTES_MAX, .done = list_read_done};
    if (group_read(p->group, &list->read)) {
        list_read_done(&list->read, 0);
    }
}

static void list_confirmed(struct group_barrier *barrier, int status)
{
    struct partition_list_offsets *list = container_of(barrier, struct partition_list_offsets, barrier);
    struct partition *p = partition_find(list->op.shard, list->group);
    if (p == NULL || status != 0) {
        list_finish(list, p == NULL ? ERR_UNKNOWN_TOPIC : ERR_NOT_LEADER);
        return;
    }
    if (list->time_ms == -3 && partition_fsm_newest_time(p->fsm, &list->time_ms) != 0) {
        list_finish(list, 0); /* there is no record: offset -1 */
        return;
    }
    if (list->time_ms == -1) {
        list->offset = partition_fsm_high_watermark(p->fsm);
        list_finish(list, 0);
    } else if (list->time_ms == -2) {
        list->offset = partition_fsm_log_start(p->fsm);
        list_finish(list, 0);
    } else {
        list_by_time(p, list);
    }
}

void partition_list_offsets_run(struct shard *shard, struct shard_op *op)
{
    struct partition_list_offsets *list = container_of(op, struct partition_list_offsets, op);
    struct partition *p = partition_find(shard, list->group);
    int rv;

    list->offset = -1;
    list->timestamp_ms = -1;
    if (p == NULL) {
        list->error = ERR_UNKNOWN_TOPIC;
        shard_op_complete(op);
        return;
    }
    rv = partition_check_leading(p);
    if (rv == 0) {
        list->term = p->term;
        list->barrier.done = list_confirmed;
        if (MUTANT(LIST_OFFSETS_WITHOUT_BARRIER)) {
            list_confirmed(&list->barrier, 0);
            return;
        }
        rv = group_barrier(p->group, &list->barrier);
    }
    if (rv != 0) {
        list_finish(list, rv);
    }
}
