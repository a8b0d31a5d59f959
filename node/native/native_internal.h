/* Inside of node/native: a request, and how its answer is made. */
#ifndef CAIRN_NATIVE_INTERNAL_H
#define CAIRN_NATIVE_INTERNAL_H

#include "node/native/native.h"
#include "proto/native/calls.h"
#include "proto/native/native.pb-c.h"

/* What is kept of a request until its answer: the handlers embed it first. */
struct native_request {
    struct native_session *session;
    uint32_t correlation;
    uint16_t call;
    uint16_t call_version;
    struct list link; /* in the session's */
    void (*free)(struct native_request *request); /* of what embeds it */
};

/* One handler an API, in its own file. @frame is borrowed. They answer now or later, exactly once; a message that does not
 * decode: ERR_MALFORMED, and the connection is closed. */
int native_hello(struct native_session *session, const struct frame *frame) MUST_USE;
int native_metadata(struct native_session *session, const struct frame *frame) MUST_USE;
int native_produce(struct native_session *session, const struct frame *frame) MUST_USE;
int native_fetch(struct native_session *session, const struct frame *frame) MUST_USE;
int native_list_offsets(struct native_session *session, const struct frame *frame) MUST_USE;
int native_init_producer_id(struct native_session *session, const struct frame *frame) MUST_USE;
int native_create_topic(struct native_session *session, const struct frame *frame) MUST_USE;
int native_delete_topic(struct native_session *session, const struct frame *frame) MUST_USE;
int native_list_topics(struct native_session *session, const struct frame *frame) MUST_USE;
int native_describe_topic(struct native_session *session, const struct frame *frame) MUST_USE;
int native_cluster_status(struct native_session *session, const struct frame *frame) MUST_USE;
int native_find_coordinator(struct native_session *session, const struct frame *frame) MUST_USE;
int native_join_group(struct native_session *session, const struct frame *frame) MUST_USE;
int native_sync_group(struct native_session *session, const struct frame *frame) MUST_USE;
int native_group_heartbeat(struct native_session *session, const struct frame *frame) MUST_USE;
int native_leave_group(struct native_session *session, const struct frame *frame) MUST_USE;
int native_commit_offsets(struct native_session *session, const struct frame *frame) MUST_USE;
int native_fetch_offsets(struct native_session *session, const struct frame *frame) MUST_USE;
int native_list_groups(struct native_session *session, const struct frame *frame) MUST_USE;
int native_describe_groups(struct native_session *session, const struct frame *frame) MUST_USE;
int native_delete_groups(struct native_session *session, const struct frame *frame) MUST_USE;
int native_delete_offsets(struct native_session *session, const struct frame *frame) MUST_USE;
int native_group_lag(struct native_session *session, const struct frame *frame) MUST_USE;

/* A request that outlives its frame: @size bytes, the struct native_request first. NULL: out of memory. */
void *native_request_new(struct native_session *session, const struct frame *frame, size_t size) MUST_USE;
/* The request is answered or dropped: ends it, frees it. */
void native_request_end(struct native_request *request);

/* Answer with a packed message; @fetch (may be NULL) carries the payload and is taken over. A message that is too big for a
 * frame becomes ERR_TOO_BIG. Out of memory: the connection is closed. */
void native_answer(struct native_request *request, int status, const ProtobufCMessage *message,
                   struct service_fetch *fetch);
/* Answer with a Failure. @leader_node 0: none. */
void native_fail(struct native_request *request, int error, const char *text);

/* A topic's description; free with native_topic_free. @ctx chooses the addresses. NULL: out of memory. */
Cairn__Native__TopicInfo *native_topic_info(struct service *s, const struct metadata_topic *t) MUST_USE;
void native_topic_info_free(Cairn__Native__TopicInfo *info);
Cairn__Native__NodeInfo **native_nodes(struct service *s, const struct request_context *ctx, size_t *n) MUST_USE;
void native_nodes_free(Cairn__Native__NodeInfo **nodes, size_t n);

/* 16 bytes to a uuid; false: another length. */
bool native_uuid(const ProtobufCBinaryData *bytes, struct uuid *out);
ProtobufCBinaryData native_uuid_bytes(struct uuid *id); /* borrows */

#endif
