/* TCP on the loopback interface, real sockets on both sides. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/env/loop_fixture.h"

#define BUFFER_SIZE 65536

/* One side of a connection. */
struct side {
    struct net *net;
    struct env_conn *conn;
    uint8_t buffer[BUFFER_SIZE];
    size_t room; /* what alloc offers; 0 pauses */
    uint64_t received;
    uint64_t position; /* pattern check */
    ssize_t end;       /* what ended reading; 1: not yet */
    bool corrupt;
    bool closed;
    bool close_in_alloc;
    void (*on_read)(struct side *side, ssize_t n);
    void (*on_open)(struct side *side);
    int status; /* of connect; -1: not yet */
};

struct write {
    struct env_write write;
    struct side *side;
    int status; /* -1: not yet */
    bool in_call;
    unsigned order;
};

struct net {
    struct loop_fixture *loop;
    struct env *env;
    struct env_listener *listener;
    char address[64];
    struct side server; /* the first one accepted */
    struct side client;
    unsigned accepted;
    unsigned n_done;
    void (*on_done)(struct write *write);
};

static uint8_t pattern(uint64_t position)
{
    return (uint8_t)(position * 31 + (position >> 12));
}

static void side_init(struct side *side, struct net *net)
{
    memset(side, 0, sizeof *side);
    side->net = net;
    side->room = BUFFER_SIZE;
    side->end = 1;
    side->status = -1;
}

static void side_closed(void *data)
{
    struct side *side = data;
    side->closed = true;
    side->conn = NULL;
}

static void side_close(struct side *side)
{
    env_conn_close(side->net->env, side->conn, side_closed, side);
}

static void side_alloc(struct env_conn *conn, void *data, uint8_t **base, size_t *len)
{
    struct side *side = data;
    *base = side->buffer;
    *len = side->room;
    if (side->close_in_alloc) {
        side_close(side);
    }
}

static void side_read(struct env_conn *conn, void *data, ssize_t n)
{
    struct side *side = data;
    assert_false(side->closed);
    assert_int_equal(side->end, 1); /* nothing after an end */
    if (n <= 0) {
        side->end = n;
    } else {
        for (ssize_t i = 0; i < n; i++) {
            side->corrupt |= side->buffer[i] != pattern(side->position++);
        }
        side->received += (uint64_t)n;
    }
    if (side->on_read != NULL) {
        side->on_read(side, n);
    }
}

static const struct env_conn_callbacks side_callbacks = {side_alloc, side_read};

static void side_start(struct side *side)
{
    env_conn_read_start(side->net->env, side->conn, &side_callbacks, side);
}

static void on_accept(struct env_listener *listener, void *data, struct env_conn *conn)
{
    struct net *net = data;
    if (net->accepted++ == 0) {
        net->server.conn = conn;
        if (net->server.on_open != NULL) {
            net->server.on_open(&net->server);
        } else {
            side_start(&net->server);
        }
    } else {
        env_conn_close(net->env, conn, NULL, NULL);
    }
}

static void on_connect(struct env *env, void *data, int status, struct env_conn *conn)
{
    struct side *side = data;
    assert_int_equal(side->status, -1);
    side->status = status;
    side->conn = conn;
    assert_true((status == 0) == (conn != NULL));
    if (side->on_open != NULL) {
        side->on_open(side);
    }
}

static int setup(void **state)
{
    char errmsg[ERRMSG_SIZE];
    struct net *net = calloc(1, sizeof *net);
    loop_setup(state);
    net->loop = *state;
    net->env = net->loop->env;
    side_init(&net->server, net);
    side_init(&net->client, net);
    assert_int_equal(env_listen(net->env, "127.0.0.1:0", on_accept, net, &net->listener, errmsg), 0);
    snprintf(net->address, sizeof net->address, "%s", env_listener_address(net->env, net->listener));
    *state = net;
    return 0;
}

/* What a test leaves open here is what env_uv_free() must clean up. */
static int teardown(void **state)
{
    struct net *net = *state;
    *state = net->loop;
    loop_teardown(state);
    free(net);
    return 0;
}

static void dial(struct net *net)
{
    assert_int_equal(env_connect(net->env, net->address, on_connect, &net->client), 0);
    assert_int_equal(net->client.status, -1); /* never inside the call */
}

static void write_done(struct env_write *write, int status)
{
    struct write *w = container_of(write, struct write, write);
    assert_false(w->in_call);
    assert_int_equal(w->status, -1);
    assert_false(w->side->closed); /* writes end before their connection */
    w->status = status;
    w->order = w->side->net->n_done++;
    if (w->side->net->on_done != NULL) {
        w->side->net->on_done(w);
    }
}

static void send_iov(struct side *side, struct write *w, const struct iovec *iov, size_t n)
{
    memset(w, 0, sizeof *w);
    w->write.done = write_done;
    w->side = side;
    w->status = -1;
    w->in_call = true;
    env_conn_write(side->net->env, side->conn, &w->write, iov, n);
    w->in_call = false;
}

/* ---- bytes ---- */

#define BULK (24u * 1024 * 1024)
#define BULK_IOVS (2 * ENV_IOV_MAX + 100)
#define BULK_WRITES 3

struct bulk {
    uint8_t *bytes;
    struct write writes[BULK_WRITES];
};

static struct bulk *bulk_current;

static void bulk_read(struct side *side, ssize_t n)
{
    if (side->received == BULK) {
        env_loop_stop(side->net->env);
    }
}

/* Three writes at once of a third each, in more iovecs than a call takes: most of it cannot go out at once. */
static void bulk_send(struct side *side)
{
    struct bulk *bulk = bulk_current;
    struct iovec *iov = calloc(BULK_IOVS, sizeof *iov);
    size_t offset = 0;
    for (int w = 0; w < BULK_WRITES; w++) {
        size_t end = (size_t)(w + 1) * (BULK / BULK_WRITES);
        size_t n = w == 0 ? 1 : BULK_IOVS; /* the first one is cut in the middle of its only iovec */
        for (size_t i = 0; i < n; i++) {
            size_t size = i == n - 1 ? end - offset : (size_t)(i * 37 % 5000);
            iov[i] = (struct iovec){bulk->bytes + offset, size};
            offset += size;
        }
        send_iov(side, &bulk->writes[w], iov, n);
    }
    memset(iov, 0, BULK_IOVS * sizeof *iov); /* the array is needed in the call only */
    free(iov);
}

static void large_writes_arrive_whole_and_in_order(void **state)
{
    struct net *net = *state;
    struct bulk bulk;
    bulk_current = &bulk;
    bulk.bytes = malloc(BULK);
    for (size_t i = 0; i < BULK; i++) {
        bulk.bytes[i] = pattern(i);
    }
    net->client.on_open = bulk_send;
    net->server.on_read = bulk_read;
    dial(net);
    loop_run(net->loop);
    assert_false(net->server.corrupt);
    for (unsigned i = 0; i < BULK_WRITES; i++) {
        assert_int_equal(bulk.writes[i].status, 0);
        assert_int_equal(bulk.writes[i].order, i);
    }
    free(bulk.bytes);
}

static struct write small_writes[8];
static uint8_t small_bytes[64];

static void send_small(struct side *side)
{
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned k = 0; k < 8; k++) {
            small_bytes[i * 8 + k] = pattern(i * 8 + k);
        }
        struct iovec iov[2] = {{small_bytes + i * 8, 3}, {small_bytes + i * 8 + 3, 5}};
        send_iov(side, &small_writes[i], iov, i == 7 ? 0 : 2); /* the last one is empty */
    }
}

static void small_read(struct side *side, ssize_t n)
{
    if (side->received == 56) {
        env_loop_stop(side->net->env);
    }
}

static void small_writes_are_done_in_order_and_never_inside_the_call(void **state)
{
    struct net *net = *state;
    net->client.on_open = send_small;
    net->server.on_read = small_read;
    dial(net);
    loop_run(net->loop);
    assert_false(net->server.corrupt);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(small_writes[i].status, 0);
        assert_int_equal(small_writes[i].order, i);
    }
    assert_string_equal(env_conn_peer(net->env, net->client.conn), net->address);
    assert_memory_equal(env_conn_peer(net->env, net->server.conn), "127.0.0.1:", 10);
}

/* Echo: what the server reads it sends back, pausing meanwhile. */
static struct write echo_write;
static uint8_t echo_copy[BUFFER_SIZE];

static void echo_done(struct write *w)
{
    if (w == &echo_write) {
        w->side->room = 1000;
        side_start(w->side);
    }
}

static void echo_read(struct side *side, ssize_t n)
{
    if (n > 0) {
        struct iovec iov = {echo_copy, (size_t)n};
        memcpy(echo_copy, side->buffer, (size_t)n);
        side->room = 0; /* no room until this is out */
        send_iov(side, &echo_write, &iov, 1);
    }
}

#define ECHO_SIZE 50000
static struct write echo_request;
static uint8_t echo_bytes[ECHO_SIZE];

static void echo_open(struct side *side)
{
    struct iovec iov = {echo_bytes, ECHO_SIZE};
    for (unsigned i = 0; i < ECHO_SIZE; i++) {
        echo_bytes[i] = pattern(i);
    }
    send_iov(side, &echo_request, &iov, 1);
    side_start(side);
}

static void echo_client_read(struct side *side, ssize_t n)
{
    if (side->received == ECHO_SIZE) {
        env_loop_stop(side->net->env);
    }
}

static void echo_pauses_and_resumes(void **state)
{
    struct net *net = *state;
    net->server.room = 1000;
    net->server.on_read = echo_read;
    net->client.on_open = echo_open;
    net->client.on_read = echo_client_read;
    net->on_done = echo_done;
    dial(net);
    loop_run(net->loop);
    assert_false(net->client.corrupt);
}

/* ---- ends ---- */

static void close_now(struct side *side)
{
    side_close(side);
}

static void stop_at_end(struct side *side, ssize_t n)
{
    if (n <= 0) {
        env_loop_stop(side->net->env);
    }
}

static void a_peer_that_closes_is_the_end_of_reading(void **state)
{
    struct net *net = *state;
    net->client.on_open = close_now;
    net->server.on_read = stop_at_end;
    dial(net);
    loop_run(net->loop);
    assert_int_equal(net->server.end, 0);
    assert_true(net->client.closed);
    side_start(&net->server); /* and stays it: no second end */
    for (int turn = 0; turn < 10; turn++) {
        env_loop_stop(net->env);
        loop_run(net->loop);
    }
}

static struct write huge_writes[3];
static uint8_t *huge_bytes;
#define HUGE_SIZE (16u * 1024 * 1024)

static void huge_closed(void *data)
{
    struct side *side = data;
    side_closed(side);
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(huge_writes[i].status, -1); /* writes end first */
    }
    env_loop_stop(side->net->env);
}

static void huge_send_and_close(struct side *side)
{
    struct iovec iov = {huge_bytes, HUGE_SIZE};
    struct iovec tiny = {huge_bytes, 1};
    send_iov(side, &huge_writes[0], &tiny, 1);
    send_iov(side, &huge_writes[1], &iov, 1);
    send_iov(side, &huge_writes[2], &iov, 1);
    env_conn_close(side->net->env, side->conn, huge_closed, side);
}

static void no_reading(struct side *side)
{
}

static void close_during_write_ends_it_with_closed_first(void **state)
{
    struct net *net = *state;
    huge_bytes = calloc(1, HUGE_SIZE);
    net->server.on_open = no_reading;
    net->client.on_open = huge_send_and_close;
    dial(net);
    loop_run(net->loop);
    assert_true(net->client.closed);
    assert_int_equal(huge_writes[0].status, 0);
    assert_int_equal(huge_writes[1].status, ERR_CLOSED);
    assert_int_equal(huge_writes[2].status, ERR_CLOSED);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(huge_writes[i].order, i);
    }
    free(huge_bytes);
}

static int raw_connect(const char *address)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static int reset_fd;
static struct write reset_writes[2];

/* The peer resets while a write of ours is on its way; a write after that must fail, not kill the process. */
static void reset_open(struct side *side)
{
    struct iovec iov = {huge_bytes, HUGE_SIZE};
    struct linger hard = {1, 0};
    send_iov(side, &reset_writes[0], &iov, 1);
    setsockopt(reset_fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(reset_fd);
    side_start(side);
}

static void reset_read(struct side *side, ssize_t n)
{
    struct iovec iov = {huge_bytes, 10};
    assert_true(n < 0);
    send_iov(side, &reset_writes[1], &iov, 1);
    env_conn_close(side->net->env, side->conn, huge_closed, side);
}

static void a_reset_fails_reading_and_writing(void **state)
{
    struct net *net = *state;
    huge_bytes = calloc(1, HUGE_SIZE);
    for (int i = 0; i < 3; i++) {
        huge_writes[i].status = 0;
    }
    net->server.on_open = reset_open;
    net->server.on_read = reset_read;
    reset_fd = raw_connect(net->address);
    loop_run(net->loop);
    assert_int_equal(net->server.end, -ERR_CLOSED);
    assert_int_equal(reset_writes[0].status, ERR_CLOSED);
    assert_int_equal(reset_writes[1].status, ERR_CLOSED);
    free(huge_bytes);
}

static void send_one(struct side *side)
{
    struct iovec iov = {small_bytes, 1};
    small_bytes[0] = pattern(0);
    send_iov(side, &small_writes[0], &iov, 1);
}

static void close_side_of(struct write *w)
{
    side_close(w->side);
}

static void close_in_read(struct side *side, ssize_t n)
{
    side_close(side);
}

/* The server closes inside its alloc or read callback, the client inside its write's done. */
static void closing_is_safe_inside_every_callback(void **state)
{
    struct net *net = *state;
    for (int in_alloc = 0; in_alloc < 2; in_alloc++) {
        net->accepted = 0;
        side_init(&net->server, net);
        side_init(&net->client, net);
        net->server.close_in_alloc = in_alloc != 0;
        net->server.on_read = close_in_read;
        net->client.on_open = send_one;
        net->on_done = close_side_of;
        dial(net);
        while (!net->server.closed || !net->client.closed) {
            env_loop_stop(net->env); /* one turn */
            loop_run(net->loop);
        }
        assert_int_equal(net->server.received, in_alloc != 0 ? 0 : 1);
    }
}

/* ---- connecting and listening ---- */

static void stop_loop(struct side *side)
{
    env_loop_stop(side->net->env);
}

static void connecting_to_nobody_is_refused(void **state)
{
    struct net *net = *state;
    env_listener_close(net->env, net->listener);
    net->client.on_open = stop_loop;
    dial(net);
    loop_run(net->loop);
    assert_int_equal(net->client.status, ERR_REFUSED);
}

static void connecting_by_name_resolves_it(void **state)
{
    struct net *net = *state;
    snprintf(net->address, sizeof net->address, "localhost%s",
             strchr(env_listener_address(net->env, net->listener), ':'));
    net->client.on_open = stop_loop;
    dial(net);
    loop_run(net->loop);
    assert_int_equal(net->client.status, 0);
}

static void a_name_that_does_not_exist_is_not_found(void **state)
{
    struct net *net = *state;
    snprintf(net->address, sizeof net->address, "no such host:1");
    net->client.on_open = stop_loop;
    dial(net);
    loop_run(net->loop);
    assert_int_equal(net->client.status, ERR_NOT_FOUND);
}

static void connecting_to_a_bad_address_is_refused_at_once(void **state)
{
    struct net *net = *state;
    static const char *const bad[] = {"", "host", "host:", ":1", "1.2.3.4:x", "1.2.3.4:65536", "::1:80", "[::1:80", "[]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(env_connect(net->env, bad[i], on_connect, &net->client), ERR_INVALID);
    }
    assert_int_equal(net->client.status, -1);
}

/* A listener whose backlog is full drops what comes: the connection attempt hangs. */
static void connecting_gives_up_in_time(void **state)
{
    struct net *net = *state;
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t size = sizeof sa;
    int fillers[4];
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&sa, sizeof sa);
    }
    snprintf(net->address, sizeof net->address, "127.0.0.1:%u", ntohs(sa.sin_port));
    net->client.on_open = stop_loop;
    uint64_t begin_ms = env_now_ms(net->env);
    dial(net);
    loop_run(net->loop);
    assert_int_equal(net->client.status, ERR_TIMEOUT);
    assert_true(env_now_ms(net->env) - begin_ms < ENV_CONNECT_TIMEOUT_MS + 5000);
    for (int i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(fd);
}

static void listening_fails_with_a_reason(void **state)
{
    struct net *net = *state;
    struct env_listener *listener;
    char errmsg[ERRMSG_SIZE];
    assert_int_equal(env_listen(net->env, net->address, on_accept, net, &listener, errmsg), ERR_REFUSED);
    assert_non_null(strstr(errmsg, net->address));
    assert_non_null(strstr(errmsg, "another program uses this port"));
    assert_int_equal(env_listen(net->env, "nonsense", on_accept, net, &listener, errmsg), ERR_INVALID);
    assert_non_null(strstr(errmsg, "host:port"));
    assert_int_equal(env_listen(net->env, "192.0.2.1:0", on_accept, net, &listener, errmsg), ERR_INVALID);
    assert_non_null(strstr(errmsg, "no interface"));
    /* A closed listener's port is free at once. */
    env_listener_close(net->env, net->listener);
    assert_int_equal(env_listen(net->env, net->address, on_accept, net, &net->listener, errmsg), 0);
    assert_string_equal(env_listener_address(net->env, net->listener), net->address);
}

/* ---- many ---- */

#define MANY 1000

struct many {
    struct net *net;
    struct env_conn *clients[MANY];
    struct env_conn *servers[MANY];
    unsigned connected;
    unsigned accepted;
    unsigned closed;
};

static void many_check(struct many *m)
{
    if (m->connected == MANY && m->accepted == MANY) {
        env_loop_stop(m->net->env);
    }
}

static void many_connected(struct env *env, void *data, int status, struct env_conn *conn)
{
    struct many *m = data;
    assert_int_equal(status, 0);
    m->clients[m->connected++] = conn;
    many_check(m);
}

static void many_accepted(struct env_listener *listener, void *data, struct env_conn *conn)
{
    struct many *m = data;
    m->servers[m->accepted++] = conn;
    many_check(m);
}

static void many_closed(void *data)
{
    struct many *m = data;
    if (++m->closed == 2 * MANY) {
        env_loop_stop(m->net->env);
    }
}

static void a_thousand_connections(void **state)
{
    struct net *net = *state;
    struct many *m = calloc(1, sizeof *m);
    struct env_listener *listener;
    struct rlimit limit;
    char errmsg[ERRMSG_SIZE];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY + 100) {
        limit.rlim_cur = 2 * MANY + 100;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    m->net = net;
    assert_int_equal(env_listen(net->env, "[::1]:0", many_accepted, m, &listener, errmsg), 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(env_connect(net->env, env_listener_address(net->env, listener), many_connected, m), 0);
    }
    loop_run(net->loop);
    for (int i = 0; i < MANY; i++) {
        env_conn_close(net->env, m->clients[i], many_closed, m);
        env_conn_close(net->env, m->servers[i], many_closed, m);
    }
    loop_run(net->loop);
    assert_int_equal(m->closed, 2 * MANY);
    env_listener_close(net->env, listener);
    free(m);
}

struct starve {
    struct timer timer;
    struct net *net;
    struct rlimit limit;
    unsigned accepted_before;
};

static void raise_limit(struct timer *timer)
{
    struct starve *s = container_of(timer, struct starve, timer);
    s->accepted_before = s->net->accepted;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &s->limit), 0);
}

static void starve_accepted(struct side *side)
{
    env_loop_stop(side->net->env);
}

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void without_descriptors_accepting_waits_and_logs_once(void **state)
{
    struct net *net = *state;
    struct starve s = {.net = net};
    struct rlimit none;
    int fd = raw_connect(net->address);
    net->server.on_open = starve_accepted;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &s.limit), 0);
    none = s.limit;
    none.rlim_cur = 3; /* fewer than are open: no new one */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    timer_init(&s.timer, raise_limit);
    env_timer_start(net->env, &s.timer, 550);
    double begin = cpu_seconds();
    loop_run(net->loop);
    assert_true(cpu_seconds() - begin < 0.3); /* it does not spin */
    assert_int_equal(s.accepted_before, 0);
    assert_int_equal(net->accepted, 1);
    assert_int_equal(net->loop->lines, 1);
    assert_non_null(strstr(net->loop->last_line, "accept_paused"));
    close(fd);
}

/* ---- freeing a loop with everything open ---- */

static struct write open_write;

static void ignore_connect(struct env *env, void *data, int status, struct env_conn *conn)
{
}

static void open_and_stop(struct side *side)
{
    struct iovec iov = {huge_bytes, HUGE_SIZE};
    send_iov(side, &open_write, &iov, 1);
    side_start(side);
    /* A connection and a resolver under way. */
    assert_int_equal(env_connect(side->net->env, side->net->address, ignore_connect, NULL), 0);
    assert_int_equal(env_connect(side->net->env, "localhost:1", ignore_connect, NULL), 0);
    assert_int_equal(env_connect(side->net->env, "255.255.255.255:1", ignore_connect, NULL), 0);
    env_loop_stop(side->net->env);
}

static void free_with_open_handles(void **state)
{
    struct net *net = *state;
    huge_bytes = calloc(1, HUGE_SIZE);
    net->server.on_open = no_reading;
    net->client.on_open = open_and_stop;
    dial(net);
    loop_run(net->loop);
    assert_int_equal(env_connect(net->env, "255.255.255.255:1", ignore_connect, NULL), 0); /* owed, never reported */
    env_conn_close(net->env, net->client.conn, side_closed, &net->client);
    teardown(state);
    *state = NULL;
    free(huge_bytes);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(large_writes_arrive_whole_and_in_order),
        T(small_writes_are_done_in_order_and_never_inside_the_call),
        T(echo_pauses_and_resumes),
        T(a_peer_that_closes_is_the_end_of_reading),
        T(close_during_write_ends_it_with_closed_first),
        T(a_reset_fails_reading_and_writing),
        T(closing_is_safe_inside_every_callback),
        T(connecting_to_nobody_is_refused),
        T(connecting_by_name_resolves_it),
        T(a_name_that_does_not_exist_is_not_found),
        T(connecting_to_a_bad_address_is_refused_at_once),
        T(connecting_gives_up_in_time),
        T(listening_fails_with_a_reason),
        T(a_thousand_connections),
        T(without_descriptors_accepting_waits_and_logs_once),
        cmocka_unit_test_setup(free_with_open_handles, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
