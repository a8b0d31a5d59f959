/* Jitter and sticky partitions: a small seeded generator (xorshift64*), so that a simulated run can be repeated. */
#ifndef CAIRN_CLIENT_RNG_H
#define CAIRN_CLIENT_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline void rng_init(struct rng *r, uint64_t seed)
{
    r->state = seed != 0 ? seed : 0x9e3779b97f4a7c15ull;
}

static inline uint64_t rng_next(struct rng *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1dull;
}

/* In [0, bound); 0 for bound 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound)
{
    return bound == 0 ? 0 : (rng_next(r) >> 11) % bound;
}

#endif
