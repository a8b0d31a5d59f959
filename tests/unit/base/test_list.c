#include "proto/base/list.h"

#include "tests/unit/base/check.h"

struct item {
    int id;
    struct list link;
};

static void expect_ids(struct list *l, const int *ids, size_t n)
{
    size_t i = 0;

    list_for_each(pos, l)
    {
        if (i >= n) {
            fail_msg("more than %zu nodes", n);
            return;
        }
        assert_int_equal(list_entry(pos, struct item, link)->id, ids[i]);
        assert_ptr_equal(pos->next->prev, pos);
        i++;
    }
    assert_int_equal(i, n);
}

static void pushes_keep_their_order(void **state)
{
    struct item a = {.id = 1}, b = {.id = 2}, c = {.id = 3};
    struct list l;

    list_init(&l);
    assert_true(list_empty(&l));
    assert_null(list_pop_front(&l));
    list_push_back(&l, &b.link);
    list_push_back(&l, &c.link);
    list_push_front(&l, &a.link);
    assert_false(list_empty(&l));
    expect_ids(&l, (const int[]){1, 2, 3}, 3);
    assert_ptr_equal(list_pop_front(&l), &a.link);
    expect_ids(&l, (const int[]){2, 3}, 2);
}

static void removing_twice_is_harmless(void **state)
{
    struct item a = {.id = 1}, b = {.id = 2};
    struct list l;

    list_init(&l);
    list_push_back(&l, &a.link);
    list_push_back(&l, &b.link);
    list_remove(&a.link);
    list_remove(&a.link);
    expect_ids(&l, (const int[]){2}, 1);
    list_push_back(&l, &a.link);
    expect_ids(&l, (const int[]){2, 1}, 2);
}

static void splice_moves_all_and_empties_the_source(void **state)
{
    struct item a = {.id = 1}, b = {.id = 2}, c = {.id = 3};
    struct list to, from;

    list_init(&to);
    list_init(&from);
    list_splice_back(&to, &from);
    assert_true(list_empty(&to));
    list_push_back(&from, &b.link);
    list_push_back(&from, &c.link);
    list_push_back(&to, &a.link);
    list_splice_back(&to, &from);
    assert_true(list_empty(&from));
    expect_ids(&to, (const int[]){1, 2, 3}, 3);
    list_splice_back(&from, &to);
    assert_true(list_empty(&to));
    expect_ids(&from, (const int[]){1, 2, 3}, 3);
}

static void safe_iteration_survives_removal(void **state)
{
    struct item items[4];
    struct list l;
    int seen = 0;

    list_init(&l);
    for (int i = 0; i < 4; i++) {
        items[i].id = i;
        list_push_back(&l, &items[i].link);
    }
    list_for_each_safe(pos, &l)
    {
        struct item *item = list_entry(pos, struct item, link);
        seen++;
        if (item->id % 2 == 0) {
            list_remove(pos);
        }
    }
    assert_int_equal(seen, 4);
    expect_ids(&l, (const int[]){1, 3}, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_keep_their_order),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(splice_moves_all_and_empties_the_source),
        cmocka_unit_test(safe_iteration_survives_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
