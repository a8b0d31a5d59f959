#include "node/fsm/group/deadlines.h"

#include <assert.h>
#include <stdlib.h>

void deadlines_close(struct deadlines *d)
{
    free(d->heap);
    *d = (struct deadlines){0};
}

int deadlines_reserve(struct deadlines *d, size_t n)
{
    size_t capacity = d->capacity == 0 ? 64 : d->capacity;
    struct deadline **heap;
    if (n <= d->capacity) {
        return 0;
    }
    while (capacity < n) {
        capacity *= 2;
    }
    heap = realloc(d->heap, capacity * sizeof heap[0]);
    if (heap == NULL) {
        return ERR_NOMEM;
    }
    d->heap = heap;
    d->capacity = capacity;
    return 0;
}

static bool before(const struct deadline *a, const struct deadline *b)
{
    return a->heap_ms != b->heap_ms ? a->heap_ms < b->heap_ms : a->order < b->order;
}

static void put(struct deadlines *d, size_t at, struct deadline *t)
{
    d->heap[at] = t;
    t->slot = at + 1;
}

static void sift_up(struct deadlines *d, size_t at)
{
    struct deadline *t = d->heap[at];
    while (at > 0 && before(t, d->heap[(at - 1) / 2])) {
        put(d, at, d->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(d, at, t);
}

static void sift_down(struct deadlines *d, size_t at)
{
    struct deadline *t = d->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= d->n) {
            break;
        }
        if (child + 1 < d->n && before(d->heap[child + 1], d->heap[child])) {
            child++;
        }
        if (!before(d->heap[child], t)) {
            break;
        }
        put(d, at, d->heap[child]);
        at = child;
    }
    put(d, at, t);
}

void deadline_set(struct deadlines *d, struct deadline *t, uint64_t at_ms)
{
    t->at_ms = at_ms;
    if (t->slot != 0) {
        if (at_ms >= t->heap_ms) {
            return; /* it moves when it comes up */
        }
        t->heap_ms = at_ms;
        sift_up(d, t->slot - 1);
        return;
    }
    assert(d->n < d->capacity);
    t->heap_ms = at_ms;
    t->order = d->order++;
    put(d, d->n, t);
    sift_up(d, d->n++);
}

static void take(struct deadlines *d, size_t at)
{
    struct deadline *last = d->heap[--d->n];
    d->heap[at]->slot = 0;
    if (at < d->n) {
        put(d, at, last);
        sift_up(d, at);
        sift_down(d, last->slot - 1);
    }
}

void deadline_clear(struct deadlines *d, struct deadline *t)
{
    if (t->slot != 0) {
        take(d, t->slot - 1);
    }
}

struct deadline *deadlines_due(struct deadlines *d, uint64_t now_ms)
{
    while (d->n > 0 && d->heap[0]->heap_ms <= now_ms) {
        struct deadline *t = d->heap[0];
        if (t->at_ms > t->heap_ms) {
            t->heap_ms = t->at_ms;
            t->order = d->order++;
            sift_down(d, 0);
            continue;
        }
        take(d, 0);
        return t;
    }
    return NULL;
}

uint64_t deadlines_next(const struct deadlines *d)
{
    return d->n == 0 ? UINT64_MAX : d->heap[0]->heap_ms;
}
