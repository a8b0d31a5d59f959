#include "raft/core/core_internal.h"

static uint32_t trail_records(const struct raft_trail *t)
{
    return t->front <= t->back ? t->back - t->front : t->size - t->front + t->back;
}

static uint32_t trail_at(const struct raft_trail *t, uint32_t i)
{
    uint32_t position = t->front + i;
    return position >= t->size ? position - t->size : position;
}

uint64_t trail_last(const struct raft_trail *t)
{
    uint32_t n = trail_records(t);
    return n == 0 ? t->snapshot.index : t->records[trail_at(t, n - 1)].index;
}

/* Record that holds @index, which is in the trail. Mostly the last one. */
static uint32_t trail_find(const struct raft_trail *t, uint64_t index)
{
    uint32_t n = trail_records(t) - 1;
    while (n > 0 && t->records[trail_at(t, n - 1)].index >= index) {
        n--;
    }
    return n;
}

uint64_t trail_term(const struct raft_trail *t, uint64_t index)
{
    uint32_t n = trail_records(t);
    if (n > 0 && index > t->offset && index <= t->records[trail_at(t, n - 1)].index) {
        return t->records[trail_at(t, trail_find(t, index))].term;
    }
    return index != 0 && index == t->snapshot.index ? t->snapshot.term : 0;
}

uint64_t trail_floor(const struct raft_trail *t, uint64_t index, uint64_t term)
{
    uint32_t i;

    if (trail_records(t) == 0 || index <= t->offset) {
        return index;
    }
    assert(index <= trail_last(t));
    i = trail_find(t, index);
    while (t->records[trail_at(t, i)].term > term) {
        if (i == 0) {
            return t->offset;
        }
        i--;
        index = t->records[trail_at(t, i)].index;
    }
    return index;
}

uint32_t trail_runs(const struct raft_trail *t, uint64_t first, uint32_t n, struct core_append_run *runs, uint32_t runs_max,
                    uint32_t *n_runs)
{
    uint32_t covered = 0;
    uint32_t i;

    *n_runs = 0;
    if (n == 0) {
        return 0;
    }
    assert(first > t->offset && first + n - 1 <= trail_last(t));
    for (i = trail_find(t, first); covered < n && *n_runs < runs_max; i++) {
        uint64_t last = t->records[trail_at(t, i)].index;
        uint64_t begin = first + covered;
        uint32_t take = n - covered;
        if (last - begin + 1 < take) {
            take = (uint32_t)(last - begin + 1);
        }
        runs[*n_runs].term = t->records[trail_at(t, i)].term;
        runs[*n_runs].n = take;
        *n_runs += 1;
        covered += take;
    }
    return covered;
}
