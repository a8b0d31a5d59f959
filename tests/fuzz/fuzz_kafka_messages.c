/* Every Kafka message, in every version, both directions: the first byte chooses the message, the second its version.
 * Whatever decodes can be encoded, takes as many bytes as it says, and is a fixed point from then on. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/kafka/kafka_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_SIZE (1u << 20) /* bytes */

/* Decode, and encode again: *@out_size bytes, or NULL where the bytes are no message. */
static uint8_t *pass(const struct kafka_message *m, int16_t version, const uint8_t *bytes, size_t size,
                     size_t *out_size)
{
    struct kafka_arena arena;
    struct cursor c;
    struct writer w;
    uint8_t *out = NULL;
    void *message = malloc(m->body->size);
    int rv;

    assert(message != NULL);
    kafka_arena_init(&arena, ARENA_SIZE);
    cursor_init(&c, bytes, size);
    rv = kafka_decode(m, &c, version, &arena, message);
    assert(arena.size <= ARENA_SIZE);
    if (rv == 0) {
        *out_size = kafka_size(m, version, message);
        out = malloc(*out_size + 1);
        assert(out != NULL);
        writer_init(&w, out, *out_size);
        rv = kafka_encode(m, &w, version, message);
        assert(rv == 0 && w.position == *out_size);
    }
    kafka_arena_close(&arena);
    free(message);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kafka_message *m;
    uint8_t *once, *twice;
    size_t once_size, twice_size;
    int16_t version;

    if (size < 2) {
        return 0;
    }
    m = kafka_messages[data[0] % kafka_messages_count];
    version = (int16_t)(m->version_min + data[1] % (m->version_max - m->version_min + 1));
    once = pass(m, version, data + 2, size - 2, &once_size);
    if (once == NULL) {
        return 0;
    }
    twice = pass(m, version, once, once_size, &twice_size);
    assert(twice != NULL && twice_size == once_size && memcmp(once, twice, once_size) == 0);
    free(once);
    free(twice);
    return 0;
}
