#include "tests/unit/client/world_group_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/native/calls.h"
#include "proto/native/native.pb-c.h"

static uint64_t now_ms(const struct world_group *g)
{
    return g->w->now_ns / NS_PER_MS;
}

static int propose(void *data, struct entry *entry, uint64_t token)
{
    struct world_group *g = data;

    assert(g->queued < WORLD_GROUP_QUEUE_MAX);
    g->queue[g->queued].entry = entry;
    g->queue[g->queued++].token = token;
    return 0;
}

static int confirm(void *data, uint64_t token)
{
    return propose(data, NULL, token);
}

/* Commit what was proposed. */
static void commit_all(struct world_group *g)
{
    while (g->queued > 0) {
        struct entry *entry = g->queue[0].entry;
        uint64_t token = g->queue[0].token;
        struct group_reply reply;
        int rv;

        memmove(&g->queue[0], &g->queue[1], --g->queued * sizeof g->queue[0]);
        if (entry == NULL) {
            coordinator_confirmed(g->c, now_ms(g), token, 0);
            continue;
        }
        entry->index = ++g->index;
        entry->time_ms = (int64_t)now_ms(g);
        rv = groups_fsm_apply(g->fsm, entry, &reply);
        assert(rv == 0);
        (void)rv;
        coordinator_proposed(g->c, now_ms(g), token, 0, &reply);
        entry_release(entry);
    }
}

static void deadline_set(struct world_group *g)
{
    uint64_t ms = coordinator_deadline(g->c);

    g->w->tick_ns = ms == UINT64_MAX ? UINT64_MAX : ms * NS_PER_MS;
}

static void group_tick(struct world *w)
{
    struct world_group *g = w->more;

    coordinator_tick(g->c, now_ms(g));
    commit_all(g);
    deadline_set(g);
}

static void asked_free(struct asked *a)
{
    list_remove(&a->link);
    coordinator_request_release(&a->u.request);
    protobuf_c_message_free_unpacked(a->message, NULL);
    free(a->memory);
    free(a);
}

static void answer(void *data, struct coordinator_request *request)
{
    struct asked *a = container_of(request, struct asked, u.request);
    bool inside = a->header.call == CALL_DESCRIBE_GROUPS || a->header.call == CALL_DELETE_GROUPS;

    if (a->to == NULL || (a->group->lose > 0 && rng_below(&a->group->w->rng, 1000) < a->group->lose)) {
        asked_free(a);
        return;
    }
    if (request->error != 0 && (!inside || request->error == ERR_NOT_COORDINATOR)) {
        group_answer_failure(a, request->error);
        asked_free(a);
        return;
    }
    group_answer(a);
    asked_free(a);
}

static const struct coordinator_ops ops = {.propose = propose, .confirm = confirm, .answer = answer};

/* ---- requests
 * --------------------------------------------------------------------------------------------------------- */

static const char *instance(const char *name)
{
    return name[0] != '\0' ? name : NULL;
}

static void ask_join(struct asked *a)
{
    const Cairn__Native__JoinGroupRequest *m = (const void *)a->message;
    struct coordinator_protocol *protocols = calloc(m->n_protocols + 1, sizeof *protocols);
    struct coordinator_join *join = &a->u.join;

    for (size_t i = 0; i < m->n_protocols; i++) {
        protocols[i].name = m->protocols[i]->name;
        protocols[i].metadata = m->protocols[i]->metadata.data;
        protocols[i].size = (uint32_t)m->protocols[i]->metadata.len;
    }
    a->memory = protocols;
    a->group->joins++;
    *join = (struct coordinator_join){.group = m->group,
                                      .member = m->member,
                                      .instance = instance(m->instance),
                                      .client_id = "test",
                                      .client_host = "/127.0.0.1",
                                      .protocol_type = m->protocol_type,
                                      .session_timeout_ms = m->session_timeout_ms,
                                      .rebalance_timeout_ms = m->rebalance_timeout_ms,
                                      .protocols = protocols,
                                      .n_protocols = (uint32_t)m->n_protocols,
                                      .id_required = true,
                                      .skip_assignment_known = true};
    for (int i = 0; i < 16; i++) {
        join->uuid.bytes[i] = (uint8_t)rng_below(&a->group->w->rng, 256);
    }
    coordinator_join(a->group->c, now_ms(a->group), join);
}

static void ask_sync(struct asked *a)
{
    const Cairn__Native__SyncGroupRequest *m = (const void *)a->message;
    struct coordinator_assignment *assignments = calloc(m->n_assignments + 1, sizeof *assignments);

    for (size_t i = 0; i < m->n_assignments; i++) {
        assignments[i].member = m->assignments[i]->member;
        assignments[i].data = m->assignments[i]->assignment.data;
        assignments[i].size = (uint32_t)m->assignments[i]->assignment.len;
    }
    a->memory = assignments;
    a->u.sync = (struct coordinator_sync){.group = m->group,
                                          .member = m->member,
                                          .instance = instance(m->instance),
                                          .protocol_type = instance(m->protocol_type),
                                          .protocol = instance(m->protocol),
                                          .generation = m->generation,
                                          .assignments = assignments,
                                          .n_assignments = (uint32_t)m->n_assignments};
    coordinator_sync(a->group->c, now_ms(a->group), &a->u.sync);
}

static void ask_leave(struct asked *a)
{
    const Cairn__Native__LeaveGroupRequest *m = (const void *)a->message;
    struct coordinator_leaver *leavers = calloc(m->n_members + 1, sizeof *leavers);

    for (size_t i = 0; i < m->n_members; i++) {
        leavers[i].member = m->members[i]->member;
        leavers[i].instance = instance(m->members[i]->instance);
    }
    a->memory = leavers;
    a->u.leave = (struct coordinator_leave){.group = m->group, .members = leavers, .n_members = (uint32_t)m->n_members};
    coordinator_leave(a->group->c, now_ms(a->group), &a->u.leave);
}

static void ask_commit(struct asked *a)
{
    const Cairn__Native__CommitOffsetsRequest *m = (const void *)a->message;
    struct coordinator_part *parts = calloc(m->n_offsets + 1, sizeof *parts);

    assert(m->n_offsets <= WORLD_PARTITIONS_MAX);
    for (size_t i = 0; i < m->n_offsets; i++) {
        memcpy(&parts[i].topic, m->offsets[i]->topic_id.data, 16);
        parts[i].partition = (int32_t)m->offsets[i]->partition;
        parts[i].offset = m->offsets[i]->offset;
        parts[i].leader_epoch = -1;
    }
    a->memory = parts;
    a->group->commits++;
    a->u.commit = (struct coordinator_commit){.group = m->group,
                                              .member = m->member,
                                              .instance = instance(m->instance),
                                              .generation = m->generation,
                                              .retention_ms = -1,
                                              .parts = parts,
                                              .n_parts = (uint32_t)m->n_offsets};
    coordinator_commit(a->group->c, now_ms(a->group), &a->u.commit);
}

static void ask_fetch(struct asked *a)
{
    const Cairn__Native__FetchOffsetsRequest *m = (const void *)a->message;
    struct coordinator_part *parts = calloc(m->n_partitions + 1, sizeof *parts);

    assert(m->n_partitions <= WORLD_PARTITIONS_MAX);
    for (size_t i = 0; i < m->n_partitions; i++) {
        memcpy(&parts[i].topic, m->partitions[i]->topic_id.data, 16);
        parts[i].partition = (int32_t)m->partitions[i]->partition;
    }
    a->memory = parts;
    a->u.fetch = (struct coordinator_fetch){.group = m->group,
                                            .all = m->n_partitions == 0,
                                            .parts = m->n_partitions == 0 ? NULL : parts,
                                            .n_parts = (uint32_t)m->n_partitions};
    coordinator_fetch(a->group->c, now_ms(a->group), &a->u.fetch);
}

static void ask(struct asked *a)
{
    struct world_group *g = a->group;
    const Cairn__Native__GroupHeartbeatRequest *beat = (const void *)a->message;
    const Cairn__Native__DescribeGroupsRequest *describe = (const void *)a->message;
    const Cairn__Native__DeleteGroupsRequest *del = (const void *)a->message;

    switch (a->header.call) {
    case CALL_JOIN_GROUP:
        ask_join(a);
        break;
    case CALL_SYNC_GROUP:
        ask_sync(a);
        break;
    case CALL_GROUP_HEARTBEAT:
        a->u.heartbeat = (struct coordinator_heartbeat){.group = beat->group,
                                                        .member = beat->member,
                                                        .instance = instance(beat->instance),
                                                        .generation = beat->generation};
        coordinator_heartbeat(g->c, now_ms(g), &a->u.heartbeat);
        break;
    case CALL_LEAVE_GROUP:
        ask_leave(a);
        break;
    case CALL_COMMIT_OFFSETS:
        ask_commit(a);
        break;
    case CALL_FETCH_OFFSETS:
        ask_fetch(a);
        break;
    case CALL_DESCRIBE_GROUPS:
        a->u.describe = (struct coordinator_describe){.group = describe->groups[0]};
        coordinator_describe(g->c, now_ms(g), &a->u.describe);
        break;
    case CALL_DELETE_GROUPS:
        a->u.del = (struct coordinator_delete){.group = del->groups[0]};
        coordinator_delete(g->c, now_ms(g), &a->u.del);
        break;
    default:
        a->u.list = (struct coordinator_list){.states = 0};
        coordinator_list(g->c, now_ms(g), &a->u.list);
        break;
    }
}

static void serve_find(struct world_group *g, struct world_link *link, const struct frame *f)
{
    Cairn__Native__FindCoordinatorResponse m = CAIRN__NATIVE__FIND_COORDINATOR_RESPONSE__INIT;
    Cairn__Native__CoordinatorInfo info = CAIRN__NATIVE__COORDINATOR_INFO__INIT;
    Cairn__Native__CoordinatorInfo *infos = &info;

    info.node = g->node;
    info.address = g->w->addresses[g->node];
    info.error = g->node == 0 ? ERR_LEADER_NOT_READY : 0;
    m.n_coordinators = 1;
    m.coordinators = &infos;
    world_answer(g->w, link, &f->header, &m.base);
}

static void serve_lag(struct world_group *g, struct world_link *link, const struct frame *f)
{
    Cairn__Native__GroupLagRequest *q =
        cairn__native__group_lag_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__GroupLagResponse m = CAIRN__NATIVE__GROUP_LAG_RESPONSE__INIT;
    Cairn__Native__GroupLag lag = CAIRN__NATIVE__GROUP_LAG__INIT;
    Cairn__Native__GroupLag *lags = &lag;
    Cairn__Native__PartitionLag partitions[WORLD_PARTITIONS_MAX];
    Cairn__Native__PartitionLag *pointers[WORLD_PARTITIONS_MAX];

    lag.group = q->groups[0];
    lag.error = groups_fsm_find(g->fsm, q->groups[0]) == NULL ? ERR_GROUP_NOT_FOUND : 0;
    for (uint32_t i = 0; i < g->w->partition_count; i++) {
        Cairn__Native__PartitionLag *p = &partitions[lag.n_partitions];

        cairn__native__partition_lag__init(p);
        p->offset = world_group_offset(g, q->groups[0], (int32_t)i);
        if (p->offset >= 0) {
            p->topic = (char *)(uintptr_t)WORLD_TOPIC;
            p->partition = i;
            p->end_offset = g->w->partitions[i].next_offset;
            p->lag = p->end_offset - p->offset;
            p->lag_ms = p->lag * 1000;
            pointers[lag.n_partitions++] = p;
        }
    }
    lag.partitions = pointers;
    m.n_groups = 1;
    m.groups = &lags;
    world_answer(g->w, link, &f->header, &m.base);
    cairn__native__group_lag_request__free_unpacked(q, NULL);
}

static const ProtobufCMessageDescriptor *descriptor(uint16_t call)
{
    switch (call) {
    case CALL_JOIN_GROUP:
        return &cairn__native__join_group_request__descriptor;
    case CALL_SYNC_GROUP:
        return &cairn__native__sync_group_request__descriptor;
    case CALL_GROUP_HEARTBEAT:
        return &cairn__native__group_heartbeat_request__descriptor;
    case CALL_LEAVE_GROUP:
        return &cairn__native__leave_group_request__descriptor;
    case CALL_COMMIT_OFFSETS:
        return &cairn__native__commit_offsets_request__descriptor;
    case CALL_FETCH_OFFSETS:
        return &cairn__native__fetch_offsets_request__descriptor;
    case CALL_DESCRIBE_GROUPS:
        return &cairn__native__describe_groups_request__descriptor;
    case CALL_DELETE_GROUPS:
        return &cairn__native__delete_groups_request__descriptor;
    case CALL_LIST_GROUPS:
        return &cairn__native__list_groups_request__descriptor;
    default:
        return NULL;
    }
}

static bool serve_more(struct world *w, struct world_link *link, const struct frame *f)
{
    struct world_group *g = w->more;
    struct asked *a;

    if (f->header.call == CALL_FIND_COORDINATOR) {
        serve_find(g, link, f);
        return true;
    }
    if (f->header.call == CALL_GROUP_LAG) {
        serve_lag(g, link, f);
        return true;
    }
    if (descriptor(f->header.call) == NULL) {
        return false;
    }
    a = calloc(1, sizeof *a);
    a->group = g;
    a->to = link;
    a->header = f->header;
    a->message = protobuf_c_message_unpack(descriptor(f->header.call), NULL, f->header.message_length, f->message);
    assert(a->message != NULL);
    list_push_back(&g->pending, &a->link);
    if (f->header.call == CALL_LIST_GROUPS && world_link_node(link) != g->node) {
        group_answer(a); /* of none */
        asked_free(a);
    } else if (world_link_node(link) != g->node) {
        group_answer_failure(a, ERR_NOT_COORDINATOR);
        asked_free(a);
    } else {
        ask(a);
        commit_all(g);
    }
    deadline_set(g);
    return true;
}

static void link_gone(struct world *w, struct world_link *link)
{
    struct world_group *g = w->more;

    list_for_each (pos, &g->pending) {
        struct asked *a = list_entry(pos, struct asked, link);
        a->to = a->to == link ? NULL : a->to;
    }
}

static void lead(struct world_group *g, uint32_t node)
{
    int rv;

    g->c = coordinator_new(g->fsm, &g->config, &ops, g);
    rv = coordinator_lead(g->c, now_ms(g));
    assert(rv == 0);
    (void)rv;
    g->node = node;
    deadline_set(g);
}

static void depose(struct world_group *g)
{
    coordinator_step_down(g->c);
    for (size_t i = 0; i < g->queued; i++) {
        entry_release(g->queue[i].entry);
    }
    g->queued = 0;
    coordinator_free(g->c);
    g->w->tick_ns = UINT64_MAX;
}

void world_group_open(struct world_group *g, struct world *w)
{
    memset(g, 0, sizeof *g);
    g->w = w;
    list_init(&g->pending);
    coordinator_config_default(&g->config);
    g->config.initial_delay_ms = 300;
    g->fsm = groups_fsm_new();
    w->more = g;
    w->serve_more = serve_more;
    w->link_gone = link_gone;
    w->tick = group_tick;
    lead(g, 1);
}

void world_group_move(struct world_group *g, uint32_t node)
{
    depose(g);
    lead(g, node);
}

void world_group_serve(struct world_group *g, struct server *s)
{
    struct timespec now;

    pthread_mutex_lock(&s->mutex);
    clock_gettime(CLOCK_MONOTONIC, &now);
    s->world.now_ns = (uint64_t)now.tv_sec * NS_PER_S;
    world_group_open(g, &s->world);
    pthread_mutex_unlock(&s->mutex);
}

void world_group_close(struct world_group *g)
{
    depose(g);
    groups_fsm_free(g->fsm);
    g->w->serve_more = NULL;
    g->w->link_gone = NULL;
    g->w->tick = NULL;
}

int64_t world_group_offset(const struct world_group *g, const char *group, int32_t partition)
{
    const struct saved_group *saved = groups_fsm_find(g->fsm, group);
    const struct group_offset *o;
    struct uuid topic;

    memcpy(&topic, g->w->topic_id, sizeof topic);
    o = saved != NULL ? groups_fsm_offset(saved, &topic, partition) : NULL;
    return o != NULL ? o->offset : -1;
}

int64_t world_group_served_offset(const struct world_group *g, struct server *s, const char *group, int32_t partition)
{
    int64_t offset;

    pthread_mutex_lock(&s->mutex);
    offset = world_group_offset(g, group, partition);
    pthread_mutex_unlock(&s->mutex);
    return offset;
}
