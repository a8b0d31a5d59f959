/* What the state machine and the coordinator share: counted bytes, and a member as it is saved. */
#ifndef CAIRN_FSM_GROUP_TYPES_H
#define CAIRN_FSM_GROUP_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

/* Immutable counted bytes, followed by a NUL that @size leaves out: names read as text, and subscriptions travel from
 * state to answer without being copied. The count is atomic: an answer may be released on another thread. */
struct group_blob {
    _Atomic uint32_t refs;
    uint32_t size;
    char data[];
};
struct group_blob *group_blob_new(const void *data, size_t size) MUST_USE; /* NULL: out of memory */
struct group_blob *group_blob_text(const char *text) MUST_USE;
struct group_blob *group_blob_acquire(struct group_blob *blob); /* NULL is allowed, here and in release */
void group_blob_release(struct group_blob *blob);
bool group_blob_is(const struct group_blob *blob, const char *text); /* NULL equals no text */
bool group_blob_equal(const struct group_blob *a, const struct group_blob *b);

struct group_protocol {
    struct group_blob *name;
    struct group_blob *metadata;
};

/* A member as it is saved. Owns a reference on each blob, and the array. */
struct group_member {
    struct group_blob *id;
    struct group_blob *instance; /* group.instance.id; NULL: a dynamic member */
    struct group_blob *client_id;
    struct group_blob *client_host;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    uint32_t n_protocols;
    struct group_protocol *protocols; /* in the order of the member's preference */
    struct group_blob *assignment;    /* NULL: none */
};
/* Share everything of @from. Errors: ERR_NOMEM, @to is empty. */
int group_member_copy(struct group_member *to, const struct group_member *from) MUST_USE;
void group_member_clear(struct group_member *m); /* to empty */
/* Its subscription under protocol @name; NULL: not supported. */
struct group_blob *group_member_metadata(const struct group_member *m, const char *name);
bool group_member_same_protocols(const struct group_member *a, const struct group_member *b);
size_t group_member_bytes(const struct group_member *m); /* names and subscriptions; the assignment is left out */
void group_protocols_free(struct group_protocol *protocols, uint32_t n);

/* Whether the consumer protocol's subscription in @metadata names @topic; true also where it cannot be read: to refuse
 * is then the safe answer. */
bool group_subscribes(const struct group_blob *metadata, const char *topic);
/* Whether two subscriptions name the same topics, in the same order; bytes that cannot be read are compared as such. */
bool group_same_topics(const struct group_blob *a, const struct group_blob *b);

#endif
