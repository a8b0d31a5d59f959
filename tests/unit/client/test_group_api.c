/* Consumer groups as programs use them: threads, real sockets, the public headers. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cairn/cairn.h>

#include "tests/unit/client/check.h"
#include "tests/unit/client/server.h"
#include "tests/unit/client/world_group.h"

#define GROUP "billing"
#define TRIES 100 /* polls of 100 ms that a test is patient for */

struct fixture {
    struct server server;
    struct world_group group;
    struct cairn_client *client;
};

static void open_all(struct fixture *f, uint32_t partitions, int32_t records)
{
    server_start(&f->server, partitions, 1);
    world_group_serve(&f->group, &f->server);
    pthread_mutex_lock(&f->server.mutex);
    for (uint32_t p = 0; p < partitions && records > 0; p++) {
        world_append(&f->server.world, p, records, CODEC_NONE);
    }
    pthread_mutex_unlock(&f->server.mutex);
    assert_int_equal(cairn_client_open(f->server.bootstrap, NULL, &f->client, NULL), 0);
}

static void close_all(struct fixture *f)
{
    cairn_client_close(f->client);
    server_stop(&f->server);
    world_group_close(&f->group);
}

static int64_t committed(struct fixture *f, int32_t partition)
{
    return world_group_served_offset(&f->group, &f->server, GROUP, partition);
}

/* Names and values, ending with NULL. */
static struct cairn_consumer *consumer_with(struct fixture *f, const char *const *pairs)
{
    struct cairn_options *o = cairn_options_new();
    struct cairn_consumer *consumer = NULL;
    struct cairn_error error;

    cairn_options_set(o, "group_id", GROUP);
    cairn_options_set(o, "heartbeat_interval_ms", "50");
    while (pairs != NULL && *pairs != NULL) {
        cairn_options_set(o, pairs[0], pairs[1]);
        pairs += 2;
    }
    assert_int_equal(cairn_consumer_open(f->client, o, &consumer, &error), 0);
    cairn_options_free(o);
    return consumer;
}

static void subscribe(struct cairn_consumer *consumer)
{
    static const char *const topics[] = {WORLD_TOPIC};
    struct cairn_error error;

    assert_int_equal(cairn_consumer_subscribe(consumer, topics, 1, &error), 0);
}

/* Take at most @max records. */
static size_t read_some(struct cairn_consumer *consumer, size_t max)
{
    struct cairn_records *records;
    struct cairn_record record;
    struct cairn_error error;
    size_t n = 0;

    for (int i = 0; i < TRIES && n < max; i++) {
        assert_int_equal(cairn_consumer_poll(consumer, 100, &records, &error), 0);
        while (records != NULL && n < max && cairn_records_next(records, &record)) {
            n++;
        }
    }
    return n;
}

static void what_is_read_is_committed_and_the_next_member_goes_on(void **state)
{
    struct fixture f;
    struct cairn_consumer *consumer;

    open_all(&f, 3, 100);
    consumer = consumer_with(&f, NULL);
    subscribe(consumer);
    assert_int_equal(read_some(consumer, 250), 250);
    cairn_consumer_close(consumer);
    assert_int_equal(committed(&f, 0) + committed(&f, 1) + committed(&f, 2), 250);
    consumer = consumer_with(&f, NULL);
    subscribe(consumer);
    assert_int_equal(read_some(consumer, 50), 50);
    cairn_consumer_close(consumer);
    assert_int_equal(committed(&f, 0) + committed(&f, 1) + committed(&f, 2), 300);
    close_all(&f);
}

/* What was given and not taken, or taken and still worked on, is never committed by itself. */
static void automatic_commits_wait_for_the_next_poll(void **state)
{
    static const char *const often[] = {"auto_commit_interval_ms", "10", NULL};
    struct fixture f;
    struct cairn_consumer *consumer;
    struct cairn_records *records;
    struct cairn_record record;

    open_all(&f, 1, 100);
    consumer = consumer_with(&f, often);
    subscribe(consumer);
    assert_int_equal(read_some(consumer, 7), 7);
    assert_true(committed(&f, 0) <= 0);
    assert_int_equal(cairn_consumer_poll(consumer, 5000, &records, NULL), 0); /* the seven are done with */
    assert_non_null(records);
    assert_true(cairn_records_next(records, &record));
    assert_int_equal(record.offset, 7); /* and nothing is left out */
    for (int i = 0; i < TRIES && committed(&f, 0) != 7; i++) {
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(committed(&f, 0), 7);
    cairn_consumer_close(consumer); /* says that the eighth is done with, too */
    assert_int_equal(committed(&f, 0), 8);
    close_all(&f);
}

struct told {
    struct cairn_consumer *consumer;
    unsigned assigned;
    unsigned revoked;
    int64_t begin; /* of partition 0 */
    int commit;    /* what committing in the callback gave */
    int poll;
};

static void on_rebalance(void *arg, struct cairn_consumer *consumer, enum cairn_rebalance what,
                         const struct cairn_topic_partition *partitions, size_t count)
{
    struct told *t = arg;
    struct cairn_records *records;
    struct cairn_error error;

    assert_ptr_equal(consumer, t->consumer);
    t->poll = cairn_consumer_poll(consumer, 0, &records, &error);
    if (what == CAIRN_REBALANCE_ASSIGNED) {
        t->assigned++;
        for (size_t i = 0; i < count; i++) {
            assert_string_equal(partitions[i].topic, WORLD_TOPIC);
            t->begin = partitions[i].partition == 0 ? partitions[i].offset : t->begin;
            if (partitions[i].partition == 1) {
                assert_int_equal(cairn_consumer_seek(consumer, WORLD_TOPIC, 1, 90, &error), 0);
            }
        }
    } else {
        assert_int_equal(what, CAIRN_REBALANCE_REVOKED);
        t->revoked++;
        t->commit = cairn_consumer_commit(consumer, NULL, 0, 5000, &error);
    }
}

static void callbacks_may_seek_and_commit(void **state)
{
    static const char *const by_hand[] = {"auto_commit", "false", NULL};
    struct fixture f;
    struct told told = {.begin = -7, .commit = -1};
    struct cairn_topic_partition assigned[4];
    struct cairn_consumer *consumer;
    size_t count;

    open_all(&f, 2, 100);
    consumer = consumer_with(&f, by_hand);
    told.consumer = consumer;
    cairn_consumer_on_rebalance(consumer, on_rebalance, &told);
    subscribe(consumer);
    assert_int_equal(read_some(consumer, 110), 110); /* of partition 1 the last ten */
    assert_int_equal(told.assigned, 1);
    assert_int_equal(told.begin, -1); /* nothing was committed */
    assert_int_equal(told.poll, CAIRN_ERR_INVALID);
    cairn_consumer_assignment(consumer, assigned, 4, &count);
    assert_int_equal(count, 2);
    assert_true(committed(&f, 0) < 0);
    assert_int_equal(cairn_consumer_unsubscribe(consumer), 0);
    assert_int_equal(told.revoked, 1);
    assert_int_equal(told.commit, 0);
    assert_int_equal(committed(&f, 0), 100);
    assert_int_equal(committed(&f, 1), 100);
    cairn_consumer_assignment(consumer, assigned, 4, &count);
    assert_int_equal(count, 0);
    cairn_consumer_close(consumer);
    close_all(&f);
}

static void count_commit(void *arg, int code, const char *text)
{
    atomic_int *codes = arg;

    codes[code == 0 ? 0 : 1]++;
}

static void offsets_are_committed_and_asked_for(void **state)
{
    static const char *const by_hand[] = {"auto_commit", "false", NULL};
    const struct cairn_topic_partition forty[] = {{WORLD_TOPIC, 0, 40}};
    const struct cairn_topic_partition unknown[] = {{"nowhere", 0, 1}};
    const struct cairn_topic_partition bad[] = {{WORLD_TOPIC, 0, -1}};
    struct fixture f;
    struct cairn_consumer *consumer;
    struct cairn_error error;
    atomic_int codes[2] = {0, 0};
    int64_t offset;

    open_all(&f, 1, 100);
    consumer = consumer_with(&f, by_hand); /* by hand assigned, too: a group without members */
    assert_int_equal(cairn_consumer_committed(consumer, WORLD_TOPIC, 0, 5000, &offset, &error), 0);
    assert_int_equal(offset, -1);
    assert_int_equal(cairn_consumer_commit(consumer, forty, 1, 5000, &error), 0);
    assert_int_equal(cairn_consumer_committed(consumer, WORLD_TOPIC, 0, 5000, &offset, &error), 0);
    assert_int_equal(offset, 40);
    assert_int_equal(cairn_consumer_commit(consumer, bad, 1, 5000, &error), CAIRN_ERR_INVALID);
    assert_int_not_equal(cairn_consumer_commit(consumer, unknown, 1, 300, &error), 0);
    assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, 0, 40, &error), 0);
    assert_int_equal(read_some(consumer, 10), 10);
    assert_int_equal(cairn_consumer_commit_async(consumer, NULL, 0, count_commit, codes, &error), 0);
    for (int i = 0; i < TRIES && codes[0] + codes[1] == 0; i++) {
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(codes[0], 1);
    assert_int_equal(committed(&f, 0), 50);
    cairn_consumer_close(consumer);
    assert_int_equal(committed(&f, 0), 50);
    close_all(&f);
}

struct reader {
    struct fixture *f;
    atomic_int *seen; /* by offset */
    atomic_bool *stop;
};

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    struct cairn_consumer *consumer = consumer_with(r->f, NULL);
    struct cairn_records *records;
    struct cairn_record record;

    subscribe(consumer);
    while (!*r->stop) {
        if (cairn_consumer_poll(consumer, 20, &records, NULL) != 0) {
            return arg;
        }
        while (records != NULL && cairn_records_next(records, &record)) {
            r->seen[cairn_records_partition(records) * 1000 + record.offset]++;
        }
    }
    cairn_consumer_close(consumer);
    return NULL;
}

static void members_in_threads_share_a_topic(void **state)
{
    struct fixture f;
    atomic_int *seen = calloc(4000, sizeof *seen);
    atomic_bool stop = false;
    pthread_t threads[3];
    struct reader reader = {.f = &f, .seen = seen, .stop = &stop};
    size_t missing = 1;

    open_all(&f, 4, 500);
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, reader_main, &reader);
    }
    for (int i = 0; i < 3 * TRIES && missing > 0; i++) {
        struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
        missing = 0;
        for (int n = 0; n < 4000; n++) {
            missing += n % 1000 < 500 && seen[n] == 0;
        }
    }
    assert_int_equal(missing, 0);
    stop = true;
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int32_t p = 0; p < 4; p++) {
        assert_int_equal(committed(&f, p), 500);
    }
    close_all(&f);
    free(seen);
}

static void wrong_use_is_told(void **state)
{
    static const char *const topics[] = {WORLD_TOPIC};
    static const char *const none[] = {"group_id", "", NULL};
    struct fixture f;
    struct cairn_consumer *consumer;
    struct cairn_options *o = cairn_options_new();
    struct cairn_error error;

    open_all(&f, 1, 0);
    consumer = consumer_with(&f, none);
    assert_int_equal(cairn_consumer_subscribe(consumer, topics, 1, &error), CAIRN_ERR_INVALID);
    assert_non_null(strstr(error.text, "group_id"));
    assert_int_equal(cairn_consumer_commit(consumer, NULL, 0, 100, &error), CAIRN_ERR_INVALID);
    cairn_consumer_close(consumer);
    consumer = consumer_with(&f, NULL);
    assert_int_equal(cairn_consumer_subscribe(consumer, topics, 0, &error), CAIRN_ERR_INVALID);
    assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, 0, 0, &error), 0);
    assert_int_equal(cairn_consumer_subscribe(consumer, topics, 1, &error), CAIRN_ERR_INVALID);
    assert_int_equal(cairn_consumer_unassign(consumer, WORLD_TOPIC, 0), 0);
    assert_int_equal(cairn_consumer_subscribe(consumer, topics, 1, &error), 0);
    assert_int_equal(cairn_consumer_assign(consumer, WORLD_TOPIC, 0, 0, &error), CAIRN_ERR_INVALID);
    cairn_consumer_close(consumer);
    cairn_options_set(o, "group_id", GROUP);
    cairn_options_set(o, "assignors", "range,sticky");
    assert_int_equal(cairn_consumer_open(f.client, o, &consumer, &error), CAIRN_ERR_CONFIG);
    assert_non_null(strstr(error.text, "\"sticky\""));
    cairn_options_set(o, "assignors", "range");
    cairn_options_set(o, "session_timeout_ms", "1");
    assert_int_equal(cairn_consumer_open(f.client, o, &consumer, &error), CAIRN_ERR_CONFIG);
    cairn_options_set(o, "session_timeout_ms", "2000000"); /* more than the cluster allows */
    assert_int_equal(cairn_consumer_open(f.client, o, &consumer, &error), 0);
    subscribe(consumer);
    for (int i = 0; i < TRIES; i++) {
        struct cairn_records *records;
        if (cairn_consumer_poll(consumer, 100, &records, &error) != 0) {
            break;
        }
    }
    assert_int_equal(error.code, CAIRN_ERR_INVALID_SESSION_TIMEOUT);
    cairn_consumer_close(consumer);
    cairn_options_free(o);
    close_all(&f);
}

static void administrators_see_groups(void **state)
{
    struct fixture f;
    struct cairn_group_description *d;
    struct cairn_group_offsets *offsets;
    struct cairn_group_list *list;
    struct cairn_consumer *consumer;
    struct cairn_error error;

    open_all(&f, 2, 10);
    assert_int_equal(cairn_admin_describe_group(f.client, GROUP, 5000, &d, &error), CAIRN_ERR_GROUP_NOT_FOUND);
    consumer = consumer_with(&f, NULL);
    subscribe(consumer);
    assert_int_equal(read_some(consumer, 20), 20);
    assert_int_equal(cairn_admin_list_groups(f.client, 5000, &list, &error), 0);
    assert_int_equal(list->count, 1);
    assert_string_equal(list->groups[0].name, GROUP);
    cairn_group_list_free(list);
    assert_int_equal(cairn_admin_describe_group(f.client, GROUP, 5000, &d, &error), 0);
    assert_string_equal(d->state, "Stable");
    assert_string_equal(d->protocol, "range");
    assert_int_equal(d->member_count, 1);
    assert_int_equal(d->members[0].partition_count, 2);
    assert_string_equal(d->members[0].partitions[1].topic, WORLD_TOPIC);
    cairn_group_description_free(d);
    assert_int_equal(cairn_admin_delete_group(f.client, GROUP, 5000, &error), CAIRN_ERR_NON_EMPTY_GROUP);
    cairn_consumer_close(consumer);
    assert_int_equal(cairn_admin_group_offsets(f.client, GROUP, 5000, &offsets, &error), 0);
    assert_int_equal(offsets->count, 2);
    assert_int_equal(offsets->partitions[1].offset, 10);
    cairn_group_offsets_free(offsets);
    assert_int_equal(
        cairn_admin_commit_group(f.client, GROUP, &(struct cairn_topic_partition){WORLD_TOPIC, 1, 3}, 1, 5000, &error),
        0);
    assert_int_equal(committed(&f, 1), 3);
    assert_int_equal(cairn_admin_delete_group(f.client, GROUP, 5000, &error), 0);
    assert_int_equal(cairn_admin_delete_group(f.client, GROUP, 5000, &error), CAIRN_ERR_GROUP_NOT_FOUND);
    close_all(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_committed_and_the_next_member_goes_on),
        cmocka_unit_test(automatic_commits_wait_for_the_next_poll),
        cmocka_unit_test(callbacks_may_seek_and_commit),
        cmocka_unit_test(offsets_are_committed_and_asked_for),
        cmocka_unit_test(members_in_threads_share_a_topic),
        cmocka_unit_test(wrong_use_is_told),
        cmocka_unit_test(administrators_see_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
