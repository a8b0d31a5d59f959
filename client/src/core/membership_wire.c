#include "client/src/core/membership_wire.h"

#include <stdlib.h>
#include <string.h>

#define SUBSCRIPTION_VERSION 2 /* with what is owned since 1, and in which generation since 2 */
#define ASSIGNMENT_VERSION 0
#define VERSION_SIZE 2

static int subscription_finish(const struct kafka_consumer_subscription *s, uint8_t **out, size_t *size)
{
    size_t capacity = VERSION_SIZE + kafka_consumer_subscription_size(SUBSCRIPTION_VERSION, s);
    uint8_t *bytes = malloc(capacity);
    struct writer w;
    int rv;

    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    writer_init(&w, bytes, capacity);
    writer_i16_be(&w, SUBSCRIPTION_VERSION);
    rv = kafka_consumer_subscription_encode(&w, SUBSCRIPTION_VERSION, s);
    if (rv != 0) {
        free(bytes);
        return rv;
    }
    *out = bytes;
    *size = w.position;
    return 0;
}

/* One entry a partition: readers put them together. */
static void owned_fill(const struct membership *g, struct kafka_consumer_subscription_topic *owned, int32_t *numbers)
{
    for (size_t i = 0; i < g->assigned.count; i++) {
        kafka_consumer_subscription_topic_init(&owned[i]);
        numbers[i] = (int32_t)g->assigned.items[i].partition;
        owned[i].topic = kafka_string(g->assigned.items[i].topic->name);
        owned[i].partitions = &numbers[i];
        owned[i].partitions_count = 1;
    }
}

int membership_subscription_write(const struct membership *g, enum assignor a, uint8_t **out, size_t *size)
{
    bool owns = a == ASSIGNOR_COOPERATIVE_STICKY;
    struct kafka_string *topics = calloc(g->topics.count + 1, sizeof *topics);
    struct kafka_consumer_subscription_topic *owned = calloc(g->assigned.count + 1, sizeof *owned);
    int32_t *numbers = calloc(g->assigned.count + 1, sizeof *numbers);
    uint32_t generation = __builtin_bswap32((uint32_t)g->joined_generation);
    struct kafka_consumer_subscription s;
    int rv = ERR_NOMEM;

    if (topics != NULL && owned != NULL && numbers != NULL) {
        kafka_consumer_subscription_init(&s);
        for (size_t i = 0; i < g->topics.count; i++) {
            topics[i] = kafka_string(g->topics.items[i].topic->name);
        }
        s.topics = topics;
        s.topics_count = (int32_t)g->topics.count;
        s.user_data.length = -1;
        if (owns) {
            owned_fill(g, owned, numbers);
            s.owned_partitions = owned;
            s.owned_partitions_count = (int32_t)g->assigned.count;
            s.generation_id = g->joined_generation;
            s.user_data.data = (const uint8_t *)&generation; /* where older Java clients look for it */
            s.user_data.length = sizeof generation;
        }
        rv = subscription_finish(&s, out, size);
    }
    free(topics);
    free(owned);
    free(numbers);
    return rv;
}

int membership_assignment_write(const struct assignor_plan *plan, const struct assignor_member *member, uint8_t **out,
                                size_t *size)
{
    size_t n = member->assigned.count;
    struct kafka_consumer_assignment_topic *topics = calloc(n + 1, sizeof *topics);
    int32_t *numbers = calloc(n + 1, sizeof *numbers);
    struct kafka_consumer_assignment a;
    struct writer w;
    size_t capacity;
    uint8_t *bytes = NULL;
    int rv = ERR_NOMEM;

    if (topics == NULL || numbers == NULL) {
        goto out;
    }
    kafka_consumer_assignment_init(&a);
    a.assigned_partitions = topics;
    for (size_t i = 0; i < n; i++) { /* they come topic by topic */
        const struct assignor_part *part = &member->assigned.items[i];
        numbers[i] = (int32_t)part->partition;
        if (i == 0 || part->topic != member->assigned.items[i - 1].topic) {
            struct kafka_consumer_assignment_topic *t = &topics[a.assigned_partitions_count++];
            kafka_consumer_assignment_topic_init(t);
            t->topic = kafka_string(plan->topics[part->topic].name);
            t->partitions = &numbers[i];
        }
        topics[a.assigned_partitions_count - 1].partitions_count++;
    }
    a.user_data.length = -1;
    capacity = VERSION_SIZE + kafka_consumer_assignment_size(ASSIGNMENT_VERSION, &a);
    bytes = malloc(capacity);
    if (bytes == NULL) {
        goto out;
    }
    writer_init(&w, bytes, capacity);
    writer_i16_be(&w, ASSIGNMENT_VERSION);
    rv = kafka_consumer_assignment_encode(&w, ASSIGNMENT_VERSION, &a);
    if (rv != 0) {
        free(bytes);
        goto out;
    }
    *out = bytes;
    *size = w.position;
out:
    free(topics);
    free(numbers);
    return rv;
}

static int assignment_topic(struct core *core, const struct kafka_consumer_assignment_topic *t,
                            struct membership_parts *out)
{
    char name[CLIENT_TOPIC_NAME_MAX + 1];
    int rv;

    if (t->topic.length <= 0 || t->topic.length > CLIENT_TOPIC_NAME_MAX) {
        return ERR_MALFORMED;
    }
    memcpy(name, t->topic.data, (size_t)t->topic.length);
    name[t->topic.length] = '\0';
    for (int32_t k = 0; k < t->partitions_count; k++) {
        if (t->partitions[k] < 0) {
            return ERR_MALFORMED;
        }
        rv = membership_parts_add(core, out, name, (uint32_t)t->partitions[k], -1);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

int membership_assignment_read(struct core *core, const uint8_t *bytes, size_t size, struct membership_parts *out)
{
    struct kafka_consumer_assignment a;
    struct kafka_arena arena;
    struct kafka_bytes in = {.data = bytes, .length = (int32_t)size};
    int rv;

    kafka_arena_init(&arena, MEMBERSHIP_WIRE_ARENA_MAX);
    rv = kafka_consumer_assignment_parse(in, &arena, &a);
    for (int32_t i = 0; rv == 0 && i < a.assigned_partitions_count; i++) {
        rv = assignment_topic(core, &a.assigned_partitions[i], out);
    }
    kafka_arena_close(&arena);
    return rv;
}
