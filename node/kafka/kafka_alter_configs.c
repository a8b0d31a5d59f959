/* AlterConfigs (all that is not named goes back to its default) and IncrementalAlterConfigs, of topics. What a broker
 * does is decided by its configuration file alone. */
#include <string.h>

#include "node/fsm/metadata/topic_config.h"
#include "node/kafka/kafka_config.h"
#include "proto/kafka/messages/alter_configs.h"
#include "proto/kafka/messages/incremental_alter_configs.h"

#define READ_TIMEOUT_MS 5000 /* the read model is made current first: lists are changed from what they are */

enum operation { SET, DELETE, APPEND, SUBTRACT };

/* A change of one resource, of either request. */
struct change {
    struct kafka_string name;
    struct kafka_string value;
    int8_t operation;
};

struct alteration {
    struct state *state;
    struct service_topic topic;
    int8_t type;
    struct kafka_string name;
    struct change *changes;
    uint32_t n_changes;
    int16_t error_code;
    struct kafka_string error_message;
};

struct state {
    struct kafka_request *r;
    bool whole; /* AlterConfigs: what is not named is unset */
    bool validate_only;
    struct service_topic read;
    struct alteration *alterations;
    uint32_t n;
    uint32_t pending;
};

static void refuse(struct alteration *a, int16_t code, const char *text)
{
    if (a->error_code == 0) {
        a->error_code = code;
        a->error_message = kafka_format(a->state->r, "%s", text);
    }
}

/* ---- the answer
 * ----------------------------------------------------------------------------------------------------------- */

static void answer_whole(struct state *s)
{
    struct kafka_alter_configs_response response;

    kafka_alter_configs_response_init(&response);
    response.responses = kafka_alloc(s->r, s->n, sizeof *response.responses);
    if (response.responses == NULL) {
        kafka_drop(s->r);
        return;
    }
    response.responses_count = (int32_t)s->n;
    for (uint32_t i = 0; i < s->n; i++) {
        response.responses[i].error_code = s->alterations[i].error_code;
        response.responses[i].error_message = s->alterations[i].error_message;
        response.responses[i].resource_type = s->alterations[i].type;
        response.responses[i].resource_name = s->alterations[i].name;
    }
    kafka_answer(s->r, &response);
}

static void answer_incremental(struct state *s)
{
    struct kafka_incremental_alter_configs_response response;

    kafka_incremental_alter_configs_response_init(&response);
    response.responses = kafka_alloc(s->r, s->n, sizeof *response.responses);
    if (response.responses == NULL) {
        kafka_drop(s->r);
        return;
    }
    response.responses_count = (int32_t)s->n;
    for (uint32_t i = 0; i < s->n; i++) {
        response.responses[i].error_code = s->alterations[i].error_code;
        response.responses[i].error_message = s->alterations[i].error_message;
        response.responses[i].resource_type = s->alterations[i].type;
        response.responses[i].resource_name = s->alterations[i].name;
    }
    kafka_answer(s->r, &response);
}

static void release_one(struct state *s)
{
    s->pending--;
    if (s->pending > 0) {
        return;
    }
    if (s->whole) {
        answer_whole(s);
    } else {
        answer_incremental(s);
    }
}

static void altered(struct service_topic *topic)
{
    struct alteration *a = container_of(topic, struct alteration, topic);
    if (topic->error != 0) {
        refuse(a, kafka_error_from_err(topic->error, KAFKA_CONTROLLER), topic->text);
    }
    release_one(a->state);
}

/* ---- values
 * ------------------------------------------------------------------------------------------------------------------ */

static bool list_has(const char *list, const char *word, size_t length)
{
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (n == length && memcmp(list, word, n) == 0) {
            return true;
        }
        list += n + (list[n] == ',');
    }
    return false;
}

/* @list with the words of @change, or without them. NULL: no memory. */
static char *list_changed(struct kafka_request *r, const char *list, const char *change, bool append)
{
    char *out = kafka_alloc(r, strlen(list) + strlen(change) + 2, 1);
    const char *from[2] = {list, append ? change : ""};
    size_t n = 0;

    for (int i = 0; out != NULL && i < 2; i++) {
        const char *at = from[i];
        while (*at != '\0') {
            size_t length = strcspn(at, ",");
            bool drop = i == 0 ? !append && list_has(change, at, length) : list_has(list, at, length);
            if (!drop && length > 0) {
                n += n > 0;
                if (n > 0) {
                    out[n - 1] = ',';
                }
                memcpy(out + n, at, length);
                n += length;
            }
            at += length + (at[length] == ',');
        }
    }
    return out;
}

/* The value to be set, "" for back to the default; NULL: refused, or no memory. */
static const char *new_value(struct alteration *a, const struct metadata_topic *t, const char *key,
                             const struct change *c)
{
    struct kafka_request *r = a->state->r;
    const struct topic_config_key *k = topic_config_find(key);
    char *value;

    switch (c->operation) {
    case SET:
        if (c->value.length < 0) {
            refuse(a, KAFKA_ERROR_INVALID_REQUEST, "a config without a value");
            return NULL;
        }
        return kafka_text(r, c->value);
    case DELETE:
        return "";
    case APPEND:
    case SUBTRACT:
        if (k == NULL || k->type != TOPIC_CONFIG_LIST || c->value.length < 0) {
            refuse(a, KAFKA_ERROR_INVALID_CONFIG, "only lists can be appended to and subtracted from");
            return NULL;
        }
        value = kafka_text(r, c->value);
        return value == NULL ? NULL : list_changed(r, metadata_topic_config(t, key), value, c->operation == APPEND);
    default:
        refuse(a, KAFKA_ERROR_INVALID_REQUEST, "operations are set, delete, append and subtract");
        return NULL;
    }
}

static bool is_named(const struct alteration *a, const char *key)
{
    for (uint32_t i = 0; i < a->n_changes; i++) {
        if (kafka_string_equal(a->changes[i].name, kafka_string(key))) {
            return true;
        }
    }
    return false;
}

/* What differs from what is set, and nothing else. False: no memory. */
static bool build_settings(struct alteration *a, const struct metadata_topic *t)
{
    struct kafka_request *r = a->state->r;
    struct metadata_setting *settings = kafka_alloc(r, a->n_changes + t->n_configs, sizeof *settings);
    uint32_t n = 0;

    if (settings == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_changes && a->error_code == 0; i++) {
        char *key = kafka_text(r, a->changes[i].name);
        const char *value = key == NULL ? NULL : new_value(a, t, key, &a->changes[i]);
        if (value == NULL) {
            return a->error_code != 0;
        }
        settings[n++] = (struct metadata_setting){key, kafka_text(r, kafka_string(value))};
        if (settings[n - 1].value == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; a->state->whole && i < t->n_configs; i++) {
        if (!is_named(a, t->configs[i].key)) {
            settings[n++] = (struct metadata_setting){kafka_text(r, kafka_string(t->configs[i].key)),
                                                      kafka_text(r, kafka_string(""))};
            if (settings[n - 1].key == NULL || settings[n - 1].value == NULL) {
                return false;
            }
        }
    }
    a->topic.configs = settings;
    a->topic.n_configs = n;
    return true;
}

/* ---- begin
 * ---------------------------------------------------------------------------------------------------------------------
 */

/* False: no memory. */
static bool prepare(struct alteration *a)
{
    const struct metadata_topic *t = NULL;

    if (a->type == KAFKA_RESOURCE_BROKER || a->type == KAFKA_RESOURCE_BROKER_LOGGER) {
        refuse(a, KAFKA_ERROR_INVALID_REQUEST,
               "a broker's configuration is not changed at run time: see its cairnd.conf");
    } else if (a->type != KAFKA_RESOURCE_TOPIC) {
        refuse(a, KAFKA_ERROR_INVALID_REQUEST, "resources are topics (2) and brokers (4)");
    } else {
        t = kafka_find_topic(a->state->r, a->name);
        if (t == NULL) {
            refuse(a, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no topic has this name");
        }
    }
    return t == NULL || build_settings(a, t);
}

static void read_done(struct service_topic *read)
{
    struct state *s = container_of(read, struct state, read);

    for (uint32_t i = 0; i < s->n; i++) {
        struct alteration *a = &s->alterations[i];
        if (read->error != 0) {
            refuse(a, kafka_error_from_err(read->error, KAFKA_CONTROLLER), read->text);
        } else if (!prepare(a)) {
            kafka_drop(s->r);
            return;
        }
    }
    s->pending = 1; /* answers may come inside the calls */
    for (uint32_t i = 0; i < s->n; i++) {
        struct alteration *a = &s->alterations[i];
        if (a->error_code != 0) {
            continue;
        }
        a->topic.name = kafka_text(s->r, a->name);
        if (a->topic.name == NULL) {
            refuse(a, KAFKA_ERROR_UNKNOWN_SERVER_ERROR, "out of memory");
            continue;
        }
        a->topic.validate_only = s->validate_only;
        a->topic.done = altered;
        s->pending++;
        service_alter_topic(s->r->service, &a->topic);
    }
    release_one(s);
}

static struct state *state_new(struct kafka_request *r, int32_t resources)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->r = r;
    s->n = (uint32_t)resources;
    s->alterations = kafka_alloc(r, s->n, sizeof *s->alterations);
    s->read.timeout_ms = READ_TIMEOUT_MS;
    s->read.done = read_done;
    return s->alterations == NULL ? NULL : s;
}

static bool alteration_init(struct state *s, uint32_t i, int8_t type, struct kafka_string name, int32_t changes)
{
    struct alteration *a = &s->alterations[i];
    a->state = s;
    a->type = type;
    a->name = name;
    a->error_message = kafka_string(NULL);
    a->n_changes = (uint32_t)changes;
    a->changes = kafka_alloc(s->r, a->n_changes, sizeof *a->changes);
    return a->changes != NULL;
}

int kafka_alter_configs(struct kafka_request *r)
{
    struct kafka_alter_configs_request m;
    struct state *s;
    int rv = kafka_alter_configs_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0 || m.resources_count > KAFKA_TOPICS_MAX) {
        return rv != 0 ? rv : ERR_TOO_BIG;
    }
    s = state_new(r, m.resources_count);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->whole = true;
    s->validate_only = m.validate_only;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct kafka_alter_configs_request_resource *in = &m.resources[i];
        if (!alteration_init(s, i, in->resource_type, in->resource_name, in->configs_count)) {
            return ERR_NOMEM;
        }
        for (int32_t k = 0; k < in->configs_count; k++) {
            s->alterations[i].changes[k] = (struct change){in->configs[k].name, in->configs[k].value, SET};
        }
    }
    service_read_metadata(r->service, &s->read);
    return 0;
}

int kafka_incremental_alter_configs(struct kafka_request *r)
{
    struct kafka_incremental_alter_configs_request m;
    struct state *s;
    int rv = kafka_incremental_alter_configs_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0 || m.resources_count > KAFKA_TOPICS_MAX) {
        return rv != 0 ? rv : ERR_TOO_BIG;
    }
    s = state_new(r, m.resources_count);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->validate_only = m.validate_only;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct kafka_incremental_alter_configs_request_resource *in = &m.resources[i];
        if (!alteration_init(s, i, in->resource_type, in->resource_name, in->configs_count)) {
            return ERR_NOMEM;
        }
        for (int32_t k = 0; k < in->configs_count; k++) {
            s->alterations[i].changes[k] =
                (struct change){in->configs[k].name, in->configs[k].value, in->configs[k].config_operation};
        }
    }
    service_read_metadata(r->service, &s->read);
    return 0;
}
