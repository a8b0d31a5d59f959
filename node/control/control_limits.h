/* Every limit of node/control, with its unit. */
#ifndef CAIRN_CONTROL_LIMITS_H
#define CAIRN_CONTROL_LIMITS_H

#define CONTROL_TICK_MS 100
#define CONTROL_ALIVE_MS 3000     /* a peer that was heard of within this time is alive */
#define CONTROL_GUESTS_MAX 32     /* nodes that may join but are not registered yet */
#define CONTROL_GUEST_MS 60000    /* and so long they are remembered */
#define CONTROL_FORM_TELL_MS 500  /* an unformed node repeats what it knows */
#define CONTROL_FORM_LOG_MS 10000 /* and tells people what it waits for */
#define CONTROL_JOIN_TIMEOUT_MS 5000
#define CONTROL_JOIN_RETRY_MS 500
#define CONTROL_JOINS_MAX 16   /* served at a time */
#define CONTROL_CALLS_MAX 1024 /* outstanding proposals and barriers, own and of peers */
#define CONTROL_CALL_RETRY_MS 100
#define CONTROL_CALL_TIMEOUT_MS 10000          /* where the caller gave none */
#define CONTROL_METADATA_RETRY_MS 500          /* founding, registering, confirming */
#define CONTROL_COMMAND_MAX_BYTES (900u << 10) /* of an encoded command; it must fit in a frame's message */
#define CONTROL_LEADERS_MAX (1u << 20)         /* groups whose leader is remembered */
#define CONTROL_HINTS_MAX 2000                 /* in one message */
#define CONTROL_LEADERS_ALL_MS 60000           /* everything is told again: it is soft state and may have been lost */
#define CONTROL_RECONCILE_BATCH 64             /* groups founded, joined or deleted at a time */
#define CONTROL_RECONCILE_RETRY_MS 1000
#define CONTROL_REPLACE_MS 1000     /* corrupt replicas and unfinished replacements are looked at */
#define CONTROL_REPLACE_BATCH 16    /* groups whose members change at a time */
#define CONTROL_BALANCE_MS 5000     /* leaderships are looked at, with jitter */
#define CONTROL_BALANCE_BATCH 16    /* handed back at a time */
#define CONTROL_BALANCE_UP_MS 10000 /* a node is up for so long before leaderships go back to it */
#define CONTROL_HAND_OVER_AGAIN_MS 500
#define CONTROL_LOG_ENDS_MAX 1000      /* partitions whose ends are asked of a node in one message */
#define CONTROL_LOG_ENDS_AT_ONCE 8     /* of them that are looked up at a time */
#define CONTROL_LOG_ENDS_SERVED_MAX 64 /* such messages of peers served at a time; more find no answer */
#define CONTROL_LOG_ENDS_TIMEOUT_MS 3000
#define CONTROL_FORGET_MS 5000 /* committed offsets of deleted topics are looked for, if anything has changed */
#define CONTROL_COORDINATOR_REPLICAS 3 /* of each internal group of the coordinators, where the cluster has so many nodes */

#endif
