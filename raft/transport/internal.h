/* Inside raft/transport: a peer is a node that we keep links to or that has linked to us; a link is one TCP connection,
 * of either direction. A link's memory outlives its use by the connection's close; a peer's ends with the peer. */
#ifndef CAIRN_TRANSPORT_INTERNAL_H
#define CAIRN_TRANSPORT_INTERNAL_H

#include <uthash.h>

#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "raft/transport/hello.h"
#include "raft/transport/outbox.h"
#include "raft/transport/peer_frame.h"
#include "raft/transport/transport.h"

#define LANES 2
#define SAY_SIZE (FRAME_HEADER_SIZE + HELLO_MESSAGE_MAX) /* a hello, a refusal or a pong, with its frame header */
#define STRANGERS_MAX 256     /* accepted connections whose hello is awaited */
#define TICK_MS 250           /* time limits of links are looked at this often */
#define STALL_MS 2000         /* between two ticks: this loop itself stood still */
#define PING_MS 1000          /* an outgoing link proves this often that its peer still reads */
#define PONG_MAX_MS 5000      /* urgent lane: no answer for so long means half-open */
#define SILENT_MAX_MS 15000   /* an incoming link without even a ping */
#define PAUSE_CHECK_MS 10     /* paused data links: is there room again? */
#define PAUSE_TRICKLE_MS 500  /* no room for so long: one read each, so that caches alone cannot stop us for good */
#define CONGESTED_MS 500      /* a batch of the data lane that takes longer: the peer or the way to it is slow */
#define CONGESTED_BYTES (1u << 20) /* then no more than this waits: later resends would only queue up behind it */
#define REFUSAL_LOG_MS 10000  /* the same refusal of the same peer is logged once in this time */
#define REFUSAL_LOG_SLOTS 64
#define URGENT_IOV_MAX 16

enum link_state {
    LINK_HELLO = 1, /* connected; the peer's hello is awaited */
    LINK_UP,
    LINK_REFUSED, /* a refusal is being written; then it closes */
    LINK_CLOSING  /* its memory goes when env says so */
};

struct peer;

struct link {
    struct transport *t;
    struct env_conn *conn;
    struct list link; /* of transport.links */
    struct peer *peer; /* NULL: not known yet, or removed */
    enum link_state state;
    bool outgoing;
    bool paused;  /* data lane: no room; waits for the pause timer */
    bool trickle; /* one read in spite of that */
    uint8_t lane;
    uint32_t node; /* as its hello said; outgoing: as expected */
    struct uuid said_cluster; /* what our hello named */
    struct frame_reader reader;
    uint64_t opened_ms;
    uint64_t heard_ms;
    uint64_t ping_ms;   /* when the last ping left */
    uint32_t pings;     /* sent */
    uint32_t pongs;     /* newest answered */
    bool heard_since_tick;

    bool say_busy;
    struct env_write say;
    uint8_t say_bytes[SAY_SIZE];

    /* outgoing only */
    struct list flush_link; /* of transport.flush */
    struct outbox outbox;
    uint64_t flying_ms; /* since when its batch is being written */
    struct env_write write;
    struct iovec *iov;
    size_t iov_max;
};

/* An attempt to connect. It may outlive what it was for: then @peer or @t is NULL. */
struct attempt {
    struct transport *t;
    struct peer *peer;
    uint8_t lane;
    struct list link; /* of transport.attempts */
};

struct dial {
    struct peer *peer;
    uint8_t lane;
    uint32_t failures; /* since the last link that came up */
    struct attempt *attempt;
    struct timer timer;
};

struct peer {
    struct transport *t;
    uint32_t node;
    bool dialled; /* transport_peer_set() was called */
    bool reported_up;
    bool complained; /* the log already says that it cannot be reached */
    char address[ENV_ADDRESS_MAX];
    struct dial dials[LANES];
    struct link *out[LANES];
    struct link *in[LANES];
    uint64_t heard_ms; /* 0: never */
    UT_hash_handle hh;
};

struct refusal_log {
    uint32_t node;
    int err;
    uint64_t at_ms; /* 0: unused */
};

struct transport {
    struct env *env;
    struct buf_pool *pool;
    struct transport_identity self;
    uint64_t receive_max_bytes;
    const struct transport_ops *ops;
    void *data;

    struct env_listener *listener;
    char address[ENV_ADDRESS_MAX];
    struct peer *peers; /* by node */
    struct list links;
    struct list flush; /* outgoing links whose outbox got something this turn */
    struct list attempts;
    uint32_t strangers;
    bool reports; /* a peer went up or down: tell the owner at the end of the turn */
    struct env_hook hook;
    struct timer tick;
    uint64_t ticked_ms;
    struct timer pause;
    uint64_t paused_at_ms; /* since when there is no room; 0: there is */

    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    struct env_message closed_message;
    bool closed_posted;

    struct hello_boots boots;
    struct refusal_log refusals[REFUSAL_LOG_SLOTS];
    struct transport_stats stats;
    struct entry *entries[PEER_FRAME_ENTRIES_MAX]; /* of the message being delivered */
};

/* transport.c */
struct peer *peer_find(const struct transport *t, uint32_t node);
struct peer *peer_get(struct transport *t, uint32_t node); /* NULL: ERR_BUSY or out of memory */
void peer_changed(struct peer *peer); /* links came or went */
void transport_link_gone(struct transport *t);
/* True when this refusal of this peer has not been logged lately. */
bool refusal_fresh(struct transport *t, uint32_t node, int err);

/* dial.c */
void dial_init(struct dial *dial, struct peer *peer, uint8_t lane);
void dial_now(struct dial *dial);
void dial_later(struct dial *dial); /* with back-off */
void dial_stop(struct dial *dial);
void attempts_forget(struct transport *t);

/* link.c */
struct link *link_new(struct transport *t, struct env_conn *conn, bool outgoing, uint8_t lane, struct peer *peer);
void link_close(struct link *link, const char *reason, int err);
void link_free(struct link *link);
/* Write one small frame beside the outbox; dropped when an earlier one is still under way. */
void link_say(struct link *link, const struct frame_header *h, const uint8_t *message);
void link_flush(struct link *link);
void link_tick(struct link *link, uint64_t now_ms);
void link_resume(struct link *link);
void transport_accept(struct env_listener *listener, void *data, struct env_conn *conn);

/* handshake.c */
void handshake_start(struct link *link); /* say our hello on an outgoing link */
void handshake_frame(struct link *link, const struct frame *frame);

#endif
