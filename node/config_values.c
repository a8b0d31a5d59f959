/* The types of values: from text into a field, and back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/config_internal.h"

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define NAME_BYTES (DIGITS LETTERS "._-")

/* ---- numbers ---- */

/* Digits only: no sign, no space, no hex. *end stands behind them. */
static bool digits_parse(const char *text, uint64_t *value, const char **end)
{
    uint64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) {
            return false;
        }
    }
    *value = v;
    *end = p;
    return p != text;
}

static bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    uint64_t v;
    const char *end;
    if (!digits_parse(text, &v, &end) || *end != '\0' || v < min || v > max) {
        return false;
    }
    *value = v;
    return true;
}

static bool size_parse(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    uint64_t v;
    uint64_t unit = 1;
    const char *end;
    if (!digits_parse(text, &v, &end)) {
        return false;
    }
    switch (*end) {
    case 'k':
    case 'K':
        unit = UINT64_C(1) << 10;
        break;
    case 'M':
        unit = UINT64_C(1) << 20;
        break;
    case 'G':
        unit = UINT64_C(1) << 30;
        break;
    case '\0':
        break;
    default:
        return false;
    }
    if (unit != 1 && *++end != '\0' && strcmp(end, "iB") != 0) {
        return false;
    }
    if (__builtin_mul_overflow(v, unit, &v) || v < min || v > max) {
        return false;
    }
    *value = v;
    return true;
}

void config_size_format(uint64_t bytes, char out[CONFIG_SIZE_TEXT])
{
    static const char *const suffixes[] = {"", "k", "M", "G"};
    uint32_t i = 0;
    while (i < 3 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, CONFIG_SIZE_TEXT, "%" PRIu64 "%s", bytes, suffixes[i]);
}

/* ---- addresses ---- */

bool config_address_valid(const char *address, uint32_t port_min)
{
    const char *colon = strrchr(address, ':');
    uint64_t port;
    size_t length;
    if (colon == NULL || strlen(address) >= ENV_ADDRESS_MAX || strlen(colon + 1) > 5 ||
        !number_parse(colon + 1, port_min, 65535, &port)) {
        return false;
    }
    length = (size_t)(colon - address);
    if (length > 2 && address[0] == '[') {
        return address[length - 1] == ']' && strspn(address + 1, DIGITS LETTERS ":.%") == length - 2;
    }
    return length > 0 && strspn(address, NAME_BYTES) == length;
}

uint32_t config_address_port(const char *address)
{
    return (uint32_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
}

bool config_address_wildcard(const char *address)
{
    return strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
}

/* ---- lists ---- */

/* Cut the next entry off *rest, up to its comma and without the spaces around it, into @out. False: there is none. */
static bool list_next(const char **rest, char *out, size_t out_size)
{
    const char *begin = *rest;
    const char *end;
    if (begin == NULL) {
        return false;
    }
    end = strchrnul(begin, ',');
    *rest = *end == ',' ? end + 1 : NULL;
    begin += strspn(begin, " \t");
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    if ((size_t)(end - begin) >= out_size) {
        snprintf(out, out_size, "(an entry of %zu bytes)", (size_t)(end - begin)); /* is no valid entry either */
    } else {
        snprintf(out, out_size, "%.*s", (int)(end - begin), begin);
    }
    return true;
}

#define ENTRY_SIZE (ENV_ADDRESS_MAX + 64)

static int seeds_parse(const char *text, struct config_seeds *out, char *why)
{
    const char *rest = text;
    char entry[ENTRY_SIZE];
    out->n = 0;
    while (list_next(&rest, entry, sizeof entry)) {
        char *at = strchr(entry, '@');
        uint64_t node;
        if (out->n == CONTROL_SEEDS_MAX) {
            snprintf(why, CONFIG_WHY_SIZE, "more than %d seeds", CONTROL_SEEDS_MAX);
            return ERR_CONFIG;
        }
        if (at == NULL) {
            snprintf(why, CONFIG_WHY_SIZE, "\"%.64s\" is not id@host:port", entry);
            return ERR_CONFIG;
        }
        *at = '\0';
        if (!number_parse(entry, 1, INT32_MAX, &node)) {
            snprintf(why, CONFIG_WHY_SIZE, "node id \"%.32s\" is not a number from 1 to %d", entry, INT32_MAX);
            return ERR_CONFIG;
        }
        if (!config_address_valid(at + 1, 0)) {
            snprintf(why, CONFIG_WHY_SIZE, "\"%.64s\" is not host:port or [ipv6]:port", at + 1);
            return ERR_CONFIG;
        }
        for (uint32_t i = 0; i < out->n; i++) {
            bool same_node = out->items[i].node == node;
            if (same_node || strcmp(out->items[i].address, at + 1) == 0) {
                snprintf(why, CONFIG_WHY_SIZE, "%s %.64s is listed twice", same_node ? "node id" : "address",
                         same_node ? entry : at + 1);
                return ERR_CONFIG;
            }
        }
        out->items[out->n].node = (uint32_t)node;
        snprintf(out->items[out->n].address, ENV_ADDRESS_MAX, "%s", at + 1);
        out->n++;
    }
    return 0;
}

static int listeners_parse(const char *text, uint32_t port_min, struct config_listeners *out, char *why)
{
    const char *rest = text;
    char entry[ENTRY_SIZE];
    out->n = 0;
    while (list_next(&rest, entry, sizeof entry)) {
        struct control_listener *l = &out->items[out->n];
        char *at = strchr(entry, '@');
        if (out->n == METADATA_LISTENERS_MAX) {
            snprintf(why, CONFIG_WHY_SIZE, "more than %d listeners", METADATA_LISTENERS_MAX);
            return ERR_CONFIG;
        }
        if (at == NULL) {
            snprintf(why, CONFIG_WHY_SIZE, "\"%.64s\" is not name@host:port", entry);
            return ERR_CONFIG;
        }
        *at = '\0';
        /* "peer" is what the file of addresses calls the other listener. */
        if (*entry == '\0' || strlen(entry) >= sizeof l->name || strspn(entry, NAME_BYTES) != strlen(entry) ||
            strcmp(entry, "peer") == 0) {
            snprintf(why, CONFIG_WHY_SIZE,
                     "the name \"%.64s\" is not 1 to %zu letters, digits and . _ - other than peer", entry,
                     sizeof l->name - 1);
            return ERR_CONFIG;
        }
        if (!config_address_valid(at + 1, port_min)) {
            snprintf(why, CONFIG_WHY_SIZE,
                     "\"%.64s\" is not host:port or [ipv6]:port with a port from %" PRIu32 " to 65535", at + 1,
                     port_min);
            return ERR_CONFIG;
        }
        for (uint32_t i = 0; i < out->n; i++) {
            if (strcmp(out->items[i].name, entry) == 0) {
                snprintf(why, CONFIG_WHY_SIZE, "the name %s is listed twice", entry);
                return ERR_CONFIG;
            }
        }
        memcpy(l->name, entry, strlen(entry) + 1);
        snprintf(l->address, sizeof l->address, "%s", at + 1);
        out->n++;
    }
    return 0;
}

/* ---- the rest ---- */

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

static bool level_parse(const char *text, enum log_level *out)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* A '#' behind a space would be a comment in the file: such a path could not be printed and read again. */
static bool path_valid(const char *text, uint64_t max)
{
    if (strlen(text) > max || text[0] == '#') {
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f || (*p == ' ' && p[1] == '#')) {
            return false;
        }
    }
    size_t length = strlen(text);
    return text[0] != ' ' && text[length - 1] != ' ';
}

static bool text_parse(const struct config_key *key, const char *text, char *field)
{
    bool ok = key->type == CONFIG_PATH      ? path_valid(text, key->max)
              : key->type == CONFIG_ADDRESS ? config_address_valid(text, (uint32_t)key->min)
                                            : strlen(text) <= key->max && strspn(text, NAME_BYTES) == strlen(text);
    if (ok) {
        memcpy(field, text, strlen(text) + 1);
    }
    return ok;
}

/* Back to "not set". */
static void unset(const struct config_key *key, void *field)
{
    switch (key->type) {
    case CONFIG_SEEDS:
        ((struct config_seeds *)field)->n = 0;
        break;
    case CONFIG_LISTENERS:
        ((struct config_listeners *)field)->n = 0;
        break;
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDRESS:
        *(char *)field = '\0';
        break;
    case CONFIG_NUMBER:
    case CONFIG_SIZE:
    case CONFIG_BOOL:
    case CONFIG_LEVEL:
        break; /* are never empty */
    }
}

int config_value_parse(const struct config_key *key, const char *text, struct config *c, char why[CONFIG_WHY_SIZE])
{
    void *field = (char *)c + key->offset;
    uint64_t number;
    bool ok = false;

    why[0] = '\0';
    if (*text == '\0') {
        if (key->required || key->initial != NULL) {
            snprintf(why, CONFIG_WHY_SIZE, "it is empty");
            return ERR_CONFIG;
        }
        unset(key, field);
        return 0;
    }
    switch (key->type) {
    case CONFIG_NUMBER:
        ok = number_parse(text, key->min, key->max, &number);
        if (ok) {
            *(uint32_t *)field = (uint32_t)number;
        }
        break;
    case CONFIG_SIZE:
        ok = size_parse(text, key->min, key->max, field);
        break;
    case CONFIG_BOOL:
        ok = strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
        if (ok) {
            *(bool *)field = text[0] == 't';
        }
        break;
    case CONFIG_LEVEL:
        ok = level_parse(text, field);
        break;
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDRESS:
        ok = text_parse(key, text, field);
        break;
    case CONFIG_SEEDS:
        return seeds_parse(text, field, why);
    case CONFIG_LISTENERS:
        if (key->none && strcmp(text, "none") == 0) {
            unset(key, field);
            return 0;
        }
        return listeners_parse(text, (uint32_t)key->min, field, why);
    }
    return ok ? 0 : ERR_CONFIG;
}

/* Values were parsed into bounded fields, so all of them fit in @out. */
void config_value_format(const struct config_key *key, const struct config *c, char out[CONFIG_VALUE_MAX_BYTES])
{
    const void *field = (const char *)c + key->offset;
    size_t n = 0;
    out[0] = '\0';
    switch (key->type) {
    case CONFIG_NUMBER:
        if (*(const uint32_t *)field != 0 || key->min == 0) {
            snprintf(out, CONFIG_VALUE_MAX_BYTES, "%" PRIu32, *(const uint32_t *)field);
        }
        break;
    case CONFIG_SIZE:
        config_size_format(*(const uint64_t *)field, out);
        break;
    case CONFIG_BOOL:
        snprintf(out, CONFIG_VALUE_MAX_BYTES, "%s", *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_LEVEL:
        snprintf(out, CONFIG_VALUE_MAX_BYTES, "%s", level_names[*(const enum log_level *)field]);
        break;
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDRESS:
        snprintf(out, CONFIG_VALUE_MAX_BYTES, "%s", (const char *)field);
        break;
    case CONFIG_SEEDS: {
        const struct config_seeds *seeds = field;
        for (uint32_t i = 0; i < seeds->n; i++) {
            n += (size_t)snprintf(out + n, CONFIG_VALUE_MAX_BYTES - n, "%s%" PRIu32 "@%s", i == 0 ? "" : ",",
                                  seeds->items[i].node, seeds->items[i].address);
        }
        break;
    }
    case CONFIG_LISTENERS: {
        const struct config_listeners *listeners = field;
        for (uint32_t i = 0; i < listeners->n; i++) {
            n += (size_t)snprintf(out + n, CONFIG_VALUE_MAX_BYTES - n, "%s%s@%s", i == 0 ? "" : ",",
                                  listeners->items[i].name, listeners->items[i].address);
        }
        if (listeners->n == 0 && key->none) {
            snprintf(out, CONFIG_VALUE_MAX_BYTES, "none");
        }
        break;
    }
    }
}
