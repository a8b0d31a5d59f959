#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/group/table.h"

#define IDS 512

/* Against a plain array, ids close together and far apart, so that runs form and wrap. */
static void it_holds_what_an_array_would(void **state)
{
    static uintptr_t expected[IDS];
    struct group_table table = {0};
    uint64_t seed = 42;

    assert_null(table_find(&table, 7));
    for (int step = 0; step < 200000; step++) {
        uint64_t i;
        uint64_t id;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        i = (seed >> 33) % (step % 2 == 0 ? IDS : 40);
        id = i % 3 == 0 ? i : i << 40;
        if (expected[i] != 0 && seed >> 63 != 0) {
            table_remove(&table, id);
            expected[i] = 0;
        } else if (expected[i] == 0) {
            expected[i] = (uintptr_t)step + 1;
            assert_int_equal(table_add(&table, id, (struct group *)expected[i]), 0);
        }
        i = (seed >> 20) % IDS;
        id = i % 3 == 0 ? i : i << 40;
        assert_ptr_equal(table_find(&table, id), (struct group *)expected[i]);
        assert_true(2 * table.n <= table.capacity);
    }
    for (uint64_t i = 0; i < IDS; i++) {
        assert_ptr_equal(table_find(&table, i % 3 == 0 ? i : i << 40), (struct group *)expected[i]);
    }
    table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_an_array_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
