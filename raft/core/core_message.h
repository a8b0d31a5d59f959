/* Raft's messages as plain structs of ours, and their encoding for peer links (entries travel beside it, with their own
 * headers). */
#ifndef CAIRN_CORE_MESSAGE_H
#define CAIRN_CORE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "raft/core/core_config.h"

/* Wire values, never renumbered. */
enum core_message_type {
    CORE_APPEND = 1,
    CORE_APPEND_RESULT = 2,
    CORE_VOTE = 3,
    CORE_VOTE_RESULT = 4,
    CORE_INSTALL = 5,
    CORE_TIMEOUT_NOW = 6
};

/* One AppendEntries names entries of at most this many terms; the core splits longer ones. */
#define CORE_APPEND_RUNS_MAX 4

/* n entries of one term, following those of the run before. */
struct core_append_run {
    uint64_t term;
    uint32_t n;
};

struct core_append {
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t commit; /* leader's */
    uint32_t n;      /* entries prev_index + 1 ... prev_index + n; 0: heartbeat */
    uint32_t n_runs;
    struct core_append_run runs[CORE_APPEND_RUNS_MAX]; /* terms of the entries; sum of n == n */
};

struct core_append_result {
    uint64_t rejected; /* 0: accepted; else the prev_index that did not match */
    uint64_t last;     /* accepted: durable and matching up to here; rejected: a hint */
    uint16_t features;
    uint16_t capacity;
};

struct core_vote {
    uint64_t candidate;
    uint64_t last_index;
    uint64_t last_term;
    bool disrupt;  /* the leader itself asked for this election */
    bool pre_vote;
};

struct core_vote_result {
    bool granted;
    bool pre_vote;
    uint16_t features;
    uint16_t capacity;
};

/* Metadata only; the data goes over the bulk lane. */
struct core_install {
    uint64_t last_index;
    uint64_t last_term;
    uint64_t config_index;
    struct core_config config;
};

struct core_timeout_now {
    uint64_t last_index;
    uint64_t last_term;
};

struct core_message {
    uint8_t type;    /* enum core_message_type */
    uint8_t version; /* libraft's message version: carried, not judged */
    uint64_t from;   /* replica ids */
    uint64_t to;
    uint64_t term;
    union {
        struct core_append append;
        struct core_append_result append_result;
        struct core_vote vote;
        struct core_vote_result vote_result;
        struct core_install install;
        struct core_timeout_now timeout_now;
    };
};

/* A heartbeat: an AppendEntries without entries. May be coalesced per link, never delayed by bulk data. */
static inline bool core_message_is_heartbeat(const struct core_message *m)
{
    return m->type == CORE_APPEND && m->append.n == 0;
}

/* Term of entry @index named by the AppendEntries @append; 0: not named by it. */
uint64_t core_append_term_at(const struct core_append *append, uint64_t index);

/* Split @message (CORE_APPEND) so that it keeps its first @n entries, 0 < n < append.n; *rest is the same message with
 * the others. For sending by bytes: send the first part before the rest. */
void core_append_split(struct core_message *message, uint32_t n, struct core_message *rest);

/* Encoding: u8 format (1) | u8 type | u8 version | u8 flags | u64 from | u64 to | u64 term | fields of the type in the
 * order of its struct; little-endian. Flags: bit 0 disrupt / granted, bit 1 pre_vote. */
#define CORE_MESSAGE_ENCODED_MAX (28 + 64 + CORE_CONFIG_ENCODED_MAX)
/* *length bytes written. Errors: ERR_INVALID a message that cannot be, or @size too small. */
int core_message_encode(const struct core_message *message, void *out, size_t size, size_t *length) MUST_USE;
/* Exactly @size bytes. Checks the shape only; core_receive checks the values. Errors: ERR_MALFORMED, ERR_VERSION. */
int core_message_decode(const void *data, size_t size, struct core_message *out) MUST_USE;

#endif
