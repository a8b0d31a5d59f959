/* Shared by the oracle's two halves. */
#ifndef CAIRN_SIM_ORACLE_INTERNAL_H
#define CAIRN_SIM_ORACLE_INTERNAL_H

#define HASH_NONFATAL_OOM 1 /* as the rooms that it looks into have it */
#include <uthash.h>

#include "tests/sim/oracle.h"

/* One entry as it was first seen anywhere, by (group, index, term). */
struct seen_entry {
    struct {
        uint64_t index;
        uint64_t term;
    } key;
    uint64_t prev_term; /* of the entry before it; UINT64_MAX: not known */
    uint32_t crc;
    bool has_crc;
    uint8_t kind;
    int64_t base_offset;
    int64_t time_ms;
    UT_hash_handle hh;
};

struct committed {
    uint64_t term;      /* of the entry */
    uint64_t commit_term; /* in which it was committed: that of the replica which showed it first */
    const struct seen_entry *entry;
};

struct leadership {
    uint64_t term;
    unsigned node;
};

struct seen_state {
    uint64_t applied;
    uint32_t digest;
    unsigned node;
    UT_hash_handle hh;
};

/* One Raft group, as all its replicas together have shown it. */
struct seen_group {
    uint64_t id;
    struct seen_entry *entries;
    struct committed *committed; /* [0] unused */
    uint64_t n_committed;
    uint64_t capacity;
    struct leadership *leaders;
    size_t n_leaders;
    struct seen_state *states;
    int64_t high_watermark; /* committed and applied somewhere */
    uint32_t voters;
    UT_hash_handle hh;
};

struct seen_hard_state {
    uint64_t sequence; /* of the write that carries it */
    uint64_t term;
    uint64_t vote;
};
#define SEEN_HARD_MAX 16
#define ORACLE_NEAR 64
#define ORACLE_SHARDS_MAX 16

/* What was durable when the replica was deleted, or its disk was wiped or rotted: its word may still be on the way. */
struct seen_gone {
    uint64_t end;
    uint64_t term;
    uint64_t vote;
};

/* One replica, as it was at the end of its last turn. */
struct seen_replica {
    struct {
        uint64_t node;
        uint64_t group;
    } key;
    uint64_t replica;    /* its id; a successor on the same node has another */
    uint32_t generation; /* of its core; what follows from memory alone starts over with a new one */
    uint64_t session;    /* of its node */
    uint32_t shard;      /* of its node, and the last of its turns that the replica was there in */
    uint64_t turn;
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t last;
    uint64_t stored;
    struct seen_gone gone;
    bool leads;
    uint64_t vote;         /* replica id voted for in @term, as it is in memory; 0: none */
    uint64_t durable_term; /* hard state that is durable */
    uint64_t durable_vote;
    struct seen_hard_state hard[SEEN_HARD_MAX]; /* written, not known to be durable yet, oldest first */
    size_t n_hard;
    uint64_t *terms; /* [0] unused */
    uint64_t capacity;
    struct seen_group *group;
    UT_hash_handle hh;
};

struct oracle_stream {
    uint32_t id;
    struct oracle_part *part;
    int64_t producer_id; /* -1: not idempotent */
    int16_t epoch;
    uint32_t sent;
    uint32_t capacity;
    int64_t *offsets; /* of each record sent: where it was seen or acknowledged; -1: nowhere */
    struct chances {
        uint16_t sent;
        uint16_t refused; /* for good: that attempt left nothing in the log */
        uint16_t copies;
    } *chances; /* of each record sent */
};

struct slot {
    uint32_t stream; /* UINT32_MAX: not known yet */
    uint32_t seq;
    uint32_t batch_crc; /* 0: not read yet */
    bool acked;
    int64_t time_ms; /* of the record; 0: not read yet */
};

struct oracle_part {
    struct {
        struct uuid topic;
        uint32_t partition;
    } key;
    uint64_t group;
    bool doomed;
    struct slot *slots; /* by offset */
    int64_t n_slots;
    int64_t capacity;
    int64_t acked_end;
    uint64_t told_epoch; /* of the newest leader that has told anything */
    int64_t told_end;    /* the highest end of what is committed that anybody was told */
    UT_hash_handle hh;
};

struct given_id {
    int64_t id;
    UT_hash_handle hh;
};

struct oracle_topic {
    struct uuid id;
    char name[64];
    uint32_t partitions;
    bool exists; /* its creation was acknowledged */
    bool doomed;
    UT_hash_handle hh;
};

struct oracle {
    struct sim_world *world;
    uint64_t seed;
    unsigned nodes;
    bool trace;
    struct oracle_counts counts;
    struct seen_group *groups;
    struct seen_replica *replicas;
    struct seen_replica *near[ORACLE_NODES_MAX][ORACLE_NEAR];
    uint64_t sessions[ORACLE_NODES_MAX];
    uint64_t turns[ORACLE_NODES_MAX][ORACLE_SHARDS_MAX];
    bool leaving[ORACLE_NODES_MAX]; /* stopping in order */
    bool wiped[ORACLE_NODES_MAX];
    bool rotten[ORACLE_NODES_MAX];
    struct uuid cluster_id;
    bool pledged[ORACLE_NODES_MAX]; /* to found with the seeds */
    bool founded;
    struct oracle_part *parts;
    struct oracle_topic *topics;
    struct given_id *given_ids;
    struct oracle_stream **streams;
    uint32_t n_streams;
    struct oracle_real *real; /* what was sent by the real client; NULL: nothing */
    struct oracle_groups *consumer_groups; /* NULL: none (real_client_group.c) */
};

struct seen_group *oracle_group(struct oracle *o, uint64_t id);
bool oracle_group_doomed(const struct oracle *o, uint64_t group);

struct control;
struct partition_fsm;
struct shard;
struct group;
struct node;

/* oracle.c: @capacity elements at least until @need is one of them, zeroed. */
void *oracle_grow(void *memory, uint64_t *capacity, uint64_t need, size_t size);
struct seen_replica *oracle_find_replica(struct oracle *o, unsigned node, uint64_t group); /* NULL: never seen */
struct seen_replica *oracle_get_replica(struct oracle *o, unsigned node, uint64_t group);
void oracle_forget_replica(struct seen_replica *r); /* nothing of it is to come back */
void oracle_same_replica(struct seen_replica *r, uint64_t replica); /* ... unless it is this one; else its successor is met */

/* oracle_log.c: equal index, equal state. */
void oracle_note_state(struct oracle *o, struct seen_replica *r, uint64_t applied, uint32_t digest);
bool oracle_digest(struct node *node, struct shard *shard, uint64_t group, uint32_t *digest, int64_t *high_watermark);

/* oracle_promises.c: at the end of a turn. */
void oracle_follow_promises(struct oracle *o, struct seen_replica *r, const struct group *g, struct shard *shard);
/* What @fsm of node @i says of where each epoch begins, it having applied all that is committed. */
void oracle_check_epochs(struct oracle *o, const struct seen_group *g, unsigned i, const struct partition_fsm *fsm);
void oracle_answers_free(struct oracle *o);
void oracle_follow_founding(struct oracle *o, unsigned i, const struct control *c);

/* oracle_records.c: offset @offset of @p holds record @seq of stream number @stream. True: that is news. */
bool oracle_slot_take(struct oracle *o, struct oracle_part *p, int64_t offset, uint32_t stream, uint32_t seq,
                      uint32_t batch_crc, bool acked);
/* Whole batches from the reader's offset on; it moves behind them. Returns their number. */
uint32_t oracle_read_batches(struct oracle *o, struct oracle_reader *r, const uint8_t *bytes, size_t size);
bool oracle_topic_is_doomed(struct oracle *o, const struct uuid *topic);

/* real_client_oracle.c: a record that the real client has sent. */
struct record;
struct codec_scratch;
bool oracle_real_record(const struct record *record);
void oracle_real_read(struct oracle *o, struct oracle_part *p, const struct record_batch_header *h,
                      const struct record *record);
struct codec_scratch *oracle_real_scratch(struct oracle *o); /* for compressed batches */
void oracle_real_free(struct oracle *o);

void oracle_log_free(struct oracle *o);
void oracle_records_free(struct oracle *o);

#endif
