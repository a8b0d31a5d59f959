#include "tests/unit/group/sim_group.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void broken(struct cluster *c, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "seed %" PRIu64 " at %.6f s: ", c->seed, (double)sim_world_now(c->world) / 1e9);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

static struct truth *truth_of(struct cluster *c, const struct mgroup *mg)
{
    return &c->truths[mg->number];
}

/* State machine safety: whoever applies an index first says what it is; everyone else must apply the same. */
void check_applied(void *data, struct mgroup *mg, uint64_t index, const struct applied *entry)
{
    struct node *node = data;
    struct cluster *c = node->cluster;
    struct truth *t = truth_of(c, mg);

    if (index <= t->n) {
        if (memcmp(&t->entries[index - 1], entry, sizeof(*entry)) != 0) {
            broken(c, "group %u: node %u applies another entry %" PRIu64 ": term %" PRIu64 " value %" PRIu64
                      ", was term %" PRIu64 " value %" PRIu64,
                   mg->number, node->id, index, entry->term, entry->value, t->entries[index - 1].term,
                   t->entries[index - 1].value);
        }
        return;
    }
    if (index != t->n + 1) {
        broken(c, "group %u: node %u skips to %" PRIu64, mg->number, node->id, index);
    }
    if (t->n > 0 && (entry->term < t->entries[t->n - 1].term || entry->time_ms < t->entries[t->n - 1].time_ms)) {
        broken(c, "group %u: term or time go back at %" PRIu64, mg->number, index);
    }
    if (t->n == t->capacity) {
        t->capacity = t->capacity == 0 ? 1024 : 2 * t->capacity;
        t->entries = realloc(t->entries, t->capacity * sizeof(*t->entries));
        if (t->entries == NULL) {
            abort();
        }
    }
    t->entries[t->n++] = *entry;
    if (entry->kind == ENTRY_COMMAND) {
        struct value *v;
        if (entry->value == 0 || entry->value > c->n_values) {
            broken(c, "group %u: a value that nobody proposed", mg->number);
        }
        v = &c->values[entry->value - 1];
        if (v->index != 0 || v->group != mg->number) {
            broken(c, "group %u: value %" PRIu64 " twice, or of another group", mg->number, entry->value);
        }
        v->index = index;
    }
}

/* Election safety; and a leader that may serve has applied all that was acknowledged before it. */
void check_led(void *data, struct mgroup *mg, uint64_t term, bool ready)
{
    struct node *node = data;
    struct cluster *c = node->cluster;
    struct truth *t = truth_of(c, mg);

    if (term >= TERMS_MAX) {
        broken(c, "group %u: term %" PRIu64 ": elections without end", mg->number, term);
    }
    if (t->leaders[term] != 0 && t->leaders[term] != node->id) {
        broken(c, "group %u: nodes %u and %u lead in term %" PRIu64, mg->number, t->leaders[term], node->id, term);
    }
    t->leaders[term] = node->id;
    if (term > t->term) {
        t->term = term;
    }
    if (!ready) {
        c->n_wins++;
        return;
    }
    if (t->acked_term < term && mg->n < t->acked) {
        broken(c, "group %u: node %u is ready in term %" PRIu64 " with %zu applied, but %" PRIu64 " is acknowledged",
               mg->number, node->id, term, mg->n, t->acked);
    }
}

/* An acknowledgement names what stands in the log, and later proposals stand behind it. */
void check_acked(struct cluster *c, unsigned group, uint64_t value, uint64_t index, uint64_t term, uint64_t floor)
{
    struct truth *t = &c->truths[group];

    if (index == 0 || index > t->n || t->entries[index - 1].value != value || t->entries[index - 1].term != term) {
        broken(c, "group %u: value %" PRIu64 " acknowledged at %" PRIu64 ", where it does not stand", group, value, index);
    }
    if (index <= floor) {
        broken(c, "group %u: value %" PRIu64 " at %" PRIu64 " stands before %" PRIu64 ", acknowledged before it was proposed",
               group, value, index, floor);
    }
    c->values[value - 1].acked = true;
    c->n_acked++;
    if (index > t->acked) {
        t->acked = index;
        t->acked_term = term;
    }
}

/* Who is to have everything: the members that the newest leader's configuration names. */
static bool belongs(const struct cluster *c, unsigned group, uint32_t node)
{
    const struct truth *t = &c->truths[group];

    for (uint32_t i = 1; i <= c->n_nodes; i++) {
        const struct mgroup *mg = &c->nodes[i].member.groups[group];
        if (c->nodes[i].open && mg->ready && mg->term == t->term) {
            return core_config_find(group_config(mg->g), member_replica(group, node)) != NULL;
        }
    }
    return true; /* no leader: no agreement anyway */
}

bool converged(struct cluster *c)
{
    for (unsigned g = 0; g < c->n_groups; g++) {
        struct truth *t = &c->truths[g];
        unsigned ready = 0;
        for (uint32_t i = 1; i <= c->n_nodes; i++) {
            const struct mgroup *mg = &c->nodes[i].member.groups[g];
            if (!c->nodes[i].open) {
                return false;
            }
            ready += mg->ready && mg->term == t->term;
            if (belongs(c, g, i) && mg->n != t->n) {
                return false;
            }
        }
        if (ready != 1) {
            return false;
        }
    }
    return true;
}

void check_end(struct cluster *c)
{
    for (size_t i = 0; i < c->n_values; i++) {
        if (c->values[i].acked && c->values[i].index == 0) {
            broken(c, "value %zu of group %u was acknowledged and is nowhere", i + 1, c->values[i].group);
        }
    }
    for (unsigned g = 0; g < c->n_groups; g++) {
        struct truth *t = &c->truths[g];
        for (uint32_t i = 1; i <= c->n_nodes; i++) {
            const struct mgroup *mg = &c->nodes[i].member.groups[g];
            if (mg->failed != 0) {
                broken(c, "group %u: the replica of node %u failed: %s", g, i, err_name(mg->failed));
            }
            if (belongs(c, g, i) && memcmp(mg->applied, t->entries, t->n * sizeof(*t->entries)) != 0) {
                broken(c, "group %u: node %u has applied something else", g, i);
            }
        }
    }
}
