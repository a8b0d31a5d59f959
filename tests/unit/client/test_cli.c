/* The cairn command as people and scripts run it: its words, its JSON, its exit codes. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/client/check.h"
#include "tests/unit/client/world_group.h"

#define OUTPUT_MAX 65536

struct run {
    int code;
    char out[OUTPUT_MAX];
};

static void run(struct run *r, struct server *s, const char *arguments)
{
    char line[2048];
    FILE *pipe;
    size_t n;

    snprintf(line, sizeof line, "export CAIRN_BOOTSTRAP=%s; (%s) 2>&1", s->bootstrap, arguments);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    n = fread(r->out, 1, sizeof r->out - 1, pipe);
    r->out[n] = '\0';
    r->code = WEXITSTATUS(pclose(pipe));
}

#define expect(r, code_wanted, words)                                                                                  \
    do {                                                                                                               \
        if ((r)->code != (code_wanted) || strstr((r)->out, words) == NULL) {                                           \
            print_error("exit %d, wanted %d with \"%s\"; said:\n%s\n", (r)->code, code_wanted, words, (r)->out);       \
        }                                                                                                              \
        assert_int_equal((r)->code, code_wanted);                                                                      \
        assert_non_null(strstr((r)->out, words));                                                                      \
    } while (0)

static void help_and_usage(void **state)
{
    struct server s;
    struct run r;

    server_start(&s, 1, 1);
    run(&r, &s, CAIRN_CLI " --help");
    expect(&r, 0, "topic create");
    run(&r, &s, CAIRN_CLI " --version");
    expect(&r, 0, "cairn ");
    run(&r, &s, CAIRN_CLI " produce --help");
    expect(&r, 0, "Examples:");
    run(&r, &s, CAIRN_CLI " topic creat x");
    expect(&r, 2, "did you mean");
    run(&r, &s, CAIRN_CLI " produce --topik x");
    expect(&r, 2, "--topik is not an option here");
    run(&r, &s, CAIRN_CLI " topic create");
    expect(&r, 2, "NAME is missing");
    run(&r, &s, CAIRN_CLI " topic create x --partitions many");
    expect(&r, 2, "\"many\" is not allowed");
    run(&r, &s, CAIRN_CLI " produce");
    expect(&r, 2, "--topic is missing");
    run(&r, &s, CAIRN_CLI " cluster status --bootstrap nonsense");
    expect(&r, 2, "is not HOST:PORT");
    server_stop(&s);
}

static void cluster_and_topics(void **state)
{
    struct server s;
    struct run r;

    server_start(&s, 3, 2);
    run(&r, &s, CAIRN_CLI " cluster status");
    expect(&r, 0, "ADDRESS");
    run(&r, &s, CAIRN_CLI " cluster status --json");
    expect(&r, 0, "\"partitions_without_leader\"");
    run(&r, &s, CAIRN_CLI " topic create things --partitions 2 --config a=b");
    expect(&r, 0, "Created topic things");
    run(&r, &s, CAIRN_CLI " topic create " WORLD_TOPIC);
    expect(&r, 1, "exists");
    run(&r, &s, CAIRN_CLI " topic create " WORLD_TOPIC " --if-missing");
    expect(&r, 0, "exists");
    run(&r, &s, CAIRN_CLI " topic list");
    expect(&r, 0, WORLD_TOPIC);
    run(&r, &s, CAIRN_CLI " topic describe " WORLD_TOPIC " --offsets");
    expect(&r, 0, "PREFERRED");
    run(&r, &s, CAIRN_CLI " topic describe nope --json");
    expect(&r, 1, "nope");
    run(&r, &s, CAIRN_CLI " cluster status --bootstrap 127.0.0.1:1 --timeout 300ms");
    expect(&r, 3, "127.0.0.1:1");
    server_stop(&s);
}

static void lines_go_in_and_come_out(void **state)
{
    struct server s;
    struct run r;
    char log[] = "/tmp/cairn-test-acks-XXXXXX";
    char line[512];
    int fd = mkstemp(log);

    assert_true(fd >= 0);
    close(fd);
    server_start(&s, 1, 3);
    snprintf(line, sizeof line,
             "printf 'a:1\\nb:2\\n\\nlast' | " CAIRN_CLI " produce -t " WORLD_TOPIC " -K : --ack-log %s", log);
    run(&r, &s, line);
    expect(&r, 0, "4 of 4 records acknowledged");
    run(&r, &s, CAIRN_CLI " consume -t " WORLD_TOPIC " --format '%o=%k,%v;'");
    expect(&r, 0, "0=a,1;1=b,2;2=,;3=,last;");
    run(&r, &s, CAIRN_CLI " consume -t " WORLD_TOPIC " --from 1 -n 1 --json");
    expect(&r, 0, "\"offset\":1,");
    expect(&r, 0, "\"key\":\"b\",\"value\":\"2\"");
    run(&r, &s, CAIRN_CLI " consume -t " WORLD_TOPIC " --from later");
    expect(&r, 2, "only earliest, latest or an offset");
    snprintf(line, sizeof line, "cut -d' ' -f1,2,4 %s", log);
    run(&r, &s, line);
    expect(&r, 0, "0 0 a\n0 1 b\n0 2 \n0 3 \n");
    unlink(log);
    run(&r, &s, "echo x | " CAIRN_CLI " produce -t " WORLD_TOPIC " --json");
    expect(&r, 0, "\"acknowledged\": 1, \"unknown\": 0, \"failed\": 0");
    server_stop(&s);
}

static void unknown_outcomes_end_with_one(void **state)
{
    struct server s;
    struct run r;

    server_start(&s, 1, 4);
    pthread_mutex_lock(&s.mutex);
    s.world.force_produce_error = ERR_UNKNOWN_OUTCOME;
    s.world.force_produce_count = 1000000;
    pthread_mutex_unlock(&s.mutex);
    run(&r, &s, "echo x | " CAIRN_CLI " produce -t " WORLD_TOPIC " --delivery-timeout 500ms");
    expect(&r, 1, "1 with unknown outcome");
    pthread_mutex_lock(&s.mutex);
    s.world.force_produce_error = ERR_NO_SPACE;
    pthread_mutex_unlock(&s.mutex);
    run(&r, &s, "echo x | " CAIRN_CLI " produce -t " WORLD_TOPIC " --delivery-timeout 300ms");
    expect(&r, 1, "ended with: no space left");
    pthread_mutex_lock(&s.mutex);
    s.world.force_produce_error = ERR_INVALID_RECORD;
    pthread_mutex_unlock(&s.mutex);
    run(&r, &s, "echo x | " CAIRN_CLI " produce -t " WORLD_TOPIC);
    expect(&r, 1, "1 certainly not written");
    server_stop(&s);
}

static void benches_tell_numbers(void **state)
{
    struct server s;
    struct run r;

    server_start(&s, 2, 5);
    run(&r, &s, CAIRN_CLI " bench produce -t " WORLD_TOPIC " --records 20000 --size 100 --json");
    expect(&r, 0, "\"records\":20000");
    expect(&r, 0, "\"p99_9\"");
    run(&r, &s, CAIRN_CLI " bench produce -t " WORLD_TOPIC " --rate 1000 --seconds 500ms");
    expect(&r, 0, "latency: p50");
    run(&r, &s, CAIRN_CLI " bench latency -t " WORLD_TOPIC " --records 50 --warmup 0");
    expect(&r, 0, "latency: p50");
    run(&r, &s, CAIRN_CLI " bench consume -t " WORLD_TOPIC " --records 20000 --json");
    expect(&r, 0, "\"bench\":\"consume\"");
    server_stop(&s);
}

static void groups_are_seen_and_set(void **state)
{
    struct world_group group;
    struct server s;
    struct run r;

    server_start(&s, 2, 6);
    world_group_serve(&group, &s);
    run(&r, &s, "printf 'a:1\\nb:2\\nc:3\\nd:4\\n' | " CAIRN_CLI " produce -t " WORLD_TOPIC " --partition 1");
    expect(&r, 0, "4 of 4 records acknowledged");
    run(&r, &s, CAIRN_CLI " group describe billing");
    expect(&r, 1, "not known");
    run(&r, &s, CAIRN_CLI " consume -t " WORLD_TOPIC " --group billing -n 3 --format '%o,'");
    expect(&r, 0, "0,1,2,");
    run(&r, &s, CAIRN_CLI " group lag billing");
    expect(&r, 0, "1 record behind");
    run(&r, &s, CAIRN_CLI " group lag billing --json");
    expect(&r, 0, "\"lag\": 1");
    expect(&r, 0, "\"lag_seconds\": 1.0");
    run(&r, &s, CAIRN_CLI " consume -t " WORLD_TOPIC " --group billing --format '%o,'");
    expect(&r, 0, "3,");
    run(&r, &s, CAIRN_CLI " group list");
    expect(&r, 0, "billing");
    run(&r, &s, CAIRN_CLI " group describe billing --json");
    expect(&r, 0, "\"state\": \"Empty\"");
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --topic " WORLD_TOPIC " --to-earliest");
    expect(&r, 0, "Nothing is changed yet");
    assert_int_equal(world_group_served_offset(&group, &s, "billing", 1), 4);
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --topic " WORLD_TOPIC ":1 --shift-by -3 --execute");
    expect(&r, 0, "Offsets of group billing are set");
    assert_int_equal(world_group_served_offset(&group, &s, "billing", 1), 1);
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --all-topics --to-offset 1000 --execute --json");
    expect(&r, 0, "\"new\": 4");
    assert_int_equal(world_group_served_offset(&group, &s, "billing", 1), 4); /* the end */
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --all-topics");
    expect(&r, 2, "where to?");
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --to-latest");
    expect(&r, 2, "which topics?");
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --all-topics --to-datetime yesterday");
    expect(&r, 2, "is not a time like");
    run(&r, &s, CAIRN_CLI " group reset-offsets billing --topic " WORLD_TOPIC ":7 --to-latest");
    expect(&r, 2, "\"7\" is not allowed");
    run(&r, &s, CAIRN_CLI " consume -t " WORLD_TOPIC " --group billing --from 3");
    expect(&r, 2, "a group begins at what it has committed");
    run(&r, &s, CAIRN_CLI " group delete billing");
    expect(&r, 0, "Deleted group billing");
    run(&r, &s, CAIRN_CLI " group delete billing");
    expect(&r, 1, "not known");
    run(&r, &s, CAIRN_CLI " group reset-offsets --help");
    expect(&r, 0, "--by-duration");
    server_stop(&s);
    world_group_close(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_usage),           cmocka_unit_test(cluster_and_topics),
        cmocka_unit_test(lines_go_in_and_come_out), cmocka_unit_test(unknown_outcomes_end_with_one),
        cmocka_unit_test(benches_tell_numbers),     cmocka_unit_test(groups_are_seen_and_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
