/* Reads committed records of chosen partitions, in order, without gaps or duplicates. To share a topic's partitions
 * among the members of a consumer group, and to commit how far they got: <cairn/group.h>.
 *
 *     struct cairn_consumer *consumer;
 *     struct cairn_records *records;
 *     struct cairn_record record;
 *     rv = cairn_consumer_open(client, NULL, &consumer, &error);
 *     rv = cairn_consumer_assign(consumer, "orders", 0, CAIRN_OFFSET_EARLIEST, &error);
 *     for (;;) {
 *         rv = cairn_consumer_poll(consumer, 1000, &records, &error);
 *         while (rv == 0 && cairn_records_next(records, &record)) {
 *             printf("%.*s\n", (int)record.value_size, (const char *)record.value);
 *         }
 *     }
 *
 * One thread at a time, except where said. */
#ifndef CAIRN_CONSUMER_H
#define CAIRN_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cairn/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cairn_consumer;
struct cairn_records;

#define CAIRN_OFFSET_EARLIEST (-2)
#define CAIRN_OFFSET_LATEST (-1)

/* Points into the poll's memory. */
struct cairn_record {
    int64_t offset;
    int64_t timestamp_ms;
    const void *key; /* NULL: no key */
    size_t key_size;
    const void *value; /* NULL: null */
    size_t value_size;
    size_t header_count;
    const void *headers; /* for cairn_record_header */
    const void *headers_end;
};

struct cairn_record_header {
    const char *key; /* not NUL-terminated */
    size_t key_size;
    const void *value;
    size_t value_size;
};

/* @options may be NULL. Errors: CAIRN_ERR_CONFIG (an option), CAIRN_ERR_NOMEM. */
CAIRN_API int cairn_consumer_open(struct cairn_client *client, const struct cairn_options *options,
                                  struct cairn_consumer **out, struct cairn_error *error);
/* Leaves its group (cairn_consumer_unsubscribe). NULL is allowed. */
CAIRN_API void cairn_consumer_close(struct cairn_consumer *consumer);

/* Read @partition of @topic from @offset on (or CAIRN_OFFSET_EARLIEST, CAIRN_OFFSET_LATEST). Assigning again moves the
 * position, as cairn_consumer_seek does. Errors: CAIRN_ERR_INVALID (offset; the consumer has subscribed),
 * CAIRN_ERR_NOMEM. A topic or partition that does not exist is told by poll. */
CAIRN_API int cairn_consumer_assign(struct cairn_consumer *consumer, const char *topic, int32_t partition,
                                    int64_t offset, struct cairn_error *error);
CAIRN_API int cairn_consumer_unassign(struct cairn_consumer *consumer, const char *topic, int32_t partition);

/* Errors: CAIRN_ERR_NOT_FOUND (not assigned), CAIRN_ERR_INVALID (offset). */
CAIRN_API int cairn_consumer_seek(struct cairn_consumer *consumer, const char *topic, int32_t partition, int64_t offset,
                                  struct cairn_error *error);

/* While paused, poll gives nothing of the partition; the position stays. Errors: CAIRN_ERR_NOT_FOUND. */
CAIRN_API int cairn_consumer_pause(struct cairn_consumer *consumer, const char *topic, int32_t partition);
CAIRN_API int cairn_consumer_resume(struct cairn_consumer *consumer, const char *topic, int32_t partition);

/* The next records, of one partition; *records stays valid until the next poll or close. What cairn_records_next did
 * not give of them comes again with the next poll. 0 with *records NULL: nothing came in @timeout_ms. Errors:
 * CAIRN_ERR_OFFSET_OUT_OF_RANGE (policy `error`: seek to go on), CAIRN_ERR_UNKNOWN_TOPIC, CAIRN_ERR_CORRUPT,
 * CAIRN_ERR_MALFORMED (a batch that cannot be read; polling on fetches it again), CAIRN_ERR_UNSUPPORTED_CODEC. */
CAIRN_API int cairn_consumer_poll(struct cairn_consumer *consumer, uint32_t timeout_ms, struct cairn_records **records,
                                  struct cairn_error *error);

/* One record after the other; false at the end. Allocates nothing. */
CAIRN_API bool cairn_records_next(struct cairn_records *records, struct cairn_record *record);
CAIRN_API const char *cairn_records_topic(const struct cairn_records *records);
CAIRN_API int32_t cairn_records_partition(const struct cairn_records *records);
/* Bytes as they came over the wire. */
CAIRN_API size_t cairn_records_size(const struct cairn_records *records);

/* The next header of a record that cairn_records_next gave; consumes it from @record. False: no more. */
CAIRN_API bool cairn_record_header(struct cairn_record *record, struct cairn_record_header *header);

/* The offset behind the last record that poll gave; CAIRN_OFFSET_EARLIEST or CAIRN_OFFSET_LATEST while that is not
 * resolved yet. Any thread. Errors: CAIRN_ERR_NOT_FOUND. */
CAIRN_API int cairn_consumer_position(struct cairn_consumer *consumer, const char *topic, int32_t partition,
                                      int64_t *offset);
/* As of the last fetch, -1 when nothing was fetched yet: end of what is committed; lag = high watermark - position.
 * Any thread. Errors: CAIRN_ERR_NOT_FOUND. */
CAIRN_API int cairn_consumer_high_watermark(struct cairn_consumer *consumer, const char *topic, int32_t partition,
                                            int64_t *offset);

#ifdef __cplusplus
}
#endif

#endif
