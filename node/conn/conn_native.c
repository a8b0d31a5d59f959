/* A connection that speaks the native protocol. */
#include <stdio.h>

#include "node/conn/conn_internal.h"

static_assert(CONN_OUT_MAX_BYTES == NATIVE_OUT_MAX_BYTES && CONN_REQUESTS_MAX == NATIVE_REQUESTS_MAX, "one limit");

static const bool never_held = false;

static struct conn *conn_of(struct native_session *session)
{
    return container_of(session, struct conn, u.native.session);
}

static void session_send(struct native_session *session, struct service_answer *a)
{
    conn_send(conn_of(session), a);
}

static void session_idle(struct native_session *session)
{
    conn_session_idle(conn_of(session));
}

static void door_open(struct conn *conn, const char *listener)
{
    const struct frame_limits limits = {FRAME_MESSAGE_MAX, NATIVE_PAYLOAD_MAX_BYTES};
    struct native_session *session = &conn->u.native.session;
    frame_reader_init(&conn->u.native.reader, conn->conns->params.pool, &limits, 0);
    native_session_init(session, conn->conns->service, listener);
    session->peer = env_conn_peer(conn->conns->env, conn->socket);
    session->send = session_send;
    session->idle = session_idle;
    conn->client = session->client;
    conn->out_bytes = &session->out_bytes;
    conn->requests = &session->requests;
    conn->held = &never_held;
}

static void door_close(struct conn *conn)
{
    frame_reader_close(&conn->u.native.reader);
}

static int door_alloc(struct conn *conn, uint8_t **base, size_t *length)
{
    return frame_reader_alloc(&conn->u.native.reader, base, length);
}

static void door_commit(struct conn *conn, size_t n)
{
    frame_reader_commit(&conn->u.native.reader, n);
}

static int door_next(struct conn *conn, char *reason)
{
    struct frame frame;
    int rv;
    if (frame_reader_next(&conn->u.native.reader, &frame)) {
        return native_session_receive(&conn->u.native.session, &frame, reason);
    }
    rv = frame_reader_error(&conn->u.native.reader);
    if (rv == 0) {
        return ERR_NOT_FOUND;
    }
    snprintf(reason, ERRMSG_SIZE, "%s: not a frame of this protocol",
             rv == ERR_TOO_BIG ? "a length above the limit" : err_text(rv));
    return ERR_MALFORMED;
}

static bool door_has_room(const struct conn *conn)
{
    return frame_reader_has_room(&conn->u.native.reader);
}

static bool door_partial(const struct conn *conn)
{
    return frame_reader_partial(&conn->u.native.reader);
}

static void door_trim(struct conn *conn)
{
    frame_reader_trim(&conn->u.native.reader);
}

static bool door_session_close(struct conn *conn)
{
    return native_session_close(&conn->u.native.session);
}

static void door_session_abandon(struct conn *conn)
{
    native_session_abandon(&conn->u.native.session);
}

const struct conn_door conn_native_door = {
    .open = door_open,
    .close = door_close,
    .alloc = door_alloc,
    .commit = door_commit,
    .next = door_next,
    .has_room = door_has_room,
    .partial = door_partial,
    .trim = door_trim,
    .session_close = door_session_close,
    .session_abandon = door_session_abandon,
};
