/* One node of a test cluster: shard log, transport, group host, and groups whose state machine remembers what it applied.
 * Runs on either environment. */
#ifndef CAIRN_TESTS_GROUP_MEMBER_H
#define CAIRN_TESTS_GROUP_MEMBER_H

#include "raft/group/group.h"
#include "raft/transport/transport.h"

#define MEMBER_GROUPS_MAX 64
#define MEMBER_NODES_MAX 8

struct applied {
    uint64_t term;
    uint64_t value; /* of a COMMAND; 0 otherwise */
    int64_t time_ms;
    uint32_t crc;
    uint8_t kind;
};

struct member;

struct mgroup {
    struct member *member;
    struct group *g; /* NULL: not open */
    unsigned number;
    struct applied *applied; /* [i] is entry i + 1 */
    size_t n;
    size_t capacity;
    bool leading;
    bool ready;
    uint64_t term;
    unsigned wins;
    int failed;
    uint32_t fail_on_value; /* the state machine does not understand this one */
};

struct member_params {
    struct env *env;
    uint32_t node;
    const char *dir;
    const char *listen;
    uint64_t boot;
    uint64_t cache_bytes;
    uint64_t file_bytes; /* of the shard log; 0: 4 MiB */
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    bool bare; /* groups are not made by member_group() and have data of their own */
    /* Watchers, may be NULL. */
    void (*applied)(void *data, struct mgroup *mg, uint64_t index, const struct applied *entry);
    void (*led)(void *data, struct mgroup *mg, uint64_t term, bool ready);
    void *data;
};

struct member {
    struct member_params params;
    struct env *env;
    uint32_t node;
    struct buf_pool *pool;
    struct wal *wal;
    struct wal_recovery recovery;
    struct transport *transport;
    struct group_host *host;
    struct mgroup groups[MEMBER_GROUPS_MAX];
    uint32_t leader_hint[MEMBER_GROUPS_MAX];
    /* Towards these nodes nothing is sent. */
    bool mute[MEMBER_NODES_MAX + 1];
    size_t message_bytes_max; /* largest payload of one message that came */
    bool wal_closed;
    bool transport_closed;
    char error[ERRMSG_SIZE];
};

/* 0, or what opening the shard log or the transport said (m->error). */
int member_open(struct member *m, const struct member_params *params) MUST_USE;
/* Replica id of group @number on @node. */
uint64_t member_replica(unsigned number, uint32_t node);
void member_founders(unsigned number, const uint32_t *nodes, unsigned n, struct core_config *out);
/* Resume group @number, or found it. */
int member_group(struct member *m, unsigned number, const struct core_config *founders, uint32_t preferred) MUST_USE;
int member_join(struct member *m, unsigned number) MUST_USE;
void member_abandon(struct member *m); /* the program is dead, perhaps in the middle of member_open() */
/* In order: groups, transport, log; then member_closed() holds, and member_free() may be called. */
void member_close(struct member *m);
bool member_closed(const struct member *m);
void member_free(struct member *m);

/* A command with @value, @size payload bytes (at least 8). NULL: out of memory. */
struct entry *member_entry(struct member *m, uint64_t value, uint32_t size);

#endif
