/* Becoming part of a cluster that exists: ask any member, which has the metadata group register this node and issue its
 * metadata replica id. Both commands are idempotent for the same disk, so a crash anywhere only means asking again; the
 * replica id was never used before it stands in the identity file. */
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"

void join_registration(struct control *c, struct registration *r)
{
    cairn__command__register_node__init(&r->message);
    r->message.node = c->node;
    r->message.disk_id.data = c->id.disk_id.bytes;
    r->message.disk_id.len = sizeof c->id.disk_id.bytes;
    r->message.peer_address = c->advertised;
    r->message.rack = c->rack;
    r->message.version_max = METADATA_COMMAND_VERSION;
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        cairn__command__setting__init(&r->settings[i]);
        r->settings[i].key = c->listeners[i].name;
        r->settings[i].value = c->listeners[i].address;
        r->pointers[i] = &r->settings[i];
    }
    r->message.listeners = r->pointers;
    r->message.n_listeners = c->n_listeners;
}

/* ---- the one who joins --------------------------------------------------------------------------------------- */

static bool wanted(const struct control *c)
{
    return control_is_formed(c) ? c->id.metadata_replica == 0 : c->join.founders.n > 0;
}

void join_start(struct control *c, const struct seed_list *founders, const struct uuid *cluster_id)
{
    if (c->join.founders.n > 0) {
        return;
    }
    c->join.founders = *founders;
    c->join.cluster_id = *cluster_id;
    log_event(c->env->logger, LOG_INFO, "join_started", "node=%u founders=%u", c->node, founders->n);
}

/* A member to ask: the next one after the last, so that a deaf one is passed over. */
static struct control_peer *next_member(struct control *c)
{
    struct control_peer *first = NULL;
    struct control_peer *behind = NULL;
    for (struct control_peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (!p->up || (!p->formed && !control_is_formed(c))) {
            continue;
        }
        if (first == NULL || p->node < first->node) {
            first = p;
        }
        if (p->node > c->join.via && (behind == NULL || p->node < behind->node)) {
            behind = p;
        }
    }
    return behind != NULL ? behind : first;
}

static void ask(struct control *c, uint32_t node, uint64_t now_ms)
{
    Cairn__Cluster__ControlCall call = CAIRN__CLUSTER__CONTROL_CALL__INIT;
    Cairn__Cluster__ControlRequest request = CAIRN__CLUSTER__CONTROL_REQUEST__INIT;
    Cairn__Cluster__JoinRequest join = CAIRN__CLUSTER__JOIN_REQUEST__INIT;
    struct registration registration;

    join_registration(c, &registration);
    join.registration.len = cairn__command__register_node__get_packed_size(&registration.message);
    join.registration.data = malloc(join.registration.len);
    if (join.registration.data == NULL) {
        return;
    }
    cairn__command__register_node__pack(&registration.message, join.registration.data);
    request.id = control_calls_new_id(c);
    request.kind_case = CAIRN__CLUSTER__CONTROL_REQUEST__KIND_JOIN;
    request.join = &join;
    call.kind_case = CAIRN__CLUSTER__CONTROL_CALL__KIND_REQUEST;
    call.request = &request;
    c->join.via = node;
    if (control_calls_send(c, node, CALL_JOIN, &call) == 0) {
        c->join.request = request.id;
        c->join.deadline_ms = now_ms + CONTROL_JOIN_TIMEOUT_MS;
    }
    free(join.registration.data);
}

void join_tick(struct control *c, uint64_t now_ms)
{
    struct control_peer *p;
    if (!wanted(c) || now_ms < c->join.deadline_ms) {
        return;
    }
    c->join.request = 0;
    c->join.deadline_ms = now_ms + CONTROL_JOIN_RETRY_MS;
    p = next_member(c);
    if (p != NULL) {
        ask(c, p->node, now_ms);
    }
}

static void joined(struct control *c, uint64_t replica)
{
    int rv = control_is_formed(c) ? identity_write_replica(&c->id, replica)
                                  : identity_write_formed(&c->id, &c->join.founders, replica, false);
    if (rv != 0) {
        env_fatal(c->env, "the identity file cannot be written");
    }
    log_event(c->env->logger, LOG_INFO, "joined", "node=%u metadata_replica=%llu", c->node,
              (unsigned long long)replica);
    control_became_formed(c);
}

void join_response(struct control *c, uint32_t node, const Cairn__Cluster__ControlResponse *response)
{
    char quoted[2 * ERRMSG_SIZE];

    if (!wanted(c) || response->id != c->join.request || node != c->join.via) {
        return;
    }
    c->join.request = 0;
    c->join.deadline_ms = env_now_ms(c->env) + CONTROL_JOIN_RETRY_MS;
    if (response->error == ERR_DISK_WIPED || response->error == ERR_REFUSED) {
        control_refuse(c, (int)response->error, response->text);
    } else if (response->error != 0) {
        log_event(c->env->logger, LOG_INFO, "join_delayed", "via=%u err=%s text=%s", node,
                  err_name((int)response->error), log_quote(quoted, sizeof quoted, response->text));
    } else if (response->replica != 0) {
        joined(c, response->replica);
    }
}

/* ---- the member that is asked -------------------------------------------------------------------------------- */

struct join_service {
    struct control *control;
    struct control_proposal proposal;
    uint32_t node;
    uint64_t request;
    bool issuing; /* registered; its replica id is next */
};

static void answer(struct control *c, uint32_t node, uint64_t request, int error, const char *text, int64_t replica)
{
    Cairn__Cluster__ControlResponse response = CAIRN__CLUSTER__CONTROL_RESPONSE__INIT;
    char copy[ERRMSG_SIZE];

    strncpy(copy, text, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    response.id = request;
    response.error = (uint32_t)error;
    response.text = copy;
    response.replica = (uint64_t)replica;
    control_calls_respond(c, node, CALL_JOIN, &response);
}

static void issue(struct join_service *s)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__IssueMetadataReplica body = CAIRN__COMMAND__ISSUE_METADATA_REPLICA__INIT;
    body.node = s->node;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ISSUE_METADATA_REPLICA;
    command.issue_metadata_replica = &body;
    s->issuing = true;
    control_propose(s->control, &command, &s->proposal);
}

static void served(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct join_service *s = container_of(proposal, struct join_service, proposal);
    struct control *c = s->control;

    if (error == 0 && !s->issuing) {
        issue(s);
        return;
    }
    c->join.serving--;
    answer(c, s->node, s->request, error,
           error == 0                                ? ""
           : reply != NULL && reply->text[0] != '\0' ? reply->text
                                                     : err_text(error),
           error == 0 ? reply->value : 0);
    free(s);
}

/* The registration must be the sender's own. */
static bool registration_of(const struct control *c, uint32_t node, const Cairn__Command__RegisterNode *r)
{
    const struct control_peer *p = control_peers_find(c, node);
    return p != NULL && r->node == node && r->disk_id.len == sizeof p->disk_id.bytes &&
           memcmp(r->disk_id.data, p->disk_id.bytes, sizeof p->disk_id.bytes) == 0;
}

void join_request(struct control *c, uint32_t node, uint64_t id, const Cairn__Cluster__JoinRequest *request)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__RegisterNode *registration;
    struct join_service *s;

    if (!control_is_formed(c) || uuid_is_nil(metadata_fsm_cluster_id(c->metadata.fsm))) {
        answer(c, node, id, ERR_NOT_FORMED, err_text(ERR_NOT_FORMED), 0);
        return;
    }
    if (c->id.founders.n == 1) {
        answer(c, node, id, ERR_REFUSED, "this cluster was founded by a single seed: it takes no further nodes", 0);
        return;
    }
    registration = cairn__command__register_node__unpack(NULL, request->registration.len, request->registration.data);
    if (registration == NULL || !registration_of(c, node, registration)) {
        answer(c, node, id, ERR_MALFORMED, "a registration that is not the sender's own", 0);
        goto out;
    }
    s = c->join.serving < CONTROL_JOINS_MAX ? calloc(1, sizeof *s) : NULL;
    if (s == NULL) {
        answer(c, node, id, ERR_BUSY, err_text(ERR_BUSY), 0);
        goto out;
    }
    c->join.serving++;
    s->control = c;
    s->node = node;
    s->request = id;
    s->proposal.done = served;
    s->proposal.timeout_ms = CONTROL_JOIN_TIMEOUT_MS / 2;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_REGISTER_NODE;
    command.register_node = registration;
    control_propose(c, &command, &s->proposal);
out:
    if (registration != NULL) {
        cairn__command__register_node__free_unpacked(registration, NULL);
    }
}
