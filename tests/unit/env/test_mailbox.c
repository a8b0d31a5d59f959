#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/env/mailbox.h"

static void take_gives_all_oldest_first(void **state)
{
    struct mailbox box;
    struct env_message m[3];
    mailbox_init(&box);
    assert_null(mailbox_take(&box));
    for (int i = 0; i < 3; i++) {
        assert_false(mailbox_push(&box, &m[i])); /* the receiver is awake */
    }
    struct env_message *first = mailbox_take(&box);
    assert_ptr_equal(first, &m[0]);
    assert_ptr_equal(first->next, &m[1]);
    assert_ptr_equal(first->next->next, &m[2]);
    assert_null(first->next->next->next);
    assert_null(mailbox_take(&box));
}

static void a_receiver_with_messages_does_not_sleep(void **state)
{
    struct mailbox box;
    struct env_message m;
    mailbox_init(&box);
    assert_false(mailbox_push(&box, &m));
    assert_false(mailbox_sleep(&box));
    mailbox_wait(&box); /* returns at once */
    assert_ptr_equal(mailbox_take(&box), &m);
    assert_true(mailbox_sleep(&box));
}

static void only_the_first_message_wakes_a_sleeper(void **state)
{
    struct mailbox box;
    struct env_message m[2];
    mailbox_init(&box);
    assert_true(mailbox_sleep(&box));
    assert_true(mailbox_push(&box, &m[0]));
    assert_false(mailbox_push(&box, &m[1]));
    assert_non_null(mailbox_take(&box));
    assert_true(mailbox_sleep(&box));
    assert_true(mailbox_wake(&box));
    assert_false(mailbox_wake(&box));
    assert_true(mailbox_sleep(&box));
    mailbox_awake(&box);
    assert_false(mailbox_wake(&box));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_gives_all_oldest_first),
        cmocka_unit_test(a_receiver_with_messages_does_not_sleep),
        cmocka_unit_test(only_the_first_message_wakes_a_sleeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
