/* Joining a generation: join, sync, and what the assignment changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/consumer.h"
#include "client/src/core/membership_wire.h"
#include "proto/native/native.pb-c.h"

struct core_call *membership_call(struct membership *g, uint16_t call, const uint8_t *message, size_t size,
                                  uint64_t timeout_ns, void (*done)(struct core_call *, int, const struct frame *),
                                  void *owner)
{
    struct core_call *c = call_start(g->core, call, message, size, timeout_ns, done, owner);

    if (c != NULL && !call_for_group(c, g->config.id, g->coordinator)) {
        call_cancel(c);
        return NULL;
    }
    return c;
}

/* Join again after a pause. */
static void join_later(struct membership *g)
{
    g->retry_ns =
        g->core->now_ns + core_backoff_ns(g->core, g->attempts++, MEMBERSHIP_RETRY_MIN_MS, MEMBERSHIP_RETRY_MAX_MS);
    g->state = MEMBERSHIP_JOINING;
    core_wake_at(g->core, 0);
}

/* What any failed join or sync means. */
static void join_failed(struct membership *g, int status, const struct core_call *call)
{
    char text[ERRMSG_SIZE];

    membership_plan_drop(g);
    if (status == ERR_UNKNOWN_MEMBER || status == ERR_ILLEGAL_GENERATION) {
        membership_fenced(g, status == ERR_ILLEGAL_GENERATION);
        join_later(g);
        g->state = MEMBERSHIP_STABLE; /* from where it rejoins */
        return;
    }
    if (status == ERR_REBALANCE || err_retriable(status)) {
        g->state = MEMBERSHIP_STABLE;
        g->rejoin = true;
        g->retry_ns =
            g->core->now_ns + core_backoff_ns(g->core, g->attempts++, MEMBERSHIP_RETRY_MIN_MS, MEMBERSHIP_RETRY_MAX_MS);
        core_wake_at(g->core, 0);
        return;
    }
    snprintf(text, sizeof text, "%s", call->text[0] != '\0' ? call->text : err_text(status));
    membership_end(g, status, text);
}

static void sync_done(struct core_call *call, int status, const struct frame *frame);

int membership_sync(struct membership *g, Cairn__Native__MemberAssignment **assignments, size_t count)
{
    Cairn__Native__SyncGroupRequest m = CAIRN__NATIVE__SYNC_GROUP_REQUEST__INIT;
    char type[] = "consumer";
    char protocol[32];
    uint8_t *message;
    size_t size;

    snprintf(protocol, sizeof protocol, "%s", assignor_name(g->assignor));
    m.group = g->config.id;
    m.member = g->member;
    m.instance = g->config.instance;
    m.generation = g->generation;
    m.protocol_type = type;
    m.protocol = protocol;
    m.assignments = assignments;
    m.n_assignments = count;
    size = cairn__native__sync_group_request__get_packed_size(&m);
    message = malloc(size + 1);
    if (message == NULL) {
        return ERR_NOMEM;
    }
    cairn__native__sync_group_request__pack(&m, message);
    g->call = membership_call(g, CALL_SYNC_GROUP, message, size,
                              (g->config.max_poll_interval_ms + MEMBERSHIP_CALL_TIMEOUT_MS) * NS_PER_MS, sync_done, g);
    free(message);
    if (g->call == NULL) {
        return ERR_NOMEM;
    }
    g->call->patient = true;
    g->state = MEMBERSHIP_SYNCING;
    return 0;
}

static int members_copy(struct membership *g, const Cairn__Native__JoinGroupResponse *m)
{
    if (m->n_members > MEMBERSHIP_MEMBERS_MAX) {
        return ERR_TOO_BIG;
    }
    g->members = calloc(m->n_members + 1, sizeof *g->members);
    if (g->members == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < m->n_members; i++) {
        const Cairn__Native__JoinedMember *in = m->members[i];
        struct membership_peer *out = &g->members[g->member_count++];

        out->id = strdup(in->member);
        out->instance = strdup(in->instance);
        out->metadata = malloc(in->metadata.len + 1);
        if (out->id == NULL || out->instance == NULL || out->metadata == NULL) {
            return ERR_NOMEM;
        }
        if (in->metadata.len > 0) {
            memcpy(out->metadata, in->metadata.data, in->metadata.len);
        }
        out->metadata_size = in->metadata.len;
    }
    return 0;
}

static int join_apply(struct membership *g, const Cairn__Native__JoinGroupResponse *m)
{
    enum assignor a = assignor_find(m->protocol);
    int rv;

    if (a == ASSIGNOR_COUNT || strlen(m->member) >= sizeof g->member) {
        return ERR_MALFORMED;
    }
    snprintf(g->member, sizeof g->member, "%s", m->member);
    g->generation = m->generation;
    g->assignor = a;
    g->heartbeat_ns = g->core->now_ns + g->config.heartbeat_interval_ms * NS_PER_MS;
    membership_plan_drop(g);
    if (strcmp(m->leader, m->member) != 0) {
        return membership_sync(g, NULL, 0);
    }
    rv = members_copy(g, m);
    rv = rv == 0 ? membership_plan_begin(g, m->skip_assignment) : rv;
    if (rv == 0) {
        g->state = MEMBERSHIP_PLANNING;
    }
    return rv;
}

static void join_done(struct core_call *call, int status, const struct frame *frame)
{
    struct membership *g = call->owner;
    Cairn__Native__JoinGroupResponse *m = NULL;

    consumer_lock(g->consumer);
    g->call = NULL;
    g->coordinator = call->target;
    if (status == 0) {
        m = cairn__native__join_group_response__unpack(NULL, frame->header.message_length, frame->message);
        status = m != NULL ? join_apply(g, m) : ERR_MALFORMED;
    }
    if (status == ERR_MEMBER_ID_REQUIRED && call->member[0] != '\0') {
        snprintf(g->member, sizeof g->member, "%s", call->member);
        g->retry_ns = 0;
    } else if (status != 0) {
        join_failed(g, status, call);
    }
    core_wake_at(g->core, 0);
    consumer_unlock(g->consumer);
    if (m != NULL) {
        cairn__native__join_group_response__free_unpacked(m, NULL);
    }
}

void membership_ask_join(struct membership *g)
{
    Cairn__Native__JoinGroupRequest m = CAIRN__NATIVE__JOIN_GROUP_REQUEST__INIT;
    Cairn__Native__GroupProtocol protocols[ASSIGNOR_COUNT];
    Cairn__Native__GroupProtocol *pointers[ASSIGNOR_COUNT];
    char names[ASSIGNOR_COUNT][32];
    char type[] = "consumer";
    uint8_t *message = NULL;
    size_t size;
    int rv = 0;

    m.group = g->config.id;
    m.member = g->member;
    m.instance = g->config.instance;
    m.protocol_type = type;
    m.session_timeout_ms = (int32_t)g->config.session_timeout_ms;
    m.rebalance_timeout_ms = (int32_t)g->config.max_poll_interval_ms;
    m.protocols = pointers;
    for (size_t i = 0; i < g->config.assignor_count && rv == 0; i++) {
        enum assignor a = g->config.assignors[i];

        cairn__native__group_protocol__init(&protocols[i]);
        snprintf(names[i], sizeof names[i], "%s", assignor_name(a));
        protocols[i].name = names[i];
        rv = membership_subscription_write(g, a, &protocols[i].metadata.data, &protocols[i].metadata.len);
        pointers[i] = &protocols[i];
        m.n_protocols += rv == 0;
    }
    size = cairn__native__join_group_request__get_packed_size(&m);
    message = rv == 0 ? malloc(size + 1) : NULL;
    if (message != NULL) {
        cairn__native__join_group_request__pack(&m, message);
        g->call =
            membership_call(g, CALL_JOIN_GROUP, message, size,
                            (g->config.max_poll_interval_ms + MEMBERSHIP_CALL_TIMEOUT_MS) * NS_PER_MS, join_done, g);
    }
    for (size_t i = 0; i < m.n_protocols; i++) {
        free(protocols[i].metadata.data);
    }
    free(message);
    if (g->call == NULL) {
        join_later(g);
        return;
    }
    g->call->patient = true;
    g->rejoin = false;
}

/* What changes: given up first, then taken. */
static int assignment_apply(struct membership *g, const uint8_t *bytes, size_t size)
{
    struct membership_parts mine = {0};
    struct membership_parts kept = {0};
    struct membership_parts gone = {0};
    struct core *core = g->core;
    int rv = membership_assignment_read(core, bytes, size, &mine);

    for (size_t i = 0; i < g->assigned.count && rv == 0; i++) {
        const struct membership_part *part = &g->assigned.items[i];
        rv = membership_parts_add(core, membership_parts_have(&mine, part) ? &kept : &gone, part->topic->name,
                                  part->partition, -1);
    }
    for (size_t i = 0; i < mine.count && rv == 0; i++) {
        const struct membership_part *part = &mine.items[i];
        if (!membership_parts_have(&g->assigned, part)) {
            rv = membership_parts_add(core, &g->added, part->topic->name, part->partition, -1);
        }
    }
    if (rv == 0) {
        struct membership_parts before = g->assigned;
        g->assigned = kept;
        kept = before;
        g->rejoin_after = gone.count > 0;
        g->joined_generation = g->generation;
        g->after_flush = MEMBERSHIP_BEGINNING;
        g->state = MEMBERSHIP_BEGINNING;
        if (gone.count > 0) {
            membership_event_post(g, MEMBERSHIP_REVOKED, &gone);
            g->state = MEMBERSHIP_REVOKING;
        }
    }
    membership_parts_clear(core, &mine);
    membership_parts_clear(core, &kept);
    membership_parts_clear(core, &gone);
    free(mine.items);
    free(kept.items);
    free(gone.items);
    return rv;
}

static void sync_done(struct core_call *call, int status, const struct frame *frame)
{
    struct membership *g = call->owner;
    Cairn__Native__SyncGroupResponse *m;

    consumer_lock(g->consumer);
    g->call = NULL;
    g->coordinator = call->target;
    if (status == 0) {
        m = cairn__native__sync_group_response__unpack(NULL, frame->header.message_length, frame->message);
        status = ERR_MALFORMED;
        if (m != NULL) {
            status = assignment_apply(g, m->assignment.data, m->assignment.len);
            cairn__native__sync_group_response__free_unpacked(m, NULL);
        }
    }
    if (status == 0) {
        g->attempts = 0;
        g->retry_ns = 0;
    } else {
        join_failed(g, status, call);
    }
    core_wake_at(g->core, 0);
    consumer_unlock(g->consumer);
}
