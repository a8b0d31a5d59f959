/* Deadlines in order of time: a binary heap of embedded nodes. To postpone one costs nothing until it comes up, so that
 * a heartbeat moves no heap. */
#ifndef CAIRN_FSM_GROUP_DEADLINES_H
#define CAIRN_FSM_GROUP_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

struct deadline {
    uint64_t at_ms;   /* when it is due; set through the calls below */
    uint64_t heap_ms; /* where it stands in the heap: never later than at_ms */
    uint64_t order;   /* equal times: first set, first due */
    size_t slot;      /* 1 + place in the heap; 0: not set */
    uint8_t kind;     /* the owner's */
};

struct deadlines {
    struct deadline **heap;
    size_t n;
    size_t capacity;
    uint64_t order;
};

void deadlines_close(struct deadlines *d);
/* Room for @n deadlines altogether, so that setting one cannot fail. Errors: ERR_NOMEM. */
int deadlines_reserve(struct deadlines *d, size_t n) MUST_USE;
/* Set or move. There must be room. */
void deadline_set(struct deadlines *d, struct deadline *t, uint64_t at_ms);
void deadline_clear(struct deadlines *d, struct deadline *t);
static inline bool deadline_is_set(const struct deadline *t)
{
    return t->slot != 0;
}
/* The next one due at @now_ms, unset; NULL: none. */
struct deadline *deadlines_due(struct deadlines *d, uint64_t now_ms);
/* No deadline is due earlier than this; UINT64_MAX: none is set. */
uint64_t deadlines_next(const struct deadlines *d);

#endif
