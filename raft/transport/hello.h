/* The first message of a peer link in both directions: who speaks, for whom, and what the connection carries. */
#ifndef CAIRN_TRANSPORT_HELLO_H
#define CAIRN_TRANSPORT_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "raft/transport/transport.h"

#define HELLO_MESSAGE_MAX 2048 /* bytes of a hello or a refusal on the wire */

struct hello {
    uint32_t protocol_min;
    uint32_t protocol_max;
    uint32_t to_node; /* 0: whoever is there */
    uint32_t lane;    /* enum transport_lane */
    struct transport_identity id;
};

/* Errors: ERR_TOO_BIG. */
int hello_encode(const struct hello *hello, uint8_t *out, size_t size, size_t *length) MUST_USE;
/* Errors: ERR_MALFORMED (bytes, or fields that cannot be), ERR_NOMEM. */
int hello_decode(const uint8_t *data, size_t size, struct hello *out) MUST_USE;

int refusal_encode(int err, const char *text, uint8_t *out, size_t size, size_t *length) MUST_USE;
/* @text is ERRMSG_SIZE, with control characters made harmless. Errors: ERR_MALFORMED. */
int refusal_decode(const uint8_t *data, size_t size, int *err, char *text) MUST_USE;

/* Highest boot counter seen of each disk in this life of the process. */
#define HELLO_BOOTS_MAX 1024 /* disks; at the limit the oldest is forgotten */
struct hello_boots {
    struct {
        struct uuid disk_id;
        uint64_t boot;
    } seen[HELLO_BOOTS_MAX];
    uint32_t n;
    uint32_t next;
};
void hello_boots_note(struct hello_boots *boots, const struct uuid *disk_id, uint64_t boot);

/* All that can be said without the owner. @expected: the node we dialled, 0: any. @self is this node.
 * Errors, with @text (ERRMSG_SIZE) for the peer and the log: ERR_VERSION, ERR_NODE_MISMATCH, ERR_CLUSTER_MISMATCH,
 * ERR_STALE_BOOT. */
int hello_check(const struct hello *hello, const struct transport_identity *self, uint32_t expected,
                const struct hello_boots *boots, char *text) MUST_USE;

#endif
