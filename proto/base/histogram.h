/* A latency histogram with bounded relative error (about 1.6 %), fixed memory, no allocation per sample. */
#ifndef CAIRN_BASE_HISTOGRAM_H
#define CAIRN_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t min;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value at or below which @percent (0..100) of the samples lie; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
