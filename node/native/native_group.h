/* What the group calls share: a request that keeps its message and the verb's calls until the answer. */
#ifndef CAIRN_NATIVE_GROUP_H
#define CAIRN_NATIVE_GROUP_H

#include "node/native/native_internal.h"
#include "node/service/service_group.h"

struct group_request {
    struct native_request request;
    ProtobufCMessage *message;     /* what the calls point at */
    struct service_groups *groups; /* NULL: no call was made */
    void *memory;                  /* arrays that the calls point at */
    /* As they were when the request came: read on other threads, and needed longer than the connection lives. */
    char client[64];
    char host[ENV_ADDRESS_MAX]; /* "/10.0.0.1", as Kafka tells of hosts */
};

/* A request with room for @calls of @verb (0: none; the caller asks the service otherwise). Takes over @message, which
 * may be NULL. Errors: ERR_MALFORMED (no message), ERR_NOMEM. */
int group_request_new(struct native_session *session, const struct frame *frame, ProtobufCMessage *message,
                      uint32_t calls, enum coordinator_verb verb, struct group_request **out) MUST_USE;
ProtobufCMessage *group_unpack(const struct frame *frame, const ProtobufCMessageDescriptor *descriptor);
/* Send the calls: @done answers. */
void group_request_ask(struct group_request *r, void (*done)(struct service_groups *g));
/* Answer with a Failure: the coordinator of @group beside NOT_COORDINATOR, @member beside MEMBER_ID_REQUIRED. */
void group_request_fail(struct group_request *r, int error, const char *group, const struct group_blob *member);

/* @n zeroed messages of @size bytes, and pointers to them, in one block: free(*messages). NULL: out of memory. */
void **group_messages_new(size_t n, size_t size, void **messages) MUST_USE;

static inline struct group_request *group_request_of(struct service_groups *g)
{
    return g->data;
}
/* protobuf-c wants writable strings, and leaves them as they are. */
static inline char *group_text(const struct group_blob *blob)
{
    return blob == NULL ? (char *)(uintptr_t) "" : (char *)(uintptr_t)blob->data;
}
static inline ProtobufCBinaryData group_bytes(const struct group_blob *blob)
{
    return (ProtobufCBinaryData){.len = blob == NULL ? 0 : blob->size,
                                 .data = blob == NULL ? NULL : (uint8_t *)(uintptr_t)blob->data};
}
/* In messages no instance is an empty one. */
static inline const char *group_instance(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

#endif
