/* Allocation failure as an input: link with --wrap=malloc and --wrap=calloc, then arm. One thread only. */
#ifndef CAIRN_TEST_BASE_FAIL_ALLOC_H
#define CAIRN_TEST_BASE_FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

static bool fail_alloc_armed;
static unsigned fail_alloc_calls; /* allocations seen, failed or not */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
    __atomic_add_fetch(&fail_alloc_calls, 1, __ATOMIC_RELAXED);
    return fail_alloc_armed ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    __atomic_add_fetch(&fail_alloc_calls, 1, __ATOMIC_RELAXED);
    return fail_alloc_armed ? NULL : __real_calloc(n, size);
}

#endif
