#include "client/src/core/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_TAGS_MIN 64

bool batch_renew(struct batch *b, struct buf_pool *pool, size_t capacity)
{
    void **tags = b->tags;
    uint32_t tags_capacity = b->tags_capacity;
    struct buf *memory = buf_new(pool, capacity);

    if (memory == NULL) {
        return false;
    }
    memset(b, 0, sizeof *b);
    b->tags = tags;
    b->tags_capacity = tags_capacity;
    b->memory = memory;
    b->base_offset = -1;
    list_init(&b->all_link);
    list_init(&b->link);
    record_builder_init(&b->builder, memory->data, capacity);
    return true;
}

struct batch *batch_new(struct buf_pool *pool, size_t capacity)
{
    struct batch *b = calloc(1, sizeof *b);

    if (b != NULL && !batch_renew(b, pool, capacity)) {
        free(b);
        return NULL;
    }
    return b;
}

void batch_drop_memory(struct batch *b)
{
    buf_release(b->memory);
    b->memory = NULL;
    free(b->text);
    b->text = NULL;
}

void batch_free(struct batch *b)
{
    batch_drop_memory(b);
    free(b->tags);
    free(b);
}

int batch_grow(struct batch *b, struct buf_pool *pool, size_t capacity)
{
    struct buf *memory = buf_new(pool, capacity);

    if (memory == NULL) {
        return ERR_NOMEM;
    }
    memcpy(memory->data, b->memory->data, b->builder.position);
    buf_release(b->memory);
    b->memory = memory;
    b->builder.data = memory->data;
    b->builder.capacity = capacity;
    return 0;
}

int batch_reserve_tag(struct batch *b)
{
    uint32_t capacity;
    void **tags;

    if ((uint32_t)b->builder.count < b->tags_capacity) {
        return 0;
    }
    capacity = b->tags_capacity > 0 ? b->tags_capacity * 2 : BATCH_TAGS_MIN;
    tags = realloc(b->tags, capacity * sizeof *tags);
    if (tags == NULL) {
        return ERR_NOMEM;
    }
    b->tags = tags;
    b->tags_capacity = capacity;
    return 0;
}

int batch_stamp(struct batch *b, int64_t producer_id, int16_t producer_epoch, int32_t sequence, uint8_t codec,
                struct codec_scratch *scratch)
{
    struct record_batch_stamp stamp = {
        .producer_id = producer_id, .producer_epoch = producer_epoch, .base_sequence = sequence, .codec = codec};
    int rv;

    if (b->bytes != NULL) {
        assert(b->requests == 0);
        record_batch_set_producer(b->bytes, b->size, producer_id, producer_epoch, sequence);
    } else {
        rv = record_builder_finish(&b->builder, &stamp, scratch, &b->bytes, &b->size);
        if (rv != 0) {
            return rv;
        }
    }
    b->producer_id = producer_id;
    b->producer_epoch = producer_epoch;
    b->sequence = sequence;
    b->stamped = true;
    return 0;
}
