/* A load generator and verifier that is not the client library: it speaks the native protocol over its own sockets, offers
 * records at a constant rate, follows every partition while it does, and in the end reads everything again from scratch.
 *
 * One thread. Each stream is one idempotent producer with a connection of its own to each node; a stream and a partition
 * make a lane: batches in order, at most LANE_WINDOW in flight, sent again in order and with the same sequence numbers
 * until they are acknowledged. Callbacks of requests only note what came; the loop's next turn acts on it. */
#ifndef CAIRN_CHECKER_H
#define CAIRN_CHECKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/base/histogram.h"
#include "proto/base/list.h"
#include "proto/base/uuid.h"
#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "proto/native/native.pb-c.h"
#include "proto/record/record_builder.h"
#include "tests/integration/checker/value.h"

#define NODES_MAX 64
#define STREAMS_MAX 64
#define PARTITIONS_MAX 1024
#define LANE_WINDOW 5           /* batches in flight: what a partition remembers of a producer */
#define LANE_RETRY_US 20000     /* before batches are sent again */
#define META_INTERVAL_US 50000  /* at most one metadata request in this time */
#define META_PERIOD_US 1000000  /* at least one */
#define META_TIMEOUT_US 500000  /* then another node is asked */
#define CONNECT_RETRY_US 50000
#define STALL_US 600000         /* without an answer for so long, and led elsewhere: the connection is given up */
#define FETCH_WAIT_MS 250
#define FETCH_MAX_BYTES (1u << 20)
#define ERRORS_MAX 64           /* codes of err.h */
#define VIOLATIONS_MAX 20       /* told; more only counted */

struct checker_args {
    const char *bootstrap; /* "host:port,host:port" */
    const char *topic;
    uint32_t partitions;    /* expected; 0: whatever the topic has */
    uint32_t streams;
    double rate;            /* records/s over everything */
    double seconds;         /* 0: until @records, or a signal */
    uint64_t records;       /* 0: no limit */
    uint32_t value_size;    /* bytes */
    uint32_t batch_records;
    double drain_s;         /* wait for what is outstanding; then it is unknown */
    double timeout_s;       /* of one produce request, and for reading everything again */
    bool allow_direct;      /* records of --direct may stand in the log */
    bool until_gone;        /* ends well when the topic was deleted or replaced */
    const char *direct;     /* mode: host:port */
    uint32_t direct_partition;
    int64_t direct_offset;
    uint64_t direct_token;
    bool direct_no_produce;
};

struct ck_node {
    uint32_t id; /* 0: known by its bootstrap address only */
    char address[80];
};

struct ck_partition {
    uint32_t leader; /* node id, 0: not known */
    uint64_t leader_epoch;
};

/* ---- net.c: connections and requests ----------------------------------------------------------------------------------- */

struct checker;
struct ck_request;
/* @frame NULL: the connection was lost (@status ERR_CLOSED). Must not send or close; borrows @frame. */
typedef void ck_done_fn(struct checker *ck, struct ck_request *request, int status, const struct frame *frame);

struct ck_request {
    struct list link;
    uint32_t correlation;
    uint16_t call;
    uint64_t sent_us;
    ck_done_fn *done;
    void *owner;
    uint64_t number;
    uint32_t partition;
};

struct ck_conn {
    struct list link;
    struct checker *ck;
    int owner; /* stream, or one of the below */
    uint32_t node; /* its index in checker.nodes */
    int fd;        /* -1: not open */
    bool connected;
    bool lost; /* closed at the turn's end */
    uint64_t retry_us;
    struct frame_reader reader;
    uint8_t *out;
    size_t out_begin;
    size_t out_end;
    size_t out_capacity;
    bool want_write;
    struct list requests; /* struct ck_request, oldest first */
    uint32_t correlation;
};
#define OWNER_READER (-1)
#define OWNER_CONTROL (-2)

/* The open connection of @owner to the node; NULL while there is none (it is being tried). */
struct ck_conn *conn_to(struct checker *ck, int owner, uint32_t node_index);
void conn_request(struct ck_conn *conn, uint16_t call, const ProtobufCMessage *message, const uint8_t *payload,
                  size_t payload_size, const struct ck_request *request);
/* Close, and tell the requests under way. */
void conn_lose(struct ck_conn *conn);
void net_poll(struct checker *ck, int timeout_ms);
void net_close(struct checker *ck);
int net_connect(const char *address, bool blocking, char *errmsg); /* a socket, or -1 */

/* ---- meta.c: the topic, its leaders, producer ids --------------------------------------------------------------------------- */

int meta_init(struct checker *ck, char *errmsg);
void meta_tick(struct checker *ck);
void meta_want(struct checker *ck); /* what is known is out of date */
void meta_hint(struct checker *ck, uint32_t partition, uint32_t leader, uint64_t epoch, const char *source);
/* Index of the leader of the partition in checker.nodes, or -1. */
int meta_leader(const struct checker *ck, uint32_t partition);
/* Give up connections with a request that got no answer for long, while its partition is led elsewhere. */
void meta_drop_stalled(struct checker *ck);

/* ---- produce.c ------------------------------------------------------------------------------------------------------------- */

enum batch_state { BATCH_SENT, BATCH_ACKED, BATCH_FAILED };

struct ck_batch {
    enum batch_state state;
    int error;
    uint64_t due_us; /* when it was to be offered */
    uint8_t *memory;
    uint8_t *bytes;
    size_t size;
};

struct ck_lane {
    uint32_t stream;
    uint32_t partition;
    uint64_t first; /* oldest batch that is not acknowledged */
    uint64_t next;  /* first batch never sent */
    struct ck_batch window[LANE_WINDOW];
    bool recovering;
    uint64_t retry_us;
    int64_t *offsets; /* of each batch as acknowledged; -1: not */
    uint64_t offsets_capacity;
};

struct ck_stream {
    int64_t producer_id; /* -1: not yet */
    int32_t producer_epoch;
    bool asked;
};

int produce_init(struct checker *ck, char *errmsg);
void produce_tick(struct checker *ck);
bool produce_outstanding(const struct checker *ck);
void produce_close(struct checker *ck);
/* Batches that lane @lane was given to offer until now. */
uint64_t produce_offered(const struct checker *ck, uint32_t lane);

/* ---- read.c: follow, and read again -------------------------------------------------------------------------------------- */

struct ck_seen { /* one batch as it was read first */
    int64_t base_offset;
    uint32_t crc;
    int32_t leader_epoch;
};

struct ck_reader {
    uint32_t partition;
    bool again;             /* the second reading, from scratch */
    int64_t next;           /* offset */
    int64_t end;            /* stop there; -1: go on */
    int64_t high_watermark;
    int32_t leader_epoch;   /* of the newest batch */
    uint64_t batches;
    uint64_t records;
    bool busy;
    uint64_t retry_us;
    uint64_t *sequences;    /* next expected of each stream */
};

struct ck_direct {
    uint64_t token;
    uint32_t partition;
    int64_t offset;
};

int read_init(struct checker *ck, char *errmsg);
void read_tick(struct checker *ck, struct ck_reader *readers);
/* Ask for the end offsets; true when all are there. */
bool read_list_offsets(struct checker *ck, int64_t *out);
bool read_finished(const struct checker *ck, const struct ck_reader *readers, const int64_t *end);
void read_close(struct checker *ck);

/* ---- verify.c -------------------------------------------------------------------------------------------------------------- */

/* Judge the batches at @bytes, which @reader was given for its next offset; moves it on. */
void verify_batches(struct checker *ck, struct ck_reader *reader, const uint8_t *bytes, size_t size);
/* Everything acknowledged stands in what was read until @end. */
void verify_acknowledged(struct checker *ck, const int64_t *end);
void violation(struct checker *ck, uint32_t partition, int64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- all ---------------------------------------------------------------------------------------------------------------------- */

struct ck_stats {
    uint64_t acknowledged; /* records */
    uint64_t resent;       /* batches */
    uint64_t lost;
    uint64_t duplicates;
    uint64_t reordered;
    uint64_t corrupt;
    uint64_t violations;
    uint64_t reconnects;
    uint64_t errors[ERRORS_MAX]; /* answers to produce, by code */
    uint64_t first_ack_us;
    uint64_t last_ack_us;
    uint64_t gap_us; /* largest between two acknowledgements */
    uint64_t gap_begin_us;
    uint64_t *partition_ack_us;
    uint64_t *partition_gap_us;
    uint64_t *partition_acknowledged;
    struct histogram latency_us;
};

enum phase { PHASE_SETUP, PHASE_LOAD, PHASE_DRAIN, PHASE_ENDS, PHASE_CATCH_UP, PHASE_AGAIN, PHASE_DONE };

struct checker {
    struct checker_args args;
    enum phase phase;
    uint64_t run;
    int epoll;
    uint64_t now_us; /* monotonic */
    uint64_t wall_offset_us;
    struct ck_node nodes[NODES_MAX];
    uint32_t n_nodes;
    struct list conns;
    struct frame_limits limits;

    struct uuid topic_id;
    bool topic_known;
    bool topic_gone;
    uint32_t n_partitions; /* 0: not known yet */
    struct ck_partition *partitions;
    bool meta_wanted;
    bool meta_busy;
    uint64_t meta_sent_us;
    uint32_t meta_node;

    struct ck_stream streams[STREAMS_MAX];
    uint32_t n_lanes;
    struct ck_lane *lanes; /* [stream * partitions + partition] */
    uint64_t load_begin_us;
    uint64_t load_end_us; /* 0: still going on */

    struct ck_reader *follow;
    struct ck_reader *again;
    int64_t *begin; /* offsets before the load */
    int64_t *end;
    bool *listing;
    bool *listed;
    uint64_t list_retry_us;
    struct ck_seen **seen; /* by partition */
    uint64_t *n_seen;
    uint64_t *seen_capacity;
    struct ck_direct *directs;
    uint32_t n_directs;

    struct ck_stats stats;
};

uint64_t clock_us(void);      /* monotonic */
uint64_t clock_wall_us(void);
int direct_run(const struct checker_args *args);
void report(const struct checker *ck);

#endif
