/* Inside of node/control, shared by its files. Everything runs on the hub's loop; callbacks from below record and wake,
 * the work is done in control_turn() at the end of the turn and in the periodic control_tick(). */
#ifndef CAIRN_CONTROL_INTERNAL_H
#define CAIRN_CONTROL_INTERNAL_H

#include "node/control/control.h"
#include "node/control/control_limits.h"
#include "node/control/identity.h"
#include "node/shard/partition.h"
#include "proto/native/calls.h"
#include "proto/native/cluster.pb-c.h"
#include "proto/native/command.pb-c.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* ---- peers.c: whom this node knows, and how they are reached ------------------------------------------------- */

struct control_peer {
    uint32_t node;
    char address[ENV_ADDRESS_MAX];    /* as dialled */
    char registered[ENV_ADDRESS_MAX]; /* as last seen in the metadata; "": not */
    struct uuid disk_id;              /* of its last hello; nil: none in this life */
    bool changed;                     /* the transport does not know @address yet */
    bool up;
    bool formed;       /* it has told that it is part of our cluster (or of the one that this node joins) */
    bool refuses_us;   /* for good: a wiped or restored disk */
    bool met;          /* greeted since its link came up */
    uint64_t up_ms;    /* since when */
    uint64_t heard_ms; /* last hello */
    UT_hash_handle hh;
};

struct control_peer *control_peers_find(const struct control *c, uint32_t node);
/* Make a peer known at @address, or move it; the link follows at the end of the turn. NULL: no memory, or too many. */
struct control_peer *control_peers_note(struct control *c, uint32_t node, const char *address);
/* The disk that the cluster knows under @node's id. False: the cluster does not know it (yet). */
bool control_peers_known_disk(const struct control *c, uint32_t node, struct uuid *disk_id);
int control_peers_admit(void *data, const struct transport_identity *peer, char *text);
void control_peers_refused(void *data, uint32_t node, int err, const char *text);
void control_peers_link(void *data, uint32_t node, bool up);
void control_peers_follow_metadata(struct control *c);
void control_peers_turn(struct control *c);
void control_peers_tick(struct control *c, uint64_t now_ms);
void control_peers_free(struct control *c);

/* ---- formation.c: first start of a seed ---------------------------------------------------------------------- */

struct formation_seed {
    struct uuid pledge; /* nil: none heard in this life */
    struct uuid list;   /* hash of the complete list that it knows; nil: it is not complete, or its link went down */
    bool mismatch;      /* it was given other seeds, or has pledged to another list */
};

struct formation {
    struct seed_list seeds; /* as configured; disks as heard first-hand in this life (unless pledged) */
    struct formation_seed heard[CONTROL_SEEDS_MAX]; /* by rank */
    uint64_t next_tell_ms;
    uint64_t next_log_ms;
    bool changed; /* something was heard that may allow the next step */
    bool tell;    /* others should hear where this node stands */
};

int formation_open(struct control *c, const struct control_params *params, char *errmsg) MUST_USE;
int formation_admit(struct control *c, const struct transport_identity *peer, char *text) MUST_USE;
void formation_receive(struct control *c, uint32_t node, const uint8_t *message, size_t size);
void formation_link_down(struct control *c, uint32_t node);
void formation_turn(struct control *c);
void formation_tick(struct control *c, uint64_t now_ms);

/* ---- join.c: becoming part of a cluster that exists ---------------------------------------------------------- */

struct join {
    struct seed_list founders; /* of the cluster to join, checked against its id; n 0: none known */
    struct uuid cluster_id;
    uint64_t request;     /* outstanding; 0: none */
    uint32_t via;         /* node asked last */
    uint64_t deadline_ms; /* of the request; or not before that the next one */
    uint32_t serving;     /* others' joins under way here */
};

void join_start(struct control *c, const struct seed_list *founders, const struct uuid *cluster_id);
void join_tick(struct control *c, uint64_t now_ms);
void join_response(struct control *c, uint32_t node, const Cairn__Cluster__ControlResponse *response);
void join_request(struct control *c, uint32_t node, uint64_t id, const Cairn__Cluster__JoinRequest *request);
/* This node as others should know it; valid while @storage is. */
struct registration {
    Cairn__Command__RegisterNode message;
    Cairn__Command__Setting settings[METADATA_LISTENERS_MAX];
    Cairn__Command__Setting *pointers[METADATA_LISTENERS_MAX];
};
void join_registration(struct control *c, struct registration *storage);

/* ---- metadata.c: the replica of group 0 ---------------------------------------------------------------------- */

struct metadata_replica_state {
    struct group *group; /* NULL: not open */
    struct metadata_fsm *fsm;
    bool leading;
    bool ready;
    bool failed;
    bool founding;    /* FoundCluster is proposed */
    bool registering; /* our own registration is proposed */
    bool nudge;       /* a command was committed: a barrier makes followers see that at once */
    bool nudging;
    bool confirmed; /* the read model was confirmed by the leader since this start */
    bool confirming;
    uint64_t retry_ms;
    uint64_t revision; /* seen by the turn */
    struct group_barrier nudge_barrier;
    struct control_barrier confirm_barrier;
    struct control_proposal found_proposal;
    struct control_proposal register_proposal;
};

/* Is the metadata replica that the recovered log holds the one that the identity names, and sound? ERR_CORRUPT. */
int metadata_check_log(const struct control *c, struct wal *wal, char *errmsg) MUST_USE;
/* Open the replica that the identity names: resume, found or join. */
int metadata_open(struct control *c, char *errmsg) MUST_USE;
void metadata_turn(struct control *c);
void metadata_tick(struct control *c, uint64_t now_ms);

/* ---- members.c: growing the metadata group, on its leader ---------------------------------------------------- */

void members_tick(struct control *c);

/* ---- propose.c: calls to the leader of the metadata group ---------------------------------------------------- */

struct control_call;
struct calls {
    struct list active;   /* struct control_call, all states but finished */
    struct list finished; /* struct control_call: to be answered in the turn */
    struct list failed;   /* struct control_proposal/barrier that found no memory or room */
    uint32_t n;
    uint64_t id_next;
    bool kick; /* look at those that wait now */
};

void control_calls_init(struct control *c);
void control_calls_applied(struct control *c, const struct entry *entry, const struct metadata_reply *reply);
void control_calls_link_down(struct control *c, uint32_t node);
void control_calls_receive(struct control *c, uint32_t node, uint16_t call, const uint8_t *message, size_t size);
void control_calls_turn(struct control *c);
void control_calls_tick(struct control *c, uint64_t now_ms);
void control_calls_end(struct control *c);  /* closing: everybody is answered, in this call */
void control_calls_free(struct control *c); /* without answering */
uint64_t control_calls_new_id(struct control *c);
/* Errors: those of transport_control, ERR_NOMEM. */
int control_calls_send(struct control *c, uint32_t node, uint16_t call, Cairn__Cluster__ControlCall *message) MUST_USE;
void control_calls_respond(struct control *c, uint32_t node, uint16_t call, Cairn__Cluster__ControlResponse *response);

/* ---- leaders.c: who leads what ------------------------------------------------------------------------------- */

struct leader {
    uint64_t group;
    uint64_t term;
    uint32_t node;
    struct list announce; /* in leaders.announce */
    UT_hash_handle hh;
};

struct leaders {
    struct leader *table;
    struct list announce; /* ours and new: to be told to all peers at the end of the turn */
    uint64_t next_all_ms;
    uint32_t own; /* groups that this node leads */
};

void leaders_init(struct control *c);
/* A local group's view (shards_ops.leader), or a peer's word. */
void leaders_note(struct control *c, uint64_t group, uint64_t term, uint32_t node);
void leaders_receive(struct control *c, uint32_t node, const uint8_t *message, size_t size);
void leaders_tell_all(struct control *c, uint32_t node);
void leaders_forget(struct control *c, uint64_t group);
void leaders_turn(struct control *c);
void leaders_tick(struct control *c, uint64_t now_ms);
void leaders_free(struct control *c);

/* ---- reconcile.c: local groups match the metadata ------------------------------------------------------------ */

enum local_state { LOCAL_OPEN = 1, LOCAL_OPENING, LOCAL_DELETING, LOCAL_FAILED };

/* A partition's replica on this node. */
struct local {
    uint64_t group;
    uint64_t replica;
    enum local_state state;
    bool corrupt;               /* FAILED because its records are: it needs a successor */
    bool hopeless_told;         /* that it cannot have one */
    uint32_t message_max_bytes; /* as pushed; 0: not yet */
    uint64_t members_settled;   /* newest replica id for which the group's configuration was seen to match */
    UT_hash_handle hh;
};

struct reconcile {
    struct local *table;
    uint32_t scanning; /* shards whose log has not told its groups yet */
    bool scanned;
    bool dirty; /* the metadata or a local group has changed since the last full pass */
    uint64_t retry_ms;
    uint32_t under_way;     /* operations on shards */
    struct list operations; /* struct reconcile_op: freed by their end, or by reconcile_free */
};

void reconcile_open(struct control *c);
void reconcile_failed(struct control *c, uint64_t group, uint64_t replica, int err);
void reconcile_turn(struct control *c);
void reconcile_tick(struct control *c, uint64_t now_ms);
void reconcile_free(struct control *c);
struct local *reconcile_find(const struct control *c, uint64_t group);
/* The replica of @p that belongs on this node's disk; NULL: none. */
const struct metadata_replica *reconcile_own_replica(const struct control *c, const struct metadata_partition *p);

/* ---- replace.c: corrupt replicas get successors -------------------------------------------------------------- */

struct replace {
    uint64_t next_ms;
    bool proposing;
    uint64_t group; /* of the proposal */
    struct control_proposal proposal;
    struct list operations; /* struct members_op under way */
    uint32_t under_way;
};

void replace_init(struct control *c);
void replace_tick(struct control *c, uint64_t now_ms);
void replace_free(struct control *c);

/* ---- balance.c: leaders go where they are preferred, and away at a stop -------------------------------------- */

struct balance {
    uint64_t next_ms;
    struct list transfers; /* struct balance_op under way */
    bool handing_over;
    uint64_t hand_over_limit_ms;
    uint64_t hand_over_again_ms;
    void (*handed_over)(void *data);
    void *handed_over_data;
};

void balance_init(struct control *c);
void balance_tick(struct control *c, uint64_t now_ms);
void balance_free(struct control *c);

/* ---- log_ends.c: where partitions end, for lag ---------------------------------------------------------------- */

struct log_ends {
    struct list batches; /* struct ends_batch: looked up on the shards here */
    struct list calls;   /* struct ends_call: asked of peers */
    uint32_t serving;    /* batches of peers */
};

void log_ends_init(struct control *c);
void log_ends_receive(struct control *c, uint32_t node, const uint8_t *message, size_t size);
void log_ends_link_down(struct control *c, uint32_t node);
void log_ends_tick(struct control *c, uint64_t now_ms);
void log_ends_end(struct control *c);
void log_ends_free(struct control *c);

/* ---- forget.c: committed offsets of deleted topics ------------------------------------------------------------- */

struct forget {
    uint64_t next_ms;
    uint64_t seen; /* state of things that was dealt with; 0: look again */
    struct list operations; /* struct forget_op under way */
};

void forget_init(struct control *c);
void forget_tick(struct control *c, uint64_t now_ms);
void forget_free(struct control *c);

/* ---- control.c ----------------------------------------------------------------------------------------------- */

struct control {
    struct env *env;
    struct buf_pool *pool;
    uint32_t node;
    char rack[64];
    char advertised[ENV_ADDRESS_MAX];
    struct control_listener listeners[METADATA_LISTENERS_MAX];
    uint32_t n_listeners;
    uint32_t default_partitions;
    uint32_t default_replication;

    struct identity id;
    struct shards *shards;
    struct transport *transport;
    struct control_peer *peers;
    bool peers_changed;
    struct formation formation;
    struct join join;
    struct metadata_replica_state metadata;
    struct calls calls;
    struct leaders leaders;
    struct reconcile reconcile;
    struct replace replace;
    struct balance balance;
    struct log_ends log_ends;
    struct forget forget;

    struct timer tick;
    struct env_hook hook;
    bool woken;
    bool became_formed; /* the links and the metadata replica have yet to learn it */
    bool closing;
    bool refused; /* this node must not go on */
    bool refusal_told;
    int refusal;
    char refusal_text[ERRMSG_SIZE];
    void (*on_refused)(void *data, int err, const char *text);
    void *on_refused_data;
    void (*closed)(void *data);
    void *closed_data;
};

static inline bool control_is_formed(const struct control *c)
{
    return identity_formed(&c->id);
}

void control_wake(struct control *c); /* control_turn() at the end of this turn */
/* This node must not go on: tell its owner, in the turn. */
void control_refuse(struct control *c, int err, const char *text);
/* The identity says that this node is part of a cluster now: links, metadata replica. */
void control_became_formed(struct control *c);
/* Who leads the metadata group, as far as is known; 0: nobody. */
uint32_t control_metadata_leader(const struct control *c);

#endif
