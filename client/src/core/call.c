#include "client/src/core/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/native/native.pb-c.h"

struct core_call *call_start(struct core *core, uint16_t call, const void *message, size_t message_size,
                             uint64_t timeout_ns, void (*done)(struct core_call *, int, const struct frame *),
                             void *owner)
{
    struct core_call *c = calloc(1, sizeof *c + message_size);

    if (c == NULL) {
        return NULL;
    }
    c->core = core;
    c->call = call;
    c->repeatable = true;
    c->deadline_ns = core->now_ns + timeout_ns;
    c->attempt_deadline_ns = UINT64_MAX;
    c->message = (uint8_t *)(c + 1);
    c->message_size = message_size;
    if (message_size > 0) {
        memcpy(c->message, message, message_size);
    }
    c->done = done;
    c->owner = owner;
    list_push_back(&core->calls, &c->link);
    core_wake_at(core, 0);
    return c;
}

bool call_for_group(struct core_call *c, const char *group, uint32_t coordinator)
{
    c->group = strdup(group);
    c->target = coordinator;
    return c->group != NULL;
}

static void call_free(struct core_call *c)
{
    free(c->group);
    free(c);
}

static void call_detach(struct core_call *c)
{
    if (c->request != NULL) {
        request_abandon(c->request);
        c->request = NULL;
    }
    list_remove(&c->link);
}

void call_cancel(struct core_call *c)
{
    call_detach(c);
    call_free(c);
}

static void call_end(struct core_call *c, int status, const struct frame *frame)
{
    call_detach(c);
    if (status != 0 && c->ambiguous && !c->repeatable) {
        status = ERR_UNKNOWN_OUTCOME;
    }
    c->done(c, status, frame);
    call_free(c);
}

/* Whom it was sent to is of no use. */
static void call_untarget(struct core_call *c)
{
    if (!c->pinned) {
        c->target = 0;
    }
}

static void call_again(struct core_call *c)
{
    c->retry_ns = c->core->now_ns + core_backoff_ns(c->core, c->attempts, CALL_RETRY_MIN_MS, CALL_RETRY_MAX_MS);
    core_wake_at(c->core, c->retry_ns);
}

/* Remember why, and where the node says to ask instead. */
static bool call_read_failure(struct core_call *c, int status, const struct frame *frame)
{
    bool hinted = false;
    Cairn__Native__Failure *m;

    snprintf(c->text, sizeof c->text, "%s", err_text(status));
    m = cairn__native__failure__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        return false;
    }
    if (m->text != NULL && m->text[0] != '\0') {
        snprintf(c->text, sizeof c->text, "%s", m->text);
    }
    snprintf(c->member, sizeof c->member, "%s", m->member);
    if ((status == ERR_NOT_LEADER || status == ERR_NOT_COORDINATOR) && m->leader_node != 0 &&
        m->leader_node != c->target && meta_node_get(c->core, m->leader_node, m->leader_address) != NULL) {
        c->target = m->leader_node;
        hinted = true;
    }
    cairn__native__failure__free_unpacked(m, NULL);
    return hinted;
}

/* Who coordinates the group? */
static void call_found(struct core_call *c, const struct frame *frame)
{
    Cairn__Native__FindCoordinatorResponse *m =
        cairn__native__find_coordinator_response__unpack(NULL, frame->header.message_length, frame->message);
    int rv = ERR_MALFORMED;

    if (m != NULL && m->n_coordinators == 1) {
        const Cairn__Native__CoordinatorInfo *info = m->coordinators[0];
        rv = (int)info->error;
        if (rv == 0 && meta_node_get(c->core, info->node, info->address) == NULL) {
            rv = ERR_LEADER_NOT_READY; /* it names nobody */
        }
        if (rv == 0) {
            c->target = info->node;
        }
    }
    if (m != NULL) {
        cairn__native__find_coordinator_response__free_unpacked(m, NULL);
    }
    if (rv == 0) {
        c->retry_ns = 0;
        core_wake_at(c->core, 0);
        return;
    }
    c->last_error = rv;
    snprintf(c->text, sizeof c->text, "the coordinator of group %.100s: %s", c->group, err_text(rv));
    if (err_retriable(rv)) {
        call_again(c);
    } else {
        call_end(c, rv, NULL);
    }
}

static void call_answer(struct request *r, int status, const struct frame *frame)
{
    struct core_call *c = r->owner;

    c->request = NULL;
    c->attempts++;
    if (frame == NULL) { /* lost: it may have been carried out */
        c->ambiguous = c->ambiguous || !c->finding;
        call_untarget(c);
        c->last_error = status;
        snprintf(c->text, sizeof c->text, "the connection was lost: %s", err_text(status));
        if (!c->repeatable && !c->finding) {
            call_end(c, ERR_UNKNOWN_OUTCOME, NULL);
            return;
        }
        call_again(c);
        return;
    }
    if (status == 0 && c->finding) {
        call_found(c, frame);
        return;
    }
    if (status == 0) {
        call_end(c, 0, frame);
        return;
    }
    c->last_error = status;
    if (call_read_failure(c, status, frame)) {
        c->retry_ns = 0;
        core_wake_at(c->core, 0);
        return;
    }
    call_untarget(c);
    if (!c->finding && (status == ERR_UNKNOWN_OUTCOME || status == ERR_TIMEOUT)) {
        c->ambiguous = true;
        if (!c->repeatable) {
            call_end(c, ERR_UNKNOWN_OUTCOME, NULL);
            return;
        }
    }
    if (!err_retriable(status) || (c->topic_final && status == ERR_UNKNOWN_TOPIC)) {
        call_end(c, status, NULL);
        return;
    }
    call_again(c);
}

static struct request *find_request(struct core_call *c)
{
    Cairn__Native__FindCoordinatorRequest m = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT;
    struct request *r;

    m.groups = &c->group;
    m.n_groups = 1;
    r = request_new(CALL_FIND_COORDINATOR, cairn__native__find_coordinator_request__get_packed_size(&m), 0, 0);
    if (r != NULL) {
        cairn__native__find_coordinator_request__pack(&m, request_message(r));
    }
    return r;
}

static void call_attempt(struct core_call *c)
{
    struct core *core = c->core;
    struct conn *conn = NULL;
    struct meta_node *node = c->target != 0 ? meta_node_get(core, c->target, NULL) : NULL;
    struct request *r;
    bool quick;

    if (node != NULL) {
        conn = meta_conn(core, node, LANE_MAIN);
        if (conn == NULL && node->connect_failures[LANE_MAIN] > 0) {
            call_untarget(c); /* the hint leads nowhere */
        }
    }
    if (conn == NULL && c->target == 0) {
        conn = conn_any(core, c->last);
    }
    if (conn == NULL) {
        return;
    }
    c->finding = c->group != NULL && c->target == 0;
    r = c->finding ? find_request(c) : request_new(c->call, c->message_size, 0, 0);
    if (r == NULL) {
        call_again(c);
        return;
    }
    if (!c->finding && c->message_size > 0) {
        memcpy(request_message(r), c->message, c->message_size);
    }
    quick = c->finding || (c->repeatable && !c->patient);
    r->done = call_answer;
    r->owner = c;
    r->patient = !quick;
    c->request = r;
    c->last = conn->serial;
    c->attempt_deadline_ns = UINT64_MAX;
    if (quick || c->patient) {
        c->attempt_deadline_ns = core->now_ns + (quick ? CALL_ATTEMPT_TIMEOUT_MS : CALL_PARKED_TIMEOUT_MS) * NS_PER_MS;
    }
    conn_request(conn, r,
                 quick ? core->config.request_timeout_ms * NS_PER_MS : c->deadline_ns - core->now_ns + NS_PER_S);
}

static void call_turn(struct core_call *c)
{
    struct core *core = c->core;

    if (core->now_ns >= c->deadline_ns) {
        if (c->request != NULL) {
            c->ambiguous = true;
        }
        if (c->text[0] == '\0') {
            snprintf(c->text, sizeof c->text, "no node answered%s%.200s", core->trouble[0] != '\0' ? ": " : "",
                     core->trouble);
        }
        call_end(c, ERR_TIMEOUT, NULL);
        return;
    }
    if (c->request != NULL && core->now_ns >= c->attempt_deadline_ns) { /* hangs: ask somebody else */
        c->request->conn->suspect = c->request->conn->suspect || !c->request->patient;
        request_abandon(c->request);
        c->request = NULL;
        call_untarget(c);
    }
    if (c->request == NULL && core->now_ns >= c->retry_ns) {
        call_attempt(c);
    }
    core_wake_at(core, c->deadline_ns);
    if (c->request != NULL) {
        core_wake_at(core, c->attempt_deadline_ns);
    } else if (c->retry_ns > core->now_ns) {
        core_wake_at(core, c->retry_ns);
    } else {
        core_wake_at(core, core->now_ns + CLIENT_TICK_MS * NS_PER_MS); /* a connection is in the making */
    }
}

void calls_turn(struct core *core)
{
    list_for_each_safe (pos, &core->calls) {
        call_turn(list_entry(pos, struct core_call, link));
    }
}

void calls_shutdown(struct core *core)
{
    while (!list_empty(&core->calls)) {
        call_end(list_entry(core->calls.next, struct core_call, link), ERR_SHUTDOWN, NULL);
    }
}
