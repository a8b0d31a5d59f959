/* Between the files of world_group. */
#ifndef TESTS_CLIENT_WORLD_GROUP_INTERNAL_H
#define TESTS_CLIENT_WORLD_GROUP_INTERNAL_H

#include <protobuf-c/protobuf-c.h>

#include "tests/unit/client/world_group.h"

/* One request of a client, until it is answered. */
struct asked {
    struct list link;
    struct world_group *group;
    struct world_link *to; /* NULL: gone */
    struct frame_header header;
    ProtobufCMessage *message;
    void *memory; /* arrays that the request points at */
    union {
        struct coordinator_request request;
        struct coordinator_join join;
        struct coordinator_sync sync;
        struct coordinator_heartbeat heartbeat;
        struct coordinator_leave leave;
        struct coordinator_commit commit;
        struct coordinator_fetch fetch;
        struct coordinator_describe describe;
        struct coordinator_delete del;
        struct coordinator_list list;
    } u;
};

/* Send what @a holds, or an error. */
void group_answer(struct asked *a);
void group_answer_failure(struct asked *a, int err);

#endif
