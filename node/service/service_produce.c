/* Produce: each part goes to its partition's shard; answered when all came back, or at the time limit. */
#include <stdlib.h>

#include "node/service/service_internal.h"

struct service_produce *service_produce_new(uint32_t parts)
{
    struct service_produce *p = calloc(1, sizeof *p + parts * sizeof p->parts[0]);
    if (p == NULL) {
        return NULL;
    }
    p->n = parts;
    list_init(&p->link);
    return p;
}

void service_produce_free(struct service_produce *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        buf_release(p->parts[i].op.buf);
    }
    free(p);
}

int service_produce_error(const struct service_produce_part *part)
{
    return part->completed ? part->op.error : ERR_UNKNOWN_OUTCOME;
}

static void answer(struct service_produce *p)
{
    p->answered = true;
    list_remove(&p->link);
    list_push_back(&p->service->late, &p->link);
    p->done(p);
}

static void release_one(struct service_produce *p)
{
    p->pending--;
    if (p->pending > 0) {
        return;
    }
    if (!p->answered) {
        answer(p);
    }
    list_remove(&p->link);
    free(p);
}

static void part_done(struct shard_op *op)
{
    struct service_produce_part *part = container_of(op, struct service_produce_part, op.op);
    part->completed = !part->request->answered; /* after the answer was "unknown" it stays that */
    if (part->op.error == ERR_NOT_LEADER || part->op.error == ERR_UNKNOWN_TOPIC) {
        service_complete_where(part->request->service, part->op.group, &part->op.where);
    }
    release_one(part->request);
}

void service_produce(struct service *s, struct service_produce *p)
{
    uint32_t timeout_ms = p->timeout_ms == 0 ? SERVICE_TIMEOUT_DEFAULT_MS : p->timeout_ms;

    p->service = s;
    p->deadline_ms = env_now_ms(s->env) + (timeout_ms < SERVICE_TIMEOUT_MAX_MS ? timeout_ms : SERVICE_TIMEOUT_MAX_MS);
    list_push_back(&s->producing, &p->link);
    if (!timer_active(&s->sweep)) {
        env_timer_start(s->env, &s->sweep, SERVICE_SWEEP_MS);
    }
    p->pending = p->n + 1; /* one for this loop: answers may come inside the calls */
    for (uint32_t i = 0; i < p->n; i++) {
        struct service_produce_part *part = &p->parts[i];
        part->request = p;
        part->op.op.run = partition_produce_run;
        part->op.op.done = part_done;
        part->op.error = service_find_group(s, &part->topic_id, part->partition, &part->op.group);
        part->op.base_offset = -1;
        if (part->op.error != 0) {
            buf_release(part->op.buf);
            part->op.buf = NULL;
            part->completed = true;
            p->pending--;
            continue;
        }
        shards_submit(control_shards(s->control), part->op.group, &part->op.op);
    }
    release_one(p);
}

/* Requests whose time is over are answered with what is known; their memory stays until the shards are through. */
void service_sweep(struct timer *timer)
{
    struct service *s = container_of(timer, struct service, sweep);
    uint64_t now_ms = env_now_ms(s->env);
    list_for_each_safe(pos, &s->producing)
    {
        struct service_produce *p = list_entry(pos, struct service_produce, link);
        if (now_ms >= p->deadline_ms) {
            answer(p);
        }
    }
    if (!list_empty(&s->producing)) {
        env_timer_start(s->env, timer, SERVICE_SWEEP_MS);
    }
}

void service_end_produce(struct service *s)
{
    while (!list_empty(&s->producing)) {
        answer(list_entry(s->producing.next, struct service_produce, link));
    }
}

/* Not before the groups are gone: proposals stand in them. */
void service_free_produce(struct service *s)
{
    struct list *pos;
    list_splice_back(&s->late, &s->producing);
    while ((pos = list_pop_front(&s->late)) != NULL) {
        service_produce_free(list_entry(pos, struct service_produce, link));
    }
}
