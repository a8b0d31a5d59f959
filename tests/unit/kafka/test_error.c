/* From our errors to Kafka's codes. */
#include "proto/base/err.h"
#include "proto/kafka/kafka_error.h"
#include "tests/unit/kafka/test.h"

static const int errors[] = {
#define X(name, number, retriable, text) number,
    ERR_TABLE(X)
#undef X
};
static const enum kafka_answerer answerers[] = {KAFKA_PARTITION, KAFKA_COORDINATOR, KAFKA_CONTROLLER};

static void success_is_none(void **state)
{
    (void)state;
    assert_int_equal(kafka_error_from_err(0, KAFKA_PARTITION), 0);
    assert_string_equal(kafka_error_name(0), "NONE");
    assert_false(kafka_error_retriable(0));
}

/* DESIGN I4: what is not known, or may work later, is never told as a definite failure. Also for codes to come. */
static void what_is_retriable_stays_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        for (size_t j = 0; j < 3; j++) {
            int16_t code = kafka_error_from_err(errors[i], answerers[j]);

            assert_int_not_equal(code, KAFKA_ERROR_NONE);
            assert_string_not_equal(kafka_error_name(code), "UNKNOWN");
            /* A rebalance is no failure: clients join again, though Java's class for it is not the retriable one. */
            if (err_retriable(errors[i]) && !kafka_error_retriable(code) && code != KAFKA_ERROR_REBALANCE_IN_PROGRESS) {
                fail_msg("%s becomes %s, which is final", err_name(errors[i]), kafka_error_name(code));
            }
        }
    }
}

/* Java's consumer throws on any other code in a Fetch response (of those that a partition's leader can come to). */
static void a_fetch_gets_only_codes_that_consumers_stand(void **state)
{
    static const int fetch_errors[] = {ERR_NOMEM,
                                       ERR_NO_SPACE,
                                       ERR_BUSY,
                                       ERR_SHUTDOWN,
                                       ERR_IO,
                                       ERR_NOT_LEADER,
                                       ERR_UNKNOWN_TOPIC,
                                       ERR_LEADER_NOT_READY,
                                       ERR_CORRUPT,
                                       ERR_OFFSET_OUT_OF_RANGE,
                                       ERR_BUFFER_FULL};
    static const int16_t stands[] = {1, 2, 3, 6, 9, 56, 74, 75, 78, 100, 103};

    (void)state;
    for (size_t i = 0; i < sizeof fetch_errors / sizeof fetch_errors[0]; i++) {
        int16_t code = kafka_error_from_err(fetch_errors[i], KAFKA_PARTITION);
        bool found = false;

        for (size_t j = 0; j < sizeof stands / sizeof stands[0]; j++) {
            found |= code == stands[j];
        }
        if (!found) {
            fail_msg("%s becomes %s", err_name(fetch_errors[i]), kafka_error_name(code));
        }
    }
}

static void each_answerer_speaks_of_itself(void **state)
{
    (void)state;
    assert_int_equal(kafka_error_from_err(ERR_NOT_LEADER, KAFKA_PARTITION), 6);
    assert_int_equal(kafka_error_from_err(ERR_NOT_LEADER, KAFKA_COORDINATOR), 16);
    assert_int_equal(kafka_error_from_err(ERR_NOT_LEADER, KAFKA_CONTROLLER), 41);
    assert_int_equal(kafka_error_from_err(ERR_LEADER_NOT_READY, KAFKA_COORDINATOR), 14);
    assert_int_equal(kafka_error_from_err(ERR_UNKNOWN_OUTCOME, KAFKA_PARTITION), 7);
    assert_int_equal(kafka_error_from_err(ERR_OUT_OF_ORDER_SEQUENCE, KAFKA_PARTITION), 45);
    assert_int_equal(kafka_error_from_err(ERR_PRODUCER_FENCED, KAFKA_PARTITION), 47);
    assert_int_equal(kafka_error_from_err(ERR_PRODUCER_FENCED, KAFKA_COORDINATOR), 90);
}

/* A code of ours that nobody mapped would reach clients as "unknown server error". */
static void only_errors_that_no_client_causes_have_no_code(void **state)
{
    static const int internal[] = {ERR_NODE_MISMATCH, ERR_DISK_WIPED, ERR_STALE_BOOT, ERR_TORN, ERR_CONFIG};

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        bool is_internal = false;

        for (size_t j = 0; j < sizeof internal / sizeof internal[0]; j++) {
            is_internal |= errors[i] == internal[j];
        }
        if (!is_internal && kafka_error_from_err(errors[i], KAFKA_PARTITION) == KAFKA_ERROR_UNKNOWN_SERVER_ERROR) {
            fail_msg("%s has no code of Kafka's", err_name(errors[i]));
        }
    }
}

static void codes_without_a_name_are_unknown(void **state)
{
    (void)state;
    assert_string_equal(kafka_error_name(-2), "UNKNOWN");
    assert_false(kafka_error_retriable(30000));
    assert_int_equal(kafka_error_from_err(60000, KAFKA_PARTITION), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(success_is_none),
        cmocka_unit_test(what_is_retriable_stays_so),
        cmocka_unit_test(a_fetch_gets_only_codes_that_consumers_stand),
        cmocka_unit_test(each_answerer_speaks_of_itself),
        cmocka_unit_test(only_errors_that_no_client_causes_have_no_code),
        cmocka_unit_test(codes_without_a_name_are_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
