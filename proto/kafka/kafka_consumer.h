/* What consumers tell each other through their group, opaque to the protocol: needed to describe groups, and to know
 * which topics a group subscribes to. Whoever fails to read it goes without; a group works all the same. */
#ifndef CAIRN_KAFKA_CONSUMER_H
#define CAIRN_KAFKA_CONSUMER_H

#include "proto/kafka/messages/consumer_assignment.h"
#include "proto/kafka/messages/consumer_subscription.h"

/* Read the metadata of JoinGroup (protocol type "consumer"). A version newer than ours is read as our newest: new
 * fields come at the end. One that claims 1 or more but ends early is read as version 0: some clients send that.
 * Errors: as kafka_decode(). */
int kafka_consumer_subscription_parse(struct kafka_bytes bytes, struct kafka_arena *arena,
                                      struct kafka_consumer_subscription *out) MUST_USE;

/* Read the assignment of SyncGroup. No bytes are no partitions: so members stand between rebalances.
 * Errors: as kafka_decode(). */
int kafka_consumer_assignment_parse(struct kafka_bytes bytes, struct kafka_arena *arena,
                                    struct kafka_consumer_assignment *out) MUST_USE;

#endif
