/* What the tests of this folder share. */
#ifndef CAIRN_TEST_KAFKA_TEST_H
#define CAIRN_TEST_KAFKA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/kafka/sample.h"

#endif
