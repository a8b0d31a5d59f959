#include "raft/core/core_message.h"

#include <assert.h>
#include <string.h>

#include "proto/base/cursor.h"

#define MESSAGE_FORMAT 1
#define FLAG_FIRST 1u    /* disrupt, granted */
#define FLAG_PRE_VOTE 2u

uint64_t core_append_term_at(const struct core_append *append, uint64_t index)
{
    uint64_t last = append->prev_index;
    if (index <= last) {
        return 0;
    }
    for (uint32_t i = 0; i < append->n_runs; i++) {
        last += append->runs[i].n;
        if (index <= last) {
            return append->runs[i].term;
        }
    }
    return 0;
}

void core_append_split(struct core_message *message, uint32_t n, struct core_message *rest)
{
    struct core_append *a = &message->append;
    struct core_append *b = &rest->append;
    uint32_t left = n;
    uint32_t i = 0;

    assert(message->type == CORE_APPEND && n > 0 && n < a->n);
    *rest = *message;
    while (a->runs[i].n < left) {
        left -= a->runs[i].n;
        i++;
    }
    /* The cut lies in run i, or at its end. */
    b->prev_index = a->prev_index + n;
    b->prev_term = a->runs[i].term;
    b->n = a->n - n;
    b->n_runs = 0;
    for (uint32_t j = i; j < a->n_runs; j++) {
        b->runs[b->n_runs] = a->runs[j];
        if (j == i) {
            b->runs[b->n_runs].n -= left;
        }
        b->n_runs += b->runs[b->n_runs].n > 0;
    }
    a->runs[i].n = left;
    a->n_runs = i + 1;
    a->n = n;
}

static void encode_append(struct writer *w, const struct core_append *a)
{
    writer_u64(w, a->prev_index);
    writer_u64(w, a->prev_term);
    writer_u64(w, a->commit);
    writer_u32(w, a->n);
    writer_u8(w, (uint8_t)a->n_runs);
    for (uint32_t i = 0; i < a->n_runs; i++) {
        writer_u64(w, a->runs[i].term);
        writer_u32(w, a->runs[i].n);
    }
}

static void encode_install(struct writer *w, const struct core_install *install)
{
    size_t size = core_config_encoded_size(&install->config);
    uint8_t *out;
    writer_u64(w, install->last_index);
    writer_u64(w, install->last_term);
    writer_u64(w, install->config_index);
    writer_u32(w, (uint32_t)size);
    out = writer_reserve(w, size);
    if (out != NULL && core_config_encode(&install->config, out, size) != 0) {
        w->failed = true;
    }
}

static uint8_t message_flags(const struct core_message *m)
{
    if (m->type == CORE_VOTE) {
        return (uint8_t)((m->vote.disrupt ? FLAG_FIRST : 0) | (m->vote.pre_vote ? FLAG_PRE_VOTE : 0));
    }
    if (m->type == CORE_VOTE_RESULT) {
        return (uint8_t)((m->vote_result.granted ? FLAG_FIRST : 0) | (m->vote_result.pre_vote ? FLAG_PRE_VOTE : 0));
    }
    return 0;
}

int core_message_encode(const struct core_message *m, void *out, size_t size, size_t *length)
{
    struct writer w;

    writer_init(&w, out, size);
    writer_u8(&w, MESSAGE_FORMAT);
    writer_u8(&w, m->type);
    writer_u8(&w, m->version);
    writer_u8(&w, message_flags(m));
    writer_u64(&w, m->from);
    writer_u64(&w, m->to);
    writer_u64(&w, m->term);
    switch (m->type) {
    case CORE_APPEND:
        if (m->append.n_runs > CORE_APPEND_RUNS_MAX) {
            return ERR_INVALID;
        }
        encode_append(&w, &m->append);
        break;
    case CORE_APPEND_RESULT:
        writer_u64(&w, m->append_result.rejected);
        writer_u64(&w, m->append_result.last);
        writer_u16(&w, m->append_result.features);
        writer_u16(&w, m->append_result.capacity);
        break;
    case CORE_VOTE:
        writer_u64(&w, m->vote.candidate);
        writer_u64(&w, m->vote.last_index);
        writer_u64(&w, m->vote.last_term);
        break;
    case CORE_VOTE_RESULT:
        writer_u16(&w, m->vote_result.features);
        writer_u16(&w, m->vote_result.capacity);
        break;
    case CORE_INSTALL:
        encode_install(&w, &m->install);
        break;
    case CORE_TIMEOUT_NOW:
        writer_u64(&w, m->timeout_now.last_index);
        writer_u64(&w, m->timeout_now.last_term);
        break;
    default:
        return ERR_INVALID;
    }
    if (writer_failed(&w)) {
        return ERR_INVALID;
    }
    *length = w.position;
    return 0;
}

static int decode_append(struct cursor *c, struct core_append *a)
{
    uint64_t sum = 0;
    a->prev_index = cursor_u64(c);
    a->prev_term = cursor_u64(c);
    a->commit = cursor_u64(c);
    a->n = cursor_u32(c);
    a->n_runs = cursor_u8(c);
    if (cursor_failed(c) || a->n_runs > CORE_APPEND_RUNS_MAX) {
        return ERR_MALFORMED;
    }
    for (uint32_t i = 0; i < a->n_runs; i++) {
        a->runs[i].term = cursor_u64(c);
        a->runs[i].n = cursor_u32(c);
        sum += a->runs[i].n;
    }
    return sum == a->n ? 0 : ERR_MALFORMED;
}

static int decode_install(struct cursor *c, struct core_install *install)
{
    const uint8_t *config;
    uint32_t size;
    install->last_index = cursor_u64(c);
    install->last_term = cursor_u64(c);
    install->config_index = cursor_u64(c);
    size = cursor_u32(c);
    config = cursor_bytes(c, size);
    if (config == NULL) {
        return ERR_MALFORMED;
    }
    return core_config_decode(config, size, &install->config);
}

int core_message_decode(const void *data, size_t size, struct core_message *m)
{
    struct cursor c;
    uint8_t flags;
    uint8_t known = 0;
    int rv = 0;

    cursor_init(&c, data, size);
    if (cursor_u8(&c) != MESSAGE_FORMAT) {
        return cursor_failed(&c) ? ERR_MALFORMED : ERR_VERSION;
    }
    m->type = cursor_u8(&c);
    m->version = cursor_u8(&c);
    flags = cursor_u8(&c);
    m->from = cursor_u64(&c);
    m->to = cursor_u64(&c);
    m->term = cursor_u64(&c);
    switch (m->type) {
    case CORE_APPEND:
        rv = decode_append(&c, &m->append);
        break;
    case CORE_APPEND_RESULT:
        m->append_result.rejected = cursor_u64(&c);
        m->append_result.last = cursor_u64(&c);
        m->append_result.features = cursor_u16(&c);
        m->append_result.capacity = cursor_u16(&c);
        break;
    case CORE_VOTE:
        known = FLAG_FIRST | FLAG_PRE_VOTE;
        m->vote.candidate = cursor_u64(&c);
        m->vote.last_index = cursor_u64(&c);
        m->vote.last_term = cursor_u64(&c);
        m->vote.disrupt = (flags & FLAG_FIRST) != 0;
        m->vote.pre_vote = (flags & FLAG_PRE_VOTE) != 0;
        break;
    case CORE_VOTE_RESULT:
        known = FLAG_FIRST | FLAG_PRE_VOTE;
        m->vote_result.features = cursor_u16(&c);
        m->vote_result.capacity = cursor_u16(&c);
        m->vote_result.granted = (flags & FLAG_FIRST) != 0;
        m->vote_result.pre_vote = (flags & FLAG_PRE_VOTE) != 0;
        break;
    case CORE_INSTALL:
        rv = decode_install(&c, &m->install);
        break;
    case CORE_TIMEOUT_NOW:
        m->timeout_now.last_index = cursor_u64(&c);
        m->timeout_now.last_term = cursor_u64(&c);
        break;
    default:
        return ERR_MALFORMED;
    }
    if (rv != 0) {
        return rv;
    }
    return cursor_failed(&c) || cursor_left(&c) != 0 || (flags & ~known) != 0 ? ERR_MALFORMED : 0;
}
