/* Changes of topics that exist: their configuration, more partitions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/service/service_internal.h"

/* NULL: it is not there, and @t is finished. */
static const struct metadata_topic *topic_of(struct service_topic *t)
{
    const struct metadata_fsm *m = service_metadata(t->service);
    const struct metadata_topic *topic = t->name != NULL && t->name[0] != '\0' ? metadata_fsm_topic_named(m, t->name)
                                                                               : metadata_fsm_topic(m, &t->topic_id);
    if (topic == NULL) {
        snprintf(t->text, sizeof t->text, "topic \"%.200s\" does not exist", t->name == NULL ? "" : t->name);
        service_topic_finish(t, ERR_UNKNOWN_TOPIC, NULL);
        return NULL;
    }
    t->topic_id = topic->id;
    return topic;
}

/* ---- more partitions
 * ---------------------------------------------------------------------------------------------------- */

static void partitions_created(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct service_topic *t = container_of(proposal, struct service_topic, proposal);
    if (error != 0) {
        service_topic_finish(t, error, reply == NULL ? NULL : reply->text);
        return;
    }
    service_topic_await_leaders(t);
}

static void create_partitions_known(struct control_barrier *barrier, int error)
{
    struct service_topic *t = container_of(barrier, struct service_topic, barrier);
    struct service *s = t->service;
    Cairn__Command__MetadataCommand *command = NULL;
    uint64_t now_ms = env_now_ms(s->env);
    int rv = error;

    if (rv == 0 && topic_of(t) == NULL) {
        return;
    }
    if (rv == 0) {
        rv = control_place_partitions(s->control, &t->topic_id, t->partitions, &command, t->text);
    }
    if (rv != 0) {
        service_topic_finish(t, rv, NULL);
        return;
    }
    rv = service_topic_place(t, command->create_partitions->partitions, command->create_partitions->n_partitions);
    if (rv != 0 || t->validate_only) {
        cairn__command__metadata_command__free_unpacked(command, NULL);
        service_topic_finish(t, rv, NULL);
        return;
    }
    t->proposal.done = partitions_created;
    t->proposal.timeout_ms = t->deadline_ms > now_ms ? (uint32_t)(t->deadline_ms - now_ms) : 1;
    control_propose(s->control, command, &t->proposal);
    cairn__command__metadata_command__free_unpacked(command, NULL);
}

void service_create_partitions(struct service *s, struct service_topic *t)
{
    t->service = s;
    t->text[0] = '\0';
    t->deadline_ms = env_now_ms(s->env) + service_topic_timeout_ms(t);
    service_topic_wait_init(t);
    t->barrier.done = create_partitions_known;
    t->barrier.timeout_ms = service_topic_timeout_ms(t);
    control_barrier(s->control, &t->barrier);
}

/* ---- configuration
 * --------------------------------------------------------------------------------------------------------- */

static void altered(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    service_topic_finish(container_of(proposal, struct service_topic, proposal), error,
                         reply == NULL ? NULL : reply->text);
}

static void propose_configs(struct service_topic *t)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__AlterTopic alter = CAIRN__COMMAND__ALTER_TOPIC__INIT;
    Cairn__Command__Setting settings[METADATA_CONFIGS_MAX];
    Cairn__Command__Setting *pointers[METADATA_CONFIGS_MAX];

    for (uint32_t i = 0; i < t->n_configs; i++) {
        cairn__command__setting__init(&settings[i]);
        settings[i].key = t->configs[i].key;
        settings[i].value = t->configs[i].value;
        pointers[i] = &settings[i];
    }
    alter.topic_id.data = t->topic_id.bytes;
    alter.topic_id.len = sizeof t->topic_id.bytes;
    alter.n_set = t->n_configs;
    alter.set = pointers;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ALTER_TOPIC;
    command.alter_topic = &alter;
    t->proposal.done = altered;
    t->proposal.timeout_ms = service_topic_timeout_ms(t);
    control_propose(t->service->control, &command, &t->proposal);
}

static void alter_known(struct control_barrier *barrier, int error)
{
    struct service_topic *t = container_of(barrier, struct service_topic, barrier);

    if (error != 0) {
        service_topic_finish(t, error, NULL);
    } else if (topic_of(t) != NULL) {
        if (t->validate_only || t->n_configs == 0) {
            service_topic_finish(t, 0, NULL);
        } else {
            propose_configs(t);
        }
    }
}

void service_alter_topic(struct service *s, struct service_topic *t)
{
    int rv;

    t->service = s;
    t->text[0] = '\0';
    rv = service_topic_check_configs(t);
    if (rv != 0) {
        service_topic_finish(t, rv, NULL);
        return;
    }
    t->barrier.done = alter_known;
    t->barrier.timeout_ms = service_topic_timeout_ms(t);
    control_barrier(s->control, &t->barrier);
}
