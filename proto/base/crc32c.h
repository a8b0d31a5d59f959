/* CRC-32C (Castagnoli), with the CPU's instruction where there is one. */
#ifndef CAIRN_BASE_CRC32C_H
#define CAIRN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The standard checksum (initial and final inversion) of @size bytes. crc32c(0, ...) starts; feed the result back in
 * to go on over more bytes: crc32c(crc32c(0, a, n), b, m) == crc32c of a followed by b. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

#endif
