#include "proto/base/murmur2.h"

#include <string.h>

#include "tests/unit/base/check.h"

/* Keys must land on the partition where Kafka's own clients put them: the values of its UtilsTest. */
static void agrees_with_kafka(void **state)
{
    static const struct {
        const char *key;
        int32_t hash;
    } rows[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal((int32_t)murmur2(rows[i].key, strlen(rows[i].key)), rows[i].hash);
    }
}

static void the_sign_bit_is_cleared_before_the_modulo(void **state)
{
    /* -973932308 & 0x7fffffff = 1173551340 */
    assert_int_equal(murmur2_partition("21", 2, 7), 1173551340 % 7);
    assert_int_equal(murmur2_partition("abc", 3, 1), 0);
    assert_int_equal(murmur2_partition("abc", 3, 100), 479470107 % 100);
}

static void alignment_and_high_bytes_do_not_matter(void **state)
{
    uint8_t room[32];
    static const uint8_t key[] = {0xff, 0x80, 0x00, 0xfe, 0x81, 0xc0, 0xff};
    uint32_t first = murmur2(key, sizeof(key));

    for (size_t at = 0; at < 8; at++) {
        memcpy(room + at, key, sizeof(key));
        assert_true(murmur2(room + at, sizeof(key)) == first);
    }
    assert_true(murmur2(key, 5) != murmur2(key, 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_kafka),
        cmocka_unit_test(the_sign_bit_is_cleared_before_the_modulo),
        cmocka_unit_test(alignment_and_high_bytes_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
