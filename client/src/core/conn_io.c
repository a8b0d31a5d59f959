/* The turn's work on connections: timeouts, closing, and handing queued requests to the driver in few large sends. */
#include <assert.h>
#include <stdio.h>

#include "client/src/core/conn.h"

static void conn_start_close(struct conn *conn)
{
    conn_detach(conn, conn->down_err, NULL);
    conn->core->io->close(conn->core->io, conn);
}

static void conn_tick(struct conn *conn)
{
    struct core *core = conn->core;
    uint64_t now = core->now_ns;
    bool owes = false;

    if (conn->state == CONN_CONNECTING || conn->state == CONN_GREETING) {
        if (now >= conn->connect_deadline_ns) {
            conn_drop(conn, ERR_TIMEOUT);
        }
        return;
    }
    list_for_each (pos, &conn->awaiting) {
        struct request *r = list_entry(pos, struct request, await_link);
        if (now >= r->deadline_ns) {
            conn_drop(conn, ERR_TIMEOUT);
            return;
        }
        owes = owes || !r->patient;
    }
    if (owes && now - conn->received_ns >= CONN_SILENCE_MS * NS_PER_MS) {
        conn->suspect = true;
        meta_refresh(core);
    }
}

void conns_tick(struct core *core)
{
    bool tick = core->now_ns >= core->tick_ns;

    list_for_each_safe (pos, &core->conns) {
        struct conn *conn = list_entry(pos, struct conn, link);
        if (tick && conn->state != CONN_CLOSING) {
            conn_tick(conn);
        }
        if (conn->down_wanted && conn->state != CONN_CLOSING) {
            conn_start_close(conn);
        }
        if (conn->state != CONN_CLOSING && (conn->awaiting_count > 0 || conn->state != CONN_READY)) {
            core_wake_at(core, core->now_ns + CLIENT_TICK_MS * NS_PER_MS);
        }
    }
    if (tick) {
        core->tick_ns = core->now_ns + CLIENT_TICK_MS * NS_PER_MS;
    }
}

/* One request whose pieces do not fit behind the others of @iov. */
static unsigned request_iov(struct request *r, struct iovec *iov)
{
    iov[0].iov_base = r->head;
    iov[0].iov_len = r->head_size;
    for (uint32_t i = 0; i < r->payload_count; i++) {
        iov[1 + i] = r->payload[i];
    }
    return 1 + r->payload_count;
}

static void conn_flush(struct conn *conn)
{
    struct iovec iov[CONN_IOV_MAX];
    struct request *last = NULL;
    unsigned n = 0;

    while (!list_empty(&conn->queued)) {
        struct request *r = list_entry(conn->queued.next, struct request, send_link);
        assert(1 + r->payload_count <= CONN_IOV_MAX);
        if (n + 1 + r->payload_count > CONN_IOV_MAX) {
            last->last_of_send = true;
            conn->core->io->send(conn->core->io, conn, iov, n);
            n = 0;
        }
        n += request_iov(r, iov + n);
        list_remove(&r->send_link);
        list_push_back(&conn->sending, &r->send_link);
        last = r;
    }
    if (n > 0) {
        last->last_of_send = true;
        conn->core->io->send(conn->core->io, conn, iov, n);
    }
}

void conns_flush(struct core *core)
{
    list_for_each_safe (pos, &core->conns) {
        struct conn *conn = list_entry(pos, struct conn, link);
        if ((conn->state == CONN_GREETING || conn->state == CONN_READY) && !conn->down_wanted) {
            conn_flush(conn);
        }
    }
}

/* Connect to one more candidate: known nodes and bootstrap addresses take turns. */
static void conn_bootstrap(struct core *core)
{
    unsigned nodes = HASH_COUNT(core->meta.nodes);
    unsigned pick = core->bootstrap_next++ % (nodes + core->config.bootstrap_count);
    struct meta_node *node = core->meta.nodes;
    struct conn *conn;
    int rv;

    if (pick < nodes) {
        for (unsigned i = 0; i < pick; i++) {
            node = node->hh.next;
        }
        (void)meta_conn(core, node, LANE_MAIN);
        return;
    }
    rv = conn_open(core, core->config.bootstrap[pick - nodes], NULL, LANE_MAIN, &conn);
    if (rv != 0) {
        snprintf(core->trouble, sizeof core->trouble, "%.100s: %s", core->config.bootstrap[pick - nodes], err_text(rv));
    }
}

struct conn *conn_any(struct core *core, uint64_t not_this)
{
    struct conn *ready = NULL;
    struct conn *poor = NULL;
    unsigned ready_count = 0;
    unsigned making = 0;

    list_for_each (pos, &core->conns) {
        struct conn *conn = list_entry(pos, struct conn, link);
        if (conn->state == CONN_CONNECTING || conn->state == CONN_GREETING) {
            making++;
        } else if (conn_ready(conn) && conn->lane == LANE_MAIN) {
            if (conn->serial == not_this || conn->suspect) {
                poor = poor == NULL || poor->suspect ? conn : poor;
            } else if (rng_below(&core->rng, ++ready_count) == 0) {
                ready = conn; /* each with the same chance */
            }
        }
    }
    if (ready != NULL) {
        return ready;
    }
    if (making < CONN_BOOTSTRAP_PARALLEL_MAX) {
        if (core->now_ns >= core->bootstrap_after_ns) {
            core->bootstrap_after_ns = core->now_ns + CONN_BOOTSTRAP_STAGGER_MS * NS_PER_MS;
            conn_bootstrap(core);
        }
        core_wake_at(core, core->bootstrap_after_ns);
    }
    return poor;
}
