#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <raft.h>

#include "raft/core/core_config.h"

static struct core_config three(void)
{
    struct core_config config = {.n = 0};
    assert_int_equal(core_config_add(&config, 11, CORE_VOTER, "1.11"), 0);
    assert_int_equal(core_config_add(&config, 12, CORE_VOTER, "2.12"), 0);
    assert_int_equal(core_config_add(&config, 13, CORE_LEARNER, "3.13"), 0);
    return config;
}

static void encode_then_decode_is_the_same(void **state)
{
    struct core_config config = three();
    struct core_config decoded;
    uint8_t bytes[CORE_CONFIG_ENCODED_MAX];
    size_t size = core_config_encoded_size(&config);

    (void)state;
    assert_int_equal(core_config_encode(&config, bytes, sizeof bytes), 0);
    assert_int_equal(core_config_decode(bytes, size, &decoded), 0);
    assert_true(core_config_equal(&config, &decoded));
    assert_int_equal(core_config_voters(&decoded), 2);
    assert_int_equal(core_config_encode(&config, bytes, size - 1), ERR_INVALID);
}

static void encoding_is_what_libraft_reads_and_writes(void **state)
{
    struct core_config config = three();
    uint8_t bytes[CORE_CONFIG_ENCODED_MAX];
    struct raft_configuration theirs;
    struct raft_buffer buf;

    (void)state;
    assert_int_equal(core_config_encode(&config, bytes, sizeof bytes), 0);
    buf.base = bytes;
    buf.len = core_config_encoded_size(&config);
    assert_int_equal(raft_configuration_decode(&buf, &theirs), 0);
    assert_int_equal(theirs.n, 3);
    assert_int_equal(theirs.servers[2].id, 13);
    assert_int_equal(theirs.servers[2].role, RAFT_STANDBY);
    assert_string_equal(theirs.servers[1].address, "2.12");
    assert_int_equal(raft_configuration_encode(&theirs, &buf), 0);
    assert_int_equal(buf.len, core_config_encoded_size(&config));
    assert_memory_equal(buf.base, bytes, buf.len);
    raft_free(buf.base);
    raft_configuration_close(&theirs);
}

static void add_refuses_what_cannot_be(void **state)
{
    struct core_config config = three();
    char address[CORE_ADDRESS_SIZE + 1];

    (void)state;
    assert_int_equal(core_config_add(&config, 0, CORE_VOTER, "9.9"), ERR_INVALID);
    assert_int_equal(core_config_add(&config, 9, (enum core_member_role)2, "9.9"), ERR_INVALID);
    assert_int_equal(core_config_add(&config, 9, CORE_VOTER, ""), ERR_INVALID);
    memset(address, 'a', sizeof address);
    assert_int_equal(core_config_add(&config, 9, CORE_VOTER, address), ERR_INVALID);
    assert_int_equal(core_config_add(&config, 11, CORE_VOTER, "9.9"), ERR_EXISTS);
    assert_int_equal(core_config_add(&config, 9, CORE_VOTER, "1.11"), ERR_EXISTS);
    for (uint64_t id = 100; config.n < CORE_MEMBERS_MAX; id++) {
        snprintf(address, sizeof address, "1.%llu", (unsigned long long)id);
        assert_int_equal(core_config_add(&config, id, CORE_VOTER, address), 0);
    }
    assert_int_equal(core_config_add(&config, 9, CORE_VOTER, "9.9"), ERR_TOO_BIG);
}

static void decode_refuses_every_cut_and_every_changed_byte_or_means_something_else(void **state)
{
    struct core_config config = three();
    struct core_config decoded;
    uint8_t bytes[CORE_CONFIG_ENCODED_MAX];
    size_t size = core_config_encoded_size(&config);

    (void)state;
    assert_int_equal(core_config_encode(&config, bytes, sizeof bytes), 0);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_not_equal(core_config_decode(bytes, cut, &decoded), 0);
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t saved = bytes[i];
        bytes[i] ^= 0x41;
        if (core_config_decode(bytes, size, &decoded) == 0) {
            assert_false(core_config_equal(&config, &decoded));
        }
        bytes[i] = saved;
    }
    bytes[0] = 2;
    assert_int_equal(core_config_decode(bytes, size, &decoded), ERR_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_then_decode_is_the_same),
        cmocka_unit_test(encoding_is_what_libraft_reads_and_writes),
        cmocka_unit_test(add_refuses_what_cannot_be),
        cmocka_unit_test(decode_refuses_every_cut_and_every_changed_byte_or_means_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
