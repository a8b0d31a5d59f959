/* Inside of node/kafka: a request, and how its answer is made. */
#ifndef CAIRN_NODE_KAFKA_INTERNAL_H
#define CAIRN_NODE_KAFKA_INTERNAL_H

#include "node/kafka/kafka.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_arena.h"
#include "proto/kafka/kafka_codec.h"
#include "proto/kafka/kafka_error.h"
#include "proto/kafka/kafka_header.h"

/* From its frame to its answer. Answers leave in the order of the frames, whenever they are made. */
struct kafka_request {
    struct kafka_session *session;
    struct service *service;
    struct list link; /* in the session's */
    struct kafka_header header;
    int16_t version;                 /* header.version */
    struct cursor message;           /* stands at the message; its bytes stay until the request's end */
    struct buf *buf;                 /* they are in it */
    struct kafka_arena arena;        /* arrays of the decoded message, and the handler's state */
    struct kafka_arena answer_arena; /* kafka_alloc(): arrays of the response */
    const struct kafka_handler *handler;
    /* Frees what the handler's state holds beside the arenas: at the request's end, answered or not. May be NULL. */
    void (*cleanup)(struct kafka_request *r);
    void *state;                   /* the handler's */
    struct service_answer *answer; /* made, and waits for those before it */
    bool answered;
};

/* What is done for an API. @handle decodes r->message by kafka_<api>_request_decode(&r->message, r->version, &r->arena,
 * ..) and answers exactly once, now or later, by one of the calls below. What it returns is 0, or an error where it has
 * not answered and will not: the connection is closed (ERR_MALFORMED: what does not decode; ERR_NOMEM). */
enum kafka_effect {
    KAFKA_READS,   /* begins at once, and others beside it */
    KAFKA_CHANGES, /* what comes behind it on this connection begins when it is answered */
    KAFKA_APPENDS  /* Produce: many of them at a time, in order */
};
struct kafka_handler {
    int16_t key;
    enum kafka_effect effect;
    int (*handle)(struct kafka_request *r);
};

/* Zeroed memory of the request, good until its end. NULL: out of memory or above KAFKA_ANSWER_MAX_BYTES: kafka_drop().
 */
void *kafka_alloc(struct kafka_request *r, size_t count, size_t size) MUST_USE;
/* A copy with a NUL at its end, of the request's memory; "" for null. Bytes that are NUL become 1, which no name
 * allows. */
char *kafka_text(struct kafka_request *r, struct kafka_string s) MUST_USE;
/* A string of the request's memory; null where there is no memory. */
struct kafka_string kafka_format(struct kafka_request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* @response is the API's response struct, filled for any version. The request is gone after each of these. */
void kafka_answer(struct kafka_request *r, const void *response);
/* In the layout of another version than the request's: ApiVersions. */
void kafka_answer_version(struct kafka_request *r, int16_t version, const void *response);
/* Takes over @fetch (may be NULL). Records in @response that point to a struct partition_fetch of it (kafka_records_of)
 * are sent from where its entries are. */
void kafka_answer_fetch(struct kafka_request *r, const void *response, struct service_fetch *fetch);
struct kafka_bytes kafka_records_of(const struct partition_fetch *op);
/* No answer is expected: Produce with acks 0. */
void kafka_answer_nothing(struct kafka_request *r);
/* No answer can be made, or the client understands none: the connection is closed, and @why logged. */
void kafka_hang_up(struct kafka_request *r, const char *why);
void kafka_drop(struct kafka_request *r); /* out of memory */

/* What every front-door file asks. */
const struct metadata_topic *kafka_find_topic(struct kafka_request *r,
                                              struct kafka_string name); /* NULL: not known here */
/* Host and port of @node on the session's listener. False: it is not known there. */
bool kafka_endpoint(struct kafka_request *r, uint32_t node, struct kafka_string *host, int32_t *port);
/* A node that clients can be sent to: alive, and on this listener. */
bool kafka_node_usable(struct kafka_request *r, uint32_t node);
/* Node that leads the partition as far as is known; 0: nobody who can be reached. @epoch may be NULL. */
uint32_t kafka_leader_of(struct kafka_request *r, const struct metadata_partition *p, int32_t *epoch);
uint32_t kafka_controller(struct kafka_request *r);
/* What a client says it knows of a partition's leadership, against what is known here (KIP-320): 0 or
 * FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH. @asked -1: it says nothing. */
int16_t kafka_check_epoch(int32_t asked, uint64_t leader_epoch);

/* One handler an API, in its own file. */
int kafka_api_versions(struct kafka_request *r) MUST_USE;
int kafka_api_versions_unknown(struct kafka_request *r) MUST_USE; /* a version that is not one of ours: KIP-511 */
int kafka_metadata(struct kafka_request *r) MUST_USE;
int kafka_produce(struct kafka_request *r) MUST_USE;
int kafka_fetch(struct kafka_request *r) MUST_USE;
int kafka_list_offsets(struct kafka_request *r) MUST_USE;
int kafka_init_producer_id(struct kafka_request *r) MUST_USE;
int kafka_offset_for_leader_epoch(struct kafka_request *r) MUST_USE;
int kafka_delete_records(struct kafka_request *r) MUST_USE;
int kafka_create_topics(struct kafka_request *r) MUST_USE;
int kafka_delete_topics(struct kafka_request *r) MUST_USE;
int kafka_create_partitions(struct kafka_request *r) MUST_USE;
int kafka_describe_configs(struct kafka_request *r) MUST_USE;
int kafka_alter_configs(struct kafka_request *r) MUST_USE;
int kafka_incremental_alter_configs(struct kafka_request *r) MUST_USE;
int kafka_describe_cluster(struct kafka_request *r) MUST_USE;
int kafka_describe_producers(struct kafka_request *r) MUST_USE;
int kafka_describe_log_dirs(struct kafka_request *r) MUST_USE;
int kafka_elect_leaders(struct kafka_request *r) MUST_USE;
int kafka_alter_partition_reassignments(struct kafka_request *r) MUST_USE;
int kafka_list_partition_reassignments(struct kafka_request *r) MUST_USE;
int kafka_sasl_handshake(struct kafka_request *r) MUST_USE;
int kafka_sasl_authenticate(struct kafka_request *r) MUST_USE;
int kafka_find_coordinator(struct kafka_request *r) MUST_USE;
int kafka_join_group(struct kafka_request *r) MUST_USE;
int kafka_sync_group(struct kafka_request *r) MUST_USE;
int kafka_heartbeat(struct kafka_request *r) MUST_USE;
int kafka_leave_group(struct kafka_request *r) MUST_USE;
int kafka_offset_commit(struct kafka_request *r) MUST_USE;
int kafka_offset_fetch(struct kafka_request *r) MUST_USE;
int kafka_offset_delete(struct kafka_request *r) MUST_USE;
int kafka_list_groups(struct kafka_request *r) MUST_USE;
int kafka_describe_groups(struct kafka_request *r) MUST_USE;
int kafka_delete_groups(struct kafka_request *r) MUST_USE;

/* The table, in order of keys: ApiVersions tells of these and no others. */
extern const struct kafka_handler kafka_handlers[];
extern const size_t kafka_handlers_count;

#endif
