#include "node/kafka/kafka_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/topic_config.h"

/* What a topic's key is called on a broker, where Kafka has such. */
static const char *broker_name_of(const char *key)
{
    static const char *const names[][2] = {
        {"cleanup.policy", "log.cleanup.policy"},
        {"compression.type", "compression.type"},
        {"delete.retention.ms", "log.cleaner.delete.retention.ms"},
        {"file.delete.delay.ms", "log.segment.delete.delay.ms"},
        {"flush.messages", "log.flush.interval.messages"},
        {"flush.ms", "log.flush.interval.ms"},
        {"index.interval.bytes", "log.index.interval.bytes"},
        {"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"},
        {"max.message.bytes", "message.max.bytes"},
        {"message.timestamp.type", "log.message.timestamp.type"},
        {"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"},
        {"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"},
        {"min.insync.replicas", "min.insync.replicas"},
        {"preallocate", "log.preallocate"},
        {"retention.bytes", "log.retention.bytes"},
        {"retention.ms", "log.retention.ms"},
        {"segment.bytes", "log.segment.bytes"},
        {"segment.index.bytes", "log.index.size.max.bytes"},
        {"segment.jitter.ms", "log.roll.jitter.ms"},
        {"segment.ms", "log.roll.ms"},
        {"unclean.leader.election.enable", "unclean.leader.election.enable"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i][0], key) == 0) {
            return names[i][1];
        }
    }
    return NULL;
}

struct kafka_config *kafka_topic_configs(struct kafka_request *r, const struct metadata_topic *t, uint32_t *n)
{
    const struct topic_config_key *keys = topic_config_keys(n);
    struct kafka_config *out = kafka_alloc(r, *n, sizeof *out);

    for (uint32_t i = 0; out != NULL && i < *n; i++) {
        const char *set = t == NULL ? NULL : metadata_topic_config_set(t, keys[i].key);
        if (set != NULL) { /* good until the next apply: the answer may come later */
            set = kafka_text(r, kafka_string(set));
            if (set == NULL) {
                return NULL;
            }
        }
        out[i] = (struct kafka_config){
            .name = keys[i].key,
            .value = set != NULL ? set : keys[i].value_default,
            .value_default = keys[i].value_default,
            .broker_name = broker_name_of(keys[i].key),
            .source = set != NULL ? KAFKA_SOURCE_TOPIC : KAFKA_SOURCE_DEFAULT,
            .type = (int8_t)keys[i].type,
        };
    }
    return out;
}

/* ---- a broker
 * ------------------------------------------------------------------------------------------------------------- */

struct builder {
    struct kafka_request *r;
    struct kafka_config *items;
    uint32_t n;
    uint32_t n_max;
    bool failed;
};

static void add(struct builder *l, const char *name, enum topic_config_type type, enum kafka_config_source source,
                const char *value)
{
    if (l->n == l->n_max) {
        l->failed = true;
        return;
    }
    l->items[l->n++] = (struct kafka_config){.name = name,
                                             .value = value,
                                             .value_default = source == KAFKA_SOURCE_DEFAULT ? value : NULL,
                                             .source = (int8_t)source,
                                             .type = (int8_t)type,
                                             .read_only = true};
}

static void add_number(struct builder *l, const char *name, enum topic_config_type type,
                       enum kafka_config_source source, long long value)
{
    struct kafka_string text = kafka_format(l->r, "%lld", value);
    char *copy = kafka_text(l->r, text);
    if (copy == NULL) {
        l->failed = true;
        return;
    }
    add(l, name, type, source, copy);
}

static void add_defaults(struct builder *l)
{
    static const struct {
        const char *name;
        const char *value;
        enum topic_config_type type;
    } fixed[] = {
        {"auto.leader.rebalance.enable", "true", TOPIC_CONFIG_BOOLEAN},
        {"controlled.shutdown.enable", "true", TOPIC_CONFIG_BOOLEAN},
        {"delete.topic.enable", "true", TOPIC_CONFIG_BOOLEAN},
        {"log.cleaner.enable", "false", TOPIC_CONFIG_BOOLEAN},
        {"log.retention.hours", "168", TOPIC_CONFIG_INT},
        {"sasl.enabled.mechanisms", "", TOPIC_CONFIG_LIST},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        add(l, fixed[i].name, fixed[i].type, KAFKA_SOURCE_DEFAULT, fixed[i].value);
    }
}

static void add_topic_defaults(struct builder *l)
{
    uint32_t n;
    const struct topic_config_key *keys = topic_config_keys(&n);
    for (uint32_t i = 0; i < n; i++) {
        const char *name = broker_name_of(keys[i].key);
        if (name != NULL) {
            add(l, name, keys[i].type, KAFKA_SOURCE_DEFAULT, keys[i].value_default);
        }
    }
}

static void add_endpoints(struct builder *l, uint32_t node)
{
    const char *name = l->r->session->ctx.listener;
    const char *address = service_address(l->r->service, &l->r->session->ctx, node);
    char *text = kafka_text(l->r, kafka_format(l->r, "%s://%s", name, address));
    char *map = kafka_text(l->r, kafka_format(l->r, "%s:PLAINTEXT", name));
    if (text == NULL || map == NULL) {
        l->failed = true;
        return;
    }
    add(l, "advertised.listeners", TOPIC_CONFIG_STRING, KAFKA_SOURCE_STATIC_BROKER, text);
    add(l, "listener.security.protocol.map", TOPIC_CONFIG_STRING, KAFKA_SOURCE_STATIC_BROKER, map);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct kafka_config *)a)->name, ((const struct kafka_config *)b)->name);
}

struct kafka_config *kafka_broker_configs(struct kafka_request *r, uint32_t *n)
{
    const struct kafka_settings *settings = r->session->settings;
    uint32_t node = control_node(service_control(r->service));
    const struct metadata_node *self = metadata_fsm_node(service_metadata(r->service), node);
    struct builder l = {.r = r, .n_max = 64};
    char *rack = self == NULL || self->rack[0] == '\0' ? NULL : kafka_text(r, kafka_string(self->rack));

    l.items = kafka_alloc(r, l.n_max, sizeof *l.items);
    if (l.items == NULL) {
        return NULL;
    }
    add(&l, "auto.create.topics.enable", TOPIC_CONFIG_BOOLEAN, KAFKA_SOURCE_STATIC_BROKER,
        settings->auto_create_topics ? "true" : "false");
    add_number(&l, "broker.id", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER, node);
    add(&l, "broker.rack", TOPIC_CONFIG_STRING, rack == NULL ? KAFKA_SOURCE_DEFAULT : KAFKA_SOURCE_STATIC_BROKER, rack);
    add_number(&l, "connections.max.idle.ms", TOPIC_CONFIG_LONG, KAFKA_SOURCE_STATIC_BROKER, settings->idle_timeout_ms);
    add_number(&l, "default.replication.factor", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER,
               settings->default_replication);
    add_number(&l, "fetch.max.bytes", TOPIC_CONFIG_INT, KAFKA_SOURCE_DEFAULT, SERVICE_FETCH_MAX_BYTES);
    add_number(&l, "group.initial.rebalance.delay.ms", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER,
               settings->groups.initial_delay_ms);
    add_number(&l, "group.max.session.timeout.ms", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER,
               settings->groups.session_timeout_max_ms);
    add_number(&l, "group.max.size", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER, settings->groups.members_max);
    add_number(&l, "group.min.session.timeout.ms", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER,
               settings->groups.session_timeout_min_ms);
    add_number(&l, "max.connections", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER, settings->connections_max);
    add_number(&l, "node.id", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER, node);
    add_number(&l, "num.partitions", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER, settings->default_partitions);
    add_number(&l, "socket.request.max.bytes", TOPIC_CONFIG_INT, KAFKA_SOURCE_DEFAULT, KAFKA_REQUEST_MAX_BYTES);
    add_number(&l, "offsets.retention.minutes", TOPIC_CONFIG_INT, KAFKA_SOURCE_STATIC_BROKER,
               settings->groups.offset_retention_ms / 60000);
    add_endpoints(&l, node);
    add_defaults(&l);
    add_topic_defaults(&l);
    if (l.failed) {
        return NULL;
    }
    qsort(l.items, l.n, sizeof *l.items, by_name);
    *n = l.n;
    return l.items;
}
