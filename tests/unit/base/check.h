/* cmocka with the headers that it wants before it. */
#ifndef CAIRN_TEST_BASE_CHECK_H
#define CAIRN_TEST_BASE_CHECK_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
