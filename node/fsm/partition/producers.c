#include "node/fsm/partition/producers.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "proto/base/crc32c.h"
#include "proto/base/mutant.h"

struct item {
    struct producer producer;
    UT_hash_handle hh;
};

struct producers {
    struct item *table;
    struct producer *oldest;
    struct producer *newest;
};

static struct item *item_of(struct producer *p)
{
    return (struct item *)(void *)((char *)p - offsetof(struct item, producer));
}

struct producers *producers_new(void)
{
    return calloc(1, sizeof(struct producers));
}

void producers_clear(struct producers *t)
{
    struct producer *p = t->oldest;
    HASH_CLEAR(hh, t->table);
    while (p != NULL) {
        struct producer *newer = p->newer;
        free(item_of(p));
        p = newer;
    }
    t->oldest = NULL;
    t->newest = NULL;
}

const struct producer *producers_oldest(const struct producers *t)
{
    return t->oldest;
}

void producers_free(struct producers *t)
{
    if (t == NULL) {
        return;
    }
    producers_clear(t);
    free(t);
}

struct producer *producers_find(const struct producers *t, int64_t id)
{
    struct item *item;
    HASH_FIND(hh, t->table, &id, sizeof id, item);
    return item == NULL ? NULL : &item->producer;
}

static void unlink_time(struct producers *t, struct producer *p)
{
    *(p->older != NULL ? &p->older->newer : &t->oldest) = p->newer;
    *(p->newer != NULL ? &p->newer->older : &t->newest) = p->older;
    p->older = NULL;
    p->newer = NULL;
}

static void link_newest(struct producers *t, struct producer *p)
{
    p->older = t->newest;
    p->newer = NULL;
    *(t->newest != NULL ? &t->newest->newer : &t->oldest) = p;
    t->newest = p;
}

static struct producer *add(struct producers *t, int64_t id)
{
    struct item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        return NULL;
    }
    item->producer.id = id;
    HASH_ADD(hh, t->table, producer.id, sizeof item->producer.id, item);
    if (item->hh.tbl == NULL) { /* uthash's sign that it found no memory */
        free(item);
        return NULL;
    }
    link_newest(t, &item->producer);
    return &item->producer;
}

int producers_copy(struct producers *t, const struct producer *from)
{
    struct producer *p = add(t, from->id);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->epoch = from->epoch;
    p->n = from->n;
    p->time_ms = from->time_ms;
    memcpy(p->batches, from->batches, sizeof p->batches);
    return 0;
}

/* Sequence numbers run 0 .. 2^31-1 and then begin again. */
static int32_t sequence_add(int32_t sequence, int32_t n)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)n) & 0x7fffffffu);
}

int producers_note(struct producers *t, const struct record_batch_header *batch, int64_t base_offset, int64_t time_ms)
{
    struct producer *p = producers_find(t, batch->producer_id);
    struct producer_batch *slot;
    if (p == NULL) {
        p = add(t, batch->producer_id);
        if (p == NULL) {
            return ERR_NOMEM;
        }
        p->epoch = batch->producer_epoch;
    } else {
        unlink_time(t, p);
        link_newest(t, p);
    }
    if (batch->producer_epoch != p->epoch) {
        p->epoch = batch->producer_epoch;
        p->n = 0;
    }
    if (p->n == PARTITION_PRODUCER_BATCHES) {
        memmove(&p->batches[0], &p->batches[1], (PARTITION_PRODUCER_BATCHES - 1) * sizeof p->batches[0]);
        p->n--;
    }
    slot = &p->batches[p->n++];
    slot->first = batch->base_sequence;
    slot->last = sequence_add(batch->base_sequence, batch->last_offset_delta);
    slot->base_offset = base_offset;
    p->time_ms = time_ms;
    return 0;
}

void producers_remove(struct producers *t, struct producer *p)
{
    struct item *item = item_of(p);
    HASH_DELETE(hh, t->table, item);
    unlink_time(t, p);
    free(item);
}

void producers_expire(struct producers *t, int64_t time_ms, uint32_t count_max)
{
    while (t->oldest != NULL && (t->oldest->time_ms < time_ms || producers_count(t) > count_max)) {
        producers_remove(t, t->oldest);
    }
}

uint32_t producers_count(const struct producers *t)
{
    return (uint32_t)HASH_COUNT(t->table);
}

uint32_t producers_digest(const struct producers *t, uint32_t crc)
{
    for (const struct producer *p = t->oldest; p != NULL; p = p->newer) {
        int64_t words[4] = {p->id, p->epoch, p->n, p->time_ms};
        crc = crc32c(crc, words, sizeof words);
        for (uint8_t i = 0; i < p->n; i++) {
            int64_t batch[3] = {p->batches[i].first, p->batches[i].last, p->batches[i].base_offset};
            crc = crc32c(crc, batch, sizeof batch);
        }
    }
    return crc;
}

enum producer_verdict producer_judge(const struct producer *p, const struct record_batch_header *batch,
                                     int64_t *base_offset)
{
    const struct producer_batch *last;
    int32_t batch_last = sequence_add(batch->base_sequence, batch->last_offset_delta);

    if (batch->producer_epoch < p->epoch) {
        if (MUTANT(EPOCH_FENCE_IGNORED)) {
            return PRODUCER_NEXT;
        }
        return PRODUCER_FENCED;
    }
    if (batch->producer_epoch > p->epoch) {
        return batch->base_sequence == 0 ? PRODUCER_NEXT : PRODUCER_GAP;
    }
    assert(p->n > 0);
    for (uint8_t i = 0; i < p->n; i++) {
        if (p->batches[i].first == batch->base_sequence && p->batches[i].last == batch_last) {
            *base_offset = p->batches[i].base_offset;
            return MUTANT(SKIP_DEDUP) ? PRODUCER_NEXT : PRODUCER_DUPLICATE;
        }
    }
    last = &p->batches[p->n - 1];
    if (batch->base_sequence == sequence_add(last->last, 1)) {
        return PRODUCER_NEXT;
    }
    /* Behind the newest by less than half the ring: sent long before, and forgotten since. */
    if (((uint32_t)(last->last - batch_last) & 0x7fffffffu) < 0x40000000u) {
        return PRODUCER_DUPLICATE_OLD;
    }
    return MUTANT(ACCEPT_SEQUENCE_GAP) ? PRODUCER_NEXT : PRODUCER_GAP;
}
