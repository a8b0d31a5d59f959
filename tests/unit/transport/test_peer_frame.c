#include "tests/unit/transport/fixture.h"

#include "raft/transport/peer_frame.h"

struct built {
    struct buf *buf;
    size_t size;
};

static struct built build(uint64_t group, const char *header, struct entry **entries, uint32_t n)
{
    struct built b = {.buf = buf_new(NULL, 1u << 16)};
    struct writer w;

    assert_non_null(b.buf);
    writer_init(&w, b.buf->data, b.buf->capacity);
    peer_frame_prefix(writer_reserve(&w, PEER_FRAME_PREFIX_SIZE), group, (uint32_t)strlen(header), n);
    writer_bytes(&w, header, strlen(header));
    for (uint32_t i = 0; i < n; i++) {
        entry_encode_header(entries[i], writer_reserve(&w, ENTRY_HEADER_SIZE));
        writer_bytes(&w, entries[i]->data, entries[i]->length);
    }
    assert_false(writer_failed(&w));
    b.size = w.position;
    return b;
}

static int decode(const struct built *b, size_t size, struct peer_message *m, struct entry **out)
{
    struct cursor c;
    cursor_init(&c, b->buf->data, size);
    return peer_frame_next(&c, b->buf, m, out);
}

static struct entry *out[PEER_FRAME_ENTRIES_MAX];

static void what_was_written_is_read_in_place(void **state)
{
    struct entry *in[2] = {test_entry(NULL, 7, 10, 100), test_entry(NULL, 7, 11, 0)};
    struct built b = build(7, "header", in, 2);
    struct peer_message m;

    assert_int_equal(decode(&b, b.size, &m, out), 0);
    assert_int_equal(m.group, 7);
    assert_int_equal(m.n, 2);
    assert_memory_equal(m.header, "header", 6);
    assert_int_equal(out[0]->index, 10);
    assert_int_equal(out[0]->crc, in[0]->crc); /* the leader's */
    assert_true(out[0]->data > b.buf->data && out[0]->data < b.buf->data + b.size);
    assert_memory_equal(out[0]->data, in[0]->data, 100);
    assert_int_equal(out[1]->length, 0);
    for (int i = 0; i < 2; i++) {
        entry_release(in[i]);
        entry_release(out[i]);
    }
    assert_int_equal(atomic_load(&b.buf->refs), 1);
    buf_release(b.buf);
}

static void every_cut_is_malformed_and_leaks_nothing(void **state)
{
    struct entry *in[2] = {test_entry(NULL, 7, 10, 40), test_entry(NULL, 7, 11, 30)};
    struct built b = build(7, "header", in, 2);
    struct peer_message m;

    for (size_t size = 0; size < b.size; size++) {
        assert_int_equal(decode(&b, size, &m, out), ERR_MALFORMED);
        assert_int_equal(atomic_load(&b.buf->refs), 1);
    }
    entry_release(in[0]);
    entry_release(in[1]);
    buf_release(b.buf);
}

static void every_flipped_bit_of_an_entry_is_noticed(void **state)
{
    struct entry *in[1] = {test_entry(NULL, 7, 10, 40)};
    struct built b = build(7, "header", in, 1);
    struct peer_message m;

    for (size_t i = PEER_FRAME_PREFIX_SIZE + 6; i < b.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b.buf->data[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(decode(&b, b.size, &m, out), 0);
            assert_int_equal(atomic_load(&b.buf->refs), 1);
            b.buf->data[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(decode(&b, b.size, &m, out), 0);
    entry_release(out[0]);
    entry_release(in[0]);
    buf_release(b.buf);
}

static void absurd_numbers_are_refused_before_they_are_believed(void **state)
{
    struct built b = build(7, "header", NULL, 0);
    struct peer_message m;

    peer_frame_prefix(b.buf->data, 7, 6, UINT32_MAX);
    assert_int_equal(decode(&b, b.size, &m, out), ERR_TOO_BIG);
    peer_frame_prefix(b.buf->data, 7, 6, PEER_FRAME_ENTRIES_MAX);
    assert_int_equal(decode(&b, b.size, &m, out), ERR_MALFORMED);
    peer_frame_prefix(b.buf->data, 7, PEER_FRAME_HEADER_MAX + 1, 0);
    assert_int_equal(decode(&b, b.size, &m, out), ERR_TOO_BIG);
    peer_frame_prefix(b.buf->data, 7, 7, 0);
    assert_int_equal(decode(&b, b.size, &m, out), ERR_MALFORMED);
    buf_release(b.buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_in_place),
        cmocka_unit_test(every_cut_is_malformed_and_leaks_nothing),
        cmocka_unit_test(every_flipped_bit_of_an_entry_is_noticed),
        cmocka_unit_test(absurd_numbers_are_refused_before_they_are_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
