/* cairnd as a process: exit status, signals, and what it tells of itself. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS 30000
#define STEP_MS 5
#define TEXT_SIZE 16384

struct fixture {
    char dir[128];
    char data_dir[192]; /* --data.dir=... */
    char errors[192];
    char out[TEXT_SIZE];
    pid_t running;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *base = getenv("TMPDIR");
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "%s/cairn-main-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->data_dir, sizeof f->data_dir, "--data.dir=%s/data", f->dir);
    snprintf(f->errors, sizeof f->errors, "%s/errors", f->dir);
    *state = f;
    return 0;
}

/* Starts cairnd with a node of its own on free ports and @more, its output in @file. */
static pid_t start(struct fixture *f, const char *file, const char *const *more)
{
    const char *argv[32] = {CAIRND,
                            "--config=/dev/null",
                            "--cluster.seeds=1@127.0.0.1:0",
                            "--peer.listen=127.0.0.1:0",
                            "--kafka.listeners=kafka@127.0.0.1:0",
                            "--log.file.bytes=32M",
                            "--log.reserve.bytes=1M",
                            f->data_dir};
    size_t n = 8;
    for (; *more != NULL; more++) {
        argv[n++] = *more;
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        char *const environment[] = {NULL};
        if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0) {
            execve(CAIRND, (char *const *)(uintptr_t)argv, environment);
        }
        _exit(127);
    }
    return pid;
}

static void pause_step(void)
{
    struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    nanosleep(&step, NULL);
}

/* Its exit status; fails the test when it does not end. */
static int ended(pid_t pid)
{
    int status;
    for (int ms = 0; ms < LIMIT_MS; ms += STEP_MS) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid) {
            assert_true(WIFEXITED(status));
            return WEXITSTATUS(status);
        }
        assert_int_equal(got, 0);
        pause_step();
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fail_msg("cairnd did not end");
    return -1;
}

static const char *text_of(struct fixture *f, const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    f->out[fread(f->out, 1, sizeof f->out - 1, file)] = '\0';
    fclose(file);
    return f->out;
}

static int run(struct fixture *f, const char *const *more)
{
    int status = ended(start(f, f->errors, more));
    text_of(f, f->errors);
    return status;
}

#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char *in_dir(struct fixture *f, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", f->dir, name);
    return path;
}

/* Node 1, up: the file of its addresses is there. */
static void up(struct fixture *f)
{
    char log[256];
    char addresses[256];
    f->running = start(f, in_dir(f, "log", log),
                       FLAGS("--node.id=1", "--listeners=client@127.0.0.1:0", "--http.listen=127.0.0.1:0"));
    in_dir(f, "data/addresses", addresses);
    for (int ms = 0; access(addresses, F_OK) != 0; ms += STEP_MS) {
        if (ms >= LIMIT_MS || waitpid(f->running, NULL, WNOHANG) != 0) {
            fail_msg("cairnd did not start: %s", text_of(f, log));
        }
        pause_step();
    }
}

static void down(struct fixture *f)
{
    pid_t pid = f->running;
    f->running = 0;
    kill(pid, SIGTERM);
    assert_int_equal(ended(pid), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[256];
    if (f->running > 0) {
        kill(f->running, SIGKILL);
        waitpid(f->running, NULL, 0);
    }
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void assert_one_line(const char *text, const char *part)
{
    const char *line = strstr(text, "cairnd: ");
    if (line == NULL || strstr(line, part) == NULL || strchr(line, '\n') != line + strlen(line) - 1) {
        fail_msg("not one line with \"%s\": %s", part, text);
    }
}

static void questions_are_answered_without_a_node(void **state)
{
    struct fixture *f = *state;
    char path[256];
    assert_int_equal(run(f, FLAGS("--version")), 0);
    assert_memory_equal(f->out, "cairnd ", 7);
    assert_int_equal(run(f, FLAGS("--help")), 0);
    assert_non_null(strstr(f->out, "examples:"));
    assert_int_equal(run(f, FLAGS("--print-config")), 0);
    assert_non_null(strstr(f->out, "\nlog.file.bytes = 32M\n"));
    assert_int_equal(run(f, FLAGS("--check-config", "--node.id=1")), 0);
    assert_string_equal(f->out, "ok\n");
    assert_int_not_equal(access(in_dir(f, "data", path), F_OK), 0);
}

static void wrong_configuration_is_one_line_and_status_2(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, FLAGS("--node.id=0")), 2);
    assert_one_line(f->out, "node.id = \"0\"");
    assert_int_equal(run(f, FLAGS("--check-config")), 2);
    assert_one_line(f->out, "node.id is not set");
    assert_int_equal(run(f, FLAGS("--check-config", "--node.id=1", "--log.file=/nowhere/log")), 2);
    assert_one_line(f->out, "log.file = /nowhere/log");
    assert_int_equal(run(f, FLAGS("--node.id=1", "--log.file=/nowhere/log")), 2);
    assert_one_line(f->out, "log.file = /nowhere/log");
}

static void a_node_tells_its_addresses_and_ends_in_order(void **state)
{
    struct fixture *f = *state;
    char path[256];
    unsigned peer;
    unsigned client;
    unsigned http;
    char expected[128];
    up(f);
    assert_int_equal(sscanf(text_of(f, in_dir(f, "data/addresses", path)), "peer 127.0.0.1:%u\nclient 127.0.0.1:%u\n",
                            &peer, &client),
                     2);
    assert_true(peer > 0 && client > 0 && peer != client);
    assert_non_null(strstr(f->out, "\nhttp "));
    assert_int_equal(sscanf(strstr(f->out, "\nhttp "), "\nhttp 127.0.0.1:%u\n", &http), 1);
    assert_true(http > 0 && http != client && http != peer);
    down(f);
    snprintf(expected, sizeof expected, "node_started node=1 peer=127.0.0.1:%u client=127.0.0.1:%u ", peer, client);
    assert_non_null(strstr(text_of(f, in_dir(f, "log", path)), expected));
    assert_non_null(strstr(f->out, "node_stopped node=1"));
    assert_int_not_equal(access(in_dir(f, "data/addresses", path), F_OK), 0);
    up(f); /* and comes back */
    down(f);
}

static void what_is_taken_by_another_is_status_2(void **state)
{
    struct fixture *f = *state;
    char path[256];
    char address[64];
    char listener[128];
    char other[256];
    up(f);
    assert_int_equal(run(f, FLAGS("--node.id=1", "--listeners=client@127.0.0.1:0")), 2);
    assert_one_line(f->out, "in use by another process");

    text_of(f, in_dir(f, "data/addresses", path));
    assert_int_equal(sscanf(strstr(f->out, "client "), "client %63s", address), 1);
    snprintf(listener, sizeof listener, "--listeners=client@%s", address);
    char data_dir[192];
    memcpy(data_dir, f->data_dir, sizeof data_dir);
    snprintf(f->data_dir, sizeof f->data_dir, "--data.dir=%s/other", f->dir);
    assert_int_equal(run(f, FLAGS("--node.id=1", listener)), 2);
    assert_one_line(f->out, address);
    assert_int_not_equal(access(in_dir(f, "other", other), F_OK), 0);
    snprintf(listener, sizeof listener, "--http.listen=%s", address); /* bound as early as the others */
    assert_int_equal(run(f, FLAGS("--node.id=1", "--listeners=client@127.0.0.1:0", listener)), 2);
    snprintf(listener, sizeof listener, "http.listen = %s: ", address);
    assert_one_line(f->out, listener);
    assert_int_not_equal(access(in_dir(f, "other", other), F_OK), 0);
    memcpy(f->data_dir, data_dir, sizeof data_dir);
    down(f);

    assert_int_equal(run(f, FLAGS("--node.id=1", "--shards=2", "--listeners=client@127.0.0.1:0")), 2);
    assert_one_line(f->out, "shards");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(questions_are_answered_without_a_node),
        TEST(wrong_configuration_is_one_line_and_status_2),
        TEST(a_node_tells_its_addresses_and_ends_in_order),
        TEST(what_is_taken_by_another_is_status_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
