/* Deadlines of one loop: a heap of plain structs that both environments drive. */
#ifndef CAIRN_ENV_TIMERS_H
#define CAIRN_ENV_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    void (*fire)(struct timer *timer); /* once per start; may start the timer again, stop or free others */
    uint64_t deadline_ns;
    uint64_t order; /* equal deadlines fire in the order of their start */
    size_t position; /* in the heap + 1; 0 when stopped */
};

struct timers {
    struct timer **heap;
    size_t size;
    size_t capacity;
    uint64_t order_next;
    uint64_t running_ns; /* the time of the timers_run() under way; 0 outside */
};

void timers_init(struct timers *timers);
void timers_close(struct timers *timers); /* stops all */

static inline void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    timer->fire = fire;
    timer->deadline_ns = 0;
    timer->order = 0;
    timer->position = 0;
}

static inline bool timer_active(const struct timer *timer)
{
    return timer->position != 0;
}

/* Starts or re-starts. A deadline in the past is due at the next timers_run(). Out of memory here ends the program: the heap grows by doubling and stays small. */
void timers_start(struct timers *timers, struct timer *timer, uint64_t deadline_ns);
void timers_stop(struct timers *timers, struct timer *timer); /* harmless when stopped */

/* The earliest deadline, or UINT64_MAX. */
uint64_t timers_next(const struct timers *timers);

/* Fire what is due at @now_ns, in order; timers started meanwhile wait for the next call. Returns how many fired. */
size_t timers_run(struct timers *timers, uint64_t now_ns);

#endif
