#include "node/service/service.h"

#include <stdlib.h>
#include <string.h>

#include "node/service/service_internal.h"

struct service *service_new(struct env *env, struct control *control, const char *version)
{
    struct service *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->env = env;
    s->control = control;
    s->version = version;
    s->started_ms = env_now_ms(env);
    list_init(&s->producing);
    list_init(&s->late);
    list_init(&s->creating);
    list_init(&s->electing);
    list_init(&s->initializing);
    timer_init(&s->sweep, service_sweep);
    service_init_groups(s);
    return s;
}

void service_free(struct service *s)
{
    if (s == NULL) {
        return;
    }
    env_timer_stop(s->env, &s->sweep);
    service_free_produce(s);
    free(s);
}

void service_end(struct service *s)
{
    s->ending = true;
    service_end_produce(s);
    service_end_topics(s);
    service_end_elections(s);
    service_end_groups(s);
}

void service_abandon(struct service *s)
{
    struct list *pos;
    service_abandon_elections(s);
    while ((pos = list_pop_front(&s->creating)) != NULL) {
        env_timer_stop(s->env, &list_entry(pos, struct service_topic, link)->timer);
    }
    env_timer_stop(s->env, &s->sweep);
    service_abandon_groups(s);
}

const struct metadata_fsm *service_metadata(const struct service *s)
{
    return control_metadata(s->control);
}

struct control *service_control(struct service *s)
{
    return s->control;
}

const char *service_version(const struct service *s)
{
    return s->version;
}

uint64_t service_uptime_ms(const struct service *s)
{
    return env_now_ms(s->env) - s->started_ms;
}

const char *service_address(const struct service *s, const struct request_context *ctx, uint32_t node)
{
    const struct metadata_node *n = metadata_fsm_node(service_metadata(s), node);
    const char *address = n == NULL ? NULL : metadata_node_listener(n, ctx->listener);
    return address == NULL ? "" : address;
}

int service_find_group(const struct service *s, const struct uuid *topic_id, uint32_t partition, uint64_t *group)
{
    const struct metadata_partition *p =
        metadata_topic_partition(metadata_fsm_topic(service_metadata(s), topic_id), partition);
    if (p == NULL) {
        return ERR_UNKNOWN_TOPIC;
    }
    *group = p->group;
    return 0;
}

void service_complete_where(const struct service *s, uint64_t group, struct partition_where *where)
{
    uint64_t term = 0;
    uint32_t leader = control_leader_of(s->control, group, &term);
    /* Node and epoch belong together: an older leader under the replica's newer term would look like the new one. */
    if (term > where->leader_epoch || (term == where->leader_epoch && where->leader_node == 0)) {
        where->leader_node = leader;
        where->leader_epoch = term;
    }
}

/* ---- status ----------------------------------------------------------------------------------------------------------- */

static void stats_done(struct shard_op *op)
{
    struct service_status_shard *shard = container_of(op, struct service_status_shard, stats.op);
    struct service_status *st = shard->status;
    st->pending--;
    if (st->pending == 0) {
        st->done(st);
    }
}

void service_status(struct service *s, struct service_status *st)
{
    struct shards *set = control_shards(s->control);
    st->service = s;
    st->n = shards_count(set);
    st->pending = st->n + 1; /* one for this loop: answers may come inside the call */
    for (uint32_t i = 0; i < st->n; i++) {
        st->shards[i].status = st;
        st->shards[i].stats.op.run = shard_stats_run;
        st->shards[i].stats.op.done = stats_done;
        shards_submit_to(set, i, &st->shards[i].stats.op);
    }
    st->pending--;
    if (st->pending == 0) {
        st->done(st);
    }
}

uint32_t service_partitions_without_leader(const struct service *s)
{
    const struct metadata_fsm *m = service_metadata(s);
    uint32_t n = 0;
    list_for_each(pos, metadata_fsm_topics(m))
    {
        const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        for (uint32_t i = 0; i < t->n_partitions; i++) {
            n += control_leader_of(s->control, t->partitions[i].group, NULL) == 0;
        }
    }
    return n;
}
