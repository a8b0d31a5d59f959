/* Names and configs of topics: what is allowed. Kafka's own keys, so that its tools find what they set; the README says
 * which of them are acted upon. A value that would be a promise we do not keep is refused. */
#include "node/fsm/metadata/topic_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/metadata_fsm.h"

#define LONG_MAX_TEXT "9223372036854775807"
#define ANY INT64_MAX

static const struct topic_config_key keys[] = {
    {"cleanup.policy", "delete", TOPIC_CONFIG_LIST, 0, 0, "compact|delete"},
    {"compression.type", "producer", TOPIC_CONFIG_STRING, 0, 0, "producer|uncompressed|gzip|snappy|lz4|zstd"},
    {"delete.retention.ms", "86400000", TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"file.delete.delay.ms", "60000", TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"flush.messages", LONG_MAX_TEXT, TOPIC_CONFIG_LONG, 1, ANY, NULL},
    {"flush.ms", LONG_MAX_TEXT, TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"follower.replication.throttled.replicas", "", TOPIC_CONFIG_LIST, 0, 0, NULL},
    {"index.interval.bytes", "4096", TOPIC_CONFIG_INT, 0, INT32_MAX, NULL},
    {"leader.replication.throttled.replicas", "", TOPIC_CONFIG_LIST, 0, 0, NULL},
    {"local.retention.bytes", "-2", TOPIC_CONFIG_LONG, -2, ANY, NULL},
    {"local.retention.ms", "-2", TOPIC_CONFIG_LONG, -2, ANY, NULL},
    {"max.compaction.lag.ms", LONG_MAX_TEXT, TOPIC_CONFIG_LONG, 1, ANY, NULL},
    {"max.message.bytes", "1048588", TOPIC_CONFIG_INT, 1024, ENTRY_PAYLOAD_MAX, NULL},
    {"message.downconversion.enable", "true", TOPIC_CONFIG_BOOLEAN, 0, 0, NULL},
    {"message.timestamp.after.max.ms", LONG_MAX_TEXT, TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"message.timestamp.before.max.ms", LONG_MAX_TEXT, TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"message.timestamp.difference.max.ms", LONG_MAX_TEXT, TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"message.timestamp.type", "CreateTime", TOPIC_CONFIG_STRING, 0, 0, "CreateTime"},
    {"min.cleanable.dirty.ratio", "0.5", TOPIC_CONFIG_DOUBLE, 0, 1, NULL},
    {"min.compaction.lag.ms", "0", TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"min.insync.replicas", "1", TOPIC_CONFIG_INT, 1, INT32_MAX, NULL},
    {"preallocate", "false", TOPIC_CONFIG_BOOLEAN, 0, 0, NULL},
    {"remote.storage.enable", "false", TOPIC_CONFIG_BOOLEAN, 0, 0, "false"},
    {"retention.bytes", "-1", TOPIC_CONFIG_LONG, -1, ANY, NULL},
    {"retention.ms", "604800000", TOPIC_CONFIG_LONG, -1, ANY, NULL},
    {"segment.bytes", "1073741824", TOPIC_CONFIG_INT, 14, INT32_MAX, NULL},
    {"segment.index.bytes", "10485760", TOPIC_CONFIG_INT, 4, INT32_MAX, NULL},
    {"segment.jitter.ms", "0", TOPIC_CONFIG_LONG, 0, ANY, NULL},
    {"segment.ms", "604800000", TOPIC_CONFIG_LONG, 1, ANY, NULL},
    {"unclean.leader.election.enable", "false", TOPIC_CONFIG_BOOLEAN, 0, 0, "false"},
};

const struct topic_config_key *topic_config_keys(uint32_t *n)
{
    *n = sizeof keys / sizeof keys[0];
    return keys;
}

const struct topic_config_key *topic_config_find(const char *key)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(keys[i].key, key) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

const char *metadata_config_default(const char *key)
{
    const struct topic_config_key *k = topic_config_find(key);
    return k == NULL ? NULL : k->value_default;
}

const char *metadata_topic_config_set(const struct metadata_topic *t, const char *key)
{
    for (uint32_t i = 0; i < t->n_configs; i++) {
        if (strcmp(t->configs[i].key, key) == 0) {
            return t->configs[i].value;
        }
    }
    return NULL;
}

const char *metadata_topic_config(const struct metadata_topic *t, const char *key)
{
    const struct topic_config_key *k;
    const char *value = metadata_topic_config_set(t, key);
    if (value != NULL) {
        return value;
    }
    k = topic_config_find(key);
    return k == NULL ? NULL : k->value_default;
}

int metadata_check_topic_name(const char *name, char *text)
{
    size_t length = strlen(name);
    if (length == 0 || length > METADATA_NAME_MAX) {
        snprintf(text, ERRMSG_SIZE, "a topic's name has 1 to %d characters, this one has %zu", METADATA_NAME_MAX,
                 length);
        return ERR_INVALID_TOPIC;
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        snprintf(text, ERRMSG_SIZE, "a topic cannot be named \"%.200s\"", name);
        return ERR_INVALID_TOPIC;
    }
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != length) {
        snprintf(text, ERRMSG_SIZE, "a topic's name may hold letters, digits, '.', '_' and '-' only");
        return ERR_INVALID_TOPIC;
    }
    return 0;
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* Is @word (@length bytes) one of "a|b|c"? */
static bool one_of(const char *allowed, const char *word, size_t length)
{
    while (*allowed != '\0') {
        size_t n = strcspn(allowed, "|");
        if (n == length && memcmp(allowed, word, n) == 0) {
            return true;
        }
        allowed += n + (allowed[n] == '|');
    }
    return false;
}

static bool list_allowed(const char *allowed, const char *value)
{
    do {
        size_t n = strcspn(value, ",");
        if (!one_of(allowed, value, n)) {
            return false;
        }
        value += n;
    } while (*value++ == ',');
    return true;
}

static bool value_allowed(const struct topic_config_key *k, const char *value)
{
    char *end;

    errno = 0;
    switch (k->type) {
    case TOPIC_CONFIG_INT:
    case TOPIC_CONFIG_LONG: {
        long long number = strtoll(value, &end, 10);
        return errno == 0 && end != value && *end == '\0' && number >= k->min && number <= k->max;
    }
    case TOPIC_CONFIG_DOUBLE: {
        double number = strtod(value, &end);
        return errno == 0 && end != value && *end == '\0' && number >= (double)k->min && number <= (double)k->max;
    }
    case TOPIC_CONFIG_BOOLEAN:
        return one_of(k->words != NULL ? k->words : "true|false", value, strlen(value));
    case TOPIC_CONFIG_LIST:
        return k->words == NULL || list_allowed(k->words, value);
    case TOPIC_CONFIG_STRING:
    default:
        return k->words == NULL || one_of(k->words, value, strlen(value));
    }
}

int metadata_check_config(const char *key, const char *value, char *text)
{
    const struct topic_config_key *k = topic_config_find(key);

    if (k == NULL) {
        snprintf(text, ERRMSG_SIZE, "topic config \"%.64s\" is not known", key);
        return ERR_INVALID_CONFIG;
    }
    if (strlen(value) > TOPIC_CONFIG_VALUE_MAX_BYTES) {
        snprintf(text, ERRMSG_SIZE, "topic config %s: a value of %zu bytes; allowed are %d", key, strlen(value),
                 TOPIC_CONFIG_VALUE_MAX_BYTES);
        return ERR_INVALID_CONFIG;
    }
    if (value_allowed(k, value)) {
        return 0;
    }
    if (k->words != NULL) {
        snprintf(text, ERRMSG_SIZE, "topic config %s=%.64s: allowed is %s", key, value, k->words);
    } else if (k->type == TOPIC_CONFIG_BOOLEAN) {
        snprintf(text, ERRMSG_SIZE, "topic config %s=%.64s: allowed is true or false", key, value);
    } else {
        snprintf(text, ERRMSG_SIZE, "topic config %s=%.64s: allowed is %lld to %lld", key, value, (long long)k->min,
                 (long long)k->max);
    }
    return ERR_INVALID_CONFIG;
}

uint32_t metadata_config_version(const char *key)
{
    return strcmp(key, "max.message.bytes") == 0 ? 1 : 2;
}
