/* Kafka's key hash: murmur2 with seed 0x9747b28c, as its default partitioner uses it. */
#ifndef CAIRN_BASE_MURMUR2_H
#define CAIRN_BASE_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *data, size_t size);

/* Partition of a non-null key: (murmur2 & 0x7fffffff) % partitions. */
static inline uint32_t murmur2_partition(const void *key, size_t size, uint32_t partitions)
{
    return (murmur2(key, size) & 0x7fffffffu) % partitions;
}

#endif
