/* Configuration as Kafka's tools know it: of topics, with what is set on them, and of a broker, with what this node
 * does in those terms. */
#ifndef CAIRN_NODE_KAFKA_CONFIG_H
#define CAIRN_NODE_KAFKA_CONFIG_H

#include "node/kafka/kafka_internal.h"

enum kafka_config_source { KAFKA_SOURCE_TOPIC = 1, KAFKA_SOURCE_STATIC_BROKER = 4, KAFKA_SOURCE_DEFAULT = 5 };
enum kafka_resource { KAFKA_RESOURCE_TOPIC = 2, KAFKA_RESOURCE_BROKER = 4, KAFKA_RESOURCE_BROKER_LOGGER = 8 };

struct kafka_config {
    const char *name;
    const char *value;         /* NULL: has none */
    const char *value_default; /* NULL: has none */
    const char *broker_name;   /* the broker's key that a topic's falls back to; NULL: none */
    int8_t source;             /* enum kafka_config_source */
    int8_t type;               /* enum topic_config_type */
    bool read_only;
};

/* In alphabetical order, of the request's memory. NULL: no memory. */
struct kafka_config *kafka_topic_configs(struct kafka_request *r, const struct metadata_topic *t, uint32_t *n) MUST_USE;
struct kafka_config *kafka_broker_configs(struct kafka_request *r, uint32_t *n) MUST_USE;

#endif
