#include <stdio.h>
#include <string.h>

#include "node/kafka/kafka_config.h"
#include "proto/kafka/messages/describe_configs.h"

#define READ_TIMEOUT_MS 2000 /* the read model is made current first, so that what was just set is seen */

struct state {
    struct kafka_request *r;
    struct kafka_describe_configs_request m;
    struct service_topic read;
};

static bool asked_for(const struct kafka_describe_configs_request_resource *in, const char *name)
{
    for (int32_t i = 0; i < in->configuration_keys_count; i++) {
        if (kafka_string_equal(in->configuration_keys[i], kafka_string(name))) {
            return true;
        }
    }
    return in->configuration_keys_count <= 0; /* null and empty alike, as Kafka has it */
}

/* Where the value comes from, and what it would be without that. */
static bool fill_synonyms(struct kafka_request *r, const struct kafka_config *from,
                          struct kafka_describe_configs_response_config *out)
{
    out->synonyms = kafka_alloc(r, 2, sizeof *out->synonyms);
    if (out->synonyms == NULL) {
        return false;
    }
    if (from->source != KAFKA_SOURCE_DEFAULT) {
        struct kafka_describe_configs_response_synonym *s = &out->synonyms[out->synonyms_count++];
        s->name = kafka_string(from->name);
        s->value = kafka_string(from->value);
        s->source = from->source;
    }
    if (from->value_default != NULL) {
        struct kafka_describe_configs_response_synonym *s = &out->synonyms[out->synonyms_count++];
        s->name = kafka_string(from->broker_name != NULL ? from->broker_name : from->name);
        s->value = kafka_string(from->value_default);
        s->source = KAFKA_SOURCE_DEFAULT;
    }
    return true;
}

static bool fill_configs(struct state *s, const struct kafka_describe_configs_request_resource *in,
                         const struct kafka_config *configs, uint32_t n,
                         struct kafka_describe_configs_response_result *out)
{
    out->configs = kafka_alloc(s->r, n, sizeof *out->configs);
    if (configs == NULL || out->configs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct kafka_describe_configs_response_config *c = &out->configs[out->configs_count];
        if (!asked_for(in, configs[i].name)) {
            continue;
        }
        kafka_describe_configs_response_config_init(c);
        c->name = kafka_string(configs[i].name);
        c->value = kafka_string(configs[i].value);
        c->read_only = configs[i].read_only;
        c->config_source = configs[i].source;
        c->config_type = configs[i].type;
        c->documentation = kafka_string(NULL);
        if (s->m.include_synonyms && !fill_synonyms(s->r, &configs[i], c)) {
            return false;
        }
        out->configs_count++;
    }
    return true;
}

static void refuse(struct state *s, struct kafka_describe_configs_response_result *out, int16_t code, const char *text)
{
    out->error_code = code;
    out->error_message = kafka_format(s->r, "%s", text);
}

static bool fill_broker(struct state *s, const struct kafka_describe_configs_request_resource *in,
                        struct kafka_describe_configs_response_result *out)
{
    char self[16];
    struct kafka_config *configs;
    uint32_t n = 0;

    if (in->resource_name.length == 0) {
        return true; /* what is set for all brokers at run time: nothing */
    }
    snprintf(self, sizeof self, "%u", control_node(service_control(s->r->service)));
    if (!kafka_string_equal(in->resource_name, kafka_string(self))) {
        refuse(s, out, KAFKA_ERROR_INVALID_REQUEST, "a broker describes its own configuration only");
        return true;
    }
    configs = kafka_broker_configs(s->r, &n);
    return fill_configs(s, in, configs, n, out);
}

static bool fill_result(struct state *s, const struct kafka_describe_configs_request_resource *in,
                        struct kafka_describe_configs_response_result *out)
{
    const struct metadata_topic *t;
    struct kafka_config *configs;
    uint32_t n = 0;

    kafka_describe_configs_response_result_init(out);
    out->resource_type = in->resource_type;
    out->resource_name = in->resource_name;
    out->error_message = kafka_string(NULL);
    switch (in->resource_type) {
    case KAFKA_RESOURCE_TOPIC:
        t = kafka_find_topic(s->r, in->resource_name);
        if (t == NULL) {
            refuse(s, out, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no topic has this name");
            return true;
        }
        configs = kafka_topic_configs(s->r, t, &n);
        return fill_configs(s, in, configs, n, out);
    case KAFKA_RESOURCE_BROKER:
        return fill_broker(s, in, out);
    default:
        refuse(s, out, KAFKA_ERROR_INVALID_REQUEST, "resources are topics (2) and brokers (4)");
        return true;
    }
}

/* Without a leader to ask, what is known here is a better answer than none. */
static void read_done(struct service_topic *read)
{
    struct state *s = container_of(read, struct state, read);
    struct kafka_request *r = s->r;
    struct kafka_describe_configs_response response;

    kafka_describe_configs_response_init(&response);
    response.results = kafka_alloc(r, (size_t)s->m.resources_count, sizeof *response.results);
    for (int32_t i = 0; i < s->m.resources_count; i++) {
        if (response.results == NULL || !fill_result(s, &s->m.resources[i], &response.results[i])) {
            kafka_drop(r);
            return;
        }
    }
    response.results_count = s->m.resources_count;
    kafka_answer(r, &response);
}

int kafka_describe_configs(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->r = r;
    rv = kafka_describe_configs_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    s->read.timeout_ms = READ_TIMEOUT_MS;
    s->read.done = read_done;
    service_read_metadata(r->service, &s->read);
    return 0;
}
