#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "raft/core/core_message.h"

static struct core_message samples[6];

static int fill(void **state)
{
    (void)state;
    memset(samples, 0, sizeof samples);
    for (uint8_t i = 0; i < 6; i++) {
        samples[i].type = (uint8_t)(i + 1);
        samples[i].version = i;
        samples[i].from = 5;
        samples[i].to = 6;
        samples[i].term = 7;
    }
    samples[0].append = (struct core_append){10, 2, 9, 6, 3, {{2, 1}, {3, 2}, {7, 3}}};
    samples[1].append_result = (struct core_append_result){4, 3, 1, 2};
    samples[2].vote = (struct core_vote){5, 10, 2, true, false};
    samples[3].vote_result = (struct core_vote_result){true, true, 1, 0};
    samples[4].install.last_index = 100;
    samples[4].install.last_term = 6;
    samples[4].install.config_index = 50;
    assert_int_equal(core_config_add(&samples[4].install.config, 5, CORE_VOTER, "1.5"), 0);
    assert_int_equal(core_config_add(&samples[4].install.config, 6, CORE_LEARNER, "2.6"), 0);
    samples[5].timeout_now = (struct core_timeout_now){10, 2};
    return 0;
}

static void each_type_survives_its_encoding(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        uint8_t bytes[CORE_MESSAGE_ENCODED_MAX];
        uint8_t again[CORE_MESSAGE_ENCODED_MAX];
        struct core_message decoded;
        size_t length;
        size_t length_again;
        memset(&decoded, 0xee, sizeof decoded);
        assert_int_equal(core_message_encode(&samples[i], bytes, sizeof bytes, &length), 0);
        assert_int_equal(core_message_decode(bytes, length, &decoded), 0);
        assert_int_equal(decoded.type, samples[i].type);
        assert_int_equal(decoded.version, samples[i].version);
        assert_int_equal(decoded.term, 7);
        assert_int_equal(core_message_encode(&decoded, again, sizeof again, &length_again), 0);
        assert_int_equal(length, length_again);
        assert_memory_equal(bytes, again, length);
        for (size_t cut = 0; cut < length; cut++) {
            assert_int_not_equal(core_message_decode(bytes, cut, &decoded), 0);
            assert_int_equal(core_message_encode(&samples[i], again, cut, &length_again), ERR_INVALID);
        }
        bytes[length] = 0;
        assert_int_equal(core_message_decode(bytes, length + 1, &decoded), ERR_MALFORMED);
        bytes[0] = 9;
        assert_int_equal(core_message_decode(bytes, length, &decoded), ERR_VERSION);
    }
}

static void largest_message_fits_the_limit(void **state)
{
    struct core_message m = samples[4];
    uint8_t bytes[CORE_MESSAGE_ENCODED_MAX];
    size_t length;

    (void)state;
    m.install.config.n = 0;
    for (uint64_t i = 0; i < CORE_MEMBERS_MAX; i++) {
        char address[CORE_ADDRESS_SIZE];
        memset(address, 'x', sizeof address);
        address[0] = (char)('a' + i);
        address[CORE_ADDRESS_SIZE - 1] = 0;
        assert_int_equal(core_config_add(&m.install.config, i + 1, CORE_VOTER, address), 0);
    }
    assert_int_equal(core_message_encode(&m, bytes, sizeof bytes, &length), 0);
    m = samples[0];
    m.append.n_runs = CORE_APPEND_RUNS_MAX;
    assert_int_equal(core_message_encode(&m, bytes, sizeof bytes, &length), 0);
    m.append.n_runs = CORE_APPEND_RUNS_MAX + 1;
    assert_int_equal(core_message_encode(&m, bytes, sizeof bytes, &length), ERR_INVALID);
}

static void runs_that_do_not_sum_up_are_malformed(void **state)
{
    struct core_message m = samples[0];
    uint8_t bytes[CORE_MESSAGE_ENCODED_MAX];
    size_t length;

    (void)state;
    m.append.n = 7;
    assert_int_equal(core_message_encode(&m, bytes, sizeof bytes, &length), 0);
    assert_int_equal(core_message_decode(bytes, length, &m), ERR_MALFORMED);
}

static void a_split_names_the_same_entries(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 6; n++) {
        struct core_message first = samples[0];
        struct core_message rest;
        uint32_t sum[2] = {0, 0};
        core_append_split(&first, n, &rest);
        assert_int_equal(first.append.n, n);
        assert_int_equal(rest.append.n, 6 - n);
        assert_int_equal(rest.append.prev_index, 10 + n);
        assert_int_equal(rest.append.prev_term, core_append_term_at(&samples[0].append, 10 + n));
        for (uint64_t index = 11; index <= 16; index++) {
            const struct core_append *part = index <= 10 + n ? &first.append : &rest.append;
            const struct core_append *other = index <= 10 + n ? &rest.append : &first.append;
            assert_int_equal(core_append_term_at(part, index), core_append_term_at(&samples[0].append, index));
            assert_int_equal(core_append_term_at(other, index), 0);
        }
        for (uint32_t i = 0; i < first.append.n_runs; i++) {
            assert_true(first.append.runs[i].n > 0);
            sum[0] += first.append.runs[i].n;
        }
        for (uint32_t i = 0; i < rest.append.n_runs; i++) {
            assert_true(rest.append.runs[i].n > 0);
            sum[1] += rest.append.runs[i].n;
        }
        assert_int_equal(sum[0], n);
        assert_int_equal(sum[1], 6 - n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_survives_its_encoding),
        cmocka_unit_test(largest_message_fits_the_limit),
        cmocka_unit_test(runs_that_do_not_sum_up_are_malformed),
        cmocka_unit_test(a_split_names_the_same_entries),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
