#include "proto/record/record_iter.h"

#include <assert.h>

#include "proto/record/record_wire.h"

int record_iter_init(struct record_iter *it, const uint8_t *bytes, size_t size, struct codec_scratch *scratch)
{
    struct record_batch_header h;
    const uint8_t *records;
    size_t records_size;
    int rv;

    rv = record_batch_peek(bytes, size, &h);
    if (rv != 0) {
        return rv;
    }
    records = bytes + RECORD_BATCH_HEADER_SIZE;
    records_size = h.size - RECORD_BATCH_HEADER_SIZE;
    if (h.count < 0 || h.last_offset_delta < 0) {
        return ERR_MALFORMED;
    }
    if (record_batch_codec(&h) != CODEC_NONE) {
        if (scratch == NULL) {
            return ERR_UNSUPPORTED_CODEC;
        }
        rv = codec_decompress(scratch, record_batch_codec(&h), records, records_size, &records, &records_size);
        if (rv != 0) {
            return rv;
        }
    }
    it->batch = h;
    it->next = records;
    it->end = records + records_size;
    it->left = h.count;
    it->delta_last = -1;
    it->err = 0;
    return 0;
}

/* No more records: they must end where the bytes do. */
static bool iter_finish(struct record_iter *it)
{
    if (it->err == 0 && it->next != it->end) {
        it->err = ERR_MALFORMED;
    }
    return false;
}

bool record_iter_next(struct record_iter *it, struct record *record)
{
    struct wire_record r;
    const uint8_t *next;

    if (it->left == 0 || it->err != 0) {
        return iter_finish(it);
    }
    next = wire_record(it->next, it->end, &r);
    if (WIRE_UNLIKELY(next == NULL || r.offset_delta <= it->delta_last ||
                      r.offset_delta > it->batch.last_offset_delta)) {
        it->err = ERR_MALFORMED;
        return false;
    }
    it->next = next;
    it->left--;
    it->delta_last = r.offset_delta;
    /* Added as unsigned: a producer's nonsense may wrap, it must not be undefined. */
    record->offset = (int64_t)((uint64_t)it->batch.base_offset + (uint64_t)r.offset_delta);
    if ((it->batch.attributes & RECORD_ATTRIBUTE_APPEND_TIME) != 0) {
        record->timestamp = it->batch.max_timestamp;
    } else {
        record->timestamp = (int64_t)((uint64_t)it->batch.base_timestamp + (uint64_t)r.timestamp_delta);
    }
    record->key = r.key;
    record->key_length = r.key_length;
    record->value = r.value;
    record->value_length = r.value_length;
    record->header_count = r.header_count;
    record->headers = r.headers;
    record->headers_end = r.end;
    return true;
}

int record_iter_error(const struct record_iter *it)
{
    return it->err;
}

bool record_header_next(struct record *record, struct record_header *header)
{
    const uint8_t *p = record->headers;

    if (record->header_count == 0) {
        return false;
    }
    p = wire_bytes(p, record->headers_end, 0, &header->key, &header->key_length);
    assert(p != NULL); /* record_iter_next() went over them all */
    p = wire_bytes(p, record->headers_end, -1, &header->value, &header->value_length);
    assert(p != NULL);
    record->headers = p;
    record->header_count--;
    return true;
}
