/* What must hold in every run, whatever the faults: the replicas' logs seen from the inside (oracle_log.c), and what
 * clients were told (oracle_records.c). A violation ends the program at once: the seed repeats it.
 *
 * The oracles know more than any node: what every replica held at the end of each of its turns, also of dead ones. */
#ifndef CAIRN_SIM_ORACLE_H
#define CAIRN_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"
#include "proto/record/record_batch.h"
#include "tests/sim/world.h"

#define ORACLE_NODES_MAX 8

/* X(name): what a run is asked to have met; summed over seeds by tests/sim/run. */
#define ORACLE_COUNTS(X)                                                                                               \
    X(turns)                                                                                                           \
    X(elections)        /* leaders seen, all groups */                                                                 \
    X(leader_changes)   /* ... beside each group's first */                                                            \
    X(committed)        /* entries */                                                                                  \
    X(truncated)        /* times that a log lost uncommitted entries to a leader's */                                  \
    X(digests)          /* states compared */                                                                          \
    X(acks)             /* batches */                                                                                  \
    X(acked_records)                                                                                                   \
    X(retries)          /* batches sent again */                                                                       \
    X(unknown)          /* answers that said UNKNOWN_OUTCOME */                                                        \
    X(not_leader)       /* answers that sent a client elsewhere */                                                     \
    X(out_of_order)     /* answers to a batch behind one that had failed */                                            \
    X(given_up)         /* streams ended without knowing the outcome */                                                \
    X(epoch_bumps)                                                                                                     \
    X(zombies)          /* batches of an older epoch, sent behind a newer one's */                                     \
    X(reads)            /* fetches that brought records */                                                             \
    X(read_records)                                                                                                    \
    X(rereads)          /* readers that began again at 0 */                                                            \
    X(stale_answers)    /* of a leader older than one that had answered before */                                      \
    X(list_offsets)                                                                                                    \
    X(list_times)       /* ... of a time */                                                                            \
    X(pedant_acks)      /* of the client that sends everything twice */                                               \
    X(pedant_refused)   /* epochs that began in the middle */                                                          \
    X(pedant_spoilt)    /* batches that were refused as such */                                                        \
    X(epochs_checked)   /* ends of epochs, held against the committed log */                                           \
    X(pedant_outside)   /* reads of what is not there, answered so */                                                  \
    X(probes)           /* questions to a leader whose successor had acknowledged something */                         \
    X(probes_answered)  /* ... without an error */                                                                     \
    X(topics_created)                                                                                                  \
    X(topics_deleted)                                                                                                  \
    X(node_starts)                                                                                                     \
    X(transfers)        /* of leadership, begun */                                                                     \
    X(node_stops)       /* in order */                                                                                 \
    X(fatals)           /* explained by a disk's error */                                                              \
    X(isolations)       /* a node was cut off from its peers, not from its clients */                                  \
    X(rots)             /* a bit of a log was flipped, behind which the log went on */                                 \
    X(rot_found)        /* replicas that recovery stopped for it */                                                    \
    X(replaced)         /* ... that got a successor, which has everything */                                           \
    X(rot_refused)      /* nodes that would not start with it */                                                       \
    X(wipes)            /* a node's disk was emptied */                                                                \
    X(wiped_refused)    /* ... and it would not go on as the one it had been */                                        \
    X(power_all)                                                                                                       \
    X(torn_tails)                                                                                                      \
    X(stale_records)                                                                                                   \
    X(recovered)        /* entries that recovery brought back */                                                       \
    X(files_recycled)                                                                                                  \
    X(carried_bytes)                                                                                                   \
    X(disk_reads)       /* reads of the shard log that were not answered from memory */                                \
    X(duplicates)       /* batches that a leader knew already */                                                       \
    X(reopened)         /* Raft cores opened anew */                                                                   \
    X(real_acks)        /* the real client library, in batches */                                                      \
    X(real_acked_records)                                                                                              \
    X(real_acked_somewhere) /* acknowledged, place not known */                                                        \
    X(real_unknown)     /* records; told as UNKNOWN_OUTCOME */                                                         \
    X(real_failed)      /* records; told as failed: never sent */                                                      \
    X(real_retries)     /* batches sent again */                                                                       \
    X(real_epochs)      /* raised by it */                                                                             \
    X(real_flushes)     /* that came to an end */                                                                      \
    X(real_full)        /* its buffer had no room */                                                                   \
    X(real_compressed)  /* batches */                                                                                  \
    X(real_closes)      /* producers closed with records under way */                                                  \
    X(real_reads)       /* chunks */                                                                                   \
    X(real_seeks)                                                                                                      \
    X(real_resets)      /* readers that an offset out of range sent elsewhere */                                        \
    X(group_members)    /* lives of members of consumer groups */                                                      \
    X(group_assigned)   /* times that one was given partitions, or none, in a new generation */                        \
    X(group_revoked)                                                                                                   \
    X(group_lost)       /* ... had been shut out */                                                                    \
    X(group_frozen)     /* processes stopped for a while */                                                            \
    X(group_vanished)   /* for good, without a word */                                                                 \
    X(group_leaves)                                                                                                    \
    X(group_commits)                                                                                                   \
    X(group_commits_refused) /* or not answered */                                                                     \
    X(group_late_commits) /* of a generation that was over */                                                          \
    X(group_processed)  /* records */

struct oracle_counts {
#define X(name) uint64_t name;
    ORACLE_COUNTS(X)
#undef X
};

struct metadata_fsm;
struct node;
struct shard;

struct oracle;
struct oracle_part;   /* one partition of one topic (by its UUID) */
struct oracle_stream; /* what one producer sends to one partition under one producer epoch: sequence numbers 0, 1, ... */

struct oracle *oracle_new(struct sim_world *world, uint64_t seed, unsigned nodes);
void oracle_free(struct oracle *o);
struct oracle_counts *oracle_counts(struct oracle *o);
uint64_t oracle_seed(const struct oracle *o);
void oracle_violation(struct oracle *o, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
/* A line of what happened, with the time; only with tracing on. */
void oracle_trace(struct oracle *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void oracle_set_trace(struct oracle *o, bool on);

/* ---- replicas ---------------------------------------------------------------------------------------------------- */

/* @node was opened, nothing has moved yet: what it recovered holds all that it had reported durable. @i counts from 0. */
void oracle_node_started(struct oracle *o, unsigned i, struct node *node);
/* The end of a turn of one of its loops. */
void oracle_turn(struct oracle *o, unsigned i, struct node *node, struct shard *shard);
/* Whether it led some partition when it was looked at last. */
bool oracle_leads(const struct oracle *o, unsigned i);
/* It was told to stop in order. */
void oracle_node_leaves(struct oracle *o, unsigned i);
/* A bit of its log was flipped, not in the newest flush: recovery may stop replicas, but lose nothing silently. */
void oracle_node_rots(struct oracle *o, unsigned i);
/* Its disk is empty from now on; none of its replicas may ever come back. */
void oracle_node_wiped(struct oracle *o, unsigned i);
/* It ends: its counters are added up. */
void oracle_node_ended(struct oracle *o, unsigned i, struct node *node);

/* Every replica of every group that is not deleted, on all @n nodes (NULL: for good not there), has applied all that is committed anywhere, and is
 * in the same state. False with the first reason. */
bool oracle_converged(struct oracle *o, struct node *const *nodes, unsigned n, char *why, size_t size);

/* Every group's members are voters, and each of them is the replica that its node has. */
bool oracle_members_whole(struct oracle *o, struct node *const *nodes, unsigned n, char *why, size_t size);

/* ---- what clients know ------------------------------------------------------------------------------------------- */

/* The one setting that each topic is made with. */
#define ORACLE_SETTING "max.message.bytes"
uint32_t oracle_setting(unsigned topic);

struct oracle_part *oracle_part(struct oracle *o, const struct uuid *topic, uint32_t partition, uint64_t group);
/* Somebody has asked for its topic to be deleted: from here on it may be gone. */
void oracle_topic_doomed(struct oracle *o, const struct uuid *topic);
void oracle_topic_exists(struct oracle *o, const char *name, const struct uuid *topic, uint32_t partitions);
bool oracle_part_doomed(const struct oracle_part *part);

struct oracle_stream *oracle_stream(struct oracle *o, struct oracle_part *part, int64_t producer_id, int16_t epoch);
uint32_t oracle_stream_id(const struct oracle_stream *s);
struct oracle_part *oracle_stream_part(const struct oracle_stream *s);
uint32_t oracle_sent_next(const struct oracle_stream *s);
/* A batch of the next @n records leaves for the first time. */
void oracle_sent(struct oracle *o, struct oracle_stream *s, uint32_t n);
/* It leaves, for the first time or again; that attempt was answered with an error that says it is not taken. */
void oracle_attempted(struct oracle *o, struct oracle_stream *s, uint32_t seq, uint32_t n);
void oracle_refused(struct oracle *o, struct oracle_stream *s, uint32_t seq, uint32_t n);
void oracle_acked(struct oracle *o, struct oracle_stream *s, uint32_t seq, uint32_t n, int64_t base_offset);

/* A producer id was given; @asked -1: a new one, else its epoch was to be raised from @asked_epoch. */
void oracle_producer_id(struct oracle *o, int64_t asked, int32_t asked_epoch, int64_t id, int32_t epoch);

/* The record's value: who sent it, and filler that only its place in the run determines. */
#define ORACLE_VALUE_MIN 16
uint32_t oracle_value_size(const struct oracle *o, uint32_t stream, uint32_t seq);
void oracle_value(const struct oracle *o, uint32_t stream, uint32_t seq, uint8_t *out); /* oracle_value_size() bytes */

/* One consumer's position in one partition. */
struct oracle_reader {
    struct oracle_part *part;
    int64_t offset;         /* next */
    int64_t high_watermark; /* the highest told by the newest leader that answered */
    uint64_t leader_epoch;
    uint64_t asked_epoch;   /* what anybody had been told when the question left */
    int64_t asked_end;
    bool complete;          /* reads everything from 0: order and gaps are checked strictly */
    uint32_t *next;         /* with complete: per stream of the oracle, the sequence expected */
    uint32_t n_next;
};
void oracle_reader_init(struct oracle_reader *r, struct oracle_part *part, bool complete);
void oracle_reader_close(struct oracle_reader *r);
/* Its question leaves. */
void oracle_reader_asks(struct oracle_reader *r);
/* @node (1..n) answered as the leader of that epoch. */
void oracle_answered(struct oracle *o, const struct oracle_part *part, unsigned node, uint64_t leader_epoch);
/* Somebody said that @node (0: nobody) leads in that epoch: there it is nobody else. */
void oracle_hinted(struct oracle *o, const struct oracle_part *part, unsigned node, uint64_t leader_epoch);
/* A leader has told somebody that @end is committed. */
void oracle_told(struct oracle_part *part, uint64_t leader_epoch, int64_t end);
/* A fetch's answer without error. Returns the bytes' number of batches. */
uint32_t oracle_fetched(struct oracle *o, struct oracle_reader *r, uint64_t leader_epoch, int64_t high_watermark,
                        int64_t log_start, const uint8_t *bytes, size_t size);
/* The newest term in which somebody leads it, while another one believes that it still does; nodes count from 1. 0: there is
 * no such other one. */
uint64_t oracle_succession(struct oracle *o, const struct oracle_part *part, unsigned *leader, unsigned *before);
/* @what was told up to offset @end: that is committed. */
void oracle_check_committed(struct oracle *o, const struct oracle_part *p, int64_t end, const char *what);
/* One past the newest offset that anyone was told is acknowledged, or has read. */
int64_t oracle_known_end(const struct oracle_part *part);
/* Latest offset as list offsets told it; @known_before was oracle_known_end() when the question left. */
void oracle_listed_end(struct oracle *o, struct oracle_part *part, int64_t known_before, int64_t offset);
/* The same for a time: @offset is the first one of @asked_ms or later, -1: there is none. */
void oracle_listed_time(struct oracle *o, struct oracle_part *part, int64_t known_before, int64_t asked_ms, int64_t offset,
                        int64_t told_ms);

/* At the very end: @read(part) is how far a complete reader came. */
void oracle_final_part(struct oracle *o, struct oracle_part *part, const struct oracle_reader *r, int64_t end);
void oracle_each_part(struct oracle *o, void (*each)(void *data, struct oracle_part *part, const struct uuid *topic,
                                                     uint32_t partition),
                      void *data);
/* What the real client (real_client.h) was told is acknowledged is there. When all was read. */
void oracle_real_final(struct oracle *o);
/* Topics whose creation was acknowledged and whose deletion nobody asked for are in @m. */
void oracle_final_topics(struct oracle *o, const struct metadata_fsm *m);

#endif
