/* The idempotent producer: takes batches from its front (accum.h), numbers them, sends them to the partitions' leaders
 * and retries until each is acknowledged, refused, or out of time.
 *
 * Rules (DESIGN, "The client's contract"):
 * - A partition's batches carry consecutive sequence numbers under one (producer id, epoch). They go out in order on
 * one connection, at most in_flight_max unanswered. After a retriable error nothing more is sent until the wire is
 * empty of the partition; then all go again from the oldest. The partition drops what it has already.
 * - A batch whose time is up ends as UNKNOWN_OUTCOME if it was ever sent. With it end, likewise, the batches of the
 *   partition that may have been written; the producer takes the next epoch, which fences their late copies; what was
 *   certainly not written is numbered anew from 0 under that epoch. */
#ifndef CAIRN_CLIENT_PRODUCER_H
#define CAIRN_CLIENT_PRODUCER_H

#include "client/src/core/accum.h"
#include "client/src/core/core.h"
#include "proto/record/codec.h"

struct request;
struct frame;

struct producer_config {
    struct accum_config accum;
    uint8_t codec;
};

struct producer_counts {
    uint64_t records_acknowledged;
    uint64_t records_unknown;
    uint64_t records_failed;
    uint64_t bytes_acknowledged;
    uint64_t batches_acknowledged;
    uint64_t batches_retried;
};

struct producer_build; /* a request in the making */
struct producer_pick;  /* a batch chosen for one */

struct producer {
    struct list link; /* core->producers */
    struct core *core;
    struct producer_config config;
    struct accum accum;
    struct list active;       /* partitions whose queue is not empty */
    struct list room_changed; /* partitions */
    struct list done;         /* batches that ended, to be told in the next turn */
    struct list unused;       /* told batches that no request carries any more */
    struct codec_scratch scratch;
    uint64_t meta_generation; /* looked at last, for the topics */
    uint64_t sent_generation; /* and for who leads */
    uint64_t tick_ns;
    int64_t producer_id; /* -1: none yet */
    int16_t producer_epoch;
    bool next_epoch_wanted;
    struct core_call *identity_call; /* under way */
    uint64_t identity_retry_ns;
    unsigned requests;             /* alive */
    bool closed;                   /* lives on only for its requests */
    struct producer_counts counts; /* written under the front's lock */
    struct producer_build *builds;
    size_t builds_count;
    size_t builds_capacity;
    struct producer_pick *picks;
    size_t picks_count;
    size_t picks_capacity;
};

void producer_config_init(struct producer_config *config);

/* @host is borrowed until producer_close(). Errors: ERR_NOMEM. */
int producer_new(struct core *core, struct producer_host *host, const struct producer_config *config,
                 struct producer **out) MUST_USE;

/* End and tell everything (sent: ERR_UNKNOWN_OUTCOME, not sent: ERR_CANCELLED), then free it. Not inside a turn. */
void producer_close(struct producer *p);

/* For core_turn(). */
void producer_turn(struct producer *p);

/* Between the files of the producer. */

void producer_send(struct producer *p);
void producer_answer(struct request *r, int status, const struct frame *frame);
void producer_identity(struct producer *p);
void producer_tick(struct producer *p);

/* @b has ended; it leaves the queue once those before it have. */
void producer_end(struct producer *p, struct batch *b, int status, int64_t base_offset);
/* The two halves of it, where several end: mark each, then let those at the head of the queue go. */
void producer_mark(struct batch *b, int status, int64_t base_offset);
void producer_trim(struct producer *p, struct producer_partition *pp);
/* Nothing on the wire counts any more: all go again, and may have been written. */
void producer_rewind(struct producer_partition *pp);
/* On an empty wire: what may have been written ends as unknown, the rest waits for the next epoch. */
void producer_reset(struct producer *p, struct producer_partition *pp);

#endif
