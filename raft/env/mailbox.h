/* How messages cross threads: a lock-free stack that many push to and one empties, with the question whether the
 * receiver must be woken answered in the same step. A wake-up is a syscall, so a receiver that is awake never gets one.
 *
 * Messages of one sender arrive in the order in which they were pushed. */
#ifndef CAIRN_ENV_MAILBOX_H
#define CAIRN_ENV_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "raft/env/env.h"

enum mailbox_sleeper {
    MAILBOX_AWAKE, /* looks into the box before it sleeps: no wake-up needed */
    MAILBOX_POLL,  /* blocks in its event loop, or is about to */
    MAILBOX_FUTEX  /* blocks in mailbox_wait(), or is about to */
};

struct mailbox {
    _Atomic(struct env_message *) head; /* newest first */
    _Atomic uint32_t sleeper;           /* enum mailbox_sleeper */
};

void mailbox_init(struct mailbox *box);

/* Any thread. True: the receiver may block in its event loop, and the caller must wake that. */
bool mailbox_push(struct mailbox *box, struct env_message *message) MUST_USE;
/* As after a push, without a message. Any thread. */
bool mailbox_wake(struct mailbox *box) MUST_USE;

/* Receiver only. Everything pushed so far, oldest first, linked by `next`; NULL when empty. */
struct env_message *mailbox_take(struct mailbox *box);
/* Announce that the event loop is about to block. False: there are messages, do not block. */
bool mailbox_sleep(struct mailbox *box) MUST_USE;
void mailbox_awake(struct mailbox *box);
/* Block until there is a message. */
void mailbox_wait(struct mailbox *box);

#endif
