/* Shared by this folder's tests. */
#ifndef TEST_NATIVE_UTIL_H
#define TEST_NATIVE_UTIL_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/native/calls.h"
#include "proto/native/frame.h"

static const struct frame_limits limits_default = {FRAME_MESSAGE_MAX, FRAME_PAYLOAD_MAX};

/* Make a tampered header's checksum right again. */
static inline void fix_crc(uint8_t header[FRAME_HEADER_SIZE])
{
    uint32_t crc = crc32c(0, header, 28);
    memcpy(header + 28, &crc, sizeof crc);
}

#endif
