/* Known kinds of bugs, put back one at a time, so that it is known which of them the simulation would find
 * (tests/sim/mutants). Each is a condition at the place where the decision is really made:
 *
 *     if (batch->producer_epoch < p->epoch && !MUTANT(EPOCH_FENCE_IGNORED)) {
 *
 * Outside of a build with CAIRN_MUTANTS the macro is the constant false and nothing of this is compiled. In such a build
 * one mutant, or none, is selected for the whole process before anything else runs: the one mutable global there is. Name
 * MUTANT() last in a condition: it counts how often a run came by. */
#ifndef CAIRN_MUTANT_H
#define CAIRN_MUTANT_H

#include <stdbool.h>

/* X(name, what goes wrong) */
#define MUTANT_TABLE(X)                                                                                                \
    /* raft/wal: what is durable */                                                                                    \
    X(ACK_BEFORE_FSYNC, "a flush counts as durable when it is written, without a sync")                                \
    X(RETRY_FSYNC, "a failed sync is tried again, and believed when it then succeeds")                                 \
    X(TRUST_PAGE_CACHE, "recovery reads through the page cache and leaves the last flush where it is")                 \
    X(TORN_AS_CORRUPT, "a torn last flush is taken for corruption")                                                    \
    X(CORRUPT_AS_TORN, "a corrupt flush is taken for a torn tail, and what is behind it for stale")                    \
    X(TRUNCATE_AT_CORRUPTION, "a log with a corrupt entry ends in front of it, and its replica goes on")               \
    X(STALE_RECYCLED, "a flush of a recycled file's earlier life is taken for live")                                   \
    X(HARD_STATE_LOST_AT_RECYCLING, "the checkpoint that opens a file has the terms without the votes")                \
    X(LAST_FLUSH_DROPPED, "recovery does not write the last flush anew, and ends the old file in front of it")         \
    X(RENAME_BEFORE_SYNC, "recovery's fresh file gets its name without having been synced")                            \
    X(DIRECTORY_NOT_SYNCED, "recovery's fresh file gets a name that is not durable")                                   \
    X(FILE_NAME_NOT_SYNCED, "the next log file is written to under a name that is not durable")                        \
    X(COPY_TRUNCATES, "at recovery an entry carried forward ends the log behind it, as an appended one does")          \
    X(RECYCLE_BEFORE_DROP, "a file is recycled before it is durable that nothing in it counts any more")               \
    X(REPLAY_KEEPS_REPLACED, "at recovery an entry that replaced another leaves those behind it in the log")           \
    /* raft/core, raft/group: the protocol */                                                                          \
    X(VOTE_NOT_PERSISTED, "the term of a vote becomes durable, the vote does not")                                     \
    X(VOTE_BEFORE_DURABLE, "messages do not wait for the hard state they rest on")                                     \
    X(STALE_COMPLETION, "the completion of a write stands for the entries that replaced those written")                \
    X(COMMIT_EARLIER_TERM, "entries of earlier terms commit by counting replicas")                                     \
    X(LOG_MATCHING_INDEX_ONLY, "a follower takes entries behind one of the right index and another term")              \
    X(CHANGE_WITHOUT_BARRIER, "a configuration change without a committed entry of the own term")                      \
    X(LATER_TERM_UNDER_EARLIER, "a message sent late takes what now stands at its indexes")                            \
    X(WRONG_GROUP, "now and then a message reaches another group of the same node")                                    \
    X(SERVE_BEFORE_OWN_TERM, "a new leader serves before an entry of its own term is applied")                         \
    X(DEFINITE_FOR_UNKNOWN, "at a step-down what was submitted is refused, though it may be committed later")          \
    X(ACK_AT_SUBMIT, "a proposal ends well when it is submitted, not when it is applied")                              \
    X(APPLY_SKIPS_AFTER_READ, "the entry behind a piece read from the disk is not applied")                            \
    /* node: partitions, producers, readers */                                                                         \
    X(SERVE_ABOVE_HIGH_WATERMARK, "readers are given all that is in the log")                                          \
    X(FETCH_FROM_FOLLOWER, "fetches are answered by replicas that do not lead")                                        \
    X(OUT_OF_RANGE_WITHOUT_BARRIER, "OFFSET_OUT_OF_RANGE on the word of a leader that may be deposed")                 \
    X(LIST_OFFSETS_WITHOUT_BARRIER, "the latest offset on the word of a leader that may be deposed")                   \
    X(ACK_DUPLICATE_IN_FLIGHT, "the retry of a batch in flight is acknowledged at once")                               \
    X(FORGET_PRODUCERS, "producer state is lost at a leader change")                                                   \
    X(KEEP_IN_FLIGHT, "what was in flight at a step-down is still believed to come")                                   \
    X(FORGET_IN_FLIGHT, "what is in flight is lost while its leader leads")                                            \
    X(REUSE_OFFSET, "the next offset does not follow what is applied")                                                 \
    X(ACCEPT_SEQUENCE_GAP, "a batch is taken though one before it is missing")                                         \
    X(SKIP_DEDUP, "a batch that is known already is taken once more")                                                  \
    X(EPOCH_FENCE_IGNORED, "a batch of an older producer epoch is taken")                                              \
    /* consumer groups */                                                                                              \
    X(COMMIT_OF_OLDER_GENERATION, "offsets are committed by members of an earlier generation")                         \
    X(COMMIT_FROM_STRANGER, "offsets are committed by who was thrown out of the group")                                \
    X(COMMIT_TOLD_EARLY, "a commit of offsets is answered when it is proposed")                                        \
    X(COORDINATE_BEFORE_BARRIER, "a new coordinator answers before an entry of its own term is applied")               \
    X(GENERATION_NOT_RAISED, "a rebalance hands out the generation that was")                                          \
    X(DEAD_SESSION_KEPT, "a member that is not heard of any more keeps its place")                                     \
    /* node/control: identity */                                                                                       \
    X(BOOTSTRAP_SEED_MISSING, "a cluster is founded with the pledge of one seed missing")                              \
    X(RESUME_AFTER_WIPE, "a node whose disk was wiped takes its old replica ids again")                                \
    X(IDENTITY_NOT_SYNCED, "who the node is, is not durable before it acts on it")

enum mutant {
    MUTANT_NONE,
#define X(name, what) MUTANT_##name,
    MUTANT_TABLE(X)
#undef X
    MUTANT_COUNT
};

#if defined(CAIRN_MUTANTS) && CAIRN_MUTANTS
#define MUTANT(name) (mutant_state.selected == MUTANT_##name && ++mutant_state.times > 0)

extern struct mutant_state {
    enum mutant selected;
    unsigned long long times; /* how often a run came by */
} mutant_state;

/* False: there is none of this name. "" or NULL: none is to be selected. */
bool mutant_select(const char *name);
const char *mutant_name(enum mutant mutant);
#else
#define MUTANT(name) false
#endif

#endif
