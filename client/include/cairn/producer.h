/* Writes records, exactly once and in order within a partition, however often the network or a leader fails.
 *
 *     struct cairn_producer *producer;
 *     rv = cairn_producer_open(client, NULL, &producer, &error);
 *     rv = cairn_producer_send(producer, &(struct cairn_message){
 *         .topic = "orders", .partition = CAIRN_PARTITION_ANY,
 *         .key = "k", .key_size = 1, .value = "v", .value_size = 1 }, &error);
 *     rv = cairn_producer_flush(producer, 10000, &error);   0: everything sent so far is on a majority's disks
 *     cairn_producer_close(producer, 10000);
 *
 * Send copies the record into an open batch and returns; a record's fate is told to the delivery callback. A record
 * ends CAIRN_OK                   durable on a majority, at the offset that is told; CAIRN_ERR_UNKNOWN_OUTCOME  it may
 * be in the log or not: no majority confirmed it in delivery_timeout_ms. Whoever sends the record again accepts that it
 * may be there twice; any other code             it is certainly not in the log. */
#ifndef CAIRN_PRODUCER_H
#define CAIRN_PRODUCER_H

#include <stddef.h>
#include <stdint.h>

#include <cairn/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cairn_producer;

#define CAIRN_PARTITION_ANY (-1)  /* by the key's hash (the one that Kafka's clients use), or in turn without a key */
#define CAIRN_TIMESTAMP_NOW 0     /* the time of the call */
#define CAIRN_OFFSET_UNKNOWN (-1) /* durable, but the node no longer remembers where */

struct cairn_header {
    const char *key; /* NUL-terminated */
    const void *value;
    size_t value_size; /* a NULL @value is a null */
};

/* Everything is borrowed for the time of the call. Unset fields must be zero. */
struct cairn_message {
    const char *topic;
    int32_t partition; /* or CAIRN_PARTITION_ANY */
    const void *key;   /* NULL: no key */
    size_t key_size;
    const void *value; /* NULL: null, which deletes the key where the topic is compacted */
    size_t value_size;
    const struct cairn_header *headers;
    size_t header_count;
    int64_t timestamp_ms; /* or CAIRN_TIMESTAMP_NOW */
    void *tag;            /* handed to the delivery callback */
};

/* The fate of the records of one batch: all of them share it. Record i has offset @base_offset + i (if that is not
 * CAIRN_OFFSET_UNKNOWN) and tags[i]. Valid during the callback. */
struct cairn_delivery {
    int code; /* enum cairn_code */
    const char *text;
    const char *topic;
    int32_t partition;
    int64_t base_offset;
    size_t count;
    void *const *tags; /* of @count records */
};

struct cairn_producer_stats {
    uint64_t records_sent;         /* taken by cairn_producer_send */
    uint64_t records_acknowledged; /* CAIRN_OK */
    uint64_t records_unknown;      /* CAIRN_ERR_UNKNOWN_OUTCOME */
    uint64_t records_failed;       /* any other code: certainly not written */
    uint64_t bytes_acknowledged;   /* of batches as they were sent */
    uint64_t batches_acknowledged;
    uint64_t batches_retried;
    uint64_t buffer_used_bytes;
};

/* @options may be NULL. Errors: CAIRN_ERR_CONFIG (an option), CAIRN_ERR_NOMEM. */
CAIRN_API int cairn_producer_open(struct cairn_client *client, const struct cairn_options *options,
                                  struct cairn_producer **out, struct cairn_error *error);

/* Call @callback once a batch, on the client's background thread, in the order of the records within each partition.
 * It must not block; it may call cairn_producer_send, which then never waits. Set it before the first send. */
CAIRN_API void cairn_producer_on_delivery(struct cairn_producer *producer,
                                          void (*callback)(void *arg, const struct cairn_delivery *delivery),
                                          void *arg);

/* Take a copy of @message for sending. Any thread. Waits up to max_block_ms when the buffer is full or the topic is not
 * known yet. After an error the record was not taken. Errors: CAIRN_ERR_BUFFER_FULL (back-pressure: try again),
 * CAIRN_ERR_UNKNOWN_TOPIC, CAIRN_ERR_LEADER_NOT_READY (no metadata in max_block_ms: is a node reachable?),
 * CAIRN_ERR_INVALID (partition, sizes, timestamp), CAIRN_ERR_TOO_BIG, CAIRN_ERR_NOMEM. */
CAIRN_API int cairn_producer_send(struct cairn_producer *producer, const struct cairn_message *message,
                                  struct cairn_error *error);

/* Send what waits and wait until all records taken before have ended. 0: since the last flush every record that ended
 * was acknowledged. Errors: CAIRN_ERR_TIMEOUT (some are still under way); the code of the first record since the last
 * flush that did not end with CAIRN_OK. Never on the background thread. */
CAIRN_API int cairn_producer_flush(struct cairn_producer *producer, uint32_t timeout_ms, struct cairn_error *error);

CAIRN_API void cairn_producer_stats(struct cairn_producer *producer, struct cairn_producer_stats *stats);

/* Flush for at most @timeout_ms; what is still under way then ends as the rules above say (callbacks included).
 * NULL is allowed. */
CAIRN_API void cairn_producer_close(struct cairn_producer *producer, uint32_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
