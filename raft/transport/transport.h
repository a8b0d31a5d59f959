/* Peer links: outgoing TCP connections to each peer (what we say) and those accepted from it (what it says), one a lane,
 * frames that carry many groups' messages, one write a lane and turn. Knows nothing of Raft: a message is a group id, an
 * encoded header and entries. Delivery may fail or be dropped at any time; what Raft needs is repeated by Raft.
 *
 * Loop thread of its env only. */
#ifndef CAIRN_TRANSPORT_H
#define CAIRN_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "proto/base/uuid.h"
#include "raft/env/env.h"

struct transport;

#define TRANSPORT_PROTOCOL_VERSION 1
#define TRANSPORT_QUEUE_MAX_BYTES (64u << 20)  /* data lane, a peer; beyond it messages are dropped (ERR_BUSY) */
#define TRANSPORT_URGENT_MAX_BYTES (16u << 20) /* heartbeats, votes, results, control: a share of their own */
#define TRANSPORT_FRAME_MAX_BYTES (8u << 20)   /* a frame is closed at about this size, so urgent messages overtake */
#define TRANSPORT_HELLO_TIMEOUT_MS 5000
#define TRANSPORT_BACKOFF_MIN_MS 50
#define TRANSPORT_BACKOFF_MAX_MS 1000
#define TRANSPORT_PEERS_MAX 256

/* Who somebody is; the first message of a link in both directions (proto/native/cluster.proto PeerHello). */
struct transport_identity {
    uint32_t node;
    struct uuid disk_id;
    struct uuid cluster_id; /* nil: not part of a cluster yet */
    uint64_t boot;          /* counts the starts on this disk */
    char peer_address[ENV_ADDRESS_MAX];
};

struct transport_ops {
    /* A message of a peer whose hello was admitted. Everything is borrowed for the call. */
    void (*message)(void *data, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                    struct entry **entries, size_t n);
    /* A control message (calls.h, 64 and up, but HELLO and RAFT): protobuf bytes, borrowed. */
    void (*control)(void *data, uint32_t node, uint16_t call, const uint8_t *message, size_t size);
    /* The outgoing link to @node went up (hello admitted by both) or down. */
    void (*link)(void *data, uint32_t node, bool up);
    /* Does the owner accept this peer? Called for hellos in both directions, after protocol version, node id and boot
     * counter were checked. Otherwise a code of err.h, and @text (ERRMSG_SIZE) is sent to the peer and logged. */
    int (*admit)(void *data, const struct transport_identity *peer, char *text);
    /* The peer whom we dialled as @node will not have us, and says why. Nothing may be called from inside. May be NULL. */
    void (*refused)(void *data, uint32_t node, int err, const char *text);
};

struct transport_params {
    struct env *env;
    struct buf_pool *pool;
    const struct transport_identity *self; /* copied; peer_address is what others are told */
    const char *listen_address;
    /* Bytes out of @pool beyond which entries are read no further (urgent messages always are). Well above what the caches
     * that hold on to @pool's buffers keep for good: while nothing is let go, reading goes on at a trickle only. */
    uint64_t receive_max_bytes;
    const struct transport_ops *ops;
    void *data;
};

/* Errors: those of env_listen (@errmsg says what to do), ERR_NOMEM. */
int transport_open(const struct transport_params *params, struct transport **out, char *errmsg) MUST_USE;
/* Links are closed, then @closed runs. */
void transport_close(struct transport *t, void (*closed)(void *data), void *data);
void transport_abandon(struct transport *t); /* frees without any callback: the loop is gone */
const char *transport_address(const struct transport *t); /* as bound */

/* This node has become part of a cluster: links whose hello said otherwise are made anew. */
void transport_set_cluster(struct transport *t, const struct uuid *cluster_id);

/* Keep a link to @node at @address (connect, back-off with jitter, reconnect). Again with another address: moves.
 * Errors: ERR_BUSY TRANSPORT_PEERS_MAX, ERR_INVALID the address, ERR_NOMEM. */
int transport_peer_set(struct transport *t, uint32_t node, const char *address) MUST_USE;
void transport_peer_remove(struct transport *t, uint32_t node); /* without a link() call */
bool transport_peer_up(const struct transport *t, uint32_t node);
/* Milliseconds since anything came from @node; UINT64_MAX: never. */
uint64_t transport_peer_silent_ms(const struct transport *t, uint32_t node);

enum transport_lane {
    TRANSPORT_URGENT, /* heartbeats, votes, results */
    TRANSPORT_DATA    /* entries */
};

/* Queue a message for the end of the turn; order is kept within a lane of a peer. Copies @header (<= 2 KiB), takes its own
 * references on the entries. The urgent lane takes no entries.
 * Errors (nothing queued): ERR_CLOSED no link, ERR_BUSY the queue is full, ERR_TOO_BIG more than a frame may hold,
 * ERR_INVALID entries on the urgent lane, ERR_NOMEM. */
int transport_send(struct transport *t, uint32_t node, enum transport_lane lane, uint64_t group, const uint8_t *header,
                   size_t size, struct entry *const *entries, size_t n) MUST_USE;
int transport_control(struct transport *t, uint32_t node, uint16_t call, const uint8_t *message, size_t size) MUST_USE;

struct transport_stats {
    uint64_t frames_out, frames_in;
    uint64_t messages_out, messages_in;
    uint64_t bytes_out, bytes_in;
    uint64_t dropped;  /* queue full or no link */
    uint64_t refused;  /* hellos */
    uint64_t malformed;
    uint64_t connects;
};
void transport_stats(const struct transport *t, struct transport_stats *stats);

#endif
