/* What a connection stands: garbage, half-open clients, clients that do not read, too many of them, and short memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/native/native.h"
#include "tests/unit/node/door.h"

static struct door d;
static struct uuid topic;

static int open_with(uint64_t memory_max_bytes, uint32_t connections_max, uint32_t idle_timeout_ms)
{
    door_defaults(&d);
    d.memory_max_bytes = memory_max_bytes;
    d.cache_bytes = 8u << 20;
    d.connections_max = connections_max;
    d.idle_timeout_ms = idle_timeout_ms;
    door_open(&d, 1);
    return door_create_topic(&d, "t", 1, 1, &topic);
}

static int open_plain(void **state)
{
    return open_with(192u << 20, 1000, 600000);
}

static int open_short(void **state)
{
    return open_with(64u << 20, 1000, 600000);
}

static int open_few(void **state)
{
    return open_with(192u << 20, 4, 600000);
}

static int open_impatient(void **state)
{
    return open_with(192u << 20, 1000, 10000);
}

static int close_all(void **state)
{
    door_close(&d);
    return 0;
}

static void header(uint8_t out[FRAME_HEADER_SIZE], uint16_t call, uint32_t message, uint32_t payload)
{
    struct frame_header h = {.kind = FRAME_REQUEST, .call = call, .call_version = 1, .message_length = message,
                             .payload_length = payload, .correlation = 1};
    frame_encode_header(&h, out);
}

static void serves(void)
{
    struct door_conn *c = door_connect(&d, 1);
    assert_int_equal(door_produce(c, &topic, 0, 100), 0);
    door_disconnect(c);
}

static void garbage_closes_with_one_line(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    door_bytes(c, "GET / HTTP/1.1\r\nHost: example\r\n\r\n", 33);
    assert_true(door_until_ended(c, 1000));
    assert_int_equal(d.closed_lines, 1);
    serves();
}

static void an_absurd_length_closes_with_one_line(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    uint8_t h[FRAME_HEADER_SIZE];
    header(h, CALL_PRODUCE, 10, FRAME_PAYLOAD_MAX);
    door_bytes(c, h, sizeof h);
    assert_true(door_until_ended(c, 1000));
    assert_int_equal(d.closed_lines, 1);
    assert_non_null(strstr(d.closed_line, "above the limit"));
    serves();
}

static void a_message_that_does_not_decode_closes_with_one_line(void **state)
{
    uint8_t bytes[FRAME_HEADER_SIZE + 8];
    for (uint16_t call = CALL_HELLO; call <= CALL_GROUP_LAG; call++) {
        struct door_conn *c = door_connect(&d, 1);
        header(bytes, call, 8, 0);
        memset(bytes + FRAME_HEADER_SIZE, 0xff, 8);
        door_bytes(c, bytes, sizeof bytes);
        assert_true(door_until_ended(c, 1000));
        assert_int_equal(d.closed_lines, call);
        assert_int_equal(c->n_answers, 0);
    }
    serves();
}

static void what_a_client_calls_itself_cannot_forge_a_log_line(void **state)
{
    Cairn__Native__HelloRequest hello = CAIRN__NATIVE__HELLO_REQUEST__INIT;
    struct door_conn *c = door_connect(&d, 1);
    char name[] = "x reason=ok y=\"";
    hello.client_software = name;
    door_answer_free(door_wait(c, door_send(c, CALL_HELLO, &hello.base, NULL, 0), 1000));
    door_bytes(c, "garbage garbage garbage garbage ", 32);
    assert_true(door_until_ended(c, 1000));
    assert_non_null(strstr(d.closed_line, "client=\"x reason=ok y=\\\"//\""));
}

static void a_half_open_client_is_let_go(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    uint8_t h[FRAME_HEADER_SIZE];
    header(h, CALL_PRODUCE, 10, 1000);
    door_bytes(c, h, sizeof h);
    assert_false(door_until_ended(c, CONN_STALL_TIMEOUT_MS - 1000));
    assert_true(door_until_ended(c, 4000));
    assert_int_equal(d.closed_lines, 1);
}

/* Each announces much and sends nothing: what they hold must not stop the others for long. */
static void half_open_clients_do_not_take_all_memory(void **state)
{
    struct door_conn *held[4];
    uint8_t h[FRAME_HEADER_SIZE + 10] = {0};
    struct door_conn *c;
    header(h, CALL_PRODUCE, 10, NATIVE_PAYLOAD_MAX_BYTES);
    for (int i = 0; i < 4; i++) {
        held[i] = door_connect(&d, 1);
        door_bytes(held[i], h, sizeof h);
    }
    door_run(&d, 10);
    for (int i = 0; i < 4; i++) {
        door_bytes(held[i], "x", 1); /* now there is room for all of it, and the node is waiting */
    }
    door_run(&d, 10);
    c = door_connect(&d, 1);
    assert_int_equal(door_produce(c, &topic, 0, 100), 0); /* within 20 s, not 30 */
    assert_true(door_until_ended(held[0], 1000));
}

/* Each has half of a large frame in memory, together they are over the limit: all must get through. */
static void large_frames_do_not_wait_for_each_other(void **state)
{
    enum { n = 4 };
    struct door_conn *c[n];
    size_t size = 30u << 20;
    uint8_t *bytes = calloc(1, size);
    assert_non_null(bytes);
    header(bytes, CALL_PRODUCE, 0, (uint32_t)(size - FRAME_HEADER_SIZE)); /* not a request that makes sense */
    for (int i = 0; i < n; i++) {
        c[i] = door_connect(&d, 1);
        door_bytes(c[i], bytes, size / 2);
    }
    door_run(&d, 500);
    for (int i = 0; i < n; i++) {
        door_bytes(c[i], bytes + size / 2, size - size / 2);
    }
    for (int i = 0; i < n; i++) {
        assert_true(door_until_ended(c[i], 20000));
    }
    assert_int_equal(d.closed_lines, n);
    assert_non_null(strstr(d.closed_line, "malformed request PRODUCE")); /* it was read to its end */
    free(bytes);
    serves();
}

static bool has_all(void *data)
{
    return ((struct door_conn *)data)->n_answers == 3000;
}

/* Each batch is alone in its receive buffer, and the cache, which counts the batch, would keep them all. */
static void small_batches_do_not_hold_large_buffers_for_good(void **state)
{
    for (int i = 0; i < 1500; i++) {
        struct door_conn *c = door_connect(&d, 1);
        if (door_produce(c, &topic, 0, 100) != 0) {
            fail_msg("no answer to produce %d", i);
        }
        door_disconnect(c);
    }
}

static void three_thousand_requests_at_once_are_answered(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 200};
    for (int i = 0; i < 3000; i++) {
        (void)door_send_fetch(c, &topic, &f);
    }
    door_run(&d, 150);
    assert_int_equal(c->n_answers, 0);
    assert_true(door_until(&d, has_all, c, 5000));
}

struct out {
    struct door_conn *c;
    unsigned n;
};

static bool has_n(void *data)
{
    struct out *o = data;
    return o->c->ended || o->c->n_answers >= o->n;
}

/* 400 fetches of 8 MB: what is held for who does not read is bounded, and all are answered in the end. */
static void a_slow_reader_gets_all_answers_and_holds_little(void **state)
{
    struct door_conn *w = door_connect(&d, 1);
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 1};
    struct out out = {c, 400};
    size_t payload = 0;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(door_produce(w, &topic, 0, 1000000), 0);
    }
    c->deaf = true;
    for (int i = 0; i < 400; i++) {
        (void)door_send_fetch(c, &topic, &f);
    }
    door_run(&d, 2000);
    serves();
    door_listen(c);
    assert_true(door_until(&d, has_n, &out, 60000));
    assert_int_equal(c->n_answers, 400);
    list_for_each(pos, &c->answers)
    {
        payload += list_entry(pos, struct door_answer, link)->header.payload_length;
    }
    assert_true(payload > 0 && payload <= 400u * 8100000u);
}

static void who_never_reads_is_let_go(void **state)
{
    struct door_conn *w = door_connect(&d, 1);
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 1};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(door_produce(w, &topic, 0, 1000000), 0);
    }
    c->deaf = true;
    for (int i = 0; i < 20; i++) {
        (void)door_send_fetch(c, &topic, &f);
    }
    door_run(&d, 15000);
    assert_int_equal(d.closed_lines, 2); /* the writer was idle */
    door_listen(c);
    assert_true(door_until_ended(c, 5000));
}

static void too_many_are_refused_and_served_again_later(void **state)
{
    struct door_conn *c[6];
    door_run(&d, 100);
    for (int i = 0; i < 6; i++) {
        c[i] = door_connect(&d, 1);
    }
    door_run(&d, 100);
    assert_false(c[3]->ended);
    assert_true(c[4]->ended && c[5]->ended);
    door_disconnect(c[0]);
    door_run(&d, 100);
    serves();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(garbage_closes_with_one_line, open_plain, close_all),
        cmocka_unit_test_setup_teardown(an_absurd_length_closes_with_one_line, open_plain, close_all),
        cmocka_unit_test_setup_teardown(a_message_that_does_not_decode_closes_with_one_line, open_plain, close_all),
        cmocka_unit_test_setup_teardown(what_a_client_calls_itself_cannot_forge_a_log_line, open_plain, close_all),
        cmocka_unit_test_setup_teardown(a_half_open_client_is_let_go, open_plain, close_all),
        cmocka_unit_test_setup_teardown(half_open_clients_do_not_take_all_memory, open_short, close_all),
        cmocka_unit_test_setup_teardown(large_frames_do_not_wait_for_each_other, open_short, close_all),
        cmocka_unit_test_setup_teardown(small_batches_do_not_hold_large_buffers_for_good, open_short, close_all),
        cmocka_unit_test_setup_teardown(three_thousand_requests_at_once_are_answered, open_plain, close_all),
        cmocka_unit_test_setup_teardown(a_slow_reader_gets_all_answers_and_holds_little, open_plain, close_all),
        cmocka_unit_test_setup_teardown(who_never_reads_is_let_go, open_impatient, close_all),
        cmocka_unit_test_setup_teardown(too_many_are_refused_and_served_again_later, open_few, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
