#include "node/fsm/group/group_types.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cursor.h"

struct group_blob *group_blob_new(const void *data, size_t size)
{
    struct group_blob *blob;
    assert(size < UINT32_MAX);
    blob = malloc(sizeof *blob + size + 1);
    if (blob == NULL) {
        return NULL;
    }
    atomic_init(&blob->refs, 1);
    blob->size = (uint32_t)size;
    if (size > 0) {
        memcpy(blob->data, data, size);
    }
    blob->data[size] = '\0';
    return blob;
}

struct group_blob *group_blob_text(const char *text)
{
    return group_blob_new(text, strlen(text));
}

struct group_blob *group_blob_acquire(struct group_blob *blob)
{
    if (blob != NULL) {
        atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    }
    return blob;
}

void group_blob_release(struct group_blob *blob)
{
    if (blob != NULL && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1) {
        free(blob);
    }
}

bool group_blob_is(const struct group_blob *blob, const char *text)
{
    return blob != NULL && strcmp(blob->data, text) == 0;
}

bool group_blob_equal(const struct group_blob *a, const struct group_blob *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

void group_protocols_free(struct group_protocol *protocols, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        group_blob_release(protocols[i].name);
        group_blob_release(protocols[i].metadata);
    }
    free(protocols);
}

int group_member_copy(struct group_member *to, const struct group_member *from)
{
    memset(to, 0, sizeof *to);
    if (from->n_protocols > 0) {
        to->protocols = calloc(from->n_protocols, sizeof to->protocols[0]);
        if (to->protocols == NULL) {
            return ERR_NOMEM;
        }
    }
    to->n_protocols = from->n_protocols;
    for (uint32_t i = 0; i < from->n_protocols; i++) {
        to->protocols[i].name = group_blob_acquire(from->protocols[i].name);
        to->protocols[i].metadata = group_blob_acquire(from->protocols[i].metadata);
    }
    to->id = group_blob_acquire(from->id);
    to->instance = group_blob_acquire(from->instance);
    to->client_id = group_blob_acquire(from->client_id);
    to->client_host = group_blob_acquire(from->client_host);
    to->assignment = group_blob_acquire(from->assignment);
    to->session_timeout_ms = from->session_timeout_ms;
    to->rebalance_timeout_ms = from->rebalance_timeout_ms;
    return 0;
}

void group_member_clear(struct group_member *m)
{
    group_protocols_free(m->protocols, m->n_protocols);
    group_blob_release(m->id);
    group_blob_release(m->instance);
    group_blob_release(m->client_id);
    group_blob_release(m->client_host);
    group_blob_release(m->assignment);
    memset(m, 0, sizeof *m);
}

struct group_blob *group_member_metadata(const struct group_member *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_protocols; i++) {
        if (group_blob_is(m->protocols[i].name, name)) {
            return m->protocols[i].metadata;
        }
    }
    return NULL;
}

bool group_member_same_protocols(const struct group_member *a, const struct group_member *b)
{
    if (a->n_protocols != b->n_protocols) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_protocols; i++) {
        if (!group_blob_equal(a->protocols[i].name, b->protocols[i].name) ||
            !group_blob_equal(a->protocols[i].metadata, b->protocols[i].metadata)) {
            return false;
        }
    }
    return true;
}

static size_t blob_size(const struct group_blob *blob)
{
    return blob == NULL ? 0 : blob->size;
}

size_t group_member_bytes(const struct group_member *m)
{
    /* What protobuf adds to each field stays below these. */
    size_t bytes = 64 + blob_size(m->id) + blob_size(m->instance) + blob_size(m->client_id) + blob_size(m->client_host);
    for (uint32_t i = 0; i < m->n_protocols; i++) {
        bytes += 16 + blob_size(m->protocols[i].name) + blob_size(m->protocols[i].metadata);
    }
    return bytes;
}

/* ConsumerProtocolSubscription: all its versions begin with the version and the topics. The topics' bytes, count left
 * out. */
static bool topics_of(const struct group_blob *metadata, struct cursor *topics, int32_t *n)
{
    struct cursor c;
    size_t begin;
    cursor_init(&c, metadata->data, metadata->size);
    (void)cursor_i16_be(&c);
    *n = cursor_i32_be(&c);
    begin = c.position;
    for (int32_t i = 0; i < *n && !cursor_failed(&c); i++) {
        int16_t length = cursor_i16_be(&c);
        if (length < 0) {
            return false;
        }
        (void)cursor_bytes(&c, (size_t)length);
    }
    if (cursor_failed(&c) || *n < 0) {
        return false;
    }
    cursor_init(topics, metadata->data + begin, c.position - begin);
    return true;
}

bool group_subscribes(const struct group_blob *metadata, const char *topic)
{
    struct cursor c;
    int32_t n;
    size_t length = strlen(topic);
    if (!topics_of(metadata, &c, &n)) {
        return true;
    }
    for (int32_t i = 0; i < n; i++) {
        size_t size = (size_t)cursor_i16_be(&c);
        const uint8_t *name = cursor_bytes(&c, size);
        if (size == length && memcmp(name, topic, length) == 0) {
            return true;
        }
    }
    return false;
}

bool group_same_topics(const struct group_blob *a, const struct group_blob *b)
{
    struct cursor ca;
    struct cursor cb;
    int32_t na;
    int32_t nb;
    if (!topics_of(a, &ca, &na) || !topics_of(b, &cb, &nb)) {
        return group_blob_equal(a, b);
    }
    return na == nb && ca.size == cb.size && memcmp(ca.data, cb.data, ca.size) == 0;
}
