#ifndef TESTS_CLIENT_CHECK_H
#define TESTS_CLIENT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#endif
