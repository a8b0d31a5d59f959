/* One call to the leader of the metadata group, under way: shared by propose.c (its life) and propose_peers.c (over
 * links). */
#ifndef CAIRN_CONTROL_CALL_H
#define CAIRN_CONTROL_CALL_H

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

/* NULL: too many calls, or no memory. */
struct control_call *call_new(struct control *c, enum call_kind kind, uint32_t timeout_ms);
void call_finish(struct control_call *call, int error);
void call_wait_again(struct control_call *call, int why);
/* It stands at call->index: answer when the local read model has reached it. */
void call_answered(struct control_call *call);
/* What a group said instead of taking it in, or before it took it in: nothing was proposed. */
bool call_never_proposed(int status);
int call_try_local(struct control_call *call) MUST_USE;
int call_try_remote(struct control_call *call, uint32_t node) MUST_USE;
/* To the peer that asked. */
void call_respond(struct control_call *call);

#endif
