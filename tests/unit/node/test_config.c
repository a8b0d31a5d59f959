/* What cairnd is told, and how it says what is wrong with it. */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/config_internal.h"

#define NODE "--node.id=1"
#define SEEDS "--cluster.seeds=1@127.0.0.1:7500"
#define ARGUMENTS_MAX 32

struct fixture {
    char dir[128];
    char path[192];
    struct config config;
    char errmsg[CONFIG_ERRMSG_SIZE];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *base = getenv("TMPDIR");
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "%s/cairn-config-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/cairnd.conf", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void write_bytes(struct fixture *f, const void *data, size_t size)
{
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(struct fixture *f, const char *text)
{
    write_bytes(f, text, strlen(text));
}

/* The file of the fixture is the default one: it counts when it is there. */
static int load(struct fixture *f, const char *const *flags, const char *const *environment)
{
    char program[] = "cairnd";
    char *argv[ARGUMENTS_MAX] = {program};
    int argc = 1;
    for (; flags != NULL && *flags != NULL; flags++) {
        argv[argc++] = (char *)(uintptr_t)*flags;
    }
    struct config_input input = {
        .argc = argc, .argv = argv, .envp = (char *const *)(uintptr_t)environment, .file_default = f->path};
    memset(f->errmsg, 0, sizeof f->errmsg);
    int rv = config_load(&f->config, &input, f->errmsg);
    return rv != 0 ? rv : f->config.action == CONFIG_RUN ? config_check(&f->config, f->errmsg) : 0;
}

#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ENVIRONMENT(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_loads(struct fixture *f, const char *const *flags, const char *const *environment)
{
    if (load(f, flags, environment) != 0) {
        fail_msg("%s", f->errmsg);
    }
}

/* One line that has all of @parts in it. */
static void assert_says(const struct fixture *f, const char *const *parts)
{
    assert_null(strchr(f->errmsg, '\n'));
    for (; *parts != NULL; parts++) {
        if (strstr(f->errmsg, *parts) == NULL) {
            fail_msg("not in the error: %s\nthe error: %s", *parts, f->errmsg);
        }
    }
}

#define assert_fails(f, flags, environment, ...)                                                                       \
    do {                                                                                                               \
        assert_int_equal(load(f, flags, environment), ERR_CONFIG);                                                     \
        assert_says(f, (const char *const[]){__VA_ARGS__, NULL});                                                      \
    } while (0)

/* ---- where values come from ---- */

static void defaults_and_what_is_required_make_a_configuration(void **state)
{
    struct fixture *f = *state;
    assert_loads(f, FLAGS(NODE, SEEDS), NULL);
    const struct config *c = &f->config;
    assert_int_equal(c->action, CONFIG_RUN);
    assert_int_equal(c->node_id, 1);
    assert_string_equal(c->node_rack, "");
    assert_string_equal(c->data_dir, "/var/lib/cairn");
    assert_int_equal(c->cluster_seeds.n, 1);
    assert_int_equal(c->cluster_seeds.items[0].node, 1);
    assert_string_equal(c->cluster_seeds.items[0].address, "127.0.0.1:7500");
    assert_int_equal(c->listeners.n, 1);
    assert_string_equal(c->listeners.items[0].name, "client");
    assert_string_equal(c->listeners.items[0].address, "127.0.0.1:7400");
    assert_int_equal(c->advertised_listeners.n, 0);
    assert_string_equal(c->peer_listen, "127.0.0.1:7500");
    assert_string_equal(c->peer_advertised, "");
    assert_int_equal(c->shards, 1);
    assert_int_equal(c->log_file_bytes, 64u << 20);
    assert_int_equal(c->log_max_bytes, UINT64_C(16) << 30);
    assert_int_equal(c->log_reserve_bytes, 512u << 20);
    assert_int_equal(c->cache_bytes, 256u << 20);
    assert_int_equal(c->memory_max_bytes, 1u << 30);
    assert_int_equal(c->connections_max, 10000);
    assert_int_equal(c->connection_idle_timeout_ms, 600000);
    assert_int_equal(c->raft_election_timeout_ms, 800);
    assert_int_equal(c->raft_heartbeat_ms, 250);
    assert_int_equal(c->topic_default_partitions, 6);
    assert_int_equal(c->topic_default_replication, 3);
    assert_int_equal(c->stop_timeout_ms, 10000);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_string_equal(c->log_file, "");
    assert_int_equal(c->threads_pool, 2);
    assert_false(c->cluster_forget_pledge);
    assert_string_equal(c->file, "");
}

static void flags_override_the_environment_overrides_the_file(void **state)
{
    struct fixture *f = *state;
    write_text(f, "node.id = 2\nnode.rack = file\nshards = 2\nconnections.max = 20\n"
                  "cluster.seeds = 9@127.0.0.1:1\n");
    assert_loads(f, FLAGS("--shards=4"), ENVIRONMENT("PATH=/bin", "CAIRND_NODE_RACK=environment", "CAIRND_SHARDS=3"));
    assert_int_equal(f->config.node_id, 2);
    assert_string_equal(f->config.node_rack, "environment");
    assert_int_equal(f->config.shards, 4);
    assert_int_equal(f->config.connections_max, 20);
    assert_int_equal(f->config.raft_heartbeat_ms, 250);
    assert_string_equal(f->config.file, f->path);
}

static void the_file_is_the_flag_s_then_the_environment_s_then_the_default(void **state)
{
    struct fixture *f = *state;
    char flag[256];
    char variable[256];
    write_text(f, "node.rack = mine\n");
    snprintf(variable, sizeof variable, "CAIRND_CONFIG=%s", f->path);
    assert_loads(f, FLAGS(NODE, SEEDS, "--config", "/dev/null"), ENVIRONMENT("CAIRND_CONFIG=/nowhere"));
    assert_string_equal(f->config.node_rack, "");
    assert_string_equal(f->config.file, "/dev/null");

    char default_path[192];
    memcpy(default_path, f->path, sizeof default_path);
    memcpy(f->path, "/dev/null", sizeof "/dev/null");
    assert_loads(f, FLAGS(NODE, SEEDS), ENVIRONMENT(variable));
    assert_string_equal(f->config.node_rack, "mine");
    snprintf(flag, sizeof flag, "--config=%s", default_path);
    assert_loads(f, FLAGS(NODE, SEEDS, flag), NULL);
    assert_string_equal(f->config.node_rack, "mine");
    memcpy(f->path, default_path, sizeof default_path);
}

static void flags_come_with_equals_or_a_space_and_a_bool_alone(void **state)
{
    struct fixture *f = *state;
    assert_loads(f, FLAGS("--node.id", "7", "--cluster.forget.pledge", SEEDS, "--node.rack="), NULL);
    assert_int_equal(f->config.node_id, 7);
    assert_true(f->config.cluster_forget_pledge);
    assert_loads(f, FLAGS(NODE, SEEDS, "--cluster.forget.pledge", "false"), NULL);
    assert_false(f->config.cluster_forget_pledge);
    assert_loads(f, FLAGS(NODE, SEEDS, "--cluster.forget.pledge=true"), NULL);
    assert_true(f->config.cluster_forget_pledge);
}

static void comments_blank_lines_spaces_and_dos_lines_are_fine(void **state)
{
    struct fixture *f = *state;
    write_text(f, "# a comment\n\n   \t\r\n  node.id=3 # another\r\n\tdata.dir = /tmp/a#b=c \n"
                  "cluster.seeds = 3@127.0.0.1:7500 ,\t4@[::1]:7501\nnode.rack =\nlog.level=debug");
    assert_loads(f, NULL, NULL);
    assert_int_equal(f->config.node_id, 3);
    assert_string_equal(f->config.data_dir, "/tmp/a#b=c");
    assert_int_equal(f->config.cluster_seeds.n, 2);
    assert_string_equal(f->config.cluster_seeds.items[0].address, "127.0.0.1:7500");
    assert_string_equal(f->config.cluster_seeds.items[1].address, "[::1]:7501");
    assert_string_equal(f->config.node_rack, "");
    assert_int_equal(f->config.log_level, LOG_DEBUG);
}

static void help_and_version_work_whatever_else_is_wrong(void **state)
{
    struct fixture *f = *state;
    write_text(f, "nonsense\n");
    assert_loads(f, FLAGS("--help"), ENVIRONMENT("CAIRND_NONSENSE=1"));
    assert_int_equal(f->config.action, CONFIG_HELP);
    assert_loads(f, FLAGS("-h"), NULL);
    assert_int_equal(f->config.action, CONFIG_HELP);
    assert_loads(f, FLAGS(NODE, "--version"), NULL);
    assert_int_equal(f->config.action, CONFIG_VERSION);
}

/* ---- what is not there ---- */

static void an_unknown_key_is_an_error_wherever_it_stands(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(NODE, SEEDS, "--node.idd=5"), NULL, "node.idd", "5", "unknown key", "--help");
    assert_fails(f, FLAGS(NODE, SEEDS, "--node.idd", "5"), NULL, "node.idd", "\"5\"", "unknown key");
    assert_fails(f, FLAGS(NODE, SEEDS, "--confi=a"), NULL, "--confi", "unknown key");
    assert_fails(f, FLAGS(NODE, SEEDS, "--=a"), NULL, "unknown key");
    assert_fails(f, FLAGS(NODE, SEEDS), ENVIRONMENT("CAIRND_NODE_IDD=5"), "environment", "CAIRND_NODE_IDD", "\"5\"",
                 "unknown key");
    assert_fails(f, FLAGS(NODE, SEEDS), ENVIRONMENT("CAIRND_=5"), "CAIRND_", "unknown key");
    write_text(f, "node.id = 1\n\nnode.idd = 5\n");
    assert_fails(f, FLAGS(SEEDS), NULL, "cairnd.conf:3: ", "node.idd", "\"5\"", "unknown key");
    write_text(f, "config = /etc/passwd\n");
    assert_fails(f, FLAGS(SEEDS), NULL, "cairnd.conf:1: ", "config", "unknown key");
}

static void a_key_given_twice_is_an_error(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(NODE, SEEDS, "--node.id", "2"), NULL, "node.id = \"2\"", "given twice");
    assert_fails(f, FLAGS(NODE, SEEDS), ENVIRONMENT("CAIRND_SHARDS=1", "CAIRND_SHARDS=2"), "CAIRND_SHARDS", "given twice");
    assert_fails(f, FLAGS("--config=/dev/null", "--config=/dev/null"), NULL, "--config", "given twice");
    write_text(f, "node.id = 1\nshards=1\n#\nnode.id = 1\n");
    assert_fails(f, FLAGS(SEEDS), NULL, "cairnd.conf:4: node.id = \"1\"", "given twice", "line 1");
}

static void lines_and_arguments_that_are_no_settings_are_errors(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(NODE, SEEDS, "start"), NULL, "\"start\"", "not a flag");
    assert_fails(f, FLAGS(NODE, SEEDS, "-v"), NULL, "\"-v\"", "not a flag");
    assert_fails(f, FLAGS(SEEDS, "--node.id"), NULL, "--node.id", "value is missing");
    assert_fails(f, FLAGS(SEEDS, "--config"), NULL, "--config", "value is missing");
    assert_fails(f, FLAGS("--check-config", "--help"), NULL, "--help", "only one");
    write_text(f, "node.id = 1\nstart\n");
    assert_fails(f, FLAGS(SEEDS), NULL, "cairnd.conf:2: ", "\"start\"", "key = value");
    write_text(f, "= 5\n");
    assert_fails(f, FLAGS(SEEDS), NULL, "cairnd.conf:1: ", "unknown key");
}

static void a_file_that_is_named_must_be_there_and_be_text(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(NODE, SEEDS, "--config=/nowhere/at/all"), NULL, "/nowhere/at/all", "not there");
    assert_fails(f, FLAGS(NODE, SEEDS), ENVIRONMENT("CAIRND_CONFIG=/nowhere/at/all"), "/nowhere/at/all", "not there");
    assert_fails(f, FLAGS(NODE, SEEDS), ENVIRONMENT("CAIRND_CONFIG="), "--config", "not a path");
    assert_fails(f, FLAGS(NODE, SEEDS, "--config", f->dir), NULL, f->dir, "cannot be read");
    write_bytes(f, "node.id = 1\0\n", 13);
    assert_fails(f, FLAGS(SEEDS), NULL, f->path, "not a configuration file");
    char *big = malloc(CONFIG_FILE_MAX_BYTES + 1);
    assert_non_null(big);
    memset(big, '\n', CONFIG_FILE_MAX_BYTES + 1);
    write_bytes(f, big, CONFIG_FILE_MAX_BYTES);
    assert_loads(f, FLAGS(NODE, SEEDS), NULL);
    write_bytes(f, big, CONFIG_FILE_MAX_BYTES + 1);
    assert_fails(f, FLAGS(NODE, SEEDS), NULL, f->path, "at most 1048576 bytes");
    free(big);
}

static void what_is_required_is_asked_for_by_all_its_names(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(SEEDS), NULL, "node.id is not set", "no configuration file was read", "CAIRND_NODE_ID",
                 "--node.id", "a number from 1 to 2147483647");
    write_text(f, "node.id = 1\n");
    assert_fails(f, NULL, NULL, "cluster.seeds is not set", f->path, "CAIRND_CLUSTER_SEEDS", "id@host:port");
}

/* ---- values ---- */

static void assert_bad(struct fixture *f, const char *key, const char *value, const char *allowed)
{
    char flag[1024];
    char quoted[1024];
    snprintf(flag, sizeof flag, "--%s=%s", key, value);
    snprintf(quoted, sizeof quoted, "flags: %s = \"%.100s", key, value);
    assert_fails(f, FLAGS(flag), NULL, quoted, "allowed: ", allowed);
}

static void numbers_have_digits_only_and_a_range(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"0",
                                      "2147483648",
                                      "-1",
                                      "+1",
                                      "1.5",
                                      "0x1",
                                      "1 2",
                                      "abc",
                                      "1k",
                                      "18446744073709551617",
                                      "99999999999999999999999999999",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_bad(f, "node.id", bad[i], "a number from 1 to 2147483647");
    }
    assert_bad(f, "shards", "17", "1 to 16");
    assert_bad(f, "raft.election.timeout.ms", "99", "100 to 800");
    assert_bad(f, "raft.election.timeout.ms", "801", "100 to 800");
    assert_bad(f, "topic.default.replication", "8", "1 to 7");
    assert_loads(f, FLAGS("--node.id=2147483647", SEEDS, "--stop.timeout.ms=0", "--connection.idle.timeout.ms=0"),
                 NULL);
    assert_int_equal(f->config.node_id, INT32_MAX);
    assert_int_equal(f->config.stop_timeout_ms, 0);
}

static void sizes_take_suffixes_of_1024(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *flag;
        uint64_t bytes;
    } good[] = {{"--log.max.bytes=2G", UINT64_C(2) << 30},       {"--log.max.bytes=2048M", UINT64_C(2) << 30},
                {"--log.max.bytes=2097152k", UINT64_C(2) << 30}, {"--log.max.bytes=2097152K", UINT64_C(2) << 30},
                {"--log.max.bytes=2GiB", UINT64_C(2) << 30},     {"--log.max.bytes=2147483649", 2147483649u}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_loads(f, FLAGS(NODE, SEEDS, good[i].flag), NULL);
        assert_int_equal(f->config.log_max_bytes, good[i].bytes);
    }
    static const char *const bad[] = {"2g",
                                      "2m",
                                      "2GB",
                                      "2 G",
                                      "2Gi",
                                      "G",
                                      "2T",
                                      "1.5G",
                                      "-2G",
                                      "0",
                                      "127M",
                                      "1048577G",
                                      "18014398509481985k",
                                      "99999999999G",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_bad(f, "log.max.bytes", bad[i], "bytes from 128M to 1048576G");
    }
}

static void other_types_are_checked_too(void **state)
{
    struct fixture *f = *state;
    char text[600];
    assert_bad(f, "cluster.forget.pledge", "yes", "true or false");
    assert_bad(f, "cluster.forget.pledge", "", "true or false");
    assert_bad(f, "log.level", "trace", "error, warn, info or debug");
    assert_bad(f, "node.rack", "a b", "letters, digits");
    memset(text, 'r', sizeof text);
    text[64] = '\0';
    assert_bad(f, "node.rack", text, "at most 63");
    text[64] = 'r';
    text[401] = '\0';
    assert_bad(f, "data.dir", text, "at most 400 bytes");
    assert_bad(f, "data.dir", "", "a path");
    assert_bad(f, "data.dir", "/tmp/a #b", "a path");
    assert_bad(f, "data.dir", "/tmp/a ", "a path");
    assert_loads(f, FLAGS(NODE, SEEDS, "--data.dir=/tmp/a b"), NULL);
    assert_string_equal(f->config.data_dir, "/tmp/a b");
}

static void what_is_foreign_cannot_forge_a_second_line(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS("--data.dir=/a\nb\x1b[31m"), NULL, "data.dir = \"/a\\x0ab\\x1b[31m\"");
    assert_fails(f, FLAGS("--a\nb=c\nd"), NULL, "\\x0a");
    assert_fails(f, NULL, ENVIRONMENT("CAIRND_A\nB=c\nd"), "\\x0a");
    assert_fails(f, FLAGS(NODE, "--cluster.seeds=1@a\nb"), NULL, "cluster.seeds");
    assert_fails(f, FLAGS(NODE, "--listeners=a\nb@a:1"), NULL, "listeners");
    assert_fails(f, FLAGS("a\nb"), NULL, "not a flag");
    assert_fails(f, FLAGS("--config=/no\nwhere"), NULL, "/no?where");
    char value[4096] = "--data.dir=/";
    memset(value + 12, 'x', sizeof value - 13);
    assert_fails(f, FLAGS(value), NULL, "data.dir = \"/xxx", "allowed: a path");
}

static void addresses_are_host_and_port(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"127.0.0.1", "127.0.0.1:", ":7500",       "127.0.0.1:65536", "127.0.0.1:x",
                                      "::1:7500",  "[::1]",      "[::1:7500",   "[]:7500",         "a b:7500",
                                      "a/b:7500",  "a:-1",       "a:7500:7500", "a:00007500"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_bad(f, "peer.listen", bad[i], "host:port or [ipv6]:port");
    }
    assert_bad(f, "peer.advertised", "a:0", "port 1 to 65535");
    assert_loads(f, FLAGS(NODE, "--cluster.seeds=2@b:1", "--peer.listen=[fe80::1%eth0]:0"), NULL);
    assert_loads(f, FLAGS(NODE, "--cluster.seeds=2@b:1", "--peer.listen=node-1.example.org:65535"), NULL);
}

static void seeds_are_ids_at_addresses_each_once(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *seeds, *says;
    } bad[] = {{"", "empty"},
               {"127.0.0.1:7500", "is not id@host:port"},
               {"1@a:1,", "is not id@host:port"},
               {",1@a:1", "is not id@host:port"},
               {"a@b:1", "node id \"a\""},
               {"0@b:1", "node id"},
               {"1@b", "is not host:port"},
               {"1@b:1,1@c:1", "node id 1 is listed twice"},
               {"1@b:1,2@b:1", "address b:1 is listed twice"},
               {"1@b:1;2@c:1", "is not host:port"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_bad(f, "cluster.seeds", bad[i].seeds, "a list of id@host:port");
        assert_says(f, (const char *const[]){bad[i].says, NULL});
    }
    char many[4096] = "--cluster.seeds=";
    for (int i = 1; i <= CONTROL_SEEDS_MAX; i++) {
        snprintf(many + strlen(many), sizeof many - strlen(many), "%s%d@h%d:1", i == 1 ? "" : ",", i, i);
    }
    assert_loads(f, FLAGS("--node.id=1000", many), NULL);
    assert_int_equal(f->config.cluster_seeds.n, CONTROL_SEEDS_MAX);
    snprintf(many + strlen(many), sizeof many - strlen(many), ",1000@h:1");
    assert_fails(f, FLAGS(many), NULL, "more than 64 seeds");
    /* An entry cut to fit must not pass for a whole one. */
    char zeros[201] = "";
    char host[201] = "";
    char lengthy[1024];
    memset(zeros, '0', sizeof zeros - 1);
    memset(host, 'h', sizeof host - 1);
    snprintf(lengthy, sizeof lengthy, "--cluster.seeds=%s1@%s:1", zeros, host);
    assert_fails(f, FLAGS(lengthy), NULL, "an entry of 404 bytes");
}

static void listeners_have_names_each_once(void **state)
{
    struct fixture *f = *state;
    assert_bad(f, "listeners", "127.0.0.1:7400", "name@host:port");
    assert_bad(f, "listeners", "", "name@host:port");
    assert_bad(f, "listeners", "@a:1", "name@host:port");
    assert_bad(f, "listeners", "peer@a:1", "name@host:port");
    assert_bad(f, "listeners", "a@a:1,a@b:1", "name@host:port");
    assert_bad(f, "listeners", "a23456789012345678901234567890123@a:1", "name@host:port");
    assert_bad(f, "listeners", "a@1:1,b@1:2,c@1:3,d@1:4,e@1:5,f@1:6,g@1:7,h@1:8,i@1:9", "name@host:port");
    assert_bad(f, "advertised.listeners", "client@a:0", "name@host:port");
    assert_fails(f, FLAGS("--listeners=a@a:1,a@b:1"), NULL, "the name a is listed twice");
    assert_loads(
        f, FLAGS(NODE, SEEDS, "--listeners=client@127.0.0.1:0, other@127.0.0.1:0", "--advertised.listeners=other@o:1"),
        NULL);
    assert_int_equal(f->config.listeners.n, 2);
    assert_string_equal(config_listener_advertised(&f->config, "other"), "o:1");
    assert_null(config_listener_advertised(&f->config, "client"));
}

/* ---- what must fit together ---- */

static void the_own_seed_leads_to_the_own_peer_listener(void **state)
{
    struct fixture *f = *state;
    const char *seeds = "--cluster.seeds=1@10.0.0.1:7500,2@10.0.0.2:7500";
    assert_fails(f, FLAGS(NODE, seeds), NULL, "peer.listen = 127.0.0.1:7500", "10.0.0.1:7500", "peer.advertised");
    assert_fails(f, FLAGS(NODE, seeds, "--peer.listen=0.0.0.0:7501"), NULL, "peer.listen = 0.0.0.0:7501");
    assert_fails(f, FLAGS(NODE, seeds, "--peer.advertised=10.0.0.2:7500"), NULL, "peer.advertised = 10.0.0.2:7500",
                 "10.0.0.1:7500");
    assert_fails(f, FLAGS("--node.id=3", seeds, "--peer.listen=[::]:7501"), NULL, "peer.listen = [::]:7501",
                 "peer.advertised");
    assert_fails(f, FLAGS("--node.id=3", seeds, "--peer.advertised=0.0.0.0:1"), NULL, "peer.advertised = 0.0.0.0:1");
    assert_fails(f, FLAGS("--node.id=3", "--cluster.seeds=1@0.0.0.0:7500"), NULL, "cluster.seeds = 1@0.0.0.0:7500");
    assert_fails(f, FLAGS(NODE, "--cluster.seeds=1@127.0.0.1:7500,2@127.0.0.1:0"), NULL,
                 "cluster.seeds = 2@127.0.0.1:0");

    assert_loads(f, FLAGS(NODE, seeds, "--peer.listen=10.0.0.1:7500"), NULL);
    assert_string_equal(config_peer_advertised(&f->config), "10.0.0.1:7500");
    assert_loads(f, FLAGS(NODE, seeds, "--peer.listen=0.0.0.0:7500"), NULL);
    assert_string_equal(config_peer_advertised(&f->config), "10.0.0.1:7500");
    assert_loads(f, FLAGS(NODE, seeds, "--peer.advertised=10.0.0.1:7500", "--peer.listen=192.168.0.1:1"), NULL);
    assert_string_equal(config_peer_advertised(&f->config), "10.0.0.1:7500");
    assert_loads(f, FLAGS("--node.id=3", seeds), NULL);
    assert_null(config_peer_advertised(&f->config));
    assert_loads(f, FLAGS(NODE, "--cluster.seeds=1@127.0.0.1:0", "--peer.listen=127.0.0.1:0"), NULL);
    assert_null(config_peer_advertised(&f->config));
}

static void listeners_can_be_reached_and_do_not_collide(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(NODE, SEEDS, "--listeners=client@0.0.0.0:7400"), NULL, "listeners = client@0.0.0.0:7400",
                 "advertised.listeners");
    assert_fails(f, FLAGS(NODE, SEEDS, "--listeners=client@127.0.0.1:7500"), NULL, "listeners = client@127.0.0.1:7500",
                 "peer.listen");
    assert_fails(f, FLAGS(NODE, SEEDS, "--listeners=a@127.0.0.1:1,b@127.0.0.1:1"), NULL, "listeners = b@127.0.0.1:1",
                 "a has the same address");
    assert_fails(f, FLAGS(NODE, SEEDS, "--advertised.listeners=klient@a:1"), NULL, "advertised.listeners = klient@a:1",
                 "no listener has this name");
    assert_fails(f, FLAGS(NODE, SEEDS, "--advertised.listeners=client@[::]:1"), NULL, "nobody can connect there");
    assert_loads(f, FLAGS(NODE, SEEDS, "--listeners=client@0.0.0.0:7400", "--advertised.listeners=client@me:7400"),
                 NULL);
}

static void kafkas_listeners_are_of_the_same_row(void **state)
{
    struct fixture *f = *state;
    assert_loads(f, FLAGS(NODE, SEEDS), NULL);
    assert_int_equal(f->config.kafka_listeners.n, 1);
    assert_string_equal(f->config.kafka_listeners.items[0].name, "kafka");
    assert_string_equal(f->config.kafka_listeners.items[0].address, "127.0.0.1:9092");
    assert_true(f->config.auto_create_topics);
    assert_loads(f, FLAGS(NODE, SEEDS, "--kafka.listeners=none", "--auto.create.topics.enable=false"), NULL);
    assert_int_equal(f->config.kafka_listeners.n, 0);
    assert_false(f->config.auto_create_topics);
    assert_bad(f, "kafka.listeners", "", "or none");
    assert_bad(f, "listeners", "none", "name@host:port"); /* Cairn's own must be somewhere */
    assert_loads(f,
                 FLAGS(NODE, SEEDS, "--kafka.listeners=in@0.0.0.0:9092,out@0.0.0.0:9093",
                       "--advertised.listeners=in@a:9092,out@b:19093"),
                 NULL);
    assert_string_equal(config_listener_advertised(&f->config, "out"), "b:19093");
    assert_fails(f, FLAGS(NODE, SEEDS, "--kafka.listeners=kafka@0.0.0.0:9092"), NULL,
                 "kafka.listeners = kafka@0.0.0.0:9092", "advertised.listeners");
    assert_fails(f, FLAGS(NODE, SEEDS, "--kafka.listeners=client@127.0.0.1:9092"), NULL,
                 "kafka.listeners = client@127.0.0.1:9092", "another listener has this name");
    assert_fails(f, FLAGS(NODE, SEEDS, "--kafka.listeners=kafka@127.0.0.1:7400"), NULL,
                 "kafka.listeners = kafka@127.0.0.1:7400", "client has the same address");
    assert_fails(f, FLAGS(NODE, SEEDS, "--kafka.listeners=kafka@127.0.0.1:7500"), NULL,
                 "kafka.listeners = kafka@127.0.0.1:7500", "peer.listen has the same address");
    assert_fails(f, FLAGS(NODE, SEEDS, "--kafka.listeners=a@h:1,b@h:2,c@h:3,d@h:4,e@h:5,f@h:6,g@h:7,h@h:8"), NULL,
                 "kafka.listeners = a@h:1", "more than 8");
}

static void sizes_and_times_fit_together(void **state)
{
    struct fixture *f = *state;
    assert_fails(f, FLAGS(NODE, SEEDS, "--log.file.bytes=67108865"), NULL, "log.file.bytes = 67108865",
                 "multiple of 4k");
    assert_fails(f, FLAGS(NODE, SEEDS, "--log.reserve.bytes=16G"), NULL, "log.max.bytes = 16G", "at least 16640M");
    assert_fails(f, FLAGS(NODE, SEEDS, "--log.max.bytes=1G", "--shards=2"), NULL, "log.max.bytes = 1G",
                 "at least 1536M");
    assert_loads(f, FLAGS(NODE, SEEDS, "--log.max.bytes=1536M", "--shards=2"), NULL);
    assert_fails(f, FLAGS(NODE, SEEDS, "--cache.bytes=513M"), NULL, "cache.bytes = 513M", "at most 512M");
    assert_loads(f, FLAGS(NODE, SEEDS, "--cache.bytes=512M"), NULL);
    assert_fails(f, FLAGS(NODE, SEEDS, "--raft.election.timeout.ms=500"), NULL, "raft.election.timeout.ms = 500",
                 "more than 500");
    assert_loads(f, FLAGS(NODE, SEEDS, "--raft.election.timeout.ms=501"), NULL);
    assert_fails(f, FLAGS(NODE, SEEDS, "--group.min.session.timeout.ms=50", "--group.max.session.timeout.ms=49"), NULL,
                 "group.min.session.timeout.ms = 50", "at most 49");
}

/* ---- places ---- */

static void assert_place_says(struct fixture *f, const char *const *flags, const char *a, const char *b)
{
    assert_loads(f, flags, NULL);
    assert_int_equal(config_check_places(&f->config, f->errmsg), ERR_CONFIG);
    assert_says(f, (const char *const[]){a, b, NULL});
}

static void places_are_tried_and_nothing_is_left_behind(void **state)
{
    struct fixture *f = *state;
    char dir[256];
    char file[256];
    struct stat st;
    snprintf(dir, sizeof dir, "--data.dir=%s/data/", f->dir);
    snprintf(file, sizeof file, "--log.file=%s/log", f->dir);
    assert_loads(f, FLAGS(NODE, SEEDS, dir, file), NULL);
    assert_int_equal(config_check_places(&f->config, f->errmsg), 0);
    assert_int_not_equal(stat(f->config.data_dir, &st), 0);
    assert_int_not_equal(stat(f->config.log_file, &st), 0);
    snprintf(dir, sizeof dir, "--data.dir=%s", f->dir);
    assert_loads(f, FLAGS(NODE, SEEDS, dir), NULL);
    assert_int_equal(config_check_places(&f->config, f->errmsg), 0);

    assert_place_says(f, FLAGS(NODE, SEEDS, "--data.dir=/proc/cairn"), "data.dir = /proc/cairn",
                      "cannot be made in /proc");
    assert_place_says(f, FLAGS(NODE, SEEDS, "--data.dir=/nowhere/at/all"), "data.dir = /nowhere/at/all",
                      "No such file");
    assert_place_says(f, FLAGS(NODE, SEEDS, "--data.dir=/dev/null"), "data.dir = /dev/null", "Not a directory");
    assert_place_says(f, FLAGS(NODE, SEEDS, "--data.dir=/dev/null/a"), "data.dir = /dev/null/a", "Not a directory");
    assert_place_says(f, FLAGS(NODE, SEEDS, dir, "--log.file=/nowhere/log"), "log.file = /nowhere/log", "No such file");
    assert_place_says(f, FLAGS(NODE, SEEDS, dir, "--log.file=/proc"), "log.file = /proc", "directory");
}

/* ---- printing ---- */

static char *printed(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_print(c, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void what_is_printed_reads_back_the_same(void **state)
{
    struct fixture *f = *state;
    struct config *before = malloc(sizeof *before);
    assert_non_null(before);
    assert_loads(f,
                 FLAGS("--node.id=2", "--node.rack=r-1", "--data.dir=/srv/a b#c", "--cluster.seeds=2@[::1]:7500,1@b:2",
                       "--cluster.forget.pledge", "--listeners=client@0.0.0.0:1,two@127.0.0.1:0",
                       "--advertised.listeners=client@x.y:1", "--peer.listen=[::]:7500", "--peer.advertised=[::1]:7500",
                       "--shards=3", "--log.file.bytes=33558528", "--log.max.bytes=3221225473",
                       "--log.reserve.bytes=2M", "--cache.bytes=3000k", "--memory.max.bytes=256M",
                       "--connections.max=7", "--connection.idle.timeout.ms=0", "--raft.election.timeout.ms=300",
                       "--raft.heartbeat.ms=100", "--topic.default.partitions=1", "--topic.default.replication=1",
                       "--group.initial.rebalance.delay.ms=0", "--group.min.session.timeout.ms=5",
                       "--group.max.session.timeout.ms=5", "--group.max.size=3", "--offsets.retention.minutes=1",
                       "--stop.timeout.ms=0", "--log.level=warn", "--log.file=/tmp/x"),
                 ENVIRONMENT("CAIRND_THREADS_POOL=5"));
    *before = f->config;
    char *text = printed(before);
    write_text(f, text);
    assert_loads(f, NULL, NULL);
    char *again = printed(&f->config);
    assert_string_equal(text, again);
    /* And not just printed the same: all fields between the first and the last are. */
    size_t begin = offsetof(struct config, node_id);
    size_t end = offsetof(struct config, origin);
    assert_memory_equal((char *)before + begin, (char *)&f->config + begin, end - begin);
    free(text);
    free(again);
    free(before);
}

static void printing_works_before_all_is_given_and_keeps_defaults(void **state)
{
    struct fixture *f = *state;
    assert_loads(f, FLAGS("--print-config"), NULL);
    assert_int_equal(f->config.action, CONFIG_PRINT);
    char *text = printed(&f->config);
    assert_non_null(strstr(text, "\n#node.id = 1\n"));
    assert_non_null(strstr(text, "\nlog.max.bytes = 16G\n"));
    write_text(f, text);
    assert_loads(f, FLAGS(NODE, SEEDS), NULL);
    assert_int_equal(f->config.log_max_bytes, UINT64_C(16) << 30);
    free(text);
}

static void the_shipped_file_is_what_is_printed_by_default(void **state)
{
    struct fixture *f = *state;
    assert_loads(f, FLAGS("--config", "/dev/null", "--print-config"), NULL);
    char *text = printed(&f->config);
    FILE *file = fopen(CAIRN_SOURCE_DIR "/deploy/cairnd.conf", "r");
    assert_non_null(file);
    char *shipped = calloc(1, CONFIG_FILE_MAX_BYTES);
    assert_non_null(shipped);
    assert_true(fread(shipped, 1, CONFIG_FILE_MAX_BYTES - 1, file) > 0);
    fclose(file);
    assert_string_equal(shipped, text);
    free(shipped);
    free(text);
}

static void help_names_every_key_that_can_be_printed(void **state)
{
    struct fixture *f = *state;
    char *help = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&help, &size);
    assert_non_null(out);
    config_help(out);
    assert_int_equal(fclose(out), 0);
    assert_loads(f, FLAGS("--print-config"), NULL);
    char *text = printed(&f->config);
    unsigned keys = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        char flag[128];
        char *equals = strstr(line, " = ");
        line += *line == '#';
        if (*line == ' ' || equals == NULL) {
            continue;
        }
        snprintf(flag, sizeof flag, "--%.*s=", (int)(equals - line), line);
        assert_non_null(strstr(help, flag));
        keys++;
    }
    assert_int_equal(keys, config_n_keys);
    free(text);
    free(help);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_and_what_is_required_make_a_configuration),
        TEST(flags_override_the_environment_overrides_the_file),
        TEST(the_file_is_the_flag_s_then_the_environment_s_then_the_default),
        TEST(flags_come_with_equals_or_a_space_and_a_bool_alone),
        TEST(comments_blank_lines_spaces_and_dos_lines_are_fine),
        TEST(help_and_version_work_whatever_else_is_wrong),
        TEST(an_unknown_key_is_an_error_wherever_it_stands),
        TEST(a_key_given_twice_is_an_error),
        TEST(lines_and_arguments_that_are_no_settings_are_errors),
        TEST(a_file_that_is_named_must_be_there_and_be_text),
        TEST(what_is_required_is_asked_for_by_all_its_names),
        TEST(numbers_have_digits_only_and_a_range),
        TEST(sizes_take_suffixes_of_1024),
        TEST(other_types_are_checked_too),
        TEST(what_is_foreign_cannot_forge_a_second_line),
        TEST(addresses_are_host_and_port),
        TEST(seeds_are_ids_at_addresses_each_once),
        TEST(listeners_have_names_each_once),
        TEST(the_own_seed_leads_to_the_own_peer_listener),
        TEST(listeners_can_be_reached_and_do_not_collide),
        TEST(kafkas_listeners_are_of_the_same_row),
        TEST(sizes_and_times_fit_together),
        TEST(places_are_tried_and_nothing_is_left_behind),
        TEST(what_is_printed_reads_back_the_same),
        TEST(printing_works_before_all_is_given_and_keeps_defaults),
        TEST(the_shipped_file_is_what_is_printed_by_default),
        TEST(help_names_every_key_that_can_be_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
