/* What a record's checksum tells apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "raft/wal/wal_format.h"

#define SEED 0x5eedu

struct bytes {
    _Alignas(8) uint8_t data[WAL_ENTRY_OVERHEAD];
};

/* An entry without payload as a file that salts with @seed has it. */
static struct bytes entry_record(uint32_t seed, uint64_t index, uint64_t term)
{
    struct bytes b = {{0}};
    struct wal_disk_record *record = (struct wal_disk_record *)(void *)b.data;
    struct entry *entry = entry_new(ENTRY_BARRIER, NULL, NULL, 0);

    assert_non_null(entry);
    entry->group = 7;
    entry->index = index;
    entry->term = term;
    *record = (struct wal_disk_record){
        .kind = WAL_APPEND, .length = ENTRY_HEADER_SIZE, .group = 7, .replica = 1, .incarnation = 1};
    entry_encode_header(entry, b.data + sizeof(*record));
    wal_record_seal(record, seed, ENTRY_HEADER_SIZE);
    entry_release(entry);
    return b;
}

static int check(const struct bytes *b)
{
    struct wal_disk_record record;
    return wal_record_check(b->data, sizeof(b->data), SEED, &record);
}

/* A recycled file had an entry of the same size in the same place, and a tear is between the record's header and the
 * entry's. That one is intact, and replaying it would truncate what was durable. */
static void an_earlier_lifes_entry_behind_a_new_header_does_not_check(void **state)
{
    struct bytes now = entry_record(SEED, 272, 4);

    assert_int_equal(check(&now), 0);
    for (uint64_t index = 1; index < 272; index++) {
        struct bytes before = entry_record(SEED + 1, index, 3);
        struct bytes torn = now;
        struct entry entry;
        memcpy(torn.data + sizeof(struct wal_disk_record), before.data + sizeof(struct wal_disk_record), ENTRY_HEADER_SIZE);
        assert_int_equal(entry_decode_header(torn.data + sizeof(struct wal_disk_record), &entry), 0);
        assert_int_equal(check(&torn), ERR_CORRUPT);
        assert_int_equal(check(&before), ERR_CORRUPT);
    }
}

static void each_bit_counts(void **state)
{
    for (unsigned bit = 0; bit < 8 * WAL_ENTRY_OVERHEAD; bit++) {
        struct bytes b = entry_record(SEED, 9, 2);
        b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(check(&b), ERR_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_earlier_lifes_entry_behind_a_new_header_does_not_check),
        cmocka_unit_test(each_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
