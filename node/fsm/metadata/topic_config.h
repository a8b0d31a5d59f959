/* The keys that a topic's configuration may have, once, for those who check values and those who describe them. */
#ifndef CAIRN_FSM_TOPIC_CONFIG_H
#define CAIRN_FSM_TOPIC_CONFIG_H

#include <stdint.h>

#define TOPIC_CONFIG_VALUE_MAX_BYTES 1024

/* Kafka's numbers. */
enum topic_config_type {
    TOPIC_CONFIG_BOOLEAN = 1,
    TOPIC_CONFIG_STRING = 2,
    TOPIC_CONFIG_INT = 3,
    TOPIC_CONFIG_LONG = 5,
    TOPIC_CONFIG_DOUBLE = 6,
    TOPIC_CONFIG_LIST = 7
};

struct topic_config_key {
    const char *key;
    const char *value_default;
    enum topic_config_type type;
    int64_t min, max;  /* of numbers */
    const char *words; /* all that are allowed, "a|b"; NULL: any */
};

/* In alphabetical order. Never empty, static. */
const struct topic_config_key *topic_config_keys(uint32_t *n);
const struct topic_config_key *topic_config_find(const char *key); /* NULL: not known */

#endif
