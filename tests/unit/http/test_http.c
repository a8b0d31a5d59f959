/* A node on real threads and sockets, scraped: what is answered, what is refused, and that the node's end waits for no
 * scraper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/http/http.h"
#include "node/node.h"
#include "raft/env/env_uv.h"

#define ANSWER_MAX (1u << 20)
#define SCRAPERS 4
#define SCRAPES 30 /* by each before the node is told to end */

struct site {
    struct env *env;
    struct node *node;
    struct env_message stop;
    char dir[32];
    char data[64];
    uint16_t port;
    atomic_uint failures;
    atomic_uint scraped;
    void *(*clients)(void *arg);
};

static struct site site;

static void failed(int line)
{
    fprintf(stderr, "failed in line %d\n", line);
    site.failures++;
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            failed(__LINE__);                                                                                          \
        }                                                                                                              \
    } while (0)

/* ---- a client ------------------------------------------------------------------------------------------------ */

/* All that comes back for @request, as text; "" where nobody answers any more. To be freed. */
static char *exchange(const char *request)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(site.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *out = calloc(1, ANSWER_MAX);
    size_t size = 0;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (out == NULL || fd < 0) {
        abort();
    }
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
        ssize_t n;
        while (size < ANSWER_MAX - 1 && (n = recv(fd, out + size, ANSWER_MAX - 1 - size, 0)) > 0) {
            size += (size_t)n;
        }
    }
    close(fd);
    return out;
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Each line is a comment, or a name, labels and a number. */
static void check_format(const char *body)
{
    size_t lines = 0;
    while (*body != '\0') {
        const char *end = strchr(body, '\n');
        char name[128];
        char value[64];
        if (end == NULL) {
            failed(__LINE__);
            return;
        }
        lines++;
        if (body[0] == '#') {
            CHECK(strncmp(body, "# HELP cairn_", 13) == 0 || strncmp(body, "# TYPE cairn_", 13) == 0);
        } else {
            const char *space = memchr(body, ' ', (size_t)(end - body));
            CHECK(space != NULL && sscanf(body, "%127[a-z0-9_]", name) == 1 && strncmp(name, "cairn_", 6) == 0);
            CHECK(space != NULL && sscanf(space, " %63[-0-9.]\n", value) == 1 &&
                  strlen(value) == (size_t)(end - space - 1));
        }
        body = end + 1;
    }
    CHECK(lines > 100);
}

static void check_scrape(void)
{
    char *answer = exchange("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *body = strstr(answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    CHECK(has(answer, "text/plain; version=0.0.4"));
    CHECK(has(answer, "\ncairn_node_id 1\n"));
    CHECK(has(answer, "\ncairn_build_info{version=\"test\"} 1\n"));
    CHECK(has(answer, "\ncairn_raft_groups{shard=\"0\"} "));
    CHECK(has(answer, "\ncairn_log_flushes_total{shard=\"1\"} "));
    CHECK(has(answer, "\ncairn_connections 0\n"));
    CHECK(has(answer, "\ncairn_consumer_groups 0\n"));
    CHECK(has(answer, "\ncairn_metrics_truncated 0\n"));
    if (body == NULL) {
        failed(__LINE__);
    } else {
        check_format(body + 4);
    }
    free(answer);
}

static void check_refusals(void)
{
    static const struct {
        const char *request;
        const char *status;
        const char *part;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 404 ", "/metrics"},
        {"GET /metrics/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 404 ", "/metrics"},
        {"DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 405 ", "Allow: GET, HEAD"},
        {"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", " 405 ", "Allow: "},
        {"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 200 ", "Content-Length: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *answer = exchange(cases[i].request);
        CHECK(strncmp(answer, "HTTP/1.1", 8) == 0 && strncmp(answer + 8, cases[i].status, 5) == 0);
        CHECK(has(answer, cases[i].part));
        CHECK(strncmp(cases[i].request, "HEAD", 4) != 0 || !has(answer, "# HELP"));
        free(answer);
    }
}

/* Lines that are no HTTP: answered or not, the next one is served. */
static void check_garbage(void)
{
    char *long_line = malloc(100001);
    memset(long_line, 'a', 100000);
    long_line[100000] = '\0';
    memcpy(long_line, "GET /", 5);
    free(exchange(long_line));
    free(exchange("\x16\x03\x01\x02 this is no HTTP\r\n\r\n\r\n"));
    free(long_line);
}

static void *ask_everything(void *arg)
{
    check_scrape();
    check_refusals();
    check_garbage();
    check_scrape();
    env_post(site.env, &site.stop);
    return NULL;
}

static void *scrape_to_the_end(void *arg)
{
    for (unsigned i = 0;; i++) {
        char *answer = exchange("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        bool ended = answer[0] == '\0';
        CHECK(ended || has(answer, " 200 OK") || has(answer, " 503 "));
        site.scraped += has(answer, " 200 OK");
        free(answer);
        if (ended) { /* nobody listens any more */
            CHECK(i > SCRAPES || arg == NULL);
            return NULL;
        }
        if (i == SCRAPES && arg != NULL) {
            env_post(site.env, &site.stop);
        }
        if (i > 100000) {
            failed(__LINE__);
            return NULL;
        }
    }
}

static void *run_scrapers(void *arg)
{
    pthread_t threads[SCRAPERS];
    for (uintptr_t i = 0; i < SCRAPERS; i++) {
        pthread_create(&threads[i], NULL, scrape_to_the_end, (void *)(i == 0 ? 1 : (uintptr_t)0));
    }
    for (int i = 0; i < SCRAPERS; i++) {
        pthread_join(threads[i], NULL);
    }
    return NULL;
}

/* ---- the node ------------------------------------------------------------------------------------------------ */

static void on_closed(void *data)
{
    env_loop_stop(site.env);
}

static void stop(struct env_message *message)
{
    node_stop(site.node, 1000, on_closed, NULL);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static void discard(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    if (getenv("NODE_LOG") != NULL) {
        fprintf(stderr, "%.*s\n", (int)length, line);
    }
}

static struct logger logger = {.level = LOG_DEBUG, .write = discard};

static int open_node(const char *http_listen, char *errmsg)
{
    struct node_params *p = calloc(1, sizeof *p);
    int rv;
    assert_non_null(p);
    p->env = site.env;
    p->version = "test";
    p->n_listeners = 1;
    p->http_listen = http_listen;
    snprintf(p->listeners[0].name, sizeof p->listeners[0].name, "client");
    snprintf(p->listeners[0].address, sizeof p->listeners[0].address, "127.0.0.1:0");
    p->memory_max_bytes = 192u << 20;
    p->connections_max = 100;
    p->control = (struct control_params){
        .data_dir = site.data,
        .node = 1,
        .rack = "",
        .peer_listen = "127.0.0.1:0",
        .n_seeds = 1,
        .shards = 2,
        .log_file_bytes = 4u << 20,
        .log_max_bytes = 256u << 20,
        .log_reserve_bytes = 1u << 20,
        .cache_max_bytes = 1u << 20,
        .peer_receive_max_bytes = 256u << 20,
        .default_partitions = 1,
        .default_replication = 1,
    };
    p->control.seeds[0].node = 1;
    snprintf(p->control.seeds[0].address, sizeof p->control.seeds[0].address, "127.0.0.1:1");
    rv = node_open(p, &site.node, errmsg);
    free(p);
    return rv;
}

static int setup(void **state)
{
    struct env_uv_params env_params = {.logger = &logger};
    memset(&site, 0, sizeof site);
    strcpy(site.dir, "/tmp/cairn-http-XXXXXX");
    assert_non_null(mkdtemp(site.dir));
    snprintf(site.data, sizeof site.data, "%s/data", site.dir);
    assert_int_equal(env_uv_new(&env_params, &site.env), 0);
    site.stop.run = stop;
    return 0;
}

static int teardown(void **state)
{
    env_uv_free(site.env);
    nftw(site.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void run(void *(*clients)(void *arg))
{
    char errmsg[ERRMSG_SIZE];
    pthread_t thread;
    const char *address;
    if (open_node("127.0.0.1:0", errmsg) != 0) {
        fail_msg("node_open: %s", errmsg);
    }
    address = node_http_address(site.node);
    assert_memory_equal(address, "127.0.0.1:", 10);
    site.port = (uint16_t)atoi(address + 10);
    assert_int_not_equal(site.port, 0);
    assert_int_equal(pthread_create(&thread, NULL, clients, NULL), 0);
    env_uv_run(site.env);
    pthread_join(thread, NULL);
    assert_int_equal(site.failures, 0);
}

static void metrics_are_told_and_all_else_is_refused(void **state)
{
    run(ask_everything);
}

static void the_end_waits_for_no_scraper(void **state)
{
    run(run_scrapers);
    assert_true(site.scraped >= SCRAPES);
}

static void an_address_that_cannot_be_is_told_by_its_key(void **state)
{
    static const char *const wrong[] = {"127.0.0.1", ":1", "127.0.0.1:x"};
    const struct http_params none = {.env = site.env, .address = "127.0.0.1:0"};
    char address[ENV_ADDRESS_MAX];
    char errmsg[ERRMSG_SIZE];
    struct http *first;
    struct http *second;
    struct http_params again = none;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        again.address = wrong[i];
        assert_int_equal(http_open(&again, &second, errmsg), ERR_INVALID);
        assert_non_null(strstr(errmsg, "http.listen = "));
        assert_non_null(strstr(errmsg, wrong[i]));
    }
    assert_int_equal(http_open(&none, &first, errmsg), 0);
    snprintf(address, sizeof address, "%s", http_address(first));
    again.address = address;
    assert_int_equal(http_open(&again, &second, errmsg), ERR_REFUSED);
    assert_non_null(strstr(errmsg, address));
    http_abandon(first);
    assert_int_equal(http_open(&again, &second, errmsg), 0);
    assert_string_equal(http_address(second), address);
    http_abandon(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(metrics_are_told_and_all_else_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_waits_for_no_scraper, setup, teardown),
        cmocka_unit_test_setup_teardown(an_address_that_cannot_be_is_told_by_its_key, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
