/* The insides of the simulated network: TCP as programs see it, without its packets.
 *
 * A connection is a pair of points, each with a stream to the other: a ring of bytes (both kernels' buffers in one) and
 * segments under way with their times of arrival. Bytes are never lost in the middle: a blocked link stalls the stream,
 * until it heals or the sender's patience ends. A point outlives its owner, as sockets do in the kernel. */
#ifndef CAIRN_SIM_NET_H
#define CAIRN_SIM_NET_H

#include "tests/sim/impl.h"

enum sim_segment_end { SIM_SEGMENT_DATA, SIM_SEGMENT_FIN, SIM_SEGMENT_RST };

struct sim_segment {
    uint64_t end; /* stream position behind its last byte */
    uint64_t departs;
    uint64_t due;
    enum sim_segment_end kind;
    bool in_middle; /* begins inside of one write */
};

struct sim_stream {
    uint8_t *ring;
    uint64_t capacity; /* a power of two */
    uint64_t written;
    uint64_t arrived;
    uint64_t read;
    struct sim_segment *segments; /* a ring as well */
    size_t segments_capacity;
    size_t segments_at;
    size_t n_segments;
    uint64_t busy_until; /* the sender's side of the line */
    uint64_t due_last;
    bool scheduled; /* the first segment's arrival is an event */
    bool stalled;
    uint64_t stalls; /* counts, to tell an old stall's time limit from this one's */
    bool finished;   /* nothing may follow */
};

/* One side of a connection. */
struct sim_point {
    struct sim_pair *pair;
    struct sim_point *other;
    struct sim_node *node;
    struct sim_loop *loop;
    struct env_conn *conn; /* the owner's handle; NULL before it has one and after it is closed */
    struct sim_stream out;
    bool gone;   /* closed, or its program ended: what arrives is answered with a reset */
    bool eof;    /* the other side's end arrived */
    int error;   /* the connection failed: ERR_CLOSED, ERR_TIMEOUT */
    uint64_t over_at; /* the newest connection's number when this side had its end; 0: it goes on */
    bool ended;  /* the owner was told */
    bool reading;
    bool in_alloc;
    bool closing;
    bool read_queued;
    bool pump_queued;
    const struct env_conn_callbacks *callbacks;
    void *data;
    struct list writes; /* waiting for room */
    env_closed_cb closed;
    void *closed_data;
    char peer[ENV_ADDRESS_MAX];
};

/* The handle has memory of its own, so that using it after its end is caught. */
struct env_conn {
    struct sim_point *point;
};

/* Never freed before the world is, so late events can look at the id. */
struct sim_pair {
    struct list link;
    uint64_t id; /* another one at each use */
    struct sim_point points[2];
};

struct sim_write {
    struct list link;
    struct iovec *iov; /* own, or heap */
    size_t n_iov;
    size_t at;
    size_t skip;
    struct iovec own[16];
};

static_assert(sizeof(struct sim_write) <= sizeof(((struct env_write *)0)->impl), "env_write.impl is too small");

/* ---- net.c: streams and failures ---- */
struct sim_pair *sim_pair_new(struct sim_world *world);
void sim_pair_done(struct sim_point *point); /* a side is finished: frees the pair when both are */
uint64_t sim_net_latency(struct sim_world *world, const struct sim_node *from, const struct sim_node *to);
bool sim_net_blocked(const struct sim_world *world, const struct sim_node *from, const struct sim_node *to);
size_t sim_stream_room(const struct sim_point *point);
/* Copy into the ring (there must be room) and send. */
void sim_stream_put(struct sim_point *point, const struct iovec *iov, size_t n_iov, size_t skip, size_t size);
void sim_stream_take(struct sim_point *reader, uint8_t *to, size_t size);
/* No more from this side: an end after all bytes, or a reset. */
void sim_stream_finish(struct sim_point *point, enum sim_segment_end kind);
void sim_point_fail(struct sim_point *point, int error);
/* This side is over now. */
void sim_point_over(struct sim_point *point);
/* ... with an error; the other side does not know. */
void sim_point_break(struct sim_point *point, int error);
/* Nobody reads on this side any more: whoever waits for room here asks for it, and learns that way that there is nobody. */
void sim_point_deaf(struct sim_point *point);
void sim_stream_delay(struct sim_point *point, uint64_t ns); /* what is on its way comes later */
void sim_stream_hurry(struct sim_point *point); /* what waited to get onto a line that was narrow is on its way now */
void sim_net_unstall(struct sim_world *world); /* what waits for a way that is open again goes on */

/* ---- net_conn.c ---- */
void sim_point_readable(struct sim_point *point); /* the owner is to be called, if it reads */
void sim_point_writable(struct sim_point *point);
void sim_point_fail_writes(struct sim_point *point, int error);
void sim_conn_new(struct sim_point *point);

/* ---- net_connect.c ---- */
void sim_listeners_close_all(struct sim_node *node, struct sim_loop *loop); /* of @loop; NULL: of all */

#endif
