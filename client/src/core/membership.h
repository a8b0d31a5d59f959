/* A consumer's membership in a consumer group: Kafka's classic protocol, spoken to the group's coordinator. Joins,
 * deals out partitions when it leads, keeps its session alive, and commits offsets.
 *
 * What the program must do by itself when partitions come and go is handed to it as an event, which it takes in its
 * poll: so nothing is taken from it while it works on records, and it can commit before it loses them. A group without
 * a subscription only commits and fetches offsets.
 *
 * Threads and lock: as the consumer's. What is not marked as shared is the core's. */
#ifndef CAIRN_CLIENT_MEMBERSHIP_H
#define CAIRN_CLIENT_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "client/src/core/assignor.h"
#include "client/src/core/call.h"

struct consumer;
struct consumer_partition;

/* A partition by the client's metadata of its topic: holds a reference on it. */
struct membership_part {
    struct meta_topic *topic; /* its name never changes: any thread may read it */
    uint32_t partition;
    int64_t offset;
    bool of_known; /* the offset is of this topic; else of the one that has the name when it is sent */
    uint8_t of[16];
    int error;
};

struct membership_parts {
    struct membership_part *items;
    size_t count;
    size_t capacity;
};

struct membership_config {
    char id[MEMBERSHIP_ID_MAX + 1];          /* "": no group */
    char instance[MEMBERSHIP_ID_MAX + 1];    /* "": a dynamic member */
    enum assignor assignors[ASSIGNOR_COUNT]; /* in the order of preference */
    size_t assignor_count;
    uint32_t session_timeout_ms;
    uint32_t heartbeat_interval_ms;
    uint32_t max_poll_interval_ms; /* also how long the others wait for us in a rebalance */
    bool from_latest;              /* where to begin when nothing was committed */
    bool auto_commit;
    uint32_t auto_commit_interval_ms;
};

enum membership_event_kind {
    MEMBERSHIP_NO_EVENT,
    MEMBERSHIP_ASSIGNED, /* new ones, with the offsets to begin at */
    MEMBERSHIP_REVOKED,  /* to be given up: committing is still possible */
    MEMBERSHIP_LOST      /* they are somebody else's already */
};

struct membership_event {
    enum membership_event_kind kind; /* shared */
    bool taken;                      /* shared: the program is at it */
    bool ended;                      /* shared: it is done with it */
    struct membership_parts parts;   /* shared while the kind is set */
};

/* Offsets to be committed, or asked for. */
struct membership_offsets {
    struct list link; /* group->commits or ->asks, until @done */
    struct membership *group;
    struct core *core;
    bool asks;
    struct membership_parts parts; /* asked for: -1 where nothing is committed */
    struct core_call *call;        /* NULL: waits for its turn, or for the topics' ids */
    int32_t generation;            /* when it was begun */
    uint64_t begun_ns;
    uint64_t deadline_ns;
    int status; /* commits: 0, of the whole, or of the first part that has an error */
    char text[ERRMSG_SIZE];
    /* Once. @o and its parts are then the owner's: membership_offsets_free(). Called by the core, unlocked. */
    void (*done)(struct membership_offsets *o);
    void *owner;
};

enum membership_state {
    MEMBERSHIP_IDLE,     /* nothing subscribed to */
    MEMBERSHIP_REVOKING, /* the program gives partitions up */
    MEMBERSHIP_FLUSHING, /* their offsets are committed */
    MEMBERSHIP_JOINING,
    MEMBERSHIP_PLANNING, /* it leads, and waits to know all topics */
    MEMBERSHIP_SYNCING,
    MEMBERSHIP_BEGINNING, /* where to begin in new partitions is asked for */
    MEMBERSHIP_ASSIGNING, /* the program takes them */
    MEMBERSHIP_STABLE,
    MEMBERSHIP_FAILED /* for good, the program is told */
};

struct membership_peer { /* as the leader is told of it */
    char *id;
    char *instance;
    uint8_t *metadata;
    size_t metadata_size;
};

struct membership_watch { /* a topic that the leader dealt out */
    struct meta_topic *topic;
    uint32_t partition_count; /* 0: it did not exist */
    uint8_t id[16];
};

struct membership {
    struct core *core;
    struct consumer *consumer;
    struct membership_config config;
    enum membership_state state;
    enum membership_state after_flush; /* MEMBERSHIP_JOINING or MEMBERSHIP_BEGINNING */
    struct membership_parts topics;    /* subscribed to; only the topics count */
    struct membership_parts assigned;  /* ours, as far as the program knows; includes what it is about to give up */
    struct membership_parts added;     /* of the new assignment */
    bool rejoin;                       /* as soon as the program is not at an event */
    bool lost;                         /* what is assigned was taken away */
    bool rejoin_after; /* something was given up in this generation (cooperative): join again for the rest */
    char member[MEMBERSHIP_MEMBER_ID_SIZE];
    int32_t generation;        /* -1: not a member */
    int32_t joined_generation; /* the last one that we were assigned in */
    enum assignor assignor;
    uint32_t coordinator;        /* node, 0: not known */
    struct core_call *call;      /* join or sync */
    struct core_call *heartbeat; /* under way */
    uint64_t heartbeat_ns;       /* the next one */
    uint64_t retry_ns;
    unsigned attempts;
    /* Of the leader, from its join to its sync, and while the generation lasts. */
    struct membership_peer *members;
    size_t member_count;
    struct membership_watch *watches;
    size_t watch_count;
    bool plan_keep; /* the group keeps the assignments that it has */
    uint64_t plan_deadline_ns;
    uint64_t meta_generation; /* looked at last */
    uint64_t withheld_ns;     /* it withheld partitions: join again then, if their owners have not by then; 0: none */
    uint64_t missing_ns;      /* when to ask again for topics that are not there */
    uint64_t flush_deadline_ns;
    /* Offsets. */
    struct list commits; /* one after the other: a later one must win */
    struct list asks;
    size_t commit_count;
    struct membership_offsets *begin; /* where to begin */
    bool begin_known;
    struct membership_offsets *automatic; /* the automatic commit under way */
    uint64_t auto_commit_ns;              /* the next one */
    /* Shared. */
    struct core_call *leave; /* under way */
    struct membership_event event;
    bool polling;     /* the program is in its poll */
    uint64_t poll_ns; /* when it last was */
    bool away;        /* it was not for too long, and was shut out */
    int failure;      /* 0, or why the state is MEMBERSHIP_FAILED */
    char failure_text[ERRMSG_SIZE];
};

void membership_config_init(struct membership_config *config);

/* NULL: out of memory. */
struct membership *membership_new(struct consumer *c, const struct membership_config *config);
/* Without a word to the coordinator. Commits end with ERR_SHUTDOWN. */
void membership_free(struct membership *g);

/* Locked, core. Everything that is due. */
void membership_follow(struct membership *g);

/* Core, locked. Replaces the subscription. Errors: ERR_INVALID (a name; too many), ERR_NOMEM. */
int membership_subscribe(struct membership *g, const char *const *topics, size_t count) MUST_USE;
/* Core, locked. The end of the membership, told to the coordinator (but by a static member, whose place is kept): done
 * when membership_left(), which is the program's side. What is assigned must have been given up before: the caller
 * drops it.
 */
void membership_leave(struct membership *g);
bool membership_left(const struct membership *g);

/* The program's side, locked. membership_take() puts the event's partitions in place (assigned) and gives the event, or
 * NULL; then the program is told; then membership_done() gives up what is to be given up. Errors of both by *err:
 * ERR_NOMEM, the event comes again. */
struct membership_event *membership_take(struct consumer *c, int *err, bool *wake);
void membership_done(struct consumer *c, bool *wake);
/* The program polls (@inside), or does no longer. */
void membership_polled(struct membership *g, uint64_t now_ns, bool inside, bool *wake);

/* Core. Commit, or ask for, what @o->parts name, with @o->done set; at most @timeout_ms. Errors: ERR_BUSY (too many),
 * nothing begun. */
int membership_offsets_commit(struct membership *g, struct membership_offsets *o, uint32_t timeout_ms) MUST_USE;
void membership_offsets_ask(struct membership *g, struct membership_offsets *o, uint32_t timeout_ms);
struct membership_offsets *membership_offsets_new(struct membership *g); /* NULL: out of memory */
void membership_offsets_free(struct membership_offsets *o);
/* Core, locked. What of the consumer's partitions is processed and not committed; *out NULL: nothing. Errors:
 * ERR_NOMEM. */
int membership_processed(struct membership *g, struct membership_offsets **out) MUST_USE;

int membership_parts_add(struct core *core, struct membership_parts *parts, const char *topic, uint32_t partition,
                         int64_t offset) MUST_USE;
/* The newest of @parts is about the topic that @p reads. */
void membership_parts_of(struct membership_parts *parts, const struct consumer_partition *p);
void membership_parts_clear(struct core *core, struct membership_parts *parts);
bool membership_parts_have(const struct membership_parts *parts, const struct membership_part *part);

/* Between the group's files. */

/* Move @parts before the program. */
void membership_event_post(struct membership *g, enum membership_event_kind kind, struct membership_parts *parts);
struct Cairn__Native__MemberAssignment;
/* Errors: ERR_NOMEM. */
int membership_sync(struct membership *g, struct Cairn__Native__MemberAssignment **assignments, size_t count) MUST_USE;
void membership_end(struct membership *g, int err, const char *text);
/* The coordinator does not know us (as we are) any more. @keep_id: only the generation is over. */
void membership_fenced(struct membership *g, bool keep_id);
void membership_offsets_turn(struct membership *g);
void membership_offsets_stop(struct membership *g);           /* all end with ERR_SHUTDOWN */
void membership_offsets_cancel(struct membership_offsets *o); /* and freed, without @done */
void membership_ask_join(struct membership *g);
int membership_plan_begin(struct membership *g, bool keep) MUST_USE;
void membership_plan(struct membership *g);
void membership_plan_drop(struct membership *g);
bool membership_plan_stale(const struct membership *g); /* the topics that it dealt out have changed */
struct core_call *membership_call(struct membership *g, uint16_t call, const uint8_t *message, size_t size,
                                  uint64_t timeout_ms, void (*done)(struct core_call *, int, const struct frame *),
                                  void *owner);

#endif
