/* A call made on the loop thread and waited for. */
#ifndef CAIRN_CLIENT_SRC_ADMIN_H
#define CAIRN_CLIENT_SRC_ADMIN_H

#include "client/src/client.h"
#include "client/src/core/call.h"

struct ProtobufCMessage;

struct admin_call {
    struct cairn_client *client;
    uint16_t call;
    const uint8_t *message;
    size_t message_size;
    uint32_t timeout_ms;
    bool repeatable;
    bool patient;               /* the answer may take long */
    uint32_t target;            /* node, 0: any */
    const char *target_address; /* with a target */
    bool pinned;                /* nobody but the target */
    const char *group;          /* for this consumer group's coordinator */
    uv_sem_t done;
    int status;
    char text[ERRMSG_SIZE];
    const uint8_t *answer; /* in @buf */
    size_t answer_size;
    struct buf *buf;
};

/* Make the call and wait for its end; then a->answer until admin_release(). Errors: what the call ended with, told in
 * @error as "<what>: <why>". */
int admin_run(struct admin_call *a, const char *what, struct cairn_error *error) MUST_USE;
void admin_release(struct admin_call *a);
/* Pack @m, then the same. */
int admin_run_packed(struct admin_call *a, const struct ProtobufCMessage *m, const char *what,
                     struct cairn_error *error) MUST_USE;

/* protobuf-c packs from char *, and only reads. */
static inline char *admin_borrow(const char *text)
{
    return (char *)(uintptr_t)text;
}

#define ADMIN_ROUND(size) (((size) + 15) & ~(size_t)15) /* what admin_memory_take takes */

/* One piece of memory for a result and all that it points to: sized, then filled. */
struct admin_memory {
    uint8_t *base;
    size_t used;
    size_t size;
};

bool admin_memory_init(struct admin_memory *m, size_t size);
/* Zeroed and aligned; the size was reckoned with before. */
void *admin_memory_take(struct admin_memory *m, size_t size);
const char *admin_memory_text(struct admin_memory *m, const char *text);

#endif
