/* Whoever connects without being one of us: garbage, cut frames, silence. */
#include "tests/unit/transport/fixture.h"

#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "raft/transport/hello.h"

struct stranger {
    struct fixture *f;
    struct env_conn *conn;
    struct env_write write;
    bool connected;
    bool ended;
    bool closed;
    bool writing;
    uint8_t heard[4096];
    size_t heard_n;
    uint8_t spare[4096];
};

static void s_alloc(struct env_conn *conn, void *data, uint8_t **base, size_t *len)
{
    struct stranger *s = data;
    *base = s->spare;
    *len = sizeof(s->spare);
}

static void s_read(struct env_conn *conn, void *data, ssize_t n)
{
    struct stranger *s = data;
    if (n <= 0) {
        s->ended = true;
        return;
    }
    assert_true(s->heard_n + (size_t)n <= sizeof(s->heard));
    memcpy(s->heard + s->heard_n, s->spare, (size_t)n);
    s->heard_n += (size_t)n;
}

static const struct env_conn_callbacks s_callbacks = {s_alloc, s_read};

static void s_connected(struct env *env, void *data, int status, struct env_conn *conn)
{
    struct stranger *s = data;
    assert_int_equal(status, 0);
    s->conn = conn;
    s->connected = true;
    env_conn_read_start(env, conn, &s_callbacks, s);
}

static bool s_is_connected(void *data)
{
    return ((struct stranger *)data)->connected;
}

static bool s_has_ended(void *data)
{
    return ((struct stranger *)data)->ended;
}

static bool s_is_closed(void *data)
{
    return ((struct stranger *)data)->closed;
}

static bool s_has_heard(void *data)
{
    return ((struct stranger *)data)->heard_n >= FRAME_HEADER_SIZE;
}

static void s_written(struct env_write *write, int status)
{
    container_of(write, struct stranger, write)->writing = false;
}

static bool s_is_written(void *data)
{
    return !((struct stranger *)data)->writing;
}

static struct stranger *knock(struct fixture *f, const struct tnode *at)
{
    struct stranger *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->f = f;
    assert_int_equal(env_connect(f->env, transport_address(at->t), s_connected, s), 0);
    until(f, s_is_connected, s);
    return s;
}

static void say(struct stranger *s, const void *bytes, size_t n)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    s->writing = true;
    s->write.done = s_written;
    env_conn_write(s->f->env, s->conn, &s->write, &iov, 1);
    until(s->f, s_is_written, s);
}

static void s_on_closed(void *data)
{
    ((struct stranger *)data)->closed = true;
}

static void leave(struct stranger *s)
{
    env_conn_close(s->f->env, s->conn, s_on_closed, s);
    until(s->f, s_is_closed, s);
    free(s);
}

static size_t frame(uint8_t *out, uint16_t call, uint32_t correlation, const void *message, size_t n, uint32_t payload)
{
    struct frame_header h = {.kind = FRAME_REQUEST, .call = call, .call_version = 1, .correlation = correlation,
                             .message_length = (uint32_t)n, .payload_length = payload};
    frame_encode_header(&h, out);
    if (n > 0) {
        memcpy(out + FRAME_HEADER_SIZE, message, n);
    }
    return FRAME_HEADER_SIZE + n;
}

/* A proper hello of node 9. */
static void introduce(struct stranger *s, uint32_t lane)
{
    struct hello hello = {.protocol_min = 1, .protocol_max = 1, .lane = lane};
    uint8_t message[HELLO_MESSAGE_MAX];
    uint8_t bytes[FRAME_HEADER_SIZE + HELLO_MESSAGE_MAX];
    struct frame_header h;
    struct frame_limits limits = {.message_max = 4096, .payload_max = 0};
    size_t n;

    hello.id.node = 9;
    hello.id.disk_id = test_uuid(9);
    hello.id.cluster_id = test_uuid(0xCC);
    assert_int_equal(hello_encode(&hello, message, sizeof(message), &n), 0);
    say(s, bytes, frame(bytes, CALL_PEER_HELLO, 0, message, n, 0));
    until(s->f, s_has_heard, s);
    assert_int_equal(frame_decode_header(s->heard, &limits, &h), 0);
    assert_int_equal(h.call, CALL_PEER_HELLO);
    assert_int_equal(h.status, 0);
}

static void is_shown_the_door(struct fixture *f, struct stranger *s)
{
    until(f, s_has_ended, s);
    assert_int_equal(f->warnings, 1);
    assert_non_null(strstr(f->last_warning, "peer_link_closed"));
    leave(s);
}

static void garbage_closes_with_one_line(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);

    say(s, "GET / HTTP/1.1\r\nHost: localhost and some more\r\n\r\n", 49);
    is_shown_the_door(f, s);
}

static void absurd_lengths_close(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE];

    say(s, bytes, frame(bytes, CALL_PEER_HELLO, 0, NULL, 0, 60u << 20)); /* no payload before the hello */
    is_shown_the_door(f, s);
    assert_true(buf_pool_bytes_out(f->pool) < 1u << 20);
}

static void anything_but_a_hello_first_closes(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE + 3];

    say(s, bytes, frame(bytes, CALL_FORM, 0, "abc", 3, 0));
    is_shown_the_door(f, s);
    assert_int_equal(a->controls, 0);
}

static void a_second_hello_closes(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE];

    introduce(s, 0);
    say(s, bytes, frame(bytes, CALL_PEER_HELLO, 0, NULL, 0, 0));
    is_shown_the_door(f, s);
}

static void a_client_call_on_a_peer_link_closes(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE];

    introduce(s, 0);
    say(s, bytes, frame(bytes, CALL_FETCH, 0, NULL, 0, 0));
    is_shown_the_door(f, s);
}

static void messages_that_cannot_be_read_close(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE + 16];

    introduce(s, 1);
    frame(bytes, CALL_PEER_RAFT, 0, NULL, 0, 16);
    memset(bytes + FRAME_HEADER_SIZE, 0xff, 16);
    say(s, bytes, sizeof(bytes));
    is_shown_the_door(f, s);
    assert_int_equal(a->received_n, 0);
}

static void a_frame_cut_off_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE + 16];
    struct transport_stats stats;

    introduce(s, 1);
    frame(bytes, CALL_PEER_RAFT, 0, NULL, 0, 60u << 20);
    say(s, bytes, sizeof(bytes));
    leave(s);
    run_for(f, 20);
    transport_stats(a->t, &stats);
    assert_int_equal(a->received_n, 0);
}

static void pings_are_answered(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint8_t bytes[FRAME_HEADER_SIZE];
    struct frame_limits limits = {.message_max = 0, .payload_max = 0};
    struct frame_header h;

    introduce(s, 0);
    run_for(f, 20);
    s->heard_n = 0;
    say(s, bytes, frame(bytes, CALL_PEER_RAFT, 42, NULL, 0, 0));
    until(f, s_has_heard, s);
    assert_int_equal(frame_decode_header(s->heard, &limits, &h), 0);
    assert_int_equal(h.kind, FRAME_RESPONSE);
    assert_int_equal(h.call, CALL_PEER_RAFT);
    assert_int_equal(h.correlation, 42);
    leave(s);
}

static void a_newer_link_of_a_peer_replaces_the_older(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *first = knock(f, a);
    struct stranger *second = knock(f, a);
    struct stranger *other_lane = knock(f, a);

    introduce(first, 0);
    introduce(other_lane, 1);
    introduce(second, 0);
    until(f, s_has_ended, first);
    assert_false(second->ended);
    assert_false(other_lane->ended);
    leave(first);
    leave(second);
    leave(other_lane);
}

static void silence_before_the_hello_has_a_limit(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct stranger *s = knock(f, a);
    uint64_t begin = env_now_ms(f->env);

    until(f, s_has_ended, s);
    assert_true(env_now_ms(f->env) - begin >= TRANSPORT_HELLO_TIMEOUT_MS - 500);
    leave(s);
    assert_int_equal(a->received_n, 0);
}

/* A listener that accepts and never says a word: the dialler must not wait for ever. */
static struct env_conn *mute_conn;

static void mute_accept(struct env_listener *listener, void *data, struct env_conn *conn)
{
    struct fixture *f = data;
    if (mute_conn != NULL) {
        env_conn_close(f->env, mute_conn, NULL, NULL);
    }
    mute_conn = conn;
}

static bool has_given_up(void *data)
{
    struct tnode *node = data;
    struct transport_stats stats;
    transport_stats(node->t, &stats);
    return stats.connects >= 2;
}

static void a_mute_peer_is_given_up_and_dialled_again(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct env_listener *listener;
    char errmsg[ERRMSG_SIZE];

    assert_int_equal(env_listen(f->env, "127.0.0.1:0", mute_accept, f, &listener, errmsg), 0);
    assert_int_equal(transport_peer_set(a->t, 2, env_listener_address(f->env, listener)), 0);
    until(f, has_given_up, a);
    assert_int_equal(a->ups, 0);
    env_listener_close(f->env, listener);
    if (mute_conn != NULL) {
        env_conn_close(f->env, mute_conn, NULL, NULL);
        mute_conn = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(garbage_closes_with_one_line),
        fixture_test(absurd_lengths_close),
        fixture_test(anything_but_a_hello_first_closes),
        fixture_test(a_second_hello_closes),
        fixture_test(a_client_call_on_a_peer_link_closes),
        fixture_test(messages_that_cannot_be_read_close),
        fixture_test(a_frame_cut_off_is_forgotten),
        fixture_test(pings_are_answered),
        fixture_test(a_newer_link_of_a_peer_replaces_the_older),
        fixture_test(silence_before_the_hello_has_a_limit),
        fixture_test(a_mute_peer_is_given_up_and_dialled_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
