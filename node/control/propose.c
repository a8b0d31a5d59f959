/* Calls to the leader of the metadata group: proposals and barriers, of this node's own rooms and of peers that found
 * the leader here. A call that was certainly not proposed is tried again until its time limit; one that may have been
 * ends with ERR_UNKNOWN_OUTCOME. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/call.h"

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

struct control_call *call_new(struct control *c, enum call_kind kind, uint32_t timeout_ms)
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

void call_finish(struct control_call *call, int error)
{
    struct control *c = call->control;
    call->error = error;
    call->state = CALL_FINISHED;
    list_remove(&call->link);
    list_push_back(&c->calls.finished, &call->link);
    control_wake(c);
}

void call_wait_again(struct control_call *call, int why)
{
    call->state = CALL_WAITING;
    call->waiting_for = why;
    call->retry_ms = env_now_ms(call->control->env) + CONTROL_CALL_RETRY_MS;
}

/* It stands at call->index: answer when the local read model has reached it. */
void call_answered(struct control_call *call)
{
    if (call->remote_node != 0 || (call->has_reply && call->reply.error != 0) ||
        metadata_fsm_index(call->control->metadata.fsm) >= call->index) {
        call_finish(call, call->has_reply ? call->reply.error : 0);
        return;
    }
    call->state = CALL_APPLYING;
}

/* ---- attempts: the local group ------------------------------------------------------------------------------- */

/* What a group said instead of taking it in, or before it took it in: nothing was proposed. */
bool call_never_proposed(int status)
{
    return status == ERR_NOT_LEADER || status == ERR_LEADER_NOT_READY || status == ERR_BUSY;
}

static void local_ended(struct control_call *call, int status)
{
    if (call->detached) {
        call_free(call);
        return;
    }
    if (call_never_proposed(status) && call->remote_node == 0) {
        call_wait_again(call, status);
        return;
    }
    if (status == 0) {
        call_answered(call);
        return;
    }
    call_finish(call, status);
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
    list_for_each (pos, &c->calls.active) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->proposed != NULL && call->proposed->index == entry->index && call->proposed->term == entry->term) {
            call->reply = *reply;
            call->has_reply = true;
            call->index = entry->index;
            return;
        }
    }
}

int call_try_local(struct control_call *call)
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

/* ---- attempts ------------------------------------------------------------------------------------------------ */

static void attempt(struct control_call *call)
{
    struct control *c = call->control;
    uint32_t leader;
    int rv;

    if (!control_is_formed(c)) {
        call_wait_again(call, ERR_NOT_FORMED);
        return;
    }
    if (c->metadata.leading) {
        rv = call_try_local(call);
        if (rv != 0 && call_never_proposed(rv)) {
            call_wait_again(call, rv);
        } else if (rv != 0) {
            call_finish(call, rv);
        }
        return;
    }
    leader = call->hint != 0 ? call->hint : control_metadata_leader(c);
    call->hint = 0;
    if (leader == 0 || leader == c->node || call_try_remote(call, leader) != 0) {
        call_wait_again(call, ERR_LEADER_NOT_READY);
    }
}

void control_calls_link_down(struct control *c, uint32_t node)
{
    list_for_each_safe (pos, &c->calls.active) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->state == CALL_SENT && call->target == node) {
            if (call->kind == CALL_KIND_BARRIER) {
                call_wait_again(call, ERR_LEADER_NOT_READY);
            } else {
                call_finish(call, ERR_UNKNOWN_OUTCOME);
            }
        }
    }
}

/* ---- answering ----------------------------------------------------------------------------------------------- */

static void report(struct control_call *call)
{
    struct control_proposal *proposal = call->proposal;
    struct control_barrier *barrier = call->barrier;
    struct metadata_reply none = {0};

    if (call->remote_node != 0) {
        call_respond(call);
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

/* The time limit has come. True: its owner was told, who may have asked for more, or closed this node. */
static bool expire(struct control_call *call)
{
    if (call->state == CALL_APPLYING) {
        /* A command is committed, whoever has seen it. A barrier is not kept: what is read here would be old. */
        call_finish(call, call->kind == CALL_KIND_BARRIER ? ERR_TIMEOUT : 0);
    } else if (call->state == CALL_WAITING) {
        call_finish(call, call->waiting_for == ERR_NOT_FORMED           ? ERR_NOT_FORMED
                          : call->waiting_for == ERR_BUSY               ? ERR_BUSY
                          : control_metadata_leader(call->control) == 0 ? ERR_LEADER_NOT_READY
                                                                        : ERR_TIMEOUT);
    } else if (call->state == CALL_SENT) {
        call_finish(call, call->kind == CALL_KIND_BARRIER ? ERR_TIMEOUT : ERR_UNKNOWN_OUTCOME);
    } else if (call->state == CALL_LOCAL && !call->detached) {
        /* The group has it until it says so: answer now, free then. */
        call->error = call->kind == CALL_KIND_BARRIER ? ERR_TIMEOUT : ERR_UNKNOWN_OUTCOME;
        call->detached = true;
        call->has_reply = false;
        report(call);
        return true;
    }
    return false;
}

void control_calls_turn(struct control *c)
{
    if (c->calls.kick) {
        c->calls.kick = false;
        list_for_each_safe (pos, &c->calls.active) {
            struct control_call *call = list_entry(pos, struct control_call, link);
            if (call->state == CALL_WAITING) {
                attempt(call);
            }
        }
    }
    list_for_each_safe (pos, &c->calls.active) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->state == CALL_APPLYING && metadata_fsm_index(c->metadata.fsm) >= call->index) {
            call_answered(call);
        }
    }
    report_finished(c);
}

void control_calls_tick(struct control *c, uint64_t now_ms)
{
again:
    list_for_each_safe (pos, &c->calls.active) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (now_ms >= call->deadline_ms) {
            if (expire(call)) {
                if (c->closing) {
                    return;
                }
                goto again; /* the list may be another one; who was told is not told again */
            }
        } else if (call->state == CALL_WAITING && now_ms >= call->retry_ms) {
            attempt(call);
        }
    }
}

void control_calls_end(struct control *c)
{
    list_for_each_safe (pos, &c->calls.active) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        assert(call->state != CALL_LOCAL); /* the group was closed first */
        call_finish(call, call->kind == CALL_KIND_BARRIER || call->state == CALL_WAITING ? ERR_SHUTDOWN
                          : call->state == CALL_APPLYING                                 ? 0
                                                                                         : ERR_UNKNOWN_OUTCOME);
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

/* ---- the two calls ------------------------------------------------------------------------------------------- */

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
