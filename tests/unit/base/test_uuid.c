#include "proto/base/uuid.h"

#include <string.h>

#include "tests/unit/base/check.h"

static void format_and_parse_are_inverse(void **state)
{
    struct uuid u = uuid_from_random(UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210));
    struct uuid back;
    char text[UUID_TEXT_SIZE];

    assert_ptr_equal(uuid_format(&u, text), text);
    assert_string_equal(text, "01234567-89ab-4def-bedc-ba9876543210");
    assert_int_equal(uuid_parse(text, &back), 0);
    assert_true(uuid_equal(&u, &back));
    assert_int_equal(uuid_parse("01234567-89AB-4DEF-BEDC-BA9876543210", &back), 0);
    assert_true(uuid_equal(&u, &back));
}

static void random_ones_carry_version_and_variant(void **state)
{
    struct uuid zero = uuid_from_random(0, 0);
    struct uuid ones = uuid_from_random(UINT64_MAX, UINT64_MAX);

    assert_int_equal(zero.bytes[6], 0x40);
    assert_int_equal(zero.bytes[8], 0x80);
    assert_int_equal(ones.bytes[6], 0x4f);
    assert_int_equal(ones.bytes[8], 0xbf);
    assert_false(uuid_is_nil(&zero));
}

static void nil_and_order(void **state)
{
    struct uuid nil = {{0}};
    struct uuid one = {{0}};

    one.bytes[15] = 1;
    assert_true(uuid_is_nil(&nil));
    assert_false(uuid_is_nil(&one));
    assert_true(uuid_compare(&nil, &one) < 0);
    assert_true(uuid_compare(&one, &nil) > 0);
    assert_int_equal(uuid_compare(&one, &one), 0);
    assert_false(uuid_equal(&nil, &one));
}

static void bad_text_is_refused_and_leaves_the_result_alone(void **state)
{
    static const char good[] = "01234567-89ab-4def-bedc-ba9876543210";
    struct uuid out;
    struct uuid before;
    char text[UUID_TEXT_SIZE + 1];

    memset(&out, 0x5a, sizeof(out));
    before = out;
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        /* every truncation */
        memcpy(text, good, n);
        text[n] = '\0';
        assert_int_equal(uuid_parse(text, &out), ERR_MALFORMED);
        /* every position spoilt */
        memcpy(text, good, sizeof(good));
        text[n] = 'g';
        assert_int_equal(uuid_parse(text, &out), ERR_MALFORMED);
    }
    assert_int_equal(uuid_parse("01234567-89ab-4def-bedc-ba98765432100", &out), ERR_MALFORMED);
    assert_int_equal(uuid_parse("0123456789ab4defbedcba9876543210", &out), ERR_MALFORMED);
    assert_true(uuid_equal(&out, &before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_and_parse_are_inverse),
        cmocka_unit_test(random_ones_carry_version_and_variant),
        cmocka_unit_test(nil_and_order),
        cmocka_unit_test(bad_text_is_refused_and_leaves_the_result_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
