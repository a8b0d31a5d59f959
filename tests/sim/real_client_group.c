#include "tests/sim/real_client_group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/list.h"
#include "tests/sim/oracle_internal.h"

struct group_commit {
    int64_t offset;
    int32_t generation;
    bool fenced; /* when it began, a newer generation was known */
    bool once;   /* no other copy of it is under way: what is told later is not due to it */
    bool acked;
};

struct group_part {
    struct list link;
    struct group_ledger *ledger;
    struct uuid topic;
    uint32_t partition;
    int32_t owned_generation;
    uint64_t owner;
    uint8_t *processed; /* by offset */
    int64_t capacity;
    int64_t whole; /* all below are processed */
    struct group_commit *commits;
    size_t n_commits;
    size_t n_acked; /* acknowledgements seen */
    size_t *acked;  /* commits, in the order of their acknowledgements */
};

struct group_ledger {
    struct list link;
    char name[32];
    int32_t generation;
    struct list parts;
    bool *alive; /* by member */
    uint64_t n_alive;
};

struct oracle_groups {
    struct list ledgers;
};

struct group_ledger *group_ledger(struct oracle *o, const char *name)
{
    struct group_ledger *l;

    if (o->consumer_groups == NULL) {
        o->consumer_groups = calloc(1, sizeof *o->consumer_groups);
        assert(o->consumer_groups != NULL);
        list_init(&o->consumer_groups->ledgers);
    }
    list_for_each(pos, &o->consumer_groups->ledgers)
    {
        l = list_entry(pos, struct group_ledger, link);
        if (strcmp(l->name, name) == 0) {
            return l;
        }
    }
    l = calloc(1, sizeof *l);
    assert(l != NULL);
    snprintf(l->name, sizeof l->name, "%s", name);
    l->generation = -1;
    list_init(&l->parts);
    list_push_back(&o->consumer_groups->ledgers, &l->link);
    return l;
}

struct group_part *group_part(struct group_ledger *l, const struct uuid *topic, uint32_t partition)
{
    struct group_part *p;

    list_for_each(pos, &l->parts)
    {
        p = list_entry(pos, struct group_part, link);
        if (p->partition == partition && uuid_equal(&p->topic, topic)) {
            return p;
        }
    }
    p = calloc(1, sizeof *p);
    assert(p != NULL);
    p->ledger = l;
    p->topic = *topic;
    p->partition = partition;
    p->owned_generation = -1;
    list_push_back(&l->parts, &p->link);
    return p;
}

void group_alive(struct group_ledger *l, uint64_t member, bool alive)
{
    if (member >= l->n_alive) {
        l->alive = realloc(l->alive, (member + 1) * sizeof *l->alive);
        assert(l->alive != NULL);
        memset(l->alive + l->n_alive, 0, (member + 1 - l->n_alive) * sizeof *l->alive);
        l->n_alive = member + 1;
    }
    l->alive[member] = alive;
}

struct coverage {
    struct oracle *oracle;
    struct group_ledger *ledger;
    const struct group_part *lacks; /* an owner; NULL: none does */
};

static void look_for_owner(void *data, struct oracle_part *part, const struct uuid *topic, uint32_t partition)
{
    struct coverage *c = data;
    const struct group_part *p = group_part(c->ledger, topic, partition);

    if (!oracle_part_doomed(part) && (p->owned_generation != c->ledger->generation || p->owner >= c->ledger->n_alive ||
                                      !c->ledger->alive[p->owner])) {
        c->lacks = p;
    }
}

bool group_covered(struct oracle *o, struct group_ledger *l, char *why, size_t size)
{
    struct coverage c = {o, l, NULL};

    oracle_each_part(o, look_for_owner, &c);
    if (c.lacks != NULL && why != NULL) {
        snprintf(why, size, " partition %u of topic %02x%02x%02x%02x had member %" PRIu64 " in generation %d;", c.lacks->partition,
                 c.lacks->topic.bytes[0], c.lacks->topic.bytes[1], c.lacks->topic.bytes[2], c.lacks->topic.bytes[3],
                 c.lacks->owner, c.lacks->owned_generation);
    }
    return c.lacks == NULL;
}

void group_generation(struct group_ledger *l, int32_t generation)
{
    l->generation = generation > l->generation ? generation : l->generation;
}

int32_t group_generation_newest(const struct group_ledger *l)
{
    return l->generation;
}

void group_owned(struct oracle *o, struct group_part *p, int32_t generation, uint64_t member)
{
    if (p->owned_generation == generation && p->owner != member) {
        oracle_violation(o, "group %s: partition %u belongs to two members in generation %d", p->ledger->name, p->partition,
                         generation);
    }
    if (generation > p->owned_generation) {
        p->owned_generation = generation;
        p->owner = member;
    }
}

void group_processed(struct group_part *p, int64_t begin, int64_t end)
{
    if (end > p->capacity) {
        int64_t capacity = end > 2 * p->capacity ? end + 256 : 2 * p->capacity;
        p->processed = realloc(p->processed, (size_t)capacity);
        assert(p->processed != NULL);
        memset(p->processed + p->capacity, 0, (size_t)(capacity - p->capacity));
        p->capacity = capacity;
    }
    memset(p->processed + begin, 1, (size_t)(end - begin));
    while (p->whole < p->capacity && p->processed[p->whole] != 0) {
        p->whole++;
    }
}

/* ---- commits ------------------------------------------------------------------------------------------------------------ */

size_t group_commit_begun(struct group_part *p, int32_t generation, int64_t offset)
{
    p->commits = realloc(p->commits, (p->n_commits + 1) * sizeof *p->commits);
    assert(p->commits != NULL);
    p->commits[p->n_commits] = (struct group_commit){.offset = offset, .generation = generation,
                                                     .fenced = p->ledger->generation > generation};
    return p->n_commits++;
}

void group_commit_acked(struct oracle *o, struct group_part *p, size_t number, bool once)
{
    struct group_commit *c = &p->commits[number];

    if (c->fenced) {
        oracle_violation(o, "group %s: partition %u: a commit of generation %d was taken, begun when generation %d was known",
                         p->ledger->name, p->partition, c->generation, p->ledger->generation);
    }
    if (c->offset > p->whole) {
        oracle_violation(o, "group %s: partition %u: offset %" PRId64 " was committed, processed are all below %" PRId64,
                         p->ledger->name, p->partition, c->offset, p->whole);
    }
    c->acked = true;
    c->once = once;
    p->acked = realloc(p->acked, (p->n_acked + 1) * sizeof *p->acked);
    assert(p->acked != NULL);
    p->acked[p->n_acked++] = number;
}

size_t group_asked(const struct group_part *p)
{
    return p->n_acked;
}

void group_told(struct oracle *o, struct group_part *p, size_t asked, int64_t offset)
{
    int64_t least = asked > 0 ? p->commits[p->acked[asked - 1]].offset : -1;
    bool made = offset < 0;
    bool loose = false;

    for (size_t i = 0; i < p->n_commits; i++) {
        if (p->commits[i].offset == offset) {
            made = true;
            loose |= !p->commits[i].once;
        }
    }
    if (!made) {
        oracle_violation(o, "group %s: partition %u: told is the committed offset %" PRId64 ", which nobody has committed",
                         p->ledger->name, p->partition, offset);
    }
    if (offset < least && !loose && !oracle_topic_is_doomed(o, &p->topic)) {
        oracle_violation(o, "group %s: partition %u: told is the committed offset %" PRId64 ", acknowledged before the question was %"
                         PRId64, p->ledger->name, p->partition, offset, least);
    }
    if (offset > p->whole) {
        oracle_violation(o, "group %s: partition %u: reading goes on at offset %" PRId64 ", processed are all below %" PRId64,
                         p->ledger->name, p->partition, offset, p->whole);
    }
}

void group_ledgers_free(struct oracle *o)
{
    if (o->consumer_groups == NULL) {
        return;
    }
    while (!list_empty(&o->consumer_groups->ledgers)) {
        struct group_ledger *l = list_entry(list_pop_front(&o->consumer_groups->ledgers), struct group_ledger, link);
        while (!list_empty(&l->parts)) {
            struct group_part *p = list_entry(list_pop_front(&l->parts), struct group_part, link);
            free(p->processed);
            free(p->commits);
            free(p->acked);
            free(p);
        }
        free(l->alive);
        free(l);
    }
    free(o->consumer_groups);
    o->consumer_groups = NULL;
}
