/* Every message, in each of its versions: what goes out comes back, and no byte of it can be missing. */
#include "tests/unit/kafka/messages/every_type.h"
#include "tests/unit/kafka/test.h"

#define SAMPLES 12     /* random messages a version */
#define SAMPLES_TORN 2 /* of them cut at each byte */
#define ARENA_SIZE (4u << 20)
#define SPLICES 64

typedef void each_fn(const struct kafka_message *message, int16_t version, struct sample *s, unsigned n);

/* Run @fn with @samples seeds for each version of each message. */
static void each_message(unsigned samples, each_fn *fn)
{
    struct kafka_arena arena;

    kafka_arena_init(&arena, ARENA_SIZE);
    for (size_t i = 0; i <= kafka_messages_count; i++) {
        const struct kafka_message *m = i < kafka_messages_count ? kafka_messages[i] : &kafka_message_every_type;
        for (int16_t v = m->version_min; v <= m->version_max; v++) {
            for (unsigned n = 0; n < samples; n++) {
                struct sample s = {&arena, 0x9e3779b97f4a7c15u * (1 + n) + i * 1000 + (uint64_t)v, v};
                fn(m, v, &s, n);
                kafka_arena_reset(&arena);
            }
        }
    }
    kafka_arena_close(&arena);
}

/* Encoded into memory of exactly its size. */
static uint8_t *encode(const struct kafka_message *m, int16_t version, const void *message, size_t *size)
{
    struct writer w;
    uint8_t *bytes;

    *size = kafka_size(m, version, message);
    bytes = malloc(*size + (*size == 0));
    writer_init(&w, bytes, *size);
    assert_int_equal(kafka_encode(m, &w, version, message), 0);
    assert_int_equal(w.position, *size);
    return bytes;
}

static void comes_back(const struct kafka_message *m, int16_t version, struct sample *s, unsigned n)
{
    void *in = sample_new(m), *out = sample_new(m);
    struct cursor c;
    uint8_t *bytes;
    const char *difference;
    size_t size;

    sample_fill(s, m->body, in);
    bytes = encode(m, version, in, &size);
    cursor_init(&c, bytes, size);
    memset(out, 0xa5, m->body->size); /* decoding must not rely on what was there */
    assert_int_equal(kafka_decode(m, &c, version, s->arena, out), 0);
    assert_int_equal(cursor_left(&c), 0);
    difference = sample_difference(m->body, in, out);
    if (difference != NULL) {
        fail_msg("%s version %d sample %u: field %s", m->name, version, n, difference);
    }
    free(bytes);
    free(in);
    free(out);
}

static void every_version_comes_back_as_it_went(void **state)
{
    (void)state;
    each_message(SAMPLES, comes_back);
}

static void misses_no_byte(const struct kafka_message *m, int16_t version, struct sample *s, unsigned n)
{
    void *in = sample_new(m), *out = sample_new(m);
    size_t size;
    uint8_t *bytes;

    sample_fill(s, m->body, in);
    bytes = encode(m, version, in, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *torn = malloc(cut + (cut == 0)); /* of its own, so that ASan sees one byte too many */
        struct cursor c;
        struct writer w;

        memcpy(torn, bytes, cut);
        cursor_init(&c, torn, cut);
        assert_int_equal(kafka_decode(m, &c, version, s->arena, out), ERR_MALFORMED);
        writer_init(&w, torn, cut);
        assert_int_equal(kafka_encode(m, &w, version, in), ERR_BUFFER_FULL);
        free(torn);
    }
    free(bytes);
    free(in);
    free(out);
}

static void a_message_cut_anywhere_is_malformed(void **state)
{
    (void)state;
    each_message(SAMPLES_TORN, misses_no_byte);
}

/* Whatever one flipped byte turns a message into: an error, or a message that can be sent on, alike ever after. */
static void stands_damage(const struct kafka_message *m, int16_t version, struct sample *s, unsigned n)
{
    void *in = sample_new(m), *out = sample_new(m);
    size_t size, again_size;
    uint8_t *bytes, *again;

    sample_fill(s, m->body, in);
    bytes = encode(m, version, in, &size);
    for (size_t at = 0; at < size; at++) {
        uint8_t before = bytes[at];
        struct cursor c;

        bytes[at] = (uint8_t)(before ^ (1 + sample_random(s, 255)));
        cursor_init(&c, bytes, size);
        if (kafka_decode(m, &c, version, s->arena, out) == 0) {
            again = encode(m, version, out, &again_size);
            cursor_init(&c, again, again_size);
            assert_int_equal(kafka_decode(m, &c, version, s->arena, in), 0);
            assert_null(sample_difference(m->body, in, out));
            free(again);
        }
        bytes[at] = before;
    }
    free(bytes);
    free(in);
    free(out);
}

static void damage_is_an_error_or_another_message(void **state)
{
    (void)state;
    each_message(SAMPLES_TORN, stands_damage);
}

/* With the records put back where the splices say, the bytes are those of the plain encoding. */
static void splices_add_up(const struct kafka_message *m, int16_t version, struct sample *s, unsigned n)
{
    struct kafka_splice items[SPLICES];
    struct kafka_splices splices = {items, 0, (uint32_t)sample_random(s, SPLICES)};
    void *in = sample_new(m);
    uint8_t *plain, *spliced, *whole;
    size_t size, at = 0, taken = 0;
    struct writer w;

    sample_fill(s, m->body, in);
    plain = encode(m, version, in, &size);
    spliced = malloc(size + 1);
    whole = malloc(size + 1);
    writer_init(&w, spliced, size);
    assert_int_equal(kafka_encode_spliced(m, &w, version, in, &splices), 0);
    if (splices.count < splices.count_max) {
        assert_int_equal(w.position, kafka_size_spliced(m, version, in));
    }
    for (uint32_t i = 0; i < splices.count; i++) {
        memcpy(whole + at, spliced + taken, items[i].position - taken);
        at += items[i].position - taken;
        taken = items[i].position;
        memcpy(whole + at, items[i].bytes.data, (size_t)items[i].bytes.length);
        at += (size_t)items[i].bytes.length;
    }
    memcpy(whole + at, spliced + taken, w.position - taken);
    assert_int_equal(at + w.position - taken, size);
    assert_memory_equal(whole, plain, size);
    free(plain);
    free(spliced);
    free(whole);
    free(in);
}

static void spliced_records_give_the_same_bytes(void **state)
{
    (void)state;
    each_message(SAMPLES, splices_add_up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_comes_back_as_it_went),
        cmocka_unit_test(a_message_cut_anywhere_is_malformed),
        cmocka_unit_test(damage_is_an_error_or_another_message),
        cmocka_unit_test(spliced_records_give_the_same_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
