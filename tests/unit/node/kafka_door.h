/* A Kafka session at a node of door.h, without sockets: requests go in as frames of any version, responses come out
 * decoded. */
#ifndef CAIRN_TESTS_KAFKA_DOOR_H
#define CAIRN_TESTS_KAFKA_DOOR_H

#include "node/kafka/kafka.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_arena.h"
#include "proto/kafka/kafka_codec.h"
#include "proto/kafka/kafka_error.h"
#include "tests/unit/node/door.h"

struct kafka_door {
    struct door *door;
    unsigned at; /* node */
    struct kafka_settings settings;
    struct kafka_session session;
    struct list answers;      /* struct service_answer, in order */
    struct kafka_arena arena; /* of the response that was decoded last */
    uint8_t *last;            /* its bytes */
    int32_t correlation;
    bool wake;
    bool ended; /* the session wanted its connection closed */
    bool idle;
    char errmsg[ERRMSG_SIZE];
};

void kafka_door_open(struct kafka_door *k, struct door *d, unsigned at);
/* As a connection that is lost; waits until nothing is under way any more. */
void kafka_door_close(struct kafka_door *k);
/* The client is gone, its requests are not: kafka_door_close() waits for them. */
void kafka_door_hang_up(struct kafka_door *k);

void kafka_door_send(struct kafka_door *k, int16_t key, int16_t version, const void *request);
/* A message of any bytes, whole or not, behind a header that is right. */
void kafka_door_send_bytes(struct kafka_door *k, int16_t key, int16_t version, const void *message, size_t size);
/* Drop responses until nothing is under way, or the session has ended. False: not within @limit_ms. */
bool kafka_door_settle(struct kafka_door *k, uint64_t limit_ms);
/* The next response, decoded as @key's in @version: good until the next call. False: none within @limit_ms, or the
 * session has ended. Fails the test where it does not decode, leaves bytes over, or answers another request. */
bool kafka_door_wait(struct kafka_door *k, int16_t key, int16_t version, void *response, uint64_t limit_ms);
/* Both, one after the other, in up to 40 s. */
void kafka_door_ask(struct kafka_door *k, int16_t key, int16_t version, const void *request, void *response);

#endif
