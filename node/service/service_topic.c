/* Topics and producer ids: what goes through the metadata group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/service/service_internal.h"

#define LEADER_POLL_MS 10 /* while waiting for a new topic's leaders */

void service_topic_finish(struct service_topic *t, int error, const char *text)
{
    t->error = error;
    if (error != 0 && text != NULL && text[0] != '\0') {
        snprintf(t->text, sizeof t->text, "%s", text);
    } else if (error != 0 && t->text[0] == '\0') {
        snprintf(t->text, sizeof t->text, "%s", err_text(error));
    }
    t->done(t);
}

uint32_t service_topic_timeout_ms(const struct service_topic *t)
{
    uint32_t timeout_ms = t->timeout_ms == 0 ? SERVICE_TIMEOUT_DEFAULT_MS : t->timeout_ms;
    return timeout_ms < SERVICE_TIMEOUT_MAX_MS ? timeout_ms : SERVICE_TIMEOUT_MAX_MS;
}

/* ---- create ------------------------------------------------------------------------------------------------------------- */

static bool has_leaders(const struct service *s, const struct uuid *topic_id)
{
    const struct metadata_topic *t = metadata_fsm_topic(service_metadata(s), topic_id);
    if (t == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        if (control_leader_of(s->control, t->partitions[i].group, NULL) == 0) {
            return false;
        }
    }
    return true;
}

static void await_leaders(struct timer *timer)
{
    struct service_topic *t = container_of(timer, struct service_topic, timer);
    struct service *s = t->service;
    list_remove(&t->link);
    if (s->ending || has_leaders(s, &t->topic_id) || env_now_ms(s->env) >= t->deadline_ms) {
        bool seen = metadata_fsm_topic(service_metadata(s), &t->topic_id) != NULL; /* who has no leader yet will have one */
        service_topic_finish(t, seen ? 0 : ERR_TIMEOUT,
                             "the topic was made, but this node has not seen it in time, or it is deleted again");
        return;
    }
    list_push_back(&s->creating, &t->link);
    env_timer_start(s->env, timer, LEADER_POLL_MS);
}

void service_end_topics(struct service *s)
{
    while (!list_empty(&s->creating)) {
        struct service_topic *t = list_entry(s->creating.next, struct service_topic, link);
        env_timer_stop(s->env, &t->timer);
        await_leaders(&t->timer);
    }
}

static void created(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct service_topic *t = container_of(proposal, struct service_topic, proposal);
    if (error != 0) {
        service_topic_finish(t, error, reply == NULL ? NULL : reply->text);
        return;
    }
    t->topic_id = reply->topic_id;
    service_topic_await_leaders(t);
}

void service_topic_wait_init(struct service_topic *t)
{
    timer_init(&t->timer, await_leaders);
    list_init(&t->link);
}

void service_topic_await_leaders(struct service_topic *t)
{
    await_leaders(&t->timer);
}

int service_topic_place(const struct service_topic *t, Cairn__Command__PartitionPlacement **placements, size_t n)
{
    if (t->nodes != NULL && n != t->nodes_partitions) {
        return ERR_INVALID_PARTITIONS; /* the topic has changed meanwhile */
    }
    for (size_t i = 0; i < n && t->nodes != NULL; i++) {
        uint32_t *nodes = calloc(t->replication, sizeof *nodes);
        if (nodes == NULL) {
            return ERR_NOMEM;
        }
        memcpy(nodes, t->nodes + i * t->replication, t->replication * sizeof *nodes);
        free(placements[i]->nodes);
        placements[i]->nodes = nodes;
        placements[i]->n_nodes = t->replication;
    }
    return 0;
}

static int add_configs(Cairn__Command__CreateTopic *c, const struct service_topic *t)
{
    if (t->n_configs == 0) {
        return 0;
    }
    c->configs = calloc(t->n_configs, sizeof *c->configs);
    if (c->configs == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < t->n_configs; i++) {
        Cairn__Command__Setting *setting = malloc(sizeof *setting);
        if (setting == NULL) {
            return ERR_NOMEM;
        }
        cairn__command__setting__init(setting);
        setting->key = strdup(t->configs[i].key);
        setting->value = strdup(t->configs[i].value);
        c->configs[c->n_configs++] = setting;
        if (setting->key == NULL || setting->value == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

int service_topic_check_configs(struct service_topic *t)
{
    if (t->n_configs > METADATA_CONFIGS_MAX) {
        snprintf(t->text, sizeof t->text, "a topic has at most %d configs", METADATA_CONFIGS_MAX);
        return ERR_INVALID_CONFIG;
    }
    for (uint32_t i = 0; i < t->n_configs; i++) {
        /* An empty value is one only where the key has such: else it means "back to the default". */
        const char *value = t->configs[i].value[0] != '\0' ? t->configs[i].value : metadata_config_default(t->configs[i].key);
        int rv = metadata_check_config(t->configs[i].key, value == NULL ? "" : value, t->text);
        if (rv == 0 && metadata_config_version(t->configs[i].key) > metadata_fsm_version(service_metadata(t->service))) {
            snprintf(t->text, sizeof t->text, "topic config %s: not while nodes of an older version are part of the cluster",
                     t->configs[i].key);
            rv = ERR_VERSION;
        }
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* Placed by a current read model: one that lags (or a node that is not part of a cluster yet) knows too few nodes, and would
 * refuse for good. */
static void create_known(struct control_barrier *barrier, int error)
{
    struct service_topic *t = container_of(barrier, struct service_topic, barrier);
    struct service *s = t->service;
    Cairn__Command__MetadataCommand *command = NULL;
    uint64_t now_ms = env_now_ms(s->env);
    int rv = error;

    if (rv == 0) {
        rv = control_place_topic(s->control, t->name, t->partitions, t->replication, &command, t->text);
    }
    if (rv != 0) {
        service_topic_finish(t, rv, NULL);
        return;
    }
    rv = add_configs(command->create_topic, t);
    if (rv == 0) {
        rv = service_topic_place(t, command->create_topic->partitions, command->create_topic->n_partitions);
    }
    if (rv != 0 || t->validate_only) {
        cairn__command__metadata_command__free_unpacked(command, NULL);
        service_topic_finish(t, rv, NULL);
        return;
    }
    t->proposal.done = created;
    t->proposal.timeout_ms = t->deadline_ms > now_ms ? (uint32_t)(t->deadline_ms - now_ms) : 1;
    control_propose(s->control, command, &t->proposal);
    cairn__command__metadata_command__free_unpacked(command, NULL);
}

void service_create_topic(struct service *s, struct service_topic *t)
{
    int rv;

    t->service = s;
    t->text[0] = '\0';
    t->deadline_ms = env_now_ms(s->env) + service_topic_timeout_ms(t);
    service_topic_wait_init(t);
    rv = service_topic_check_configs(t);
    if (rv != 0) {
        service_topic_finish(t, rv, NULL);
        return;
    }
    t->barrier.done = create_known;
    t->barrier.timeout_ms = service_topic_timeout_ms(t);
    control_barrier(s->control, &t->barrier);
}

/* ---- delete ------------------------------------------------------------------------------------------------------------- */

static void deleted(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct service_topic *t = container_of(proposal, struct service_topic, proposal);
    service_topic_finish(t, error, reply == NULL ? NULL : reply->text);
}

/* With a current read model a name that is not there is not there. */
static void delete_known(struct control_barrier *barrier, int error)
{
    struct service_topic *t = container_of(barrier, struct service_topic, barrier);
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__DeleteTopic del = CAIRN__COMMAND__DELETE_TOPIC__INIT;
    const struct metadata_topic *topic;

    if (error != 0) {
        service_topic_finish(t, error, NULL);
        return;
    }
    topic = t->name != NULL && t->name[0] != '\0' ? metadata_fsm_topic_named(service_metadata(t->service), t->name)
                                                  : metadata_fsm_topic(service_metadata(t->service), &t->topic_id);
    if (topic == NULL) {
        snprintf(t->text, sizeof t->text, "topic \"%.200s\" does not exist", t->name == NULL ? "" : t->name);
        service_topic_finish(t, ERR_UNKNOWN_TOPIC, NULL);
        return;
    }
    t->topic_id = topic->id;
    del.topic_id.data = t->topic_id.bytes;
    del.topic_id.len = sizeof t->topic_id.bytes;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC;
    command.delete_topic = &del;
    t->proposal.done = deleted;
    t->proposal.timeout_ms = service_topic_timeout_ms(t);
    control_propose(t->service->control, &command, &t->proposal);
}

void service_delete_topic(struct service *s, struct service_topic *t)
{
    t->service = s;
    t->text[0] = '\0';
    t->barrier.done = delete_known;
    t->barrier.timeout_ms = service_topic_timeout_ms(t);
    control_barrier(s->control, &t->barrier);
}

static void read_current(struct control_barrier *barrier, int error)
{
    service_topic_finish(container_of(barrier, struct service_topic, barrier), error, NULL);
}

void service_read_metadata(struct service *s, struct service_topic *t)
{
    t->service = s;
    t->text[0] = '\0';
    t->barrier.done = read_current;
    t->barrier.timeout_ms = service_topic_timeout_ms(t);
    control_barrier(s->control, &t->barrier);
}

/* ---- producer ids --------------------------------------------------------------------------------------------------------- */

static void serve_initializing(struct service *s);

static void allocated(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct service *s = container_of(proposal, struct service, allocation);
    struct list *pos;
    s->allocating = false;
    if (error == 0) {
        s->producer_next = reply->value;
        s->producer_end = reply->value + SERVICE_PRODUCER_BLOCK;
        serve_initializing(s);
        return;
    }
    while ((pos = list_pop_front(&s->initializing)) != NULL) {
        struct service_init_producer *i = list_entry(pos, struct service_init_producer, link);
        /* An id that may have been issued to nobody harms nobody: asking again is always right. */
        i->error = error == ERR_UNKNOWN_OUTCOME ? ERR_LEADER_NOT_READY : error;
        i->done(i);
    }
}

static void serve_initializing(struct service *s)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__AllocateProducerIds allocate = CAIRN__COMMAND__ALLOCATE_PRODUCER_IDS__INIT;

    while (!list_empty(&s->initializing) && s->producer_next < s->producer_end) {
        struct service_init_producer *i = list_entry(list_pop_front(&s->initializing), struct service_init_producer, link);
        i->producer_id = s->producer_next++;
        i->epoch = 0;
        i->error = 0;
        i->done(i);
    }
    if (list_empty(&s->initializing) || s->allocating) {
        return;
    }
    s->allocating = true;
    allocate.node = control_node(s->control);
    allocate.count = SERVICE_PRODUCER_BLOCK;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ALLOCATE_PRODUCER_IDS;
    command.allocate_producer_ids = &allocate;
    s->allocation.done = allocated;
    s->allocation.timeout_ms = SERVICE_TIMEOUT_DEFAULT_MS;
    control_propose(s->control, &command, &s->allocation);
}

void service_init_producer(struct service *s, struct service_init_producer *i)
{
    i->service = s;
    if (i->producer_id >= 0 && i->epoch >= 0 && i->epoch < SERVICE_PRODUCER_EPOCH_MAX) {
        i->epoch++;
        i->error = 0;
        i->done(i);
        return;
    }
    list_push_back(&s->initializing, &i->link);
    serve_initializing(s);
}
