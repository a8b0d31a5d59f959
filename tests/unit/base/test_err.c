#include "proto/base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/base/check.h"

static void numbers_are_unique_and_positive(void **state)
{
    static const int numbers[] = {
#define X(name, number, retriable, text) number,
        ERR_TABLE(X)
#undef X
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        assert_true(numbers[i] > 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(numbers[i], numbers[j]);
        }
    }
}

/* The native protocol carries them: a change here breaks clients that are out there. */
static void numbers_on_the_wire_stay_what_they_were(void **state)
{
    assert_int_equal(ERR_OK, 0);
    assert_int_equal(ERR_NOMEM, 1);
    assert_int_equal(ERR_NOT_LEADER, 16);
    assert_int_equal(ERR_UNKNOWN_OUTCOME, 18);
    assert_int_equal(ERR_OFFSET_OUT_OF_RANGE, 25);
    assert_int_equal(ERR_PRODUCER_FENCED, 29);
    assert_int_equal(ERR_CONFIG, 41);
}

static void every_code_has_name_and_text(void **state)
{
    static const struct {
        int number;
        const char *name;
        const char *text;
        bool retriable;
    } rows[] = {
#define X(name, number, retriable, text) {number, #name, text, retriable},
        ERR_TABLE(X)
#undef X
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_string_equal(err_name(rows[i].number), rows[i].name + strlen("ERR_"));
        assert_string_equal(err_text(rows[i].number), rows[i].text);
        assert_true(strlen(rows[i].text) > 0);
        assert_int_equal(err_retriable(rows[i].number), rows[i].retriable);
    }
    assert_string_equal(err_name(0), "OK");
}

static void a_number_outside_the_table_is_named_so_and_not_retried(void **state)
{
    static const int foreign[] = {-1, 60000, INT32_MAX, INT32_MIN};

    for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
        assert_string_equal(err_name(foreign[i]), "UNKNOWN_ERROR");
        assert_non_null(err_text(foreign[i]));
        assert_false(err_retriable(foreign[i]));
    }
    assert_false(err_retriable(0));
}

/* I4: what is not known is never reported as a definite failure. */
static void an_unknown_outcome_is_retriable_and_corruption_is_not(void **state)
{
    assert_true(err_retriable(ERR_UNKNOWN_OUTCOME));
    assert_true(err_retriable(ERR_NOT_LEADER));
    assert_true(err_retriable(ERR_NO_SPACE));
    assert_false(err_retriable(ERR_CORRUPT));
    assert_false(err_retriable(ERR_IO));
}

static void errno_values_map_into_the_table(void **state)
{
    assert_int_equal(err_from_errno(0), 0);
    assert_int_equal(err_from_errno(ENOMEM), ERR_NOMEM);
    assert_int_equal(err_from_errno(ENOSPC), ERR_NO_SPACE);
    assert_int_equal(err_from_errno(EDQUOT), ERR_NO_SPACE);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_int_equal(err_from_errno(EEXIST), ERR_EXISTS);
    assert_int_equal(err_from_errno(EINVAL), ERR_INVALID);
    assert_int_equal(err_from_errno(ETIMEDOUT), ERR_TIMEOUT);
    assert_int_equal(err_from_errno(ECANCELED), ERR_CANCELLED);
    assert_int_equal(err_from_errno(EMFILE), ERR_BUSY);
    assert_int_equal(err_from_errno(EIO), ERR_IO);
    assert_int_equal(err_from_errno(12345), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_unique_and_positive),
        cmocka_unit_test(numbers_on_the_wire_stay_what_they_were),
        cmocka_unit_test(every_code_has_name_and_text),
        cmocka_unit_test(a_number_outside_the_table_is_named_so_and_not_retried),
        cmocka_unit_test(an_unknown_outcome_is_retriable_and_corruption_is_not),
        cmocka_unit_test(errno_values_map_into_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
