/* Lag: which groups, then what each has committed, then where those partitions end. */
#include <stdlib.h>

#include "node/service/service_internal.h"

static void finish(struct service_lag *l)
{
    l->done(l);
}

/* ---- where the partitions end ---------------------------------------------------------------------------------------------- */

static void measure(struct service_lag_part *part, const struct control_log_end *end, int64_t wall_ms)
{
    int64_t from = part->offset < end->log_start ? end->log_start : part->offset;
    part->error = end->error;
    if (end->error != 0) {
        part->log_start = -1;
        part->end_offset = -1;
        part->lag = -1;
        part->lag_ms = -1;
        return;
    }
    part->log_start = end->log_start;
    part->end_offset = end->high_watermark;
    part->lag = from < end->high_watermark ? end->high_watermark - from : 0;
    part->lag_ms = part->lag > 0 && end->time_ms >= 0 && wall_ms > end->time_ms ? wall_ms - end->time_ms : 0;
}

static void name_parts(struct service_lag *l)
{
    for (uint32_t g = 0; g < l->n_groups; g++) {
        for (uint32_t i = 0; i < l->groups[g].n_parts; i++) {
            const struct metadata_topic *t = metadata_fsm_topic(service_metadata(l->service), &l->groups[g].parts[i].topic);
            l->groups[g].parts[i].topic_name = t == NULL ? "" : t->name;
        }
    }
}

static void ends_told(struct control_log_ends *ends)
{
    struct service_lag *l = container_of(ends, struct service_lag, ends);
    int64_t wall_ms = env_wall_ms(l->service->env);
    for (uint32_t i = 0; i < ends->n; i++) {
        measure(&l->parts[i], &ends->ends[i], wall_ms);
    }
    name_parts(l);
    finish(l);
}

/* ---- what the groups have committed ------------------------------------------------------------------------------------------ */

static void take_part(struct service_lag *l, uint32_t at, const struct coordinator_part *from)
{
    struct service_lag_part *part = &l->parts[at];
    struct control_log_end *end = &l->ends.ends[at];
    part->topic = from->topic;
    part->partition = from->partition;
    part->offset = from->offset;
    end->offset = from->offset;
    if (service_find_group(l->service, &from->topic, (uint32_t)from->partition, &end->group) != 0) {
        end->group = UINT64_MAX; /* deleted this moment: nobody leads it */
    }
}

static void fetched(struct service_groups *fetch)
{
    struct service_lag *l = fetch->data;
    uint32_t n = 0;

    for (uint32_t g = 0; g < fetch->n; g++) {
        const struct coordinator_fetch *f = &fetch->calls[g].op.u.fetch;
        l->groups[g].error = f->request.error != 0 ? f->request.error : f->known ? 0 : ERR_GROUP_NOT_FOUND;
        n += f->request.error == 0 ? f->n_parts : 0;
    }
    l->parts = calloc(n + 1, sizeof l->parts[0]);
    l->ends.ends = calloc(n + 1, sizeof l->ends.ends[0]);
    if (l->parts == NULL || l->ends.ends == NULL) {
        l->error = ERR_NOMEM;
        finish(l);
        return;
    }
    for (uint32_t g = 0; g < fetch->n; g++) {
        const struct coordinator_fetch *f = &fetch->calls[g].op.u.fetch;
        l->groups[g].parts = &l->parts[l->ends.n];
        for (uint32_t i = 0; f->request.error == 0 && i < f->n_parts; i++) {
            take_part(l, l->ends.n++, &f->parts[i]);
            l->groups[g].n_parts++;
        }
    }
    l->ends.done = ends_told;
    control_log_ends(l->service->control, &l->ends);
}

static void fetch(struct service_lag *l)
{
    l->fetch = service_groups_new(l->n_groups);
    if (l->fetch == NULL) {
        l->error = ERR_NOMEM;
        finish(l);
        return;
    }
    for (uint32_t g = 0; g < l->n_groups; g++) {
        struct coordinator_op *op = &l->fetch->calls[g].op;
        l->groups[g].parts = NULL;
        l->groups[g].n_parts = 0;
        op->verb = COORDINATOR_FETCH;
        op->u.fetch.group = l->groups[g].group;
        op->u.fetch.all = true;
        op->u.fetch.unchecked = true;
    }
    l->fetch->ctx = l->ctx;
    l->fetch->done = fetched;
    l->fetch->data = l;
    service_groups(l->service, l->fetch);
}

/* ---- which groups ------------------------------------------------------------------------------------------------------------ */

static uint32_t listed_by(const struct service_group_call *call)
{
    return service_group_error(call) == 0 ? call->op.u.list.n_groups : 0;
}

static void listed(struct service_list_groups *list)
{
    struct service_lag *l = container_of(list, struct service_lag, list);
    uint32_t n = 0;

    l->error = list->error;
    for (uint32_t i = 0; list->groups != NULL && i < list->groups->n; i++) {
        n += listed_by(&list->groups->calls[i]);
    }
    l->groups = calloc(n + 1, sizeof l->groups[0]);
    if (list->groups == NULL || l->groups == NULL) {
        l->error = ERR_NOMEM;
        finish(l);
        return;
    }
    for (uint32_t i = 0; i < list->groups->n; i++) {
        for (uint32_t k = 0; k < listed_by(&list->groups->calls[i]); k++) {
            l->groups[l->n_groups++].group = list->groups->calls[i].op.u.list.groups[k].id->data;
        }
    }
    fetch(l);
}

void service_lag(struct service *s, struct service_lag *l)
{
    l->service = s;
    l->error = 0;
    l->fetch = NULL;
    l->parts = NULL;
    l->ends = (struct control_log_ends){0};
    l->list = (struct service_list_groups){.ctx = l->ctx, .done = listed};
    if (!l->all) {
        fetch(l);
        return;
    }
    l->groups = NULL;
    l->n_groups = 0;
    service_list_groups(s, &l->list);
}

void service_lag_close(struct service_lag *l)
{
    service_groups_free(l->fetch);
    l->fetch = NULL;
    service_list_groups_close(&l->list);
    free(l->ends.ends);
    l->ends.ends = NULL;
    free(l->parts);
    l->parts = NULL;
    if (l->all) {
        free(l->groups);
        l->groups = NULL;
        l->n_groups = 0;
    }
}
