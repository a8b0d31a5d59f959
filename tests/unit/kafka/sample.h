/* Random messages and their comparison, by the tables alone: one test for all messages that there are or will be. */
#ifndef CAIRN_TEST_KAFKA_SAMPLE_H
#define CAIRN_TEST_KAFKA_SAMPLE_H

#include "proto/kafka/kafka_codec.h"

struct sample {
    struct kafka_arena *arena; /* everything that a message points to */
    uint64_t state;            /* of the random numbers; never 0 */
    int16_t version;
};

uint64_t sample_random(struct sample *s, uint64_t end); /* [0, end) */

/* Fill @out with what @version can say: fields that it lacks have their defaults, others anything. */
void sample_fill(struct sample *s, const struct kafka_struct *type, void *out);

/* NULL, or the name of the first field in which the two differ. */
const char *sample_difference(const struct kafka_struct *type, const void *a, const void *b);

/* A new message of zeroes, from malloc. */
void *sample_new(const struct kafka_message *message);

#endif
