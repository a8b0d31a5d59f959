/* A network that loses, doubles, delays, reorders and splits. */
#include <stdlib.h>

#include "proto/base/mutant.h"
#include "tests/sim/core/sim.h"

static struct simmsg *simmsg_new(const struct core_message *m, size_t n)
{
    struct simmsg *message = malloc(sizeof *message + n * sizeof message->entries[0]);
    if (message == NULL) {
        abort();
    }
    if (m->type == CORE_INSTALL) {
        message->m = *m;
    } else {
        memcpy(&message->m, m, offsetof(struct core_message, append) + sizeof m->append);
    }
    message->chain = 0;
    for (size_t i = 0; i < n; i++) {
        message->entries[i] = NULL;
    }
    return message;
}

static size_t simmsg_entries(const struct simmsg *message)
{
    return message->m.type == CORE_APPEND ? message->m.append.n : 0;
}

void simmsg_free(struct simmsg *message)
{
    for (size_t i = 0; i < simmsg_entries(message); i++) {
        entry_release(message->entries[i]);
    }
    free(message);
}

static struct simmsg *simmsg_copy(const struct simmsg *from)
{
    size_t n = simmsg_entries(from);
    struct simmsg *copy = simmsg_new(&from->m, n);
    copy->chain = from->chain;
    for (size_t i = 0; i < n; i++) {
        copy->entries[i] = entry_acquire(from->entries[i]);
    }
    return copy;
}

/* The wire: what is encoded comes out the same. */
static void check_codec(struct world *w, const struct core_message *m)
{
    uint8_t bytes[CORE_MESSAGE_ENCODED_MAX];
    uint8_t again[CORE_MESSAGE_ENCODED_MAX];
    struct core_message decoded;
    size_t length;
    size_t length_again;

    if (core_message_encode(m, bytes, sizeof bytes, &length) != 0 || core_message_decode(bytes, length, &decoded) != 0 ||
        core_message_encode(&decoded, again, sizeof again, &length_again) != 0 || length != length_again ||
        memcmp(bytes, again, length) != 0) {
        violate(w, "message of type %u does not survive its encoding", m->type);
    }
}

static void transmit(struct world *w, struct replica *r, struct simmsg *message)
{
    const struct swarm *s = &w->swarm;
    struct replica *to = message->m.to <= w->n_replicas ? world_replica(w, message->m.to) : NULL;
    uint64_t delay = 1 + rng_below(&w->rng, w->healing ? 3 : s->delay_ms);

    w->counts.messages++;
    if (to == NULL || w->blocked[r->id][to->id] || (!w->healing && rng_chance(&w->rng, s->loss))) {
        w->counts.lost++;
        simmsg_free(message);
        return;
    }
    if (!w->healing && rng_chance(&w->rng, s->slow)) {
        delay += rng_below(&w->rng, s->slow_ms);
    }
    if (!w->healing && rng_chance(&w->rng, s->duplicate)) {
        world_schedule(w, w->now + delay + rng_below(&w->rng, s->slow_ms + 1), EVENT_MESSAGE, to, simmsg_copy(message));
    }
    world_schedule(w, w->now + delay, EVENT_MESSAGE, to, message);
}

/* Entries by (index, term), perhaps some time after the step that named them; one that was replaced: no message. With
 * rule 3 off, whatever stands there now. */
void net_resolve(struct world *w, struct replica *r, struct simmsg *message)
{
    struct core_append *a = &message->m.append;

    for (uint32_t i = 0; i < a->n; i++) {
        uint64_t index = a->prev_index + 1 + i;
        struct entry *e = simlog_at(&r->mem, index);
        if (e == NULL || (e->term != core_append_term_at(a, index) && !OFF(w, 3) && !MUTANT(LATER_TERM_UNDER_EARLIER))) {
            simmsg_free(message);
            return;
        }
        message->entries[i] = entry_acquire(e);
    }
    transmit(w, r, message);
}

void net_send(struct world *w, struct replica *r, const struct core_message *m)
{
    struct simmsg *message;

    if (violated(w)) {
        return;
    }
    if ((w->order & 15) == 0) {
        check_codec(w, m);
    }
    if (m->type != CORE_APPEND || m->append.n == 0) {
        message = simmsg_new(m, 0);
        if (m->type == CORE_INSTALL) {
            message->chain = r->snap.chain;
        }
        transmit(w, r, message);
        return;
    }
    if (m->append.n > 1 && rng_chance(&w->rng, 0.1)) { /* split by bytes, sent in order */
        struct core_message first = *m;
        struct core_message rest;
        core_append_split(&first, 1 + (uint32_t)rng_below(&w->rng, m->append.n - 1), &rest);
        net_send(w, r, &first);
        net_send(w, r, &rest);
        return;
    }
    message = simmsg_new(m, m->append.n);
    if (!w->healing && rng_chance(&w->rng, w->swarm.p_read_late)) {
        world_schedule(w, w->now + 1 + rng_below(&w->rng, 300), EVENT_RESOLVE, r, message);
    } else {
        net_resolve(w, r, message);
    }
}

/* A leader that was deposed may send what it had; what its successors have put in the place is not its to send. */
static void check_terms(struct world *w, const struct simmsg *message)
{
    for (uint32_t i = 0; message->m.type == CORE_APPEND && i < message->m.append.n; i++) {
        if (message->entries[i]->term > message->m.term) {
            violate(w, "a message of term %llu carries entry %llu of term %llu", (unsigned long long)message->m.term,
                    (unsigned long long)message->entries[i]->index, (unsigned long long)message->entries[i]->term);
        }
    }
}

void net_deliver(struct world *w, struct replica *r, struct simmsg *message)
{
    int rv;
    check_terms(w, message);
    replica_clock(w, r);
    rv = core_receive(r->core, &message->m, message->m.type == CORE_APPEND ? message->entries : NULL);
    if (rv == ERR_MALFORMED) {
        violate(w, "replica %llu calls a message of type %u malformed", (unsigned long long)r->id, message->m.type);
    }
    replica_after(w, r, rv);
}
