#include "proto/base/crc32c.h"

#include <isa-l/crc.h>

/* isa-l takes the length as an int. */
#define CRC32C_STEP_BYTES ((size_t)1 << 30)

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    /* isa-l's argument lacks its const (it only reads), and it neither inverts the start nor the result. */
    unsigned char *p = (unsigned char *)(uintptr_t)data;

    while (size > 0) {
        size_t step = size < CRC32C_STEP_BYTES ? size : CRC32C_STEP_BYTES;
        crc = ~crc32_iscsi(p, (int)step, ~crc);
        p += step;
        size -= step;
    }
    return crc;
}
