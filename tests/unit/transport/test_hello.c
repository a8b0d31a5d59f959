#include "tests/unit/transport/fixture.h"

#include "raft/transport/hello.h"

static struct hello sample(void)
{
    struct hello h = {.protocol_min = 1, .protocol_max = 1, .to_node = 2, .lane = TRANSPORT_DATA};
    h.id.node = 1;
    h.id.disk_id = test_uuid(1);
    h.id.cluster_id = test_uuid(9);
    h.id.boot = 7;
    strcpy(h.id.peer_address, "host:1234");
    return h;
}

static struct transport_identity self(void)
{
    struct transport_identity id = {.node = 2, .boot = 1};
    id.disk_id = test_uuid(2);
    id.cluster_id = test_uuid(9);
    return id;
}

static void round_trip(void **state)
{
    struct hello in = sample();
    struct hello out;
    uint8_t bytes[HELLO_MESSAGE_MAX];
    size_t length;

    assert_int_equal(hello_encode(&in, bytes, sizeof(bytes), &length), 0);
    assert_int_equal(hello_decode(bytes, length, &out), 0);
    assert_int_equal(out.to_node, 2);
    assert_int_equal(out.lane, TRANSPORT_DATA);
    assert_int_equal(out.id.boot, 7);
    assert_true(uuid_equal(&out.id.disk_id, &in.id.disk_id));
    assert_true(uuid_equal(&out.id.cluster_id, &in.id.cluster_id));
    assert_string_equal(out.id.peer_address, "host:1234");
    memset(&in.id.cluster_id, 0, sizeof(in.id.cluster_id));
    assert_int_equal(hello_encode(&in, bytes, sizeof(bytes), &length), 0);
    assert_int_equal(hello_decode(bytes, length, &out), 0);
    assert_true(uuid_is_nil(&out.id.cluster_id));
}

static void the_longest_hello_fits(void **state)
{
    struct hello in = sample();
    uint8_t bytes[HELLO_MESSAGE_MAX];
    size_t length;

    memset(in.id.peer_address, 'x', sizeof(in.id.peer_address) - 1);
    in.id.boot = UINT64_MAX;
    in.id.node = in.to_node = in.protocol_max = UINT32_MAX;
    assert_int_equal(hello_encode(&in, bytes, sizeof(bytes), &length), 0);
}

static void impossible_fields_are_malformed(void **state)
{
    struct hello in = sample();
    struct hello out;
    uint8_t bytes[HELLO_MESSAGE_MAX];
    size_t length;

    in.lane = 2;
    assert_int_equal(hello_encode(&in, bytes, sizeof(bytes), &length), 0);
    assert_int_equal(hello_decode(bytes, length, &out), ERR_MALFORMED);
    in = sample();
    in.id.node = 0;
    assert_int_equal(hello_encode(&in, bytes, sizeof(bytes), &length), 0);
    assert_int_equal(hello_decode(bytes, length, &out), ERR_MALFORMED);
    in = sample();
    memset(&in.id.disk_id, 0, sizeof(in.id.disk_id));
    assert_int_equal(hello_encode(&in, bytes, sizeof(bytes), &length), 0);
    assert_int_equal(hello_decode(bytes, length, &out), ERR_MALFORMED);
    assert_int_equal(hello_decode((const uint8_t *)"\xff\xff\xff", 3, &out), ERR_MALFORMED);
}

static int check(const struct hello *h, uint32_t expected, const struct hello_boots *boots)
{
    struct transport_identity me = self();
    char text[ERRMSG_SIZE] = "";
    int rv = hello_check(h, &me, expected, boots, text);
    assert_true(rv == 0 || text[0] != '\0');
    return rv;
}

static void the_matrix(void **state)
{
    struct hello_boots *boots = calloc(1, sizeof(*boots));
    struct hello h = sample();

    assert_int_equal(check(&h, 0, boots), 0);
    assert_int_equal(check(&h, 1, boots), 0);
    assert_int_equal(check(&h, 3, boots), ERR_NODE_MISMATCH); /* another node answers than was dialled */
    h.to_node = 3;
    assert_int_equal(check(&h, 0, boots), ERR_NODE_MISMATCH);
    h.to_node = 0;
    assert_int_equal(check(&h, 0, boots), 0);
    h.id.node = 2;
    assert_int_equal(check(&h, 0, boots), ERR_NODE_MISMATCH); /* our own id */
    h = sample();
    h.protocol_min = 2;
    h.protocol_max = 3;
    assert_int_equal(check(&h, 0, boots), ERR_VERSION);
    h.protocol_min = 0;
    h.protocol_max = 0;
    assert_int_equal(check(&h, 0, boots), ERR_VERSION);
    h.protocol_max = 9;
    assert_int_equal(check(&h, 0, boots), 0);
    h.id.cluster_id = test_uuid(8);
    assert_int_equal(check(&h, 0, boots), ERR_CLUSTER_MISMATCH);
    memset(&h.id.cluster_id, 0, sizeof(h.id.cluster_id));
    assert_int_equal(check(&h, 0, boots), 0); /* the owner's to admit */
    free(boots);
}

static void a_boot_counter_may_not_go_back_on_its_disk(void **state)
{
    struct hello_boots *boots = calloc(1, sizeof(*boots));
    struct hello h = sample();

    hello_boots_note(boots, &h.id.disk_id, 7);
    assert_int_equal(check(&h, 0, boots), 0);
    hello_boots_note(boots, &h.id.disk_id, 8);
    hello_boots_note(boots, &h.id.disk_id, 6);
    assert_int_equal(check(&h, 0, boots), ERR_STALE_BOOT);
    h.id.disk_id = test_uuid(77);
    assert_int_equal(check(&h, 0, boots), 0);
    for (uint32_t i = 0; i < 2 * HELLO_BOOTS_MAX; i++) { /* bounded */
        struct uuid disk = uuid_from_random(i, 1);
        hello_boots_note(boots, &disk, 1);
    }
    assert_int_equal(boots->n, HELLO_BOOTS_MAX);
    free(boots);
}

static void a_refusal_is_harmless_text(void **state)
{
    uint8_t bytes[HELLO_MESSAGE_MAX];
    char text[ERRMSG_SIZE];
    size_t length;
    int err;

    assert_int_equal(refusal_encode(ERR_STALE_BOOT, "two\nlines\x1b", bytes, sizeof(bytes), &length), 0);
    assert_int_equal(refusal_decode(bytes, length, &err, text), 0);
    assert_int_equal(err, ERR_STALE_BOOT);
    assert_string_equal(text, "two?lines?");
    assert_int_equal(refusal_decode((const uint8_t *)"\xff", 1, &err, text), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(the_longest_hello_fits),
        cmocka_unit_test(impossible_fields_are_malformed),
        cmocka_unit_test(the_matrix),
        cmocka_unit_test(a_boot_counter_may_not_go_back_on_its_disk),
        cmocka_unit_test(a_refusal_is_harmless_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
