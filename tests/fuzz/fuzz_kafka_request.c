/* A request frame as it comes from a socket: size, header, message by the header's api and version; and, by the same
 * bytes, what consumers put into their group's metadata. */
#include <assert.h>
#include <stdlib.h>

#include "proto/kafka/kafka_codec.h"
#include "proto/kafka/kafka_consumer.h"
#include "proto/kafka/kafka_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_SIZE (1u << 20) /* bytes */

static void read_request(const uint8_t *data, size_t size, struct kafka_arena *arena)
{
    struct kafka_header h;
    struct cursor c;
    void *message;
    int rv;

    cursor_init(&c, data, size);
    rv = kafka_header_parse(&c, &h);
    assert(rv == 0 || rv == ERR_MALFORMED || rv == ERR_UNKNOWN_CALL || rv == ERR_VERSION || rv == ERR_TOO_BIG);
    if (rv != 0) {
        return;
    }
    assert(h.api != NULL && h.api->key == h.key);
    message = malloc(h.api->request->body->size);
    assert(message != NULL);
    rv = kafka_decode(h.api->request, &c, h.version, arena, message);
    assert(rv == 0 || rv == ERR_MALFORMED || rv == ERR_TOO_BIG || rv == ERR_NOMEM);
    free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kafka_bytes bytes = {data, (int32_t)size};
    struct kafka_consumer_subscription subscription;
    struct kafka_consumer_assignment assignment;
    struct kafka_arena arena;
    uint32_t frame_size;

    kafka_arena_init(&arena, ARENA_SIZE);
    if (size >= KAFKA_FRAME_PREFIX_SIZE && kafka_frame_size(data, 1u << 20, &frame_size) == 0 &&
        frame_size <= size - KAFKA_FRAME_PREFIX_SIZE) {
        read_request(data + KAFKA_FRAME_PREFIX_SIZE, frame_size, &arena);
        kafka_arena_reset(&arena);
    }
    (void)!kafka_consumer_subscription_parse(bytes, &arena, &subscription);
    kafka_arena_reset(&arena);
    (void)!kafka_consumer_assignment_parse(bytes, &arena, &assignment);
    kafka_arena_close(&arena);
    return 0;
}
