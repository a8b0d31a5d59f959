#include "tests/unit/transport/fixture.h"

#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "raft/transport/outbox.h"
#include "raft/transport/peer_frame.h"

/* What would be written, as one stream. */
struct stream {
    uint8_t *data;
    size_t size;
    unsigned takes;
};

static struct stream drain(struct outbox *o, size_t iov_max)
{
    struct stream s = {.data = malloc(64u << 20)};
    struct iovec iov[ENV_IOV_MAX];
    size_t n;

    assert_non_null(s.data);
    while ((n = outbox_take(o, iov, iov_max)) > 0) {
        for (size_t i = 0; i < n; i++) {
            memcpy(s.data + s.size, iov[i].iov_base, iov[i].iov_len);
            s.size += iov[i].iov_len;
        }
        s.takes++;
        (void)outbox_written(o);
    }
    return s;
}

static const struct frame_limits limits = {.message_max = FRAME_MESSAGE_MAX, .payload_max = FRAME_PAYLOAD_MAX};

/* Header of the frame at @at; the next one begins behind it. */
static size_t frame_at(const struct stream *s, size_t at, struct frame_header *h)
{
    assert_true(at + FRAME_HEADER_SIZE <= s->size);
    assert_int_equal(frame_decode_header(s->data + at, &limits, h), 0);
    assert_true(at + frame_size(h) <= s->size);
    return at + frame_size(h);
}

static void thousands_of_messages_share_one_frame(void **state)
{
    struct frame_header h;
    struct outbox o;
    struct stream s;
    uint8_t header[92] = {0};

    outbox_init(&o, 16u << 20, 8u << 20);
    for (uint64_t i = 0; i < 5000; i++) {
        assert_int_equal(outbox_message(&o, i, header, sizeof(header), NULL, 0), 0);
    }
    s = drain(&o, ENV_IOV_MAX);
    assert_int_equal(frame_at(&s, 0, &h), s.size);
    assert_int_equal(h.call, CALL_PEER_RAFT);
    assert_int_equal(h.payload_length, 5000 * (PEER_FRAME_PREFIX_SIZE + sizeof(header)));
    assert_int_equal(s.takes, 1);
    free(s.data);
    outbox_close(&o);
}

static void large_payloads_are_not_copied(void **state)
{
    struct entry *entries[2] = {test_entry(NULL, 1, 1, OUTBOX_COPY_MAX), test_entry(NULL, 1, 2, OUTBOX_COPY_MAX - 1)};
    struct iovec iov[16];
    struct outbox o;
    size_t n;

    outbox_init(&o, 1u << 20, 1u << 20);
    assert_int_equal(outbox_message(&o, 1, (const uint8_t *)"x", 1, entries, 2), 0);
    n = outbox_take(&o, iov, 16);
    assert_int_equal(n, 3);
    assert_ptr_equal(iov[1].iov_base, entries[0]->data);
    assert_int_equal(atomic_load(&entries[0]->refs), 2);
    assert_int_equal(atomic_load(&entries[1]->refs), 1);
    assert_true(outbox_written(&o));
    assert_int_equal(atomic_load(&entries[0]->refs), 1);
    entry_release(entries[0]);
    entry_release(entries[1]);
    outbox_close(&o);
}

static void frames_are_cut_and_control_messages_stand_between(void **state)
{
    struct frame_header h;
    struct outbox o;
    struct stream s;
    uint8_t header[500] = {0};
    size_t at;

    outbox_init(&o, 1u << 20, 1000);
    assert_int_equal(outbox_message(&o, 1, header, 400, NULL, 0), 0);
    assert_int_equal(outbox_message(&o, 2, header, 400, NULL, 0), 0);
    assert_int_equal(outbox_message(&o, 3, header, 400, NULL, 0), 0);
    assert_int_equal(outbox_frame(&o, FRAME_REQUEST, CALL_FORM, 9, (const uint8_t *)"abc", 3), 0);
    assert_int_equal(outbox_message(&o, 4, header, 500, NULL, 0), 0);
    s = drain(&o, ENV_IOV_MAX);
    at = frame_at(&s, 0, &h);
    assert_int_equal(h.payload_length, 2 * 416);
    at = frame_at(&s, at, &h);
    assert_int_equal(h.payload_length, 416);
    at = frame_at(&s, at, &h);
    assert_int_equal(h.call, CALL_FORM);
    assert_int_equal(h.correlation, 9);
    assert_int_equal(h.message_length, 3);
    at = frame_at(&s, at, &h);
    assert_int_equal(h.payload_length, 516);
    assert_int_equal(at, s.size);
    free(s.data);
    outbox_close(&o);
}

static void a_batch_of_many_pieces_leaves_in_several_writes(void **state)
{
    struct entry *entry = test_entry(NULL, 1, 1, 2000);
    struct frame_header h;
    struct outbox o;
    struct stream s;

    outbox_init(&o, 64u << 20, 8u << 20);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(outbox_message(&o, 1, (const uint8_t *)"x", 1, &entry, 1), 0);
    }
    s = drain(&o, 7);
    assert_true(s.takes > 10);
    assert_int_equal(frame_at(&s, 0, &h), s.size);
    assert_int_equal(atomic_load(&entry->refs), 1);
    entry_release(entry);
    free(s.data);
    outbox_close(&o);
}

static void the_queue_is_bounded_and_what_flies_counts(void **state)
{
    struct outbox o;
    struct iovec iov[4];
    uint8_t header[84] = {0};

    outbox_init(&o, 1000, 1u << 20);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), 0);
    }
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), ERR_BUSY);
    assert_int_equal(outbox_frame(&o, FRAME_REQUEST, CALL_FORM, 0, header, sizeof(header)), ERR_BUSY);
    assert_int_equal(outbox_take(&o, iov, 4), 1);
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), ERR_BUSY);
    assert_false(outbox_ready(&o));
    assert_true(outbox_written(&o));
    assert_int_equal(outbox_bytes(&o), 0);
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), 0);
    assert_true(outbox_ready(&o));
    outbox_close(&o);
}

/* With many groups on a slow way something always waits: a large message must not need an empty queue. */
static void a_lowered_limit_is_overshot_once(void **state)
{
    struct outbox o;
    uint8_t header[84] = {0};
    struct entry *big[1];
    struct buf *buf = buf_new(NULL, 5000);

    memset(buf->data, 7, 5000);
    big[0] = entry_new(ENTRY_COMMAND, buf, buf->data, 5000);
    outbox_init(&o, 12000, 1u << 20);
    o.limit_bytes = 1000;
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), 0);
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), big, 1), 0);
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), ERR_BUSY);
    o.limit_bytes = 12000;
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), big, 1), 0);
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), big, 1), ERR_BUSY);
    outbox_close(&o);
    entry_release(big[0]);
    buf_release(buf);
}

static void what_no_frame_can_hold_is_refused(void **state)
{
    struct outbox o;
    uint8_t header[PEER_FRAME_HEADER_MAX + 1] = {0};

    outbox_init(&o, 1u << 20, 1u << 20);
    assert_int_equal(outbox_message(&o, 1, header, sizeof(header), NULL, 0), ERR_TOO_BIG);
    assert_int_equal(outbox_frame(&o, FRAME_REQUEST, CALL_FORM, 0, header, FRAME_MESSAGE_MAX + 1), ERR_TOO_BIG);
    assert_int_equal(outbox_bytes(&o), 0);
    outbox_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_messages_share_one_frame),
        cmocka_unit_test(large_payloads_are_not_copied),
        cmocka_unit_test(frames_are_cut_and_control_messages_stand_between),
        cmocka_unit_test(a_batch_of_many_pieces_leaves_in_several_writes),
        cmocka_unit_test(the_queue_is_bounded_and_what_flies_counts),
        cmocka_unit_test(a_lowered_limit_is_overshot_once),
        cmocka_unit_test(what_no_frame_can_hold_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
