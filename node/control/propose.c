/* Calls to the leader of the metadata group: proposals and barriers, of this node's own rooms and of peers that found the
 * leader here. A call that was certainly not proposed is tried again until its time limit; one that may have been ends
 * with ERR_UNKNOWN_OUTCOME. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"

enum call_kind { CALL_KIND_PROPOSE, CALL_KIND_BARRIER };

enum call_state {
    CALL_WAITING,  /* for a leader, or for the next attempt */
    CALL_LOCAL,    /* the local group has it */
    CALL_SENT,     /* the leader's node has it */
    CALL_APPLYING, /* answered: until the local read model has got there */
    CALL_FINISHED
};

struct control_call {
    struct control *control;
    struct list link;
    uint64_t id;
    enum call_kind kind;
    enum call_state state;
    struct entry *command;  /* packed; each local attempt is an entry of its own */
    struct entry *proposed; /* of the local attempt: its index and term tell which reply is ours */
    uint64_t deadline_ms;
    uint64_t retry_ms;
    uint32_t target; /* node that has it, while SENT */
    uint32_t hint;   /* whom the last one named as leader */
    int waiting_for; /* why it waits: the error at the time limit */
    int error;
    bool has_reply;
    bool detached; /* its caller was answered already; the group still has it */
    struct metadata_reply reply;
    uint64_t index;
    struct group_proposal group_proposal;
    struct group_barrier group_barrier;
    /* who waits: one of them, or a peer */
    struct control_proposal *proposal;
    struct control_barrier *barrier;
    uint32_t remote_node;
    uint64_t remote_id;
};

/* A proposal or barrier for which there is no struct control_call: it is answered all the same, in the turn. */
struct unmade {
    struct list link;
    int error;
    bool is_barrier;
    void *owner;
};
_Static_assert(sizeof(struct unmade) <= sizeof(((struct control_proposal *)0)->impl), "fits");
_Static_assert(sizeof(struct unmade) <= sizeof(((struct control_barrier *)0)->impl), "fits");

void control_calls_init(struct control *c)
{
    list_init(&c->calls.active);
    list_init(&c->calls.finished);
    list_init(&c->calls.failed);
    c->calls.id_next = env_random(c->env); /* answers to an earlier life find nobody */
}

uint64_t control_calls_new_id(struct control *c)
{
    c->calls.id_next++;
    if (c->calls.id_next == 0) {
        c->calls.id_next++;
    }
    return c->calls.id_next;
}

static struct control_call *call_new(struct control *c, enum call_kind kind, uint32_t timeout_ms)
{
    struct control_call *call = c->calls.n < CONTROL_CALLS_MAX ? calloc(1, sizeof *call) : NULL;
    if (call == NULL) {
        return NULL;
    }
    call->control = c;
    call->id = control_calls_new_id(c);
    call->kind = kind;
    call->state = CALL_WAITING;
    call->waiting_for = ERR_LEADER_NOT_READY;
    call->deadline_ms = env_now_ms(c->env) + (timeout_ms > 0 ? timeout_ms : CONTROL_CALL_TIMEOUT_MS);
    c->calls.n++;
    list_push_back(&c->calls.active, &call->link);
    c->calls.kick = true;
    control_wake(c);
    return call;
}

static void call_free(struct control_call *call)
{
    call->control->calls.n--;
    list_remove(&call->link);
    entry_release(call->command);
    entry_release(call->proposed);
    free(call);
}

static void finish(struct control_call *call, int error)
{
    struct control *c = call->control;
    call->error = error;
    call->state = CALL_FINISHED;
    list_remove(&call->link);
    list_push_back(&c->calls.finished, &call->link);
    control_wake(c);
}

static void wait_again(struct control_call *call, int why)
{
    call->state = CALL_WAITING;
    call->waiting_for = why;
    call->retry_ms = env_now_ms(call->control->env) + CONTROL_CALL_RETRY_MS;
}

/* It stands at call->index: answer when the local read model has reached it. */
static void answered(struct control_call *call)
{
    if (call->remote_node != 0 || (call->has_reply && call->reply.error != 0) ||
        metadata_fsm_index(call->control->metadata.fsm) >= call->index) {
        finish(call, call->has_reply ? call->reply.error : 0);
        return;
    }
    call->state = CALL_APPLYING;
}

/* ---- attempts: the local group ------------------------------------------------------------------------------------ */

/* What a group said instead of taking it in, or before it took it in: nothing was proposed. */
static bool never_proposed(int status)
{
    return status == ERR_NOT_LEADER || status == ERR_LEADER_NOT_READY || status == ERR_BUSY;
}

static void local_ended(struct control_call *call, int status)
{
    if (call->detached) {
        call_free(call);
        return;
    }
    if (never_proposed(status) && call->remote_node == 0) {
        wait_again(call, status);
        return;
    }
    if (status == 0) {
        answered(call);
        return;
    }
    finish(call, status);
}

static void local_proposed(struct group_proposal *proposal, int status)
{
    struct control_call *call = container_of(proposal, struct control_call, group_proposal);
    entry_release(call->proposed);
    call->proposed = NULL;
    if (status == 0 && !call->has_reply) {
        status = ERR_UNKNOWN_OUTCOME; /* the state machine stopped in front of it */
    }
    local_ended(call, status);
}

static void local_confirmed(struct group_barrier *barrier, int status)
{
    struct control_call *call = container_of(barrier, struct control_call, group_barrier);
    call->index = metadata_fsm_index(call->control->metadata.fsm);
    if (status == ERR_UNKNOWN_OUTCOME) {
        status = ERR_NOT_LEADER; /* a barrier changes nothing: ask again */
    }
    local_ended(call, status);
}

void control_calls_applied(struct control *c, const struct entry *entry, const struct metadata_reply *reply)
{
    list_for_each(pos, &c->calls.active)
    {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->proposed != NULL && call->proposed->index == entry->index && call->proposed->term == entry->term) {
            call->reply = *reply;
            call->has_reply = true;
            call->index = entry->index;
            return;
        }
    }
}

static int try_local(struct control_call *call)
{
    struct group *g = call->control->metadata.group;
    int rv;

    if (call->kind == CALL_KIND_BARRIER) {
        call->group_barrier.done = local_confirmed;
        rv = group_barrier(g, &call->group_barrier);
    } else {
        struct entry *entry = entry_new(ENTRY_COMMAND, call->command->buf, call->command->data, call->command->length);
        if (entry == NULL) {
            return ERR_BUSY;
        }
        entry->base_offset = -1;
        call->proposed = entry_acquire(entry);
        call->group_proposal.entry = entry;
        call->group_proposal.done = local_proposed;
        rv = group_propose(g, &call->group_proposal);
        if (rv != 0) {
            entry_release(entry);
            entry_release(entry);
            call->proposed = NULL;
        }
    }
    if (rv == 0) {
        call->state = CALL_LOCAL;
    }
    return rv;
}

/* ---- attempts: the leader's node ---------------------------------------------------------------------------------- */

int control_calls_send(struct control *c, uint32_t node, uint16_t number, Cairn__Cluster__ControlCall *message)
{
    size_t size = cairn__cluster__control_call__get_packed_size(message);
    uint8_t *bytes = malloc(size);
    int rv;
    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    cairn__cluster__control_call__pack(message, bytes);
    rv = transport_control(c->transport, node, number, bytes, size);
    free(bytes);
    return rv;
}

void control_calls_respond(struct control *c, uint32_t node, uint16_t number, Cairn__Cluster__ControlResponse *response)
{
    Cairn__Cluster__ControlCall message = CAIRN__CLUSTER__CONTROL_CALL__INIT;
    message.kind_case = CAIRN__CLUSTER__CONTROL_CALL__KIND_RESPONSE;
    message.response = response;
    if (control_calls_send(c, node, number, &message) != 0) {
        return; /* the asker's time limit, or the end of its link to us, tells it */
    }
}

static int try_remote(struct control_call *call, uint32_t node)
{
    Cairn__Cluster__ControlCall message = CAIRN__CLUSTER__CONTROL_CALL__INIT;
    Cairn__Cluster__ControlRequest request = CAIRN__CLUSTER__CONTROL_REQUEST__INIT;
    int rv;

    call->id = control_calls_new_id(call->control); /* a late answer to an earlier attempt is not ours */
    request.id = call->id;
    if (call->kind == CALL_KIND_BARRIER) {
        request.kind_case = CAIRN__CLUSTER__CONTROL_REQUEST__KIND_READ_BARRIER;
        request.read_barrier = metadata_fsm_index(call->control->metadata.fsm);
    } else {
        request.kind_case = CAIRN__CLUSTER__CONTROL_REQUEST__KIND_PROPOSE;
        request.propose.data = (uint8_t *)(uintptr_t)call->command->data;
        request.propose.len = call->command->length;
    }
    message.kind_case = CAIRN__CLUSTER__CONTROL_CALL__KIND_REQUEST;
    message.request = &request;
    rv = control_calls_send(call->control, node, CALL_METADATA_PROPOSE, &message);
    if (rv == 0) {
        call->state = CALL_SENT;
        call->target = node;
    }
    return rv;
}

static void attempt(struct control_call *call)
{
    struct control *c = call->control;
    uint32_t leader;
    int rv;

    if (!control_is_formed(c)) {
        wait_again(call, ERR_NOT_FORMED);
        return;
    }
    if (c->metadata.leading) {
        rv = try_local(call);
        if (rv != 0 && never_proposed(rv)) {
            wait_again(call, rv);
        } else if (rv != 0) {
            finish(call, rv);
        }
        return;
    }
    leader = call->hint != 0 ? call->hint : control_metadata_leader(c);
    call->hint = 0;
    if (leader == 0 || leader == c->node || try_remote(call, leader) != 0) {
        wait_again(call, ERR_LEADER_NOT_READY);
    }
}

static void take_reply(struct control_call *call, const Cairn__Cluster__ControlResponse *response)
{
    Cairn__Cluster__MetadataReply *m =
        cairn__cluster__metadata_reply__unpack(NULL, response->reply.len, response->reply.data);
    if (m == NULL) {
        finish(call, ERR_UNKNOWN_OUTCOME);
        return;
    }
    call->reply.error = (int)m->error;
    call->reply.value = m->value;
    strncpy(call->reply.text, m->text, sizeof call->reply.text - 1);
    if (m->topic_id.len == sizeof call->reply.topic_id.bytes) {
        memcpy(call->reply.topic_id.bytes, m->topic_id.data, m->topic_id.len);
    }
    call->has_reply = true;
    cairn__cluster__metadata_reply__free_unpacked(m, NULL);
    call->index = response->index;
    answered(call);
}

static void receive_response(struct control *c, uint32_t node, const Cairn__Cluster__ControlResponse *response)
{
    struct control_call *call = NULL;
    list_for_each(pos, &c->calls.active)
    {
        struct control_call *candidate = list_entry(pos, struct control_call, link);
        if (candidate->state == CALL_SENT && candidate->id == response->id && candidate->target == node) {
            call = candidate;
            break;
        }
    }
    if (call == NULL) {
        return;
    }
    if (response->error == 0 && call->kind == CALL_KIND_PROPOSE) {
        take_reply(call, response);
    } else if (response->error == 0) {
        call->index = response->index;
        answered(call);
    } else if (never_proposed((int)response->error) || response->error == ERR_SHUTDOWN || call->kind == CALL_KIND_BARRIER) {
        wait_again(call, ERR_LEADER_NOT_READY);
        if (response->leader_node != 0 && response->leader_node != node && response->leader_node != c->node) {
            call->hint = response->leader_node;
            call->retry_ms = 0;
            c->calls.kick = true;
            control_wake(c);
        }
    } else {
        finish(call, (int)response->error);
    }
}

void control_calls_link_down(struct control *c, uint32_t node)
{
    list_for_each_safe(pos, &c->calls.active)
    {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->state == CALL_SENT && call->target == node) {
            if (call->kind == CALL_KIND_BARRIER) {
                wait_again(call, ERR_LEADER_NOT_READY);
            } else {
                finish(call, ERR_UNKNOWN_OUTCOME);
            }
        }
    }
}

/* ---- peers' calls ------------------------------------------------------------------------------------------------- */

/* A committed command that is not understood stops every replica: look before it is proposed. */
static struct entry *peer_command(const ProtobufCBinaryData *bytes)
{
    Cairn__Command__MetadataCommand *m;
    struct entry *entry = NULL;

    if (bytes->len > CONTROL_COMMAND_MAX_BYTES) {
        return NULL;
    }
    m = cairn__command__metadata_command__unpack(NULL, bytes->len, bytes->data);
    if (m == NULL) {
        return NULL;
    }
    if (m->version <= METADATA_COMMAND_VERSION && m->kind_case != CAIRN__COMMAND__METADATA_COMMAND__KIND__NOT_SET) {
        entry = metadata_command_entry(m);
    }
    cairn__command__metadata_command__free_unpacked(m, NULL);
    return entry;
}

static void respond_error(struct control *c, uint32_t node, uint64_t id, int error)
{
    Cairn__Cluster__ControlResponse response = CAIRN__CLUSTER__CONTROL_RESPONSE__INIT;
    response.id = id;
    response.error = (uint32_t)error;
    response.leader_node = control_metadata_leader(c);
    control_calls_respond(c, node, CALL_METADATA_PROPOSE, &response);
}

static void receive_request(struct control *c, uint32_t node, const Cairn__Cluster__ControlRequest *request)
{
    struct entry *command = NULL;
    struct control_call *call;
    int rv;

    if (!c->metadata.leading || c->metadata.group == NULL) {
        respond_error(c, node, request->id, ERR_NOT_LEADER);
        return;
    }
    if (request->kind_case == CAIRN__CLUSTER__CONTROL_REQUEST__KIND_PROPOSE) {
        command = peer_command(&request->propose);
        if (command == NULL) {
            respond_error(c, node, request->id, ERR_MALFORMED);
            return;
        }
    }
    call = call_new(c, command != NULL ? CALL_KIND_PROPOSE : CALL_KIND_BARRIER, CONTROL_CALL_TIMEOUT_MS);
    if (call == NULL) {
        entry_release(command);
        respond_error(c, node, request->id, ERR_BUSY);
        return;
    }
    call->command = command;
    call->remote_node = node;
    call->remote_id = request->id;
    rv = try_local(call);
    if (rv != 0) {
        finish(call, rv);
    }
}

void control_calls_receive(struct control *c, uint32_t node, uint16_t number, const uint8_t *message, size_t size)
{
    Cairn__Cluster__ControlCall *m = cairn__cluster__control_call__unpack(NULL, size, message);
    bool join = number == CALL_JOIN;
    if (m == NULL) {
        return;
    }
    if (m->kind_case == CAIRN__CLUSTER__CONTROL_CALL__KIND_RESPONSE) {
        if (join) {
            join_response(c, node, m->response);
        } else {
            receive_response(c, node, m->response);
        }
    } else if (m->kind_case == CAIRN__CLUSTER__CONTROL_CALL__KIND_REQUEST) {
        if (join && m->request->kind_case == CAIRN__CLUSTER__CONTROL_REQUEST__KIND_JOIN) {
            join_request(c, node, m->request->id, m->request->join);
        } else if (!join && (m->request->kind_case == CAIRN__CLUSTER__CONTROL_REQUEST__KIND_PROPOSE ||
                             m->request->kind_case == CAIRN__CLUSTER__CONTROL_REQUEST__KIND_READ_BARRIER)) {
            receive_request(c, node, m->request);
        }
    }
    cairn__cluster__control_call__free_unpacked(m, NULL);
}

static void respond_finished(struct control_call *call)
{
    Cairn__Cluster__ControlResponse response = CAIRN__CLUSTER__CONTROL_RESPONSE__INIT;
    Cairn__Cluster__MetadataReply reply = CAIRN__CLUSTER__METADATA_REPLY__INIT;
    uint8_t bytes[2 * ERRMSG_SIZE];

    response.id = call->remote_id;
    response.index = call->index;
    response.leader_node = control_metadata_leader(call->control);
    if (call->has_reply) {
        reply.error = (uint32_t)call->reply.error;
        reply.text = call->reply.text;
        reply.value = call->reply.value;
        if (!uuid_is_nil(&call->reply.topic_id)) {
            reply.topic_id.data = call->reply.topic_id.bytes;
            reply.topic_id.len = sizeof call->reply.topic_id.bytes;
        }
        assert(cairn__cluster__metadata_reply__get_packed_size(&reply) <= sizeof bytes);
        response.reply.len = cairn__cluster__metadata_reply__pack(&reply, bytes);
        response.reply.data = bytes;
    } else {
        response.error = (uint32_t)call->error;
    }
    control_calls_respond(call->control, call->remote_node, CALL_METADATA_PROPOSE, &response);
}

/* ---- answering ---------------------------------------------------------------------------------------------------- */

static void report(struct control_call *call)
{
    struct control_proposal *proposal = call->proposal;
    struct control_barrier *barrier = call->barrier;
    struct metadata_reply none = {0};

    if (call->remote_node != 0) {
        respond_finished(call);
    } else if (proposal != NULL) {
        none.error = call->error;
        proposal->done(proposal, call->error, call->has_reply ? &call->reply : &none);
    } else if (barrier != NULL) {
        barrier->done(barrier, call->error);
    }
}

static void report_finished(struct control *c)
{
    struct list *pos;
    while ((pos = list_pop_front(&c->calls.failed)) != NULL) {
        struct unmade *unmade = list_entry(pos, struct unmade, link);
        struct metadata_reply none = {.error = unmade->error};
        if (unmade->is_barrier) {
            struct control_barrier *barrier = unmade->owner;
            barrier->done(barrier, unmade->error);
        } else {
            struct control_proposal *proposal = unmade->owner;
            proposal->done(proposal, none.error, &none);
        }
    }
    while ((pos = list_pop_front(&c->calls.finished)) != NULL) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        report(call);
        call_free(call);
    }
}

/* The time limit has come. */
static void expire(struct control_call *call)
{
    if (call->state == CALL_APPLYING) {
        finish(call, 0);
    } else if (call->state == CALL_WAITING) {
        finish(call, call->waiting_for == ERR_NOT_FORMED         ? ERR_NOT_FORMED
                     : call->waiting_for == ERR_BUSY             ? ERR_BUSY
                     : control_metadata_leader(call->control) == 0 ? ERR_LEADER_NOT_READY
                                                                 : ERR_TIMEOUT);
    } else if (call->state == CALL_SENT) {
        finish(call, call->kind == CALL_KIND_BARRIER ? ERR_TIMEOUT : ERR_UNKNOWN_OUTCOME);
    } else if (call->state == CALL_LOCAL && !call->detached) {
        /* The group has it until it says so: answer now, free then. */
        call->error = call->kind == CALL_KIND_BARRIER ? ERR_TIMEOUT : ERR_UNKNOWN_OUTCOME;
        call->detached = true;
        call->has_reply = false;
        report(call);
    }
}

void control_calls_turn(struct control *c)
{
    if (c->calls.kick) {
        c->calls.kick = false;
        list_for_each_safe(pos, &c->calls.active)
        {
            struct control_call *call = list_entry(pos, struct control_call, link);
            if (call->state == CALL_WAITING) {
                attempt(call);
            }
        }
    }
    list_for_each_safe(pos, &c->calls.active)
    {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->state == CALL_APPLYING && metadata_fsm_index(c->metadata.fsm) >= call->index) {
            answered(call);
        }
    }
    report_finished(c);
}

void control_calls_tick(struct control *c, uint64_t now_ms)
{
    list_for_each_safe(pos, &c->calls.active)
    {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (now_ms >= call->deadline_ms) {
            expire(call);
        } else if (call->state == CALL_WAITING && now_ms >= call->retry_ms) {
            attempt(call);
        }
    }
}

void control_calls_end(struct control *c)
{
    list_for_each_safe(pos, &c->calls.active)
    {
        struct control_call *call = list_entry(pos, struct control_call, link);
        assert(call->state != CALL_LOCAL); /* the group was closed first */
        finish(call, call->state == CALL_SENT && call->kind == CALL_KIND_PROPOSE ? ERR_UNKNOWN_OUTCOME : ERR_SHUTDOWN);
    }
    report_finished(c);
}

void control_calls_free(struct control *c)
{
    struct list *pos;
    list_splice_back(&c->calls.active, &c->calls.finished);
    while ((pos = list_pop_front(&c->calls.active)) != NULL) {
        call_free(list_entry(pos, struct control_call, link));
    }
}

/* ---- the two calls ------------------------------------------------------------------------------------------------ */

static void fail_later(struct control *c, void *owner, void *impl, bool is_barrier, int error)
{
    struct unmade *unmade = impl;
    unmade->owner = owner;
    unmade->is_barrier = is_barrier;
    unmade->error = error;
    list_push_back(&c->calls.failed, &unmade->link);
    control_wake(c);
}

void control_propose(struct control *c, Cairn__Command__MetadataCommand *command, struct control_proposal *p)
{
    struct entry *packed = c->closing ? NULL : metadata_command_entry(command);
    struct control_call *call;

    if (packed == NULL || packed->length > CONTROL_COMMAND_MAX_BYTES) {
        fail_later(c, p, p->impl, false, c->closing ? ERR_SHUTDOWN : packed == NULL ? ERR_NOMEM : ERR_TOO_BIG);
        entry_release(packed);
        return;
    }
    call = call_new(c, CALL_KIND_PROPOSE, p->timeout_ms);
    if (call == NULL) {
        entry_release(packed);
        fail_later(c, p, p->impl, false, ERR_BUSY);
        return;
    }
    call->command = packed;
    call->proposal = p;
}

void control_barrier(struct control *c, struct control_barrier *b)
{
    struct control_call *call = c->closing ? NULL : call_new(c, CALL_KIND_BARRIER, b->timeout_ms);
    if (call == NULL) {
        fail_later(c, b, b->impl, true, c->closing ? ERR_SHUTDOWN : ERR_BUSY);
        return;
    }
    call->barrier = b;
}
