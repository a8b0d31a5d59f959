/* Options by name, as text, so that a program can pass on what its user wrote. A client, a producer and a consumer each
 * take the options that they know; unknown names and values that are not allowed are errors, with text.
 *
 *     struct cairn_options *options = cairn_options_new();
 *     cairn_options_set(options, "linger_ms", "2");
 *     cairn_options_set(options, "compression", "zstd");
 *     rv = cairn_producer_open(client, options, &producer, &error);   (the options are copied)
 *     cairn_options_free(options);
 *
 * Client
 *   client_id                text, for the nodes' logs                              ("")
 *   connect_timeout_ms       until the next address is tried                        (1000)
 *   request_timeout_ms       a connection that owes an answer longer is closed      (5000)
 *                            (one that is coming in: that brings nothing more so long)
 *   metadata_max_age_ms      refresh of what the client knows of its topics         (60000)
 * Producer
 *   linger_ms                how long a record may wait for company while earlier batches of its partition are
 *                            unanswered; with nothing under way it leaves at once   (5)
 *   batch_size_bytes         a batch is sent when this full                         (262144)
 *   buffer_max_bytes         of all batches not yet answered                        (67108864)
 *   compression              none, gzip, snappy, lz4 or zstd                        (none)
 *   max_block_ms             how long send waits for room in the buffer or for the topic's metadata; 0: never (60000)
 *   delivery_timeout_ms      then a batch ends: CAIRN_ERR_UNKNOWN_OUTCOME if it was ever sent, else CAIRN_ERR_TIMEOUT
 *                                                                                   (30000)
 *   in_flight_max            batches of a partition that are under way at once, 1 to 5 (5)
 * Consumer
 *   on_out_of_range          error, earliest or latest: where to go on when the position is gone (error)
 *                            With error it is also told when the topic was deleted and made again; else its
 *                            new records are read from the first one on.
 *   fetch_max_bytes          of one answer for one partition                        (2097152)
 *   prefetch_max_bytes       of one partition, fetched and not yet polled           (8388608)
 *   fetch_max_wait_ms        how long a node holds the request when there is nothing (500)
 * Consumer, in a group (<cairn/group.h>)
 *   group_id                 the consumer group; "": in none                         ("")
 *   group_instance_id        a static member: it keeps its partitions over a restart within the session timeout ("")
 *   assignors                in the order of preference, of range, roundrobin, cooperative-sticky; with the last alone
 *                            partitions that stay are read on through a rebalance    (range,roundrobin)
 *   from_offset              earliest or latest: where to begin when the group has committed nothing (earliest)
 *   session_timeout_ms       a member that is not heard of so long is dead           (45000)
 *   heartbeat_interval_ms                                                            (3000)
 *   max_poll_interval_ms     a member that does not poll so long loses its partitions; also how long a rebalance waits
 *                            for it                                                  (300000)
 *   auto_commit              true or false                                           (true)
 *   auto_commit_interval_ms                                                          (5000)
 */
#ifndef CAIRN_OPTIONS_H
#define CAIRN_OPTIONS_H

#include <cairn/export.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cairn_options;

/* NULL: out of memory. Not thread-safe. */
CAIRN_API struct cairn_options *cairn_options_new(void);
CAIRN_API void cairn_options_free(struct cairn_options *options);

/* Copies both texts; a name set twice keeps the newer value. Whether name and value are allowed is told where the
 * options are used. Errors: CAIRN_ERR_NOMEM. */
CAIRN_API int cairn_options_set(struct cairn_options *options, const char *name, const char *value);

#ifdef __cplusplus
}
#endif

#endif
