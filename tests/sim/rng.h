/* Seeded bits for the simulation: xoshiro256** (Blackman, Vigna), so that one seed is one run on every machine. */
#ifndef CAIRN_SIM_RNG_H
#define CAIRN_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rng {
    uint64_t s[4];
};

/* splitmix64 spreads a small seed over the whole state. */
static inline void sim_rng_init(struct sim_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        rng->s[i] = z ^ (z >> 31);
    }
}

static inline uint64_t sim_rng_next(struct sim_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t x = s[1] * 5;
    uint64_t result = ((x << 7) | (x >> 57)) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* [0, n); 0 for n == 0. */
static inline uint64_t sim_rng_below(struct sim_rng *rng, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)sim_rng_next(rng) * n) >> 64);
}

/* [low, high], both inclusive. */
static inline uint64_t sim_rng_range(struct sim_rng *rng, uint64_t low, uint64_t high)
{
    return high <= low ? low : low + sim_rng_below(rng, high - low + 1);
}

/* True @ppm times in a million. 0 draws nothing, so that a fault that is off does not change the run. */
static inline bool sim_rng_chance(struct sim_rng *rng, uint32_t ppm)
{
    return ppm != 0 && sim_rng_below(rng, 1000000) < ppm;
}

/* [0, n), small values much more often: a random number of bits first. */
static inline uint64_t sim_rng_skewed(struct sim_rng *rng, uint64_t n)
{
    unsigned bits = n == 0 ? 0 : 64 - (unsigned)__builtin_clzll(n);
    uint64_t limit = 1ull << sim_rng_below(rng, bits + 1);
    return sim_rng_below(rng, limit < n ? limit : n);
}

#endif
