#include "proto/base/histogram.h"

#include <string.h>

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

/* Values below SUB_COUNT have a bucket each; above, each power of two is cut into SUB_COUNT equal buckets. */
static unsigned bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < SUB_COUNT) {
        return (unsigned)value;
    }
    shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + ((unsigned)(value >> shift) & (SUB_COUNT - 1));
}

static uint64_t bucket_last_value(unsigned bucket)
{
    unsigned shift;
    uint64_t first;

    if (bucket < SUB_COUNT) {
        return bucket;
    }
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    first = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void histogram_init(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
    h->min = UINT64_MAX;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    if (value > h->max) {
        h->max = value;
    }
    if (value < h->min) {
        h->min = value;
    }
    h->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max) {
        into->max = from->max;
    }
    if (from->min < into->min) {
        into->min = from->min;
    }
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    double exact = (double)h->count * percent / 100.0;
    uint64_t rank;
    uint64_t seen = 0;

    if (h->count == 0) {
        return 0;
    }
    if (!(percent > 0)) { /* also NaN */
        return h->min;
    }
    if (percent >= 100) {
        return h->max;
    }
    rank = (uint64_t)exact;
    if ((double)rank < exact) {
        rank++;
    }
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank && seen > 0) {
            uint64_t last = bucket_last_value(i);
            return last < h->max ? last : h->max;
        }
    }
    return h->max;
}
