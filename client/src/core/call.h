/* A call that any node may answer, or a consumer group's coordinator, retried until its deadline: metadata, producer
 * ids, list offsets, administration, all that concerns groups. */
#ifndef CAIRN_CLIENT_CALL_H
#define CAIRN_CLIENT_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/src/core/conn.h"

struct core_call {
    struct list link; /* core->calls */
    struct core *core;
    uint16_t call;
    bool repeatable;  /* carrying it out twice does no harm */
    bool ambiguous;   /* an attempt went out and got no answer */
    bool topic_final; /* "no such topic" is an answer, not something to wait for */
    bool patient; /* the answer may be parked: silence is no trouble, after CALL_PARKED_TIMEOUT_MS it is sent again */
    char *group;  /* for this consumer group's coordinator, which is asked for first; NULL: for any node */
    bool pinned;  /* only @target will do */
    bool finding; /* the request under way asks who that is */
    uint32_t target; /* node to ask, 0: any, or not known. After the answer: who gave it */
    unsigned attempts;
    uint64_t deadline_ns;
    uint64_t attempt_deadline_ns;
    uint64_t retry_ns;
    struct request *request; /* under way */
    uint64_t last;           /* serial of the connection that was asked; 0: none */
    int last_error;
    char text[ERRMSG_SIZE]; /* of the last failure */
    uint8_t *message;
    size_t message_size;
    char member[MEMBERSHIP_MEMBER_ID_SIZE]; /* with ERR_MEMBER_ID_REQUIRED */
    /* Exactly once, never inside call_start. @frame is set when @status is 0, valid during the call. On an error
     * call->text tells more. The call is freed afterwards. ERR_UNKNOWN_OUTCOME: not repeatable, and an attempt was
     * lost. */
    void (*done)(struct core_call *call, int status, const struct frame *frame);
    void *owner;
};

/* Copies @message. NULL: out of memory. */
struct core_call *call_start(struct core *core, uint16_t call, const void *message, size_t message_size,
                             uint64_t timeout_ns, void (*done)(struct core_call *, int, const struct frame *),
                             void *owner);
/* Address it to the coordinator of @group (copied), which is node @coordinator as far as known, 0: not at all. False:
 * out of memory, the call is then to be cancelled. */
bool call_for_group(struct core_call *call, const char *group, uint32_t coordinator) MUST_USE;
/* Ends without @done. */
void call_cancel(struct core_call *call);

void calls_turn(struct core *core);
/* All end with ERR_SHUTDOWN. */
void calls_shutdown(struct core *core);

#endif
