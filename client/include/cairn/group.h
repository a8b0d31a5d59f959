/* Consumer groups: the members of a group share the partitions of the topics that they subscribe to, each partition has
 * one member at a time, and how far the group got is committed in the cluster. Members may be of this library or any
 * Kafka client: they speak the same protocol.
 *
 *     cairn_options_set(options, "group_id", "webhook-delivery");
 *     rv = cairn_consumer_open(client, options, &consumer, &error);
 *     const char *topics[] = {"orders", "payments"};
 *     rv = cairn_consumer_subscribe(consumer, topics, 2, &error);
 *     for (;;) {
 *         rv = cairn_consumer_poll(consumer, 1000, &records, &error);
 *         while (rv == 0 && records != NULL && cairn_records_next(records, &record)) {
 *             process(&record);
 *         }
 *     }
 *     cairn_consumer_close(consumer);   (commits and leaves)
 *
 * Each record is processed at least once. By default what was processed is committed by itself every
 * auto_commit_interval_ms, before partitions are given up, and at the end: records count as processed when the program
 * asks for more after them, so what it still works on is never skipped. With auto_commit false the program commits.
 *
 * The program must keep polling: after max_poll_interval_ms without a poll its partitions go to others.
 * One thread at a time, except where said. */
#ifndef CAIRN_GROUP_H
#define CAIRN_GROUP_H

#include <cairn/consumer.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cairn_topic_partition {
    const char *topic;
    int32_t partition;
    int64_t offset; /* of the next record to read; -1: none, not known */
};

enum cairn_rebalance {
    CAIRN_REBALANCE_ASSIGNED =
        1,                       /* these have come (with a cooperative assignor: in addition); may be none. Offsets are
                                    where reading begins, -1: where from_offset says; cairn_consumer_seek changes that */
    CAIRN_REBALANCE_REVOKED = 2, /* these will go after the callback: the last moment to commit */
    CAIRN_REBALANCE_LOST = 3     /* these are gone, others may read them already: commits are refused */
};

/* Join the group of the option group_id with these topics (names; replaces an earlier subscription). Returns at once;
 * partitions come with polls. Errors: CAIRN_ERR_INVALID (no topics, a name that is not allowed, no group_id, or
 * partitions were assigned by hand), CAIRN_ERR_NOMEM. What goes wrong later is told by poll: CAIRN_ERR_FENCED_INSTANCE
 * (another member has taken over the group_instance_id), CAIRN_ERR_INVALID_GROUP, CAIRN_ERR_GROUP_FULL,
 * CAIRN_ERR_INCONSISTENT_PROTOCOL (no assignor in common), CAIRN_ERR_INVALID_SESSION_TIMEOUT: final until the next
 * subscribe. */
CAIRN_API int cairn_consumer_subscribe(struct cairn_consumer *consumer, const char *const *topics, size_t count,
                                       struct cairn_error *error);

/* Give all partitions up (CAIRN_REBALANCE_REVOKED is told, with auto_commit what was processed is committed) and leave
 * the group; a static member's (group_instance_id) place is kept for its return within the session timeout. Waits for
 * the coordinator, a few seconds at most. Not in a rebalance callback. Errors: CAIRN_ERR_INVALID (in a callback). */
CAIRN_API int cairn_consumer_unsubscribe(struct cairn_consumer *consumer);

/* Call @callback from within poll, unsubscribe and close, in their thread. @partitions is valid during the callback,
 * which may commit, seek, pause and ask for positions, but not poll, subscribe, unsubscribe or close. */
CAIRN_API void
cairn_consumer_on_rebalance(struct cairn_consumer *consumer,
                            void (*callback)(void *arg, struct cairn_consumer *consumer, enum cairn_rebalance what,
                                             const struct cairn_topic_partition *partitions, size_t count),
                            void *arg);

/* The partitions that poll reads now, with their positions, assigned by the group or by hand. Writes at most @max of
 * them; *count becomes how many there are. Topics point into the consumer, until its next poll or close. */
CAIRN_API void cairn_consumer_assignment(struct cairn_consumer *consumer, struct cairn_topic_partition *partitions,
                                         size_t max, size_t *count);

/* Commit and wait: with @offsets NULL, of each partition the offset behind the last record that cairn_records_next
 * gave; else @count given ones. Errors: CAIRN_ERR_ILLEGAL_GENERATION, CAIRN_ERR_UNKNOWN_MEMBER, CAIRN_ERR_REBALANCE
 * (partitions have been dealt out anew: whoever has them now goes on from the last commit), CAIRN_ERR_TIMEOUT (it may
 * be committed), CAIRN_ERR_UNKNOWN_TOPIC, CAIRN_ERR_INVALID (no group_id), CAIRN_ERR_BUSY. */
CAIRN_API int cairn_consumer_commit(struct cairn_consumer *consumer, const struct cairn_topic_partition *offsets,
                                    size_t count, uint32_t timeout_ms, struct cairn_error *error);

/* The same without waiting. Commits are carried out in the order of the calls. @callback (may be NULL) is called once,
 * on the client's background thread, at the latest by close, and must not block. After an error nothing was begun. */
CAIRN_API int cairn_consumer_commit_async(struct cairn_consumer *consumer, const struct cairn_topic_partition *offsets,
                                          size_t count, void (*callback)(void *arg, int code, const char *text),
                                          void *arg, struct cairn_error *error);

/* What the group has committed of a partition; -1: nothing. Errors: CAIRN_ERR_TIMEOUT, CAIRN_ERR_INVALID (no group_id).
 */
CAIRN_API int cairn_consumer_committed(struct cairn_consumer *consumer, const char *topic, int32_t partition,
                                       uint32_t timeout_ms, int64_t *offset, struct cairn_error *error);

#ifdef __cplusplus
}
#endif

#endif
