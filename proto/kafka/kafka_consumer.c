#include "proto/kafka/kafka_consumer.h"

/* The version that leads the bytes, cut to what @message knows. */
static int16_t read_version(struct cursor *c, const struct kafka_message *message)
{
    int16_t version = cursor_i16_be(c);

    return version > message->version_max ? message->version_max : version;
}

int kafka_consumer_subscription_parse(struct kafka_bytes bytes, struct kafka_arena *arena,
                                      struct kafka_consumer_subscription *out)
{
    struct cursor c, again;
    int16_t version;
    int rv;

    cursor_init(&c, bytes.data, bytes.length > 0 ? (size_t)bytes.length : 0);
    version = read_version(&c, &kafka_message_consumer_subscription);
    again = c;
    rv = kafka_consumer_subscription_decode(&c, version, arena, out);
    if (rv == ERR_MALFORMED && version > 0) {
        rv = kafka_consumer_subscription_decode(&again, 0, arena, out);
    }
    return rv;
}

int kafka_consumer_assignment_parse(struct kafka_bytes bytes, struct kafka_arena *arena,
                                    struct kafka_consumer_assignment *out)
{
    struct cursor c;
    int16_t version;

    if (bytes.length <= 0) {
        kafka_consumer_assignment_init(out);
        return 0;
    }
    cursor_init(&c, bytes.data, (size_t)bytes.length);
    version = read_version(&c, &kafka_message_consumer_assignment);
    return kafka_consumer_assignment_decode(&c, version, arena, out);
}
