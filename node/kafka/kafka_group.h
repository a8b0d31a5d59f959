/* What the group APIs share: calls to the coordinator that live as long as their request, and how its names, bytes and
 * errors become Kafka's. */
#ifndef CAIRN_NODE_KAFKA_GROUP_H
#define CAIRN_NODE_KAFKA_GROUP_H

#include "node/kafka/kafka_internal.h"
#include "node/service/service_group.h"

/* @n calls of @verb; they belong to the request and go with it, with what their answers point at. NULL: out of memory.
 */
struct service_groups *kafka_group_calls(struct kafka_request *r, uint32_t n, enum coordinator_verb verb) MUST_USE;
/* Send them: @done answers the request (kafka_group_request). */
void kafka_group_ask(struct kafka_request *r, struct service_groups *g, void (*done)(struct service_groups *g));
static inline struct kafka_request *kafka_group_request(struct service_groups *g)
{
    return g->data;
}

/* As a coordinator says it. */
int16_t kafka_group_error(int error);
/* The same where clients take "loading" (14) for a fatal error, because Kafka's coordinator never says it there: "not
 * available" (15), after which they look for the coordinator again. */
int16_t kafka_group_member_error(int error);

/* kafka_text(), but NULL for null: *@ok becomes false where there is no memory. */
const char *kafka_group_text(struct kafka_request *r, struct kafka_string s, bool *ok);
/* A null is told from an empty one: instance ids, protocol types. */
const char *kafka_group_optional(struct kafka_request *r, struct kafka_string s, bool *ok);
/* "/10.0.0.1", as Kafka tells of hosts. */
const char *kafka_group_host(struct kafka_request *r, bool *ok);

/* Borrowed from the coordinator's answer. */
struct kafka_string kafka_group_string(const struct group_blob *blob); /* NULL: "" */
struct kafka_string kafka_group_string_or_null(const struct group_blob *blob);
struct kafka_bytes kafka_group_bytes(const struct group_blob *blob); /* NULL: no bytes */

#endif
