/* Names and configs of topics: what is allowed. Only settings that are acted upon are accepted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/metadata_fsm.h"

static const struct config_key {
    const char *key;
    const char *value_default;
    long long min;
    long long max;
    const char *unit;
} config_keys[] = {
    {"max.message.bytes", "1048588", 1024, ENTRY_PAYLOAD_MAX, "bytes"},
};

static const struct config_key *find_key(const char *key)
{
    for (size_t i = 0; i < sizeof config_keys / sizeof config_keys[0]; i++) {
        if (strcmp(config_keys[i].key, key) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

const char *metadata_topic_config(const struct metadata_topic *t, const char *key)
{
    const struct config_key *k;
    for (uint32_t i = 0; i < t->n_configs; i++) {
        if (strcmp(t->configs[i].key, key) == 0) {
            return t->configs[i].value;
        }
    }
    k = find_key(key);
    return k == NULL ? NULL : k->value_default;
}

int metadata_check_topic_name(const char *name, char *text)
{
    size_t length = strlen(name);
    if (length == 0 || length > METADATA_NAME_MAX) {
        snprintf(text, ERRMSG_SIZE, "a topic's name has 1 to %d characters, this one has %zu", METADATA_NAME_MAX, length);
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

int metadata_check_config(const char *key, const char *value, char *text)
{
    const struct config_key *k = find_key(key);
    char *end;
    long long number;

    if (k == NULL) {
        snprintf(text, ERRMSG_SIZE, "topic config \"%.64s\" is not known; known: max.message.bytes", key);
        return ERR_INVALID_CONFIG;
    }
    errno = 0;
    number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < k->min || number > k->max) {
        snprintf(text, ERRMSG_SIZE, "topic config %s=%.64s: allowed is %lld to %lld %s", key, value, k->min, k->max,
                 k->unit);
        return ERR_INVALID_CONFIG;
    }
    return 0;
}
