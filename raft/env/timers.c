#include "raft/env/timers.h"

#include <assert.h>
#include <stdlib.h>

#define TIMERS_CAPACITY_MIN 64u

void timers_init(struct timers *timers)
{
    timers->heap = NULL;
    timers->size = 0;
    timers->capacity = 0;
    timers->order_next = 0;
    timers->running_ns = 0;
}

void timers_close(struct timers *timers)
{
    for (size_t i = 0; i < timers->size; i++) {
        timers->heap[i]->position = 0;
    }
    free(timers->heap);
    timers_init(timers);
}

static bool before(const struct timer *a, const struct timer *b)
{
    if (a->deadline_ns != b->deadline_ns) {
        return a->deadline_ns < b->deadline_ns;
    }
    return a->order < b->order;
}

static void put(struct timers *timers, size_t i, struct timer *timer)
{
    timers->heap[i] = timer;
    timer->position = i + 1;
}

/* Place @timer at the free slot @i or above it. */
static void sift_up(struct timers *timers, size_t i, struct timer *timer)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!before(timer, timers->heap[parent])) {
            break;
        }
        put(timers, i, timers->heap[parent]);
        i = parent;
    }
    put(timers, i, timer);
}

/* Place @timer at the free slot @i or below it. */
static void sift_down(struct timers *timers, size_t i, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= timers->size) {
            break;
        }
        if (child + 1 < timers->size && before(timers->heap[child + 1], timers->heap[child])) {
            child++;
        }
        if (!before(timers->heap[child], timer)) {
            break;
        }
        put(timers, i, timers->heap[child]);
        i = child;
    }
    put(timers, i, timer);
}

static void reserve(struct timers *timers)
{
    if (timers->size < timers->capacity) {
        return;
    }
    size_t capacity = timers->capacity == 0 ? TIMERS_CAPACITY_MIN : timers->capacity * 2;
    struct timer **heap = realloc(timers->heap, capacity * sizeof heap[0]);
    if (heap == NULL) {
        abort(); /* as the header promises: a loop without its deadlines cannot go on */
    }
    timers->heap = heap;
    timers->capacity = capacity;
}

void timers_start(struct timers *timers, struct timer *timer, uint64_t deadline_ns)
{
    timers_stop(timers, timer);
    reserve(timers);
    /* While timers_run() is under way the past counts as now: what is due already goes first. */
    timer->deadline_ns = deadline_ns < timers->running_ns ? timers->running_ns : deadline_ns;
    timer->order = timers->order_next++;
    sift_up(timers, timers->size++, timer);
}

void timers_stop(struct timers *timers, struct timer *timer)
{
    if (timer->position == 0) {
        return;
    }
    size_t i = timer->position - 1;
    assert(i < timers->size && timers->heap[i] == timer);
    timer->position = 0;
    struct timer *last = timers->heap[--timers->size];
    if (last == timer) {
        return;
    }
    if (i > 0 && before(last, timers->heap[(i - 1) / 2])) {
        sift_up(timers, i, last);
    } else {
        sift_down(timers, i, last);
    }
}

uint64_t timers_next(const struct timers *timers)
{
    return timers->size == 0 ? UINT64_MAX : timers->heap[0]->deadline_ns;
}

size_t timers_run(struct timers *timers, uint64_t now_ns)
{
    /* Timers started from now on have a higher order and a deadline of at least @now_ns, so they stand behind
     * everything that is due: the first of them at the top ends the run. */
    uint64_t order_end = timers->order_next;
    size_t fired = 0;
    timers->running_ns = now_ns;
    while (timers->size > 0) {
        struct timer *timer = timers->heap[0];
        if (timer->deadline_ns > now_ns || timer->order >= order_end) {
            break;
        }
        timers_stop(timers, timer);
        fired++;
        timer->fire(timer); /* may free the timer */
    }
    timers->running_ns = 0;
    return fired;
}
