/* Inside of config*.c: the table of keys and the types of their values. */
#ifndef CAIRN_NODE_CONFIG_INTERNAL_H
#define CAIRN_NODE_CONFIG_INTERNAL_H

#include "node/config.h"

#define CONFIG_WHY_SIZE 512
#define CONFIG_VARIABLE_PREFIX "CAIRND_"
#define CONFIG_VARIABLE_MAX 64 /* bytes of CAIRND_<KEY> with its NUL */

enum config_type {
    CONFIG_NUMBER,   /* uint32_t, min..max */
    CONFIG_SIZE,     /* uint64_t of bytes, min..max, with suffix */
    CONFIG_BOOL,     /* bool */
    CONFIG_LEVEL,    /* enum log_level */
    CONFIG_NAME,     /* char[max + 1] of letters, digits and . _ - */
    CONFIG_PATH,     /* char[max + 1] */
    CONFIG_ADDRESS,  /* char[ENV_ADDRESS_MAX], its port at least min */
    CONFIG_SEEDS,    /* struct config_seeds */
    CONFIG_LISTENERS /* struct config_listeners, their ports at least min */
};

struct config_key {
    const char *name;
    const char *initial; /* the default; NULL: not set, and an empty value is allowed unless @required */
    const char *example; /* for a key that has no default */
    const char *allowed; /* in words, where the type and the range do not say it */
    const char *section; /* begins here; NULL: goes on */
    const char *doc;     /* lines */
    uint64_t min, max;
    size_t offset; /* of the field in struct config */
    enum config_type type;
    bool required;
    bool none; /* listeners: the word "none" stands for an empty list */
};

extern const struct config_key config_keys[];
extern const uint32_t config_n_keys; /* at most CONFIG_KEYS_MAX */

/* NULL: no such key. */
const struct config_key *config_key_find(const char *name, size_t length);
/* CAIRND_NODE_ID for node.id. */
void config_key_variable(const struct config_key *key, char out[CONFIG_VARIABLE_MAX]);
/* "a number from 1 to 16". Returns @out. */
const char *config_key_allowed(const struct config_key *key, char out[CONFIG_WHY_SIZE]);

/* Parse @text into the key's field of @c. ERR_CONFIG: the field is not to be used; @why says what is wrong, empty where
 * the text is just not what config_key_allowed() says. */
int config_value_parse(const struct config_key *key, const char *text, struct config *c,
                       char why[CONFIG_WHY_SIZE]) MUST_USE;
/* The field as text; "" when it is not set. */
void config_value_format(const struct config_key *key, const struct config *c, char out[CONFIG_VALUE_MAX_BYTES]);

#define CONFIG_SIZE_TEXT 32
/* 64M for 67108864. */
void config_size_format(uint64_t bytes, char out[CONFIG_SIZE_TEXT]);

/* "host:port", an IPv6 host in brackets; the port at least @port_min. */
bool config_address_valid(const char *address, uint32_t port_min);
/* Of a valid one. */
uint32_t config_address_port(const char *address);
bool config_address_wildcard(const char *address); /* 0.0.0.0 or [::]: every interface, and nobody's address */

#endif
