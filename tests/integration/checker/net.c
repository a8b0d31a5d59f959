#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/integration/checker/checker.h"

#define EVENTS_MAX 64
#define READS_MAX 64 /* of one connection in one turn */

int net_connect(const char *address, bool blocking, char *errmsg)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(address, ':');
    struct addrinfo *found = NULL;
    char host[80];
    int one = 1;
    int fd;
    int rv;

    if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
        snprintf(errmsg, ERRMSG_SIZE, "address \"%s\": host:port is needed", address);
        return -1;
    }
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    rv = getaddrinfo(host, colon + 1, &hints, &found);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "address %s: %s", address, gai_strerror(rv));
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
            snprintf(errmsg, ERRMSG_SIZE, "connect to %s: %s", address, strerror(errno));
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* ---- end of a connection ------------------------------------------------------------------------------------------------ */

void conn_lose(struct ck_conn *conn)
{
    struct list *pos;

    if (conn->fd < 0) {
        return;
    }
    close(conn->fd);
    conn->fd = -1;
    conn->connected = false;
    conn->lost = false;
    conn->retry_us = conn->ck->now_us + CONNECT_RETRY_US;
    conn->out_begin = 0;
    conn->out_end = 0;
    conn->ck->stats.reconnects++;
    frame_reader_close(&conn->reader);
    while ((pos = list_pop_front(&conn->requests)) != NULL) {
        struct ck_request *request = list_entry(pos, struct ck_request, link);
        request->done(conn->ck, request, ERR_CLOSED, NULL);
        free(request);
    }
}

void net_close(struct checker *ck)
{
    list_for_each_safe(pos, &ck->conns)
    {
        struct ck_conn *conn = list_entry(pos, struct ck_conn, link);
        conn_lose(conn);
        free(conn->out);
        free(conn);
    }
    list_init(&ck->conns);
    if (ck->epoll >= 0) {
        close(ck->epoll);
    }
}

/* ---- out ------------------------------------------------------------------------------------------------------------------ */

static void arm(struct ck_conn *conn, bool want_write)
{
    struct epoll_event event = {.events = EPOLLIN | (want_write ? EPOLLOUT : 0u), .data.ptr = conn};
    if (conn->want_write != want_write) {
        conn->want_write = want_write;
        (void)epoll_ctl(conn->ck->epoll, EPOLL_CTL_MOD, conn->fd, &event);
    }
}

static void flush(struct ck_conn *conn)
{
    while (conn->out_begin < conn->out_end) {
        ssize_t n = send(conn->fd, conn->out + conn->out_begin, conn->out_end - conn->out_begin, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                conn->lost = true;
                return;
            }
            break;
        }
        conn->out_begin += (size_t)n;
    }
    if (conn->out_begin == conn->out_end) {
        conn->out_begin = 0;
        conn->out_end = 0;
    }
    arm(conn, conn->out_end > 0);
}

static uint8_t *out_reserve(struct ck_conn *conn, size_t size)
{
    uint8_t *at;
    if (conn->out_capacity - conn->out_end < size) {
        size_t used = conn->out_end - conn->out_begin;
        size_t capacity = (used + size) * 2;
        uint8_t *out = malloc(capacity);
        if (out == NULL) {
            abort();
        }
        if (used > 0) {
            memcpy(out, conn->out + conn->out_begin, used);
        }
        free(conn->out);
        conn->out = out;
        conn->out_capacity = capacity;
        conn->out_begin = 0;
        conn->out_end = used;
    }
    at = conn->out + conn->out_end;
    conn->out_end += size;
    return at;
}

void conn_request(struct ck_conn *conn, uint16_t call, const ProtobufCMessage *message, const uint8_t *payload,
                  size_t payload_size, const struct ck_request *request)
{
    struct frame_header header = {
        .kind = FRAME_REQUEST,
        .call = call,
        .call_version = 1,
        .correlation = ++conn->correlation,
        .message_length = (uint32_t)protobuf_c_message_get_packed_size(message),
        .payload_length = (uint32_t)payload_size,
    };
    struct ck_request *r = malloc(sizeof *r);
    uint8_t *at = out_reserve(conn, frame_size(&header));

    if (r == NULL) {
        abort();
    }
    frame_encode_header(&header, at);
    protobuf_c_message_pack(message, at + FRAME_HEADER_SIZE);
    if (payload_size > 0) {
        memcpy(at + FRAME_HEADER_SIZE + header.message_length, payload, payload_size);
    }
    *r = *request;
    r->call = call;
    r->correlation = header.correlation;
    r->sent_us = conn->ck->now_us;
    list_push_back(&conn->requests, &r->link);
}

/* ---- opening ---------------------------------------------------------------------------------------------------------------- */

static void ignore(struct checker *ck, struct ck_request *request, int status, const struct frame *frame)
{
    (void)ck;
    (void)request;
    (void)status;
    (void)frame;
}

static void open_conn(struct ck_conn *conn)
{
    struct checker *ck = conn->ck;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = conn};
    Cairn__Native__HelloRequest hello = CAIRN__NATIVE__HELLO_REQUEST__INIT;
    char software[] = "cairn-checker";
    char id[] = "checker";
    struct ck_request request = {.done = ignore, .partition = UINT32_MAX};
    char errmsg[ERRMSG_SIZE];

    conn->fd = net_connect(ck->nodes[conn->node].address, false, errmsg);
    if (conn->fd < 0) {
        conn->retry_us = ck->now_us + CONNECT_RETRY_US;
        return;
    }
    conn->connected = false;
    conn->lost = false;
    conn->want_write = true;
    conn->correlation = 0;
    frame_reader_init(&conn->reader, NULL, &ck->limits, 0);
    if (epoll_ctl(ck->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        conn_lose(conn);
        return;
    }
    hello.client_software = software;
    hello.client_id = id;
    conn_request(conn, CALL_HELLO, &hello.base, NULL, 0, &request);
}

static struct ck_conn *find(struct checker *ck, int owner, uint32_t node_index)
{
    struct ck_conn *conn;
    list_for_each(pos, &ck->conns)
    {
        conn = list_entry(pos, struct ck_conn, link);
        if (conn->owner == owner && conn->node == node_index) {
            return conn;
        }
    }
    conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        abort();
    }
    conn->ck = ck;
    conn->owner = owner;
    conn->node = node_index;
    conn->fd = -1;
    list_init(&conn->requests);
    list_push_back(&ck->conns, &conn->link);
    return conn;
}

struct ck_conn *conn_to(struct checker *ck, int owner, uint32_t node_index)
{
    struct ck_conn *conn = find(ck, owner, node_index);
    if (conn->fd < 0 && ck->now_us >= conn->retry_us) {
        open_conn(conn);
    }
    return conn->fd >= 0 && conn->connected && !conn->lost ? conn : NULL;
}

/* ---- in ----------------------------------------------------------------------------------------------------------------------- */

static void take_frame(struct ck_conn *conn, const struct frame *frame)
{
    list_for_each_safe(pos, &conn->requests)
    {
        struct ck_request *request = list_entry(pos, struct ck_request, link);
        if (request->correlation == frame->header.correlation && request->call == frame->header.call) {
            list_remove(&request->link);
            request->done(conn->ck, request, frame->header.status, frame);
            free(request);
            return;
        }
    }
    violation(conn->ck, UINT32_MAX, -1, "node %s answered what was not asked: call %u correlation %u",
              conn->ck->nodes[conn->node].address, frame->header.call, frame->header.correlation);
}

static void read_conn(struct ck_conn *conn)
{
    for (int i = 0; i < READS_MAX; i++) {
        struct frame frame;
        uint8_t *base;
        size_t length;
        ssize_t n;

        if (frame_reader_alloc(&conn->reader, &base, &length) != 0) {
            abort();
        }
        n = recv(conn->fd, base, length, 0);
        if (n <= 0) {
            conn->lost = n == 0 || (errno != EAGAIN && errno != EINTR);
            return;
        }
        conn->ck->now_us = clock_us();
        frame_reader_commit(&conn->reader, (size_t)n);
        while (frame_reader_next(&conn->reader, &frame)) {
            take_frame(conn, &frame);
            buf_release(frame.buf);
        }
        if (frame_reader_error(&conn->reader) != 0) {
            violation(conn->ck, UINT32_MAX, -1, "node %s sent what is not a frame",
                      conn->ck->nodes[conn->node].address);
            conn->lost = true;
            return;
        }
        if ((size_t)n < length) {
            return;
        }
    }
}

static void on_event(struct ck_conn *conn, uint32_t events)
{
    if (conn->fd < 0) {
        return;
    }
    if (!conn->connected) {
        int error = 0;
        socklen_t size = sizeof error;
        (void)getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0 || (events & (EPOLLERR | EPOLLHUP)) != 0) {
            conn->lost = true;
            return;
        }
        conn->connected = (events & EPOLLOUT) != 0;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_conn(conn);
    }
}

void net_poll(struct checker *ck, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n;

    list_for_each(pos, &ck->conns)
    {
        struct ck_conn *conn = list_entry(pos, struct ck_conn, link);
        if (conn->fd >= 0 && conn->connected && !conn->lost && conn->out_end > 0) {
            flush(conn);
        }
    }
    n = epoll_wait(ck->epoll, events, EVENTS_MAX, timeout_ms);
    ck->now_us = clock_us();
    for (int i = 0; i < n; i++) {
        on_event(events[i].data.ptr, events[i].events);
    }
    list_for_each(pos, &ck->conns)
    {
        struct ck_conn *conn = list_entry(pos, struct ck_conn, link);
        if (conn->fd >= 0 && conn->lost) {
            conn_lose(conn);
        }
    }
}
