#include "client/src/core/assignor.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[ASSIGNOR_COUNT] = {"range", "roundrobin", "cooperative-sticky"};

const char *assignor_name(enum assignor a)
{
    return names[a];
}

enum assignor assignor_find(const char *name)
{
    int i = 0;

    while (i < ASSIGNOR_COUNT && strcmp(names[i], name) != 0) {
        i++;
    }
    return (enum assignor)i;
}

int assignor_parts_add(struct assignor_parts *parts, uint32_t topic, uint32_t partition)
{
    if (parts->count == parts->capacity) {
        size_t capacity = parts->capacity > 0 ? parts->capacity * 2 : 8;
        struct assignor_part *items = realloc(parts->items, capacity * sizeof *items);
        if (items == NULL) {
            return ERR_NOMEM;
        }
        parts->items = items;
        parts->capacity = capacity;
    }
    parts->items[parts->count++] = (struct assignor_part){.topic = topic, .partition = partition};
    return 0;
}

/* Static members first, by instance, so that a restart moves nothing; then by id. As Kafka's. */
static int member_compare(const void *a, const void *b)
{
    const struct assignor_member *x = a;
    const struct assignor_member *y = b;
    bool x_static = x->instance[0] != '\0';
    bool y_static = y->instance[0] != '\0';

    if (x_static != y_static) {
        return x_static ? -1 : 1;
    }
    return x_static ? strcmp(x->instance, y->instance) : strcmp(x->id, y->id);
}

static bool subscribed(const struct assignor_member *m, uint32_t topic)
{
    size_t low = 0;
    size_t high = m->topic_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->topics[middle] < topic) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->topic_count && m->topics[low] == topic;
}

static int range_topic(struct assignor_plan *plan, uint32_t topic)
{
    uint32_t partitions = plan->topics[topic].partition_count;
    uint32_t consumers = 0;
    uint32_t seen = 0;
    uint32_t next = 0;
    int rv;

    for (size_t i = 0; i < plan->member_count; i++) {
        consumers += subscribed(&plan->members[i], topic);
    }
    for (size_t i = 0; i < plan->member_count; i++) {
        struct assignor_member *m = &plan->members[i];
        uint32_t end;

        if (!subscribed(m, topic)) {
            continue;
        }
        end = next + partitions / consumers + (seen < partitions % consumers);
        seen++;
        for (; next < end; next++) {
            rv = assignor_parts_add(&m->assigned, topic, next);
            if (rv != 0) {
                return rv;
            }
        }
    }
    return 0;
}

static int range(struct assignor_plan *plan)
{
    int rv = 0;

    for (uint32_t t = 0; t < plan->topic_count && rv == 0; t++) {
        rv = range_topic(plan, t);
    }
    return rv;
}

static int roundrobin(struct assignor_plan *plan)
{
    size_t turn = 0;
    int rv;

    for (uint32_t t = 0; t < plan->topic_count; t++) {
        for (uint32_t p = 0; p < plan->topics[t].partition_count; p++) {
            size_t tried = 0;

            while (tried < plan->member_count && !subscribed(&plan->members[turn], t)) {
                turn = (turn + 1) % plan->member_count;
                tried++;
            }
            if (tried == plan->member_count) {
                break; /* nobody wants the topic */
            }
            rv = assignor_parts_add(&plan->members[turn].assigned, t, p);
            if (rv != 0) {
                return rv;
            }
            turn = (turn + 1) % plan->member_count;
        }
    }
    return 0;
}

#define NOBODY UINT32_MAX

/* The sticky assignor's table: a row for every partition of every topic, in order. */
struct sticky {
    struct assignor_plan *plan;
    size_t *first;    /* of each topic: its first row */
    size_t row_count; /* all */
    uint32_t *before; /* row -> member that owned it */
    uint32_t *now;    /* row -> member that shall have it */
    size_t *load;     /* of each member */
};

/* Who owned what: the newest claim counts, and of two as new neither. */
static void sticky_claims(struct sticky *s)
{
    const struct assignor_plan *plan = s->plan;

    for (uint32_t i = 0; i < plan->member_count; i++) {
        const struct assignor_member *m = &plan->members[i];

        for (size_t k = 0; k < m->owned.count; k++) {
            const struct assignor_part *part = &m->owned.items[k];
            size_t row;

            if (part->partition >= plan->topics[part->topic].partition_count || !subscribed(m, part->topic)) {
                continue;
            }
            row = s->first[part->topic] + part->partition;
            if (s->before[row] == NOBODY || plan->members[s->before[row]].owned_generation < m->owned_generation) {
                s->before[row] = i;
            } else if (plan->members[s->before[row]].owned_generation == m->owned_generation) {
                s->now[row] = i; /* contested: marked for the pass below */
            }
        }
    }
    for (size_t row = 0; row < s->row_count; row++) {
        bool contested = s->now[row] != NOBODY &&
                         plan->members[s->now[row]].owned_generation == plan->members[s->before[row]].owned_generation;
        if (contested) {
            s->before[row] = NOBODY;
        }
        s->now[row] = s->before[row];
        if (s->now[row] != NOBODY) {
            s->load[s->now[row]]++;
        }
    }
}

static uint32_t least_loaded(const struct sticky *s, uint32_t topic)
{
    uint32_t best = NOBODY;

    for (uint32_t i = 0; i < s->plan->member_count; i++) {
        if (subscribed(&s->plan->members[i], topic) && (best == NOBODY || s->load[i] < s->load[best])) {
            best = i;
        }
    }
    return best;
}

/* Deal out what nobody has, then move single partitions downhill. Each move lowers the sum of the squared loads, so it
 * ends. */
static void sticky_balance(struct sticky *s)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (uint32_t t = 0; t < s->plan->topic_count; t++) {
            for (size_t row = s->first[t]; row < s->first[t] + s->plan->topics[t].partition_count; row++) {
                uint32_t to = least_loaded(s, t);

                if (to == NOBODY || (s->now[row] != NOBODY && s->load[s->now[row]] <= s->load[to] + 1)) {
                    continue;
                }
                if (s->now[row] != NOBODY) {
                    s->load[s->now[row]]--;
                }
                s->now[row] = to;
                s->load[to]++;
                moved = true;
            }
        }
    }
}

/* What has to change hands is given to nobody in this generation: its owner must let go first, and then all join
 * again (KIP-429). */
static int sticky_hand_out(const struct sticky *s)
{
    int rv;

    for (uint32_t t = 0; t < s->plan->topic_count; t++) {
        for (uint32_t p = 0; p < s->plan->topics[t].partition_count; p++) {
            size_t row = s->first[t] + p;

            if (s->now[row] == NOBODY) {
                continue;
            }
            if (s->before[row] != NOBODY && s->before[row] != s->now[row]) {
                s->plan->withheld++;
                continue;
            }
            rv = assignor_parts_add(&s->plan->members[s->now[row]].assigned, t, p);
            if (rv != 0) {
                return rv;
            }
        }
    }
    return 0;
}

static int sticky(struct assignor_plan *plan)
{
    struct sticky s = {.plan = plan};
    int rv = ERR_NOMEM;

    s.first = calloc(plan->topic_count + 1, sizeof *s.first);
    s.load = calloc(plan->member_count + 1, sizeof *s.load);
    if (s.first == NULL || s.load == NULL) {
        goto out;
    }
    for (size_t t = 0; t < plan->topic_count; t++) {
        s.first[t] = s.row_count;
        s.row_count += plan->topics[t].partition_count;
    }
    s.before = malloc((s.row_count + 1) * sizeof *s.before);
    s.now = malloc((s.row_count + 1) * sizeof *s.now);
    if (s.before == NULL || s.now == NULL) {
        goto out;
    }
    memset(s.before, 0xff, s.row_count * sizeof *s.before);
    memset(s.now, 0xff, s.row_count * sizeof *s.now);
    sticky_claims(&s);
    sticky_balance(&s);
    rv = sticky_hand_out(&s);
out:
    free(s.first);
    free(s.load);
    free(s.before);
    free(s.now);
    return rv;
}

int assignor_run(enum assignor a, struct assignor_plan *plan)
{
    if (plan->member_count == 0) {
        return 0;
    }
    qsort(plan->members, plan->member_count, sizeof *plan->members, member_compare);
    switch (a) {
    case ASSIGNOR_RANGE:
        return range(plan);
    case ASSIGNOR_ROUNDROBIN:
        return roundrobin(plan);
    case ASSIGNOR_COOPERATIVE_STICKY:
        break;
    }
    return sticky(plan);
}
