#include "util.h"

/* By hand from the layout in frame.h: a response to PRODUCE; the checksum computed with another program. */
static const uint8_t by_hand[FRAME_HEADER_SIZE] = {
    'C',  'R',  'N',  '1',  /*  0 magic */
    1,    2,    3,    0,    /*  4 version, kind response, call PRODUCE */
    1,    0,    16,   0,    /*  8 call version, status NOT_LEADER */
    4,    3,    2,    1,    /* 12 correlation */
    6,    5,    0,    0,    /* 16 message length */
    9,    8,    7,    0,    /* 20 payload length */
    0,    0,    0,    0,    /* 24 reserved */
    0xbe, 0x35, 0x31, 0x7c, /* 28 crc32c of 0..27 */
};

static const struct frame_header header_by_hand = {
    .kind = FRAME_RESPONSE,
    .call = CALL_PRODUCE,
    .call_version = 1,
    .status = ERR_NOT_LEADER,
    .correlation = 0x01020304,
    .message_length = 0x0506,
    .payload_length = 0x070809,
};

static int decode(const uint8_t *in)
{
    struct frame_header h;
    return frame_decode_header(in, &limits_default, &h);
}

static void writes_and_reads_the_header_made_by_hand(void **state)
{
    uint8_t out[FRAME_HEADER_SIZE];
    struct frame_header h;

    frame_encode_header(&header_by_hand, out);
    assert_memory_equal(out, by_hand, sizeof out);
    assert_int_equal(frame_decode_header(by_hand, &limits_default, &h), 0);
    assert_int_equal(h.kind, FRAME_RESPONSE);
    assert_int_equal(h.call, CALL_PRODUCE);
    assert_int_equal(h.call_version, 1);
    assert_int_equal(h.status, ERR_NOT_LEADER);
    assert_int_equal(h.correlation, 0x01020304);
    assert_int_equal(h.message_length, 0x0506);
    assert_int_equal(h.payload_length, 0x070809);
    assert_int_equal(frame_size(&h), 32 + 0x0506 + 0x070809);
}

static void every_flipped_bit_is_malformed(void **state)
{
    for (size_t bit = 0; bit < FRAME_HEADER_SIZE * 8; bit++) {
        uint8_t in[FRAME_HEADER_SIZE];

        memcpy(in, by_hand, sizeof in);
        in[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(decode(in), ERR_MALFORMED);
    }
}

static void rejects_each_field_that_makes_no_sense(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        int err;
    } cases[] = {
        {0, 'c', ERR_MALFORMED},
        {3, '2', ERR_MALFORMED},
        {4, 0, ERR_VERSION},
        {4, 2, ERR_VERSION},
        {5, 0, ERR_MALFORMED},
        {5, 3, ERR_MALFORMED},
        {5, 1, ERR_MALFORMED}, /* a request with a status */
        {24, 1, ERR_MALFORMED},
        {27, 128, ERR_MALFORMED},
        {19, 1, ERR_TOO_BIG},
        {23, 255, ERR_TOO_BIG},
        {6, 255, 0},
        {8, 255, 0}, /* calls and their versions are not the frame's business */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t in[FRAME_HEADER_SIZE];
        struct frame_header h = {.call = 77};
        int rv;

        memcpy(in, by_hand, sizeof in);
        in[cases[i].at] = cases[i].value;
        fix_crc(in);
        rv = frame_decode_header(in, &limits_default, &h);
        assert_int_equal(rv, cases[i].err);
        assert_true(rv == 0 || h.call == 77);
    }
}

static void holds_the_limits_exactly(void **state)
{
    struct frame_limits limits = {.message_max = 0x0506, .payload_max = 0x070809};
    struct frame_header h;

    assert_int_equal(frame_decode_header(by_hand, &limits, &h), 0);
    limits.message_max--;
    assert_int_equal(frame_decode_header(by_hand, &limits, &h), ERR_TOO_BIG);
    limits.message_max++;
    limits.payload_max--;
    assert_int_equal(frame_decode_header(by_hand, &limits, &h), ERR_TOO_BIG);
}

static void knows_its_calls_and_their_versions(void **state)
{
    assert_int_equal(call_check(CALL_HELLO, 1), 0);
    assert_int_equal(call_check(CALL_HELLO, 0), ERR_VERSION);
    assert_int_equal(call_check(CALL_HELLO, 2), ERR_VERSION);
    assert_int_equal(call_check(0, 1), ERR_UNKNOWN_CALL);
    assert_int_equal(call_check(63, 1), ERR_UNKNOWN_CALL);
    assert_int_equal(call_check(65535, 1), ERR_UNKNOWN_CALL);
    assert_string_equal(call_name(CALL_PRODUCE), "PRODUCE");
    assert_string_equal(call_name(CALL_ALLOCATE), "ALLOCATE");
    assert_string_equal(call_name(0), "UNKNOWN_CALL");
    assert_false(call_is_peer(CALL_GROUP_LAG));
    assert_true(call_is_peer(CALL_PEER_HELLO));
}

/* The numbers are the protocol: a renumbered call breaks every older client. */
static void call_numbers_stay(void **state)
{
    assert_int_equal(CALL_HELLO, 1);
    assert_int_equal(CALL_METADATA, 2);
    assert_int_equal(CALL_PRODUCE, 3);
    assert_int_equal(CALL_FETCH, 4);
    assert_int_equal(CALL_LIST_OFFSETS, 5);
    assert_int_equal(CALL_INIT_PRODUCER_ID, 6);
    assert_int_equal(CALL_CREATE_TOPIC, 7);
    assert_int_equal(CALL_DELETE_TOPIC, 8);
    assert_int_equal(CALL_LIST_TOPICS, 9);
    assert_int_equal(CALL_DESCRIBE_TOPIC, 10);
    assert_int_equal(CALL_CLUSTER_STATUS, 11);
    assert_int_equal(CALL_FIND_COORDINATOR, 12);
    assert_int_equal(CALL_JOIN_GROUP, 13);
    assert_int_equal(CALL_SYNC_GROUP, 14);
    assert_int_equal(CALL_GROUP_HEARTBEAT, 15);
    assert_int_equal(CALL_LEAVE_GROUP, 16);
    assert_int_equal(CALL_COMMIT_OFFSETS, 17);
    assert_int_equal(CALL_FETCH_OFFSETS, 18);
    assert_int_equal(CALL_LIST_GROUPS, 19);
    assert_int_equal(CALL_DESCRIBE_GROUPS, 20);
    assert_int_equal(CALL_DELETE_GROUPS, 21);
    assert_int_equal(CALL_DELETE_OFFSETS, 22);
    assert_int_equal(CALL_GROUP_LAG, 23);
    assert_int_equal(CALL_PEER_HELLO, 64);
    assert_int_equal(CALL_PEER_RAFT, 65);
    assert_int_equal(CALL_PEER_LEADERS, 66);
    assert_int_equal(CALL_FORM, 67);
    assert_int_equal(CALL_JOIN, 68);
    assert_int_equal(CALL_METADATA_PROPOSE, 69);
    assert_int_equal(CALL_ALLOCATE, 70);
    assert_int_equal(CALL_PEER_LOG_ENDS, 71);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_reads_the_header_made_by_hand), cmocka_unit_test(every_flipped_bit_is_malformed),
        cmocka_unit_test(rejects_each_field_that_makes_no_sense),   cmocka_unit_test(holds_the_limits_exactly),
        cmocka_unit_test(knows_its_calls_and_their_versions),       cmocka_unit_test(call_numbers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
