#include "raft/env/mailbox.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Why no wake-up is lost: the receiver writes `sleeper` and then reads `head`, a sender writes `head` and then reads
 * (exchanges) `sleeper`. All four are sequentially consistent, so at least one of them sees the other's write. */

void mailbox_init(struct mailbox *box)
{
    atomic_init(&box->head, NULL);
    atomic_init(&box->sleeper, MAILBOX_AWAKE);
}

bool mailbox_wake(struct mailbox *box)
{
    /* A plain read first: under load the receiver is awake, and reading does not take its cache line away. */
    if (atomic_load(&box->sleeper) == MAILBOX_AWAKE) {
        return false;
    }
    uint32_t sleeper = atomic_exchange(&box->sleeper, MAILBOX_AWAKE);
    if (sleeper == MAILBOX_FUTEX) {
        syscall(SYS_futex, &box->sleeper, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return sleeper == MAILBOX_POLL;
}

bool mailbox_push(struct mailbox *box, struct env_message *message)
{
    struct env_message *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        message->next = head;
    } while (!atomic_compare_exchange_weak(&box->head, &head, message));
    return mailbox_wake(box);
}

struct env_message *mailbox_take(struct mailbox *box)
{
    if (atomic_load_explicit(&box->head, memory_order_relaxed) == NULL) {
        return NULL;
    }
    struct env_message *newest = atomic_exchange(&box->head, NULL);
    struct env_message *oldest = NULL;
    while (newest != NULL) {
        struct env_message *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

bool mailbox_sleep(struct mailbox *box)
{
    atomic_store(&box->sleeper, MAILBOX_POLL);
    if (atomic_load(&box->head) == NULL) {
        return true;
    }
    atomic_store(&box->sleeper, MAILBOX_AWAKE);
    return false;
}

void mailbox_awake(struct mailbox *box)
{
    atomic_store(&box->sleeper, MAILBOX_AWAKE);
}

void mailbox_wait(struct mailbox *box)
{
    for (;;) {
        atomic_store(&box->sleeper, MAILBOX_FUTEX);
        if (atomic_load(&box->head) != NULL) {
            break;
        }
        /* Returns at once when a sender has changed the word meanwhile; every cause of a return is looked at again. */
        syscall(SYS_futex, &box->sleeper, FUTEX_WAIT_PRIVATE, MAILBOX_FUTEX, NULL, NULL, 0);
    }
    atomic_store(&box->sleeper, MAILBOX_AWAKE);
}
