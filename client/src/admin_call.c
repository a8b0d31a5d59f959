#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/admin.h"
#include "proto/native/native.pb-c.h"

static void call_done(struct core_call *call, int status, const struct frame *frame)
{
    struct admin_call *a = call->owner;

    a->status = status;
    if (status == 0) {
        a->buf = buf_acquire(frame->buf);
        a->answer = frame->message;
        a->answer_size = frame->header.message_length;
    } else {
        snprintf(a->text, sizeof a->text, "%s", call->text[0] != '\0' ? call->text : err_text(status));
    }
    uv_sem_post(&a->done);
}

static void task_start(struct core *core, void *arg)
{
    struct admin_call *a = arg;
    struct core_call *call =
        call_start(core, a->call, a->message, a->message_size, a->timeout_ms * NS_PER_MS, call_done, a);

    if (call == NULL) {
        a->status = ERR_NOMEM;
        snprintf(a->text, sizeof a->text, "%s", err_text(ERR_NOMEM));
        uv_sem_post(&a->done);
        return;
    }
    if (a->group != NULL && !call_for_group(call, a->group, 0)) {
        call_cancel(call);
        a->status = ERR_NOMEM;
        snprintf(a->text, sizeof a->text, "%s", err_text(ERR_NOMEM));
        uv_sem_post(&a->done);
        return;
    }
    call->repeatable = a->repeatable;
    call->patient = a->patient;
    call->topic_final = true;
    if (a->target != 0 && meta_node_get(core, a->target, a->target_address) != NULL) {
        call->target = a->target;
        call->pinned = a->pinned;
    }
}

int admin_run(struct admin_call *a, const char *what, struct cairn_error *error)
{
    if (driver_on_loop(&a->client->driver)) {
        return error_set(error, ERR_INVALID, "%s: not allowed in a callback", what);
    }
    if (uv_sem_init(&a->done, 0) != 0) {
        return error_set(error, ERR_NOMEM, "%s: out of memory", what);
    }
    a->buf = NULL;
    driver_run(&a->client->driver, task_start, a);
    uv_sem_wait(&a->done);
    uv_sem_destroy(&a->done);
    if (a->status == ERR_TIMEOUT) {
        return error_set(error, a->status, "%.80s: no answer in %u ms: %.140s", what, a->timeout_ms, a->text);
    }
    return a->status == 0 ? 0 : error_set(error, a->status, "%.80s: %.160s", what, a->text);
}

int admin_run_packed(struct admin_call *a, const ProtobufCMessage *m, const char *what, struct cairn_error *error)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *message = malloc(size + 1);
    int rv;

    if (message == NULL) {
        return error_set(error, ERR_NOMEM, "%s: out of memory", what);
    }
    protobuf_c_message_pack(m, message);
    a->message = message;
    a->message_size = size;
    rv = admin_run(a, what, error);
    free(message);
    return rv;
}

void admin_release(struct admin_call *a)
{
    buf_release(a->buf);
    a->buf = NULL;
}

bool admin_memory_init(struct admin_memory *m, size_t size)
{
    m->base = calloc(1, size);
    m->size = size;
    m->used = 0;
    return m->base != NULL;
}

void *admin_memory_take(struct admin_memory *m, size_t size)
{
    void *p = m->base + m->used;

    size = ADMIN_ROUND(size);
    assert(size <= m->size - m->used);
    m->used += size;
    return p;
}

const char *admin_memory_text(struct admin_memory *m, const char *text)
{
    size_t size = strlen(text) + 1;
    char *p = admin_memory_take(m, size);

    memcpy(p, text, size);
    return p;
}
