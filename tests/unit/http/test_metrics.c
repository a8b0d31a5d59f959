/* What whole nodes tell of themselves, gathered as a scrape does it, on the simulated world. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/http/metrics.h"
#include "tests/unit/node/door.h"

static struct door d;
static struct uuid topic;
static struct door_conn *c;

struct scrape {
    struct metrics m;
    unsigned at;
    bool done;
    bool cancel;
    unsigned more;
};

static void on_done(struct metrics *m)
{
    container_of(m, struct scrape, m)->done = true;
}

static void on_more(void *data, struct metrics_text *text)
{
    ((struct scrape *)data)->more++;
    metrics_value(text, "cairn_more", METRICS_GAUGE, "Of another room.", 5);
}

static void start(struct env *env, void *data)
{
    struct scrape *s = data;
    s->m.service = node_service(d.nodes[s->at - 1].node);
    s->m.more = on_more;
    s->m.more_data = s;
    s->m.done = on_done;
    metrics_collect(&s->m);
    if (s->cancel) {
        metrics_cancel(&s->m);
    }
}

static bool is_done(void *data)
{
    return ((struct scrape *)data)->done;
}

/* The text of node @at with its NUL; to be freed. */
static char *scrape(unsigned at)
{
    struct scrape *s = calloc(1, sizeof *s);
    char *text;
    assert_non_null(s);
    s->at = at;
    (void)sim_node_call(d.nodes[at - 1].machine, start, s);
    assert_true(door_until(&d, is_done, s, 10000));
    assert_true(s->m.complete);
    assert_int_equal(s->more, 1);
    text = strndup(s->m.text.data, s->m.text.size);
    assert_non_null(text);
    metrics_text_close(&s->m.text);
    free(s);
    return text;
}

/* The sample of @series; a series that is not there fails the test. */
static double value_of(const char *text, const char *series)
{
    size_t length = strlen(series);
    for (const char *at = text; (at = strstr(at, series)) != NULL; at += length) {
        if ((at == text || at[-1] == '\n') && at[length] == ' ') {
            return strtod(at + length, NULL);
        }
    }
    fail_msg("%s is not told", series);
    return 0;
}

static int open_nodes(unsigned n)
{
    int rv;
    door_defaults(&d);
    d.shards = 2;
    door_open(&d, n);
    rv = door_create_topic(&d, "t", 2, n, &topic);
    c = door_connect(&d, 1);
    return rv;
}

static int open_one(void **state)
{
    return open_nodes(1);
}

static int open_three(void **state)
{
    return open_nodes(3);
}

static int close_all(void **state)
{
    door_close(&d);
    return 0;
}

static unsigned coordinator_of(const char *group)
{
    Cairn__Native__FindCoordinatorRequest m = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT;
    Cairn__Native__FindCoordinatorResponse *r;
    char *groups[] = {(char *)(uintptr_t)group};
    struct door_answer *a;
    unsigned node;
    m.groups = groups;
    m.n_groups = 1;
    a = door_wait(c, door_send(c, CALL_FIND_COORDINATOR, &m.base, NULL, 0), 20000);
    assert_non_null(a);
    r = cairn__native__find_coordinator_response__unpack(NULL, a->header.message_length, a->message);
    assert_non_null(r);
    assert_int_equal(r->coordinators[0]->error, 0);
    node = r->coordinators[0]->node;
    cairn__native__find_coordinator_response__free_unpacked(r, NULL);
    door_answer_free(a);
    return node;
}

static void commit(unsigned at, const char *group, uint32_t partition, int64_t offset)
{
    Cairn__Native__CommitOffsetsRequest m = CAIRN__NATIVE__COMMIT_OFFSETS_REQUEST__INIT;
    Cairn__Native__CommitOffset part = CAIRN__NATIVE__COMMIT_OFFSET__INIT;
    Cairn__Native__CommitOffset *parts[] = {&part};
    struct door_conn *to = door_connect(&d, at);
    struct door_answer *a;
    part.topic_id = (ProtobufCBinaryData){sizeof topic.bytes, topic.bytes};
    part.partition = partition;
    part.offset = offset;
    m.group = (char *)(uintptr_t)group;
    m.generation = -1;
    m.offsets = parts;
    m.n_offsets = 1;
    a = door_wait(to, door_send(to, CALL_COMMIT_OFFSETS, &m.base, NULL, 0), 20000);
    assert_non_null(a);
    assert_int_equal(a->header.status, 0);
    door_answer_free(a);
    door_disconnect(to);
}

static void a_node_tells_what_it_counts(void **state)
{
    char *before = scrape(1);
    char *text;
    assert_int_equal(door_produce(c, &topic, 0, 100), 0);
    assert_int_equal(door_produce(c, &topic, 1, 100), 0);
    text = scrape(1);
    assert_true(value_of(text, "cairn_node_id") == 1);
    assert_true(value_of(text, "cairn_metadata_leader") == 1);
    assert_true(value_of(text, "cairn_topics") >= 1);
    assert_true(value_of(text, "cairn_partitions_without_leader") == 0);
    assert_true(value_of(text, "cairn_more") == 5);
    assert_true(value_of(text, "cairn_uptime_seconds") > 0);
    assert_true(value_of(text, "cairn_produced_batches_total{shard=\"0\"}") +
                    value_of(text, "cairn_produced_batches_total{shard=\"1\"}") ==
                2);
    for (int shard = 0; shard < 2; shard++) {
        static const char *const flushes[] = {"cairn_log_flushes_total{shard=\"0\"}",
                                              "cairn_log_flushes_total{shard=\"1\"}"};
        assert_true(value_of(text, flushes[shard]) >= value_of(before, flushes[shard]));
    }
    assert_true(value_of(text, "cairn_metrics_truncated") == 0);
    free(before);
    free(text);
}

static void lag_is_told_by_the_coordinator_alone(void **state)
{
    static const char records[] = "cairn_group_lag_records{group=\"a \\\"quoted\\\" one\",topic=\"t\",partition=\"0\"}";
    static const char seconds[] = "cairn_group_lag_seconds{group=\"a \\\"quoted\\\" one\",topic=\"t\",partition=\"0\"}";
    static const char offset[] =
        "cairn_group_committed_offset{group=\"a \\\"quoted\\\" one\",topic=\"t\",partition=\"0\"}";
    static const char group[] = "a \"quoted\" one";
    unsigned coordinator = coordinator_of(group);
    struct door_conn *leader = door_connect(&d, door_leader(&d, &topic, 0));
    double groups = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(door_produce(leader, &topic, 0, 100), 0);
    }
    door_run(&d, 5000);
    commit(coordinator, group, 0, 1);
    door_run(&d, 2000);
    for (unsigned at = 1; at <= 3; at++) {
        char *text = scrape(at);
        groups += value_of(text, "cairn_consumer_groups");
        if (at == coordinator) {
            assert_true(value_of(text, records) == 3);
            assert_true(value_of(text, offset) == 1);
            assert_true(value_of(text, seconds) >= 6 && value_of(text, seconds) < 10);
        } else {
            assert_null(strstr(text, "cairn_group_lag_records{"));
        }
        free(text);
    }
    assert_true(groups == 1);
}

static void what_is_cancelled_looks_at_nothing_any_more(void **state)
{
    struct scrape *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->at = 1;
    s->cancel = true;
    (void)sim_node_call(d.nodes[0].machine, start, s);
    assert_true(door_until(&d, is_done, s, 10000));
    if (s->more == 0) { /* not all of it was done inside the call */
        assert_null(s->m.text.data);
    }
    metrics_text_close(&s->m.text);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_tells_what_it_counts, open_one, close_all),
        cmocka_unit_test_setup_teardown(lag_is_told_by_the_coordinator_alone, open_three, close_all),
        cmocka_unit_test_setup_teardown(what_is_cancelled_looks_at_nothing_any_more, open_one, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
