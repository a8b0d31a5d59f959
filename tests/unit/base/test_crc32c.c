#include "proto/base/crc32c.h"

#include <string.h>

#include "tests/unit/base/check.h"

/* RFC 3720 B.4 and the catalogue's check value. */
static void known_vectors(void **state)
{
    uint8_t bytes[32];

    assert_true(crc32c(0, "123456789", 9) == 0xe3069283u);
    memset(bytes, 0, sizeof(bytes));
    assert_true(crc32c(0, bytes, sizeof(bytes)) == 0x8a9136aau);
    memset(bytes, 0xff, sizeof(bytes));
    assert_true(crc32c(0, bytes, sizeof(bytes)) == 0x62a8ab43u);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_true(crc32c(0, bytes, sizeof(bytes)) == 0x46dd794eu);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_true(crc32c(0, bytes, sizeof(bytes)) == 0x113fdb5cu);
}

static void nothing_changes_nothing(void **state)
{
    assert_true(crc32c(0, NULL, 0) == 0);
    assert_true(crc32c(0xe3069283u, NULL, 0) == 0xe3069283u);
}

static uint32_t bit_by_bit(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;

    while (n-- > 0) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++) {
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
        }
    }
    return ~crc;
}

static void agrees_with_the_definition_at_every_length_and_alignment(void **state)
{
    uint8_t bytes[700];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 167 + (i >> 3));
    }
    for (size_t n = 0; n <= 660; n++) {
        size_t at = n % 17;
        assert_true(crc32c(0, bytes + at, n) == bit_by_bit(bytes + at, n));
    }
}

static void going_on_equals_one_go(void **state)
{
    uint8_t bytes[300];
    uint32_t whole;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 31);
    }
    whole = crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
        assert_true(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut) == whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(nothing_changes_nothing),
        cmocka_unit_test(agrees_with_the_definition_at_every_length_and_alignment),
        cmocka_unit_test(going_on_equals_one_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
