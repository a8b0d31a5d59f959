/* What the members of a group tell each other through their coordinator, byte for byte as Kafka's consumers do, so that
 * they may share a group with ours. */
#ifndef CAIRN_CLIENT_MEMBERSHIP_WIRE_H
#define CAIRN_CLIENT_MEMBERSHIP_WIRE_H

#include "client/src/core/membership.h"
#include "proto/kafka/kafka_consumer.h"

#define MEMBERSHIP_WIRE_ARENA_MAX (64u << 20) /* bytes that all members' subscriptions may take, decoded */

/* What we subscribe to and, with the cooperative assignor, own. *out is the caller's. Errors: ERR_NOMEM. */
int membership_subscription_write(const struct membership *g, enum assignor a, uint8_t **out, size_t *size) MUST_USE;

/* What @member of @plan was dealt. *out is the caller's. Errors: ERR_NOMEM. */
int membership_assignment_write(const struct assignor_plan *plan, const struct assignor_member *member, uint8_t **out,
                                size_t *size) MUST_USE;

/* Our assignment. Errors: ERR_MALFORMED, ERR_NOMEM. */
int membership_assignment_read(struct core *core, const uint8_t *bytes, size_t size,
                               struct membership_parts *out) MUST_USE;

#endif
