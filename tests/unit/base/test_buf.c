#include "proto/base/buf.h"

#include <pthread.h>
#include <string.h>

#include "tests/unit/base/check.h"
#include "tests/unit/base/fail_alloc.h"

#define MIB ((size_t)1 << 20)

static void capacity_covers_every_size(void **state)
{
    static const size_t sizes[] = {0,    1,       255,         256,           257,     4095,
                                   4096, 4097,    65536 + 61,  MIB,           MIB + 1, 16 * MIB,
                                   16 * MIB + 64, 32 * MIB,    32 * MIB + 1};
    struct buf_pool *pool = buf_pool_new(MIB);

    assert_non_null(pool);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct buf *plain = buf_new(NULL, sizes[i]);
        struct buf *pooled = buf_new(pool, sizes[i]);
        assert_non_null(plain);
        assert_non_null(pooled);
        assert_true(plain->capacity >= sizes[i]);
        assert_true(pooled->capacity >= sizes[i]);
        assert_int_equal((uintptr_t)pooled->data % 16, 0);
        if (sizes[i] > 0) {
            /* the ends are ours: a sanitizer would tell otherwise */
            pooled->data[0] = plain->data[0] = 1;
            pooled->data[pooled->capacity - 1] = 2;
            plain->data[plain->capacity - 1] = 2;
        }
        buf_release(plain);
        buf_release(pooled);
    }
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    buf_pool_free(pool);
}

static void a_released_buffer_serves_the_next_of_its_class_without_allocating(void **state)
{
    struct buf_pool *pool = buf_pool_new(65536); /* just the one: taking it out must make room again */
    struct buf *a = buf_new(pool, 60000);
    struct buf *b;
    unsigned calls;

    buf_release(a);
    calls = fail_alloc_calls;
    for (int i = 0; i < 100; i++) {
        b = buf_new(pool, 40000 + (size_t)i);
        assert_ptr_equal(b, a);
        assert_int_equal(atomic_load(&b->refs), 1);
        buf_release(b);
    }
    assert_int_equal(fail_alloc_calls, calls);
    b = buf_new(pool, 70000); /* another class */
    assert_ptr_not_equal(b, a);
    buf_release(b);
    buf_pool_free(pool);
}

static void bytes_out_counts_capacity_until_the_last_reference_goes(void **state)
{
    struct buf_pool *pool = buf_pool_new(MIB);
    struct buf *a = buf_new(pool, 1000);
    struct buf *b = buf_new(pool, 40 * MIB);

    assert_int_equal(buf_pool_bytes_out(pool), a->capacity + b->capacity);
    assert_ptr_equal(buf_acquire(a), a);
    buf_release(a);
    assert_int_equal(buf_pool_bytes_out(pool), a->capacity + b->capacity);
    buf_release(b);
    assert_int_equal(buf_pool_bytes_out(pool), a->capacity);
    buf_release(a);
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    buf_release(NULL);
    buf_pool_free(pool);
}

/* Kept ones come back without malloc; what went over the limit was freed, so it needs malloc. */
static void no_more_than_the_limit_is_kept(void **state)
{
    struct buf_pool *pool = buf_pool_new(2 * 4096);
    struct buf *bufs[4];
    unsigned calls;

    for (size_t i = 0; i < 4; i++) {
        bufs[i] = buf_new(pool, 4096);
        assert_int_equal(bufs[i]->capacity, 4096);
    }
    for (size_t i = 0; i < 4; i++) {
        buf_release(bufs[i]);
    }
    calls = fail_alloc_calls;
    for (size_t i = 0; i < 4; i++) {
        bufs[i] = buf_new(pool, 4096);
    }
    assert_int_equal(fail_alloc_calls - calls, 2);
    for (size_t i = 0; i < 4; i++) {
        buf_release(bufs[i]);
    }
    buf_pool_free(pool);
}

static void a_buffer_may_outlive_its_pool(void **state)
{
    struct buf_pool *pool = buf_pool_new(MIB);
    struct buf *kept = buf_new(pool, 500);
    struct buf *a = buf_new(pool, 5000);
    struct buf *b = buf_new(pool, 40 * MIB);

    buf_release(kept);
    buf_pool_free(pool);
    memset(a->data, 1, a->capacity);
    buf_release(a);
    b->data[b->capacity - 1] = 1;
    buf_release(b); /* the last one takes the pool along; LeakSanitizer is the judge */
    buf_pool_free(NULL);
}

static void allocation_failure_leaves_the_counts_right(void **state)
{
    struct buf_pool *pool = buf_pool_new(MIB);
    struct buf *warm = buf_new(pool, 4096);

    buf_release(warm);
    fail_alloc_armed = true;
    assert_null(buf_pool_new(MIB));
    assert_null(buf_new(NULL, 10));
    assert_null(buf_new(pool, 100000));
    assert_int_equal(buf_pool_bytes_out(pool), 0);
    warm = buf_new(pool, 4000); /* from the free list: needs no memory */
    fail_alloc_armed = false;
    assert_non_null(warm);
    buf_release(warm);
    assert_null(buf_new(pool, SIZE_MAX));
    assert_null(buf_new(NULL, SIZE_MAX - 8));
    buf_pool_free(pool);
}

#define THREADS 4
#define ROUNDS 4000

struct lane {
    struct buf_pool *pool;
    struct buf *shared;
    _Atomic(struct buf *) *exchange; /* buffers change threads here */
};

static void *hammer(void *arg)
{
    struct lane *lane = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct buf *b = buf_new(lane->pool, 200u << (i % 6));
        struct buf *other;
        if (b == NULL) {
            return arg;
        }
        b->data[0] = (uint8_t)i;
        buf_acquire(lane->shared);
        other = atomic_exchange(lane->exchange, b);
        if (other != NULL) {
            other->data[0]++;
            buf_release(other);
        }
        buf_release(lane->shared);
    }
    return NULL;
}

static void threads_may_take_pass_and_release_at_once(void **state)
{
    struct buf_pool *pool = buf_pool_new(16384);
    struct buf *shared = buf_new(pool, 1000);
    _Atomic(struct buf *) exchange = NULL;
    struct lane lane = {.pool = pool, .shared = shared, .exchange = &exchange};
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &lane), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    buf_release(atomic_load(&exchange));
    assert_int_equal(atomic_load(&shared->refs), 1);
    assert_int_equal(buf_pool_bytes_out(pool), shared->capacity);
    buf_pool_free(pool);
    buf_release(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacity_covers_every_size),
        cmocka_unit_test(a_released_buffer_serves_the_next_of_its_class_without_allocating),
        cmocka_unit_test(bytes_out_counts_capacity_until_the_last_reference_goes),
        cmocka_unit_test(no_more_than_the_limit_is_kept),
        cmocka_unit_test(a_buffer_may_outlive_its_pool),
        cmocka_unit_test(allocation_failure_leaves_the_counts_right),
        cmocka_unit_test(threads_may_take_pass_and_release_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
