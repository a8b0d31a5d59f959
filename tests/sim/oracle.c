/* The oracles' memory, and how they speak: violations, traces, what is known of each group and replica. */
#include "tests/sim/oracle_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- failing and tracing --------------------------------------------------------------------------------------------- */

static void print_time(FILE *out, const struct oracle *o)
{
    uint64_t us = sim_world_now(o->world) / 1000;
    fprintf(out, "%3" PRIu64 ".%06" PRIu64 " ", us / 1000000, us % 1000000);
}

void oracle_violation(struct oracle *o, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stdout, "FAIL seed=%" PRIu64 " t=", o->seed);
    print_time(stdout, o);
    va_start(args, fmt);
    vfprintf(stdout, fmt, args);
    va_end(args);
    fprintf(stdout, "\n");
    fflush(stdout);
    fflush(stderr);
    _exit(1); /* from the middle of anything: nothing is to be unwound */
}

void oracle_trace(struct oracle *o, const char *fmt, ...)
{
    va_list args;

    if (!o->trace) {
        return;
    }
    print_time(stdout, o);
    va_start(args, fmt);
    vfprintf(stdout, fmt, args);
    va_end(args);
    fputc('\n', stdout);
}

void oracle_set_trace(struct oracle *o, bool on)
{
    o->trace = on;
}

struct oracle *oracle_new(struct sim_world *world, uint64_t seed, unsigned nodes)
{
    struct oracle *o = calloc(1, sizeof *o);
    assert(o != NULL && nodes <= ORACLE_NODES_MAX);
    o->world = world;
    o->seed = seed;
    o->nodes = nodes;
    return o;
}

void oracle_free(struct oracle *o)
{
    oracle_log_free(o);
    oracle_records_free(o);
    oracle_answers_free(o);
    free(o);
}

struct oracle_counts *oracle_counts(struct oracle *o)
{
    return &o->counts;
}

uint64_t oracle_seed(const struct oracle *o)
{
    return o->seed;
}

/* ---- tables ---------------------------------------------------------------------------------------------------------- */

void *oracle_grow(void *memory, uint64_t *capacity, uint64_t need, size_t size)
{
    uint64_t n = *capacity == 0 ? 64 : *capacity;
    if (need < *capacity) {
        return memory;
    }
    while (n <= need) {
        n *= 2;
    }
    memory = realloc(memory, n * size);
    assert(memory != NULL);
    memset((char *)memory + *capacity * size, 0, (n - *capacity) * size);
    *capacity = n;
    return memory;
}

struct seen_group *oracle_group(struct oracle *o, uint64_t id)
{
    struct seen_group *g;
    HASH_FIND(hh, o->groups, &id, sizeof id, g);
    if (g == NULL) {
        g = calloc(1, sizeof *g);
        assert(g != NULL);
        g->id = id;
        HASH_ADD(hh, o->groups, id, sizeof g->id, g);
    }
    return g;
}

struct seen_replica *oracle_find_replica(struct oracle *o, unsigned node, uint64_t group)
{
    struct seen_replica **near = &o->near[node][group % ORACLE_NEAR]; /* asked for in every turn */
    struct seen_replica *r = *near;
    struct seen_replica key;

    if (r != NULL && r->key.group == group) {
        return r;
    }
    memset(&key, 0, sizeof key);
    key.key.node = node;
    key.key.group = group;
    HASH_FIND(hh, o->replicas, &key.key, sizeof key.key, r);
    if (r != NULL) {
        *near = r;
    }
    return r;
}

struct seen_replica *oracle_get_replica(struct oracle *o, unsigned node, uint64_t group)
{
    struct seen_replica *r = oracle_find_replica(o, node, group);
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        assert(r != NULL);
        r->key.node = node;
        r->key.group = group;
        r->group = oracle_group(o, group);
        r->terms = oracle_grow(NULL, &r->capacity, 1, sizeof *r->terms);
        HASH_ADD(hh, o->replicas, key, sizeof r->key, r);
    }
    return r;
}

void oracle_forget_replica(struct seen_replica *r)
{
    if (r->stored > r->gone.end) {
        r->gone.end = r->stored;
    }
    if (r->durable_term > r->gone.term) {
        r->gone.term = r->durable_term;
        r->gone.vote = r->durable_vote;
    }
    r->last = r->stored = r->durable_term = r->durable_vote = 0;
    r->n_hard = 0;
}

void oracle_same_replica(struct seen_replica *r, uint64_t replica)
{
    if (r->replica != replica) {
        if (r->replica != 0) {
            oracle_forget_replica(r);
            r->session = UINT64_MAX; /* nothing of it is left in memory, either */
        }
        r->replica = replica;
    }
}

void oracle_log_free(struct oracle *o)
{
    struct seen_replica *r, *next_r;
    struct seen_group *g, *next_g;

    HASH_ITER(hh, o->replicas, r, next_r)
    {
        HASH_DEL(o->replicas, r);
        free(r->terms);
        free(r);
    }
    HASH_ITER(hh, o->groups, g, next_g)
    {
        struct seen_entry *e, *next_e;
        struct seen_state *s, *next_s;
        HASH_ITER(hh, g->entries, e, next_e)
        {
            HASH_DEL(g->entries, e);
            free(e);
        }
        HASH_ITER(hh, g->states, s, next_s)
        {
            HASH_DEL(g->states, s);
            free(s);
        }
        HASH_DEL(o->groups, g);
        free(g->committed);
        free(g->leaders);
        free(g);
    }
}
