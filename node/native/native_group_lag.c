/* How far consumer groups are behind. */
#include <stdlib.h>

#include "node/native/native_group.h"

struct lag_request {
    struct native_request request;
    Cairn__Native__GroupLagRequest *message;
    struct service_lag_group *asked;
    struct service_lag lag;
};

static void lag_request_free(struct native_request *request)
{
    struct lag_request *r = container_of(request, struct lag_request, request);
    service_lag_close(&r->lag);
    free(r->asked);
    cairn__native__group_lag_request__free_unpacked(r->message, NULL);
    free(r);
}

static void fill_lag_part(struct service_lag_part *from, Cairn__Native__PartitionLag *to)
{
    cairn__native__partition_lag__init(to);
    to->topic_id = native_uuid_bytes(&from->topic);
    to->topic = (char *)(uintptr_t)(from->topic_name == NULL ? "" : from->topic_name);
    to->partition = (uint32_t)from->partition;
    to->offset = from->offset;
    to->end_offset = from->error == 0 ? from->end_offset : -1;
    to->lag = from->error == 0 ? from->lag : -1;
    to->lag_ms = from->error == 0 ? from->lag_ms : -1;
    to->error = (uint32_t)from->error;
}

static void measured(struct service_lag *lag)
{
    struct lag_request *r = container_of(lag, struct lag_request, lag);
    Cairn__Native__GroupLagResponse response = CAIRN__NATIVE__GROUP_LAG_RESPONSE__INIT;
    size_t n = 0;
    void *block = NULL;
    void *part_block = NULL;
    void **groups;
    void **parts;

    if (lag->error != 0) {
        native_fail(&r->request, lag->error, NULL);
        return;
    }
    for (uint32_t i = 0; i < lag->n_groups; i++) {
        n += lag->groups[i].n_parts;
    }
    groups = group_messages_new(lag->n_groups, sizeof(Cairn__Native__GroupLag), &block);
    parts = group_messages_new(n, sizeof(Cairn__Native__PartitionLag), &part_block);
    if (groups == NULL || parts == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        goto out;
    }
    for (uint32_t i = 0; i < lag->n_groups; i++) {
        const struct service_lag_group *from = &lag->groups[i];
        Cairn__Native__GroupLag *group = groups[i];
        cairn__native__group_lag__init(group);
        group->group = (char *)(uintptr_t)from->group;
        group->error = (uint32_t)from->error;
        group->n_partitions = from->n_parts;
        group->partitions = (Cairn__Native__PartitionLag **)parts;
        for (uint32_t k = 0; k < from->n_parts; k++) {
            fill_lag_part(&from->parts[k], *parts++);
        }
    }
    response.n_groups = lag->n_groups;
    response.groups = (Cairn__Native__GroupLag **)groups;
    native_answer(&r->request, 0, &response.base, NULL);
out:
    free(part_block);
    free(block);
}

int native_group_lag(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__GroupLagRequest *m =
        cairn__native__group_lag_request__unpack(NULL, frame->header.message_length, frame->message);
    struct lag_request *r;

    if (m == NULL || m->n_groups > SERVICE_GROUPS_MAX) {
        if (m != NULL) {
            cairn__native__group_lag_request__free_unpacked(m, NULL);
        }
        return ERR_MALFORMED;
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        cairn__native__group_lag_request__free_unpacked(m, NULL);
        return ERR_NOMEM;
    }
    r->request.free = lag_request_free;
    r->message = m;
    r->lag.ctx = &session->ctx;
    r->lag.done = measured;
    r->lag.all = m->n_groups == 0;
    if (!r->lag.all) {
        r->asked = calloc(m->n_groups, sizeof *r->asked);
        if (r->asked == NULL) {
            native_fail(&r->request, ERR_NOMEM, NULL);
            return 0;
        }
        for (size_t i = 0; i < m->n_groups; i++) {
            r->asked[i].group = m->groups[i];
        }
        r->lag.groups = r->asked;
        r->lag.n_groups = (uint32_t)m->n_groups;
    }
    service_lag(session->service, &r->lag);
    return 0;
}
