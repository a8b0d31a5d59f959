/* Calls that cross a link: ours to the leader's node, and those of peers that found the leader here. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/call.h"

/* ---- attempts: the leader's node ----------------------------------------------------------------------------- */

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

int call_try_remote(struct control_call *call, uint32_t node)
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

static void take_reply(struct control_call *call, const Cairn__Cluster__ControlResponse *response)
{
    Cairn__Cluster__MetadataReply *m =
        cairn__cluster__metadata_reply__unpack(NULL, response->reply.len, response->reply.data);
    if (m == NULL) {
        call_finish(call, ERR_UNKNOWN_OUTCOME);
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
    call_answered(call);
}

static void receive_response(struct control *c, uint32_t node, const Cairn__Cluster__ControlResponse *response)
{
    struct control_call *call = NULL;
    list_for_each (pos, &c->calls.active) {
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
        call_answered(call);
    } else if (call_never_proposed((int)response->error) || response->error == ERR_SHUTDOWN ||
               call->kind == CALL_KIND_BARRIER) {
        call_wait_again(call, ERR_LEADER_NOT_READY);
        if (response->leader_node != 0 && response->leader_node != node && response->leader_node != c->node) {
            call->hint = response->leader_node;
            call->retry_ms = 0;
            c->calls.kick = true;
            control_wake(c);
        }
    } else {
        call_finish(call, (int)response->error);
    }
}

/* ---- peers' calls -------------------------------------------------------------------------------------------- */

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
    rv = call_try_local(call);
    if (rv != 0) {
        call_finish(call, rv);
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

void call_respond(struct control_call *call)
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
