/* A connection that speaks Kafka's protocol. */
#include <stdio.h>

#include "node/conn/conn_internal.h"

static_assert(CONN_OUT_MAX_BYTES == KAFKA_OUT_MAX_BYTES, "one limit");

static struct conn *conn_of(struct kafka_session *session)
{
    return container_of(session, struct conn, u.kafka.session);
}

static void session_send(struct kafka_session *session, struct service_answer *a)
{
    if (a == NULL) {
        conn_of(session)->doom = session->end_reason;
    }
    conn_send(conn_of(session), a);
}

static void session_wake(struct kafka_session *session)
{
    conn_wake(conn_of(session));
}

static void session_idle(struct kafka_session *session)
{
    conn_session_idle(conn_of(session));
}

static void door_open(struct conn *conn, const char *listener)
{
    struct kafka_session *session = &conn->u.kafka.session;
    kafka_reader_init(&conn->u.kafka.reader, conn->conns->params.pool, KAFKA_REQUEST_MAX_BYTES);
    kafka_session_init(session, conn->conns->service, &conn->conns->params.kafka, listener);
    session->peer = env_conn_peer(conn->conns->env, conn->socket);
    session->send = session_send;
    session->idle = session_idle;
    session->wake = session_wake;
    conn->client = session->client;
    conn->out_bytes = &session->out_bytes;
    conn->requests = &session->requests;
    conn->held = &session->is_held;
}

static void door_close(struct conn *conn)
{
    kafka_reader_close(&conn->u.kafka.reader);
}

static int door_alloc(struct conn *conn, uint8_t **base, size_t *length)
{
    return kafka_reader_alloc(&conn->u.kafka.reader, base, length);
}

static void door_commit(struct conn *conn, size_t n)
{
    kafka_reader_commit(&conn->u.kafka.reader, n);
}

static int door_next(struct conn *conn, char *reason)
{
    struct kafka_frame frame;
    int rv;
    if (conn->u.kafka.session.is_held) {
        rv = kafka_session_resume(&conn->u.kafka.session, reason);
        if (rv != 0 || conn->u.kafka.session.is_held) {
            return rv;
        }
    }
    if (kafka_reader_next(&conn->u.kafka.reader, &frame)) {
        return kafka_session_receive(&conn->u.kafka.session, &frame, reason);
    }
    return kafka_reader_error(&conn->u.kafka.reader, reason) == 0 ? ERR_NOT_FOUND : ERR_MALFORMED;
}

static bool door_has_room(const struct conn *conn)
{
    return kafka_reader_has_room(&conn->u.kafka.reader);
}

static bool door_partial(const struct conn *conn)
{
    return kafka_reader_partial(&conn->u.kafka.reader);
}

static void door_trim(struct conn *conn)
{
    kafka_reader_trim(&conn->u.kafka.reader);
}

static bool door_session_close(struct conn *conn)
{
    return kafka_session_close(&conn->u.kafka.session);
}

static void door_session_abandon(struct conn *conn)
{
    kafka_session_abandon(&conn->u.kafka.session);
}

const struct conn_door conn_kafka_door = {
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
