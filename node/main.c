/* cairnd: one node on the real environment, from its configuration to its exit status.
 *
 * Exit status: 0 stopped in order; 2 something is to be corrected first (configuration, a busy port, a data directory
 * that is in use, not writable or another node's): starting again would not help; 1 any other failure, or a second
 * signal; ENV_FATAL_EXIT after a failed write or sync (I7). */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/config.h"
#include "node/node.h"
#include "raft/core/core.h"
#include "raft/env/env_uv.h"

#ifndef CAIRN_VERSION
#define CAIRN_VERSION "unknown"
#endif

#define EXIT_CORRECT_FIRST 2
#define LOG_FILE_MODE 0640
#define FILES_SPARE 1024         /* descriptors beside those of client connections: log files, peers, listeners */
#define STOP_GRACE_MS 20000      /* beyond stop.timeout.ms: what has not closed by then never will */
#define ADDRESSES_MAX_BYTES 4096 /* of the file of bound addresses */

static_assert(sizeof(((struct conn_listener_params *)NULL)->name) == sizeof(((struct control_listener *)NULL)->name) &&
                  sizeof(((struct conn_listener_params *)NULL)->address) ==
                      sizeof(((struct control_listener *)NULL)->address),
              "copied whole");
static_assert((METADATA_LISTENERS_MAX + 2) * (ENV_ADDRESS_MAX + 34) <= ADDRESSES_MAX_BYTES, "they fit");

struct program {
    struct config config;
    struct coordinator_config groups;
    struct node_params params;
    struct logger logger;
    struct env *env;
    struct node *node;
    struct timer stuck;
    char errmsg[CONFIG_ERRMSG_SIZE];
    bool stopping;
};

static int complain(const char *text, int status)
{
    fprintf(stderr, "cairnd: %s\n", text);
    return status;
}

/* ---- before the node ---- */

/* Every connection, peer and log file is a descriptor; the soft limit (1024 by tradition) is there for select(). */
static uint64_t raise_files_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            return before;
        }
    }
    return limit.rlim_cur;
}

static int open_log(struct program *p)
{
    int fd = STDERR_FILENO;
    if (p->config.log_file[0] != '\0') {
        fd = open(p->config.log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, LOG_FILE_MODE);
        if (fd < 0) {
            snprintf(p->errmsg, sizeof p->errmsg, "log.file = %s: cannot be opened: %s", p->config.log_file,
                     strerror(errno));
            return ERR_CONFIG;
        }
    }
    logger_init_fd(&p->logger, p->config.log_level, fd);
    return 0;
}

static void fill_params(struct program *p)
{
    const struct config *c = &p->config;
    struct node_params *n = &p->params;
    n->env = p->env;
    n->version = CAIRN_VERSION;
    n->n_listeners = c->listeners.n + c->kafka_listeners.n;
    for (uint32_t i = 0; i < n->n_listeners; i++) {
        bool kafka = i >= c->listeners.n;
        const struct control_listener *from = kafka ? &c->kafka_listeners.items[i - c->listeners.n]
                                                    : &c->listeners.items[i];
        struct conn_listener_params *to = &n->listeners[i];
        const char *advertised = config_listener_advertised(c, from->name);
        to->protocol = kafka ? CONN_KAFKA : CONN_NATIVE;
        memcpy(to->name, from->name, sizeof to->name);
        memcpy(to->address, from->address, sizeof to->address);
        if (advertised != NULL) {
            memcpy(to->advertised, advertised, strlen(advertised) + 1);
        }
    }
    n->http_listen = c->http_listen;
    /* Both limits count the same bytes; peers have the last quarter for themselves, or two full nodes would wait for
     * each other. */
    n->memory_max_bytes = c->memory_max_bytes / 4 * 3;
    n->connections_max = c->connections_max;
    n->idle_timeout_ms = c->connection_idle_timeout_ms;
    n->auto_create_topics = c->auto_create_topics;
    p->groups = (struct coordinator_config){
        .session_timeout_min_ms = (int32_t)c->group_session_timeout_min_ms,
        .session_timeout_max_ms = (int32_t)c->group_session_timeout_max_ms,
        .initial_delay_ms = (int32_t)c->group_initial_delay_ms,
        .offset_retention_ms = (int64_t)c->offsets_retention_minutes * 60000,
        .members_max = c->group_members_max,
    };
    n->control = (struct control_params){
        .data_dir = c->data_dir,
        .node = c->node_id,
        .rack = c->node_rack,
        .peer_listen = c->peer_listen,
        .peer_advertised = config_peer_advertised(c),
        .n_seeds = c->cluster_seeds.n,
        .shards = c->shards,
        .log_file_bytes = c->log_file_bytes,
        .log_max_bytes = c->log_max_bytes,
        .log_reserve_bytes = c->log_reserve_bytes,
        .cache_max_bytes = c->cache_bytes,
        .peer_receive_max_bytes = c->memory_max_bytes,
        .election_timeout_ms = c->raft_election_timeout_ms,
        .heartbeat_ms = c->raft_heartbeat_ms,
        .default_partitions = c->topic_default_partitions,
        .default_replication = c->topic_default_replication,
        .groups = &p->groups,
        .forget_pledge = c->cluster_forget_pledge,
    };
    memcpy(n->control.seeds, c->cluster_seeds.items, c->cluster_seeds.n * sizeof c->cluster_seeds.items[0]);
}

/* Is it for a person to correct before the next start? */
static bool correct_first(int err)
{
    switch (err) {
    case ERR_CONFIG:
    case ERR_INVALID: /* an address that cannot be listened on */
    case ERR_REFUSED: /* port in use, or not permitted */
    case ERR_BUSY:    /* data directory in use */
    case ERR_DISK_WIPED:
    case ERR_NODE_MISMATCH:
    case ERR_CLUSTER_MISMATCH:
    case ERR_STALE_BOOT:
    case ERR_VERSION:
        return true;
    default:
        return false;
    }
}

/* ---- bound addresses ---- */

static size_t addresses_format(const struct program *p, const char *between, const char *separator, char *out,
                               size_t size)
{
    size_t n = (size_t)snprintf(out, size, "peer%s%s", between, control_peer_address(node_control(p->node)));
    for (uint32_t i = 0; i < p->params.n_listeners; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%s%s%s", separator, p->params.listeners[i].name, between,
                              node_listener_address(p->node, i));
    }
    if (node_http_address(p->node)[0] != '\0') {
        n += (size_t)snprintf(out + n, size - n, "%shttp%s%s", separator, between, node_http_address(p->node));
    }
    return n;
}

/* <data.dir>/addresses, for scripts: with port 0 nobody else knows them. Not synced: it is worth nothing after a crash.
 */
static int addresses_write(struct program *p)
{
    char data[ADDRESSES_MAX_BYTES + 1];
    char path[ENV_PATH_MAX + 16];
    char temporary[ENV_PATH_MAX + 32];
    struct env_file *file;
    size_t n = addresses_format(p, " ", "\n", data, sizeof data);
    data[n++] = '\n';
    struct iovec iov = {.iov_base = data, .iov_len = n};
    snprintf(path, sizeof path, "%s/addresses", p->config.data_dir);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int rv = env_file_open(p->env, temporary, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file);
    if (rv != 0) {
        return rv;
    }
    rv = env_file_write(p->env, file, &iov, 1, 0, ENV_SYNC_NONE);
    env_file_close(p->env, file);
    return rv != 0 ? rv : env_path_rename(p->env, temporary, path);
}

static void addresses_remove(struct program *p)
{
    char path[ENV_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/addresses", p->config.data_dir);
    int rv = env_path_unlink(p->env, path);
    if (rv != 0 && rv != ERR_NOT_FOUND) {
        log_event(&p->logger, LOG_WARN, "addresses_not_removed", "error=%s", err_name(rv));
    }
}

/* ---- the end ---- */

/* What a node does that must end at once: the same as a crash, which it is always ready for. Nothing is flushed by it,
 * so nothing more is written by a node that must not go on. */
static void end_at_once(int status) __attribute__((noreturn));
static void end_at_once(int status)
{
    _exit(status);
}

static void on_stuck(struct timer *timer)
{
    struct program *p = container_of(timer, struct program, stuck);
    log_event(&p->logger, LOG_ERROR, "node_stop_stuck", "node=%" PRIu32, p->config.node_id);
    end_at_once(complain("stopping did not come to its end in time; acknowledged records are safe", EXIT_FAILURE));
}

static void on_closed(void *data)
{
    struct program *p = data;
    p->node = NULL;
    env_timer_stop(p->env, &p->stuck);
    log_event(&p->logger, LOG_INFO, "node_stopped", "node=%" PRIu32, p->config.node_id);
    env_loop_stop(p->env);
}

static void on_terminate(struct env *env, void *data, int signum)
{
    struct program *p = data;
    if (p->stopping) {
        log_event(&p->logger, LOG_WARN, "node_ended", "node=%" PRIu32 " signal=%d", p->config.node_id, signum);
        end_at_once(EXIT_FAILURE);
    }
    p->stopping = true;
    log_event(&p->logger, LOG_INFO, "signal", "node=%" PRIu32 " signal=%d", p->config.node_id, signum);
    addresses_remove(p);
    env_timer_start(env, &p->stuck, (uint64_t)p->config.stop_timeout_ms + STOP_GRACE_MS);
    node_stop(p->node, p->config.stop_timeout_ms, on_closed, p);
}

/* node/control has logged it. */
static void on_refused(void *data, int err, const char *text)
{
    end_at_once(complain(text, EXIT_CORRECT_FIRST));
}

/* ---- run ---- */

static int run_node(struct program *p)
{
    char addresses[ADDRESSES_MAX_BYTES + 1];
    char text[ERRMSG_SIZE];
    char quoted[2 * ERRMSG_SIZE];
    int rv;

    log_event(&p->logger, LOG_INFO, "node_starting", "node=%" PRIu32 " version=%s shards=%" PRIu32 " data_dir=%s",
              p->config.node_id, CAIRN_VERSION, p->config.shards, log_quote(quoted, sizeof quoted, p->config.data_dir));
    fill_params(p);
    rv = node_open(&p->params, &p->node, text);
    if (rv != 0) {
        if (p->config.log_file[0] != '\0') { /* else the one line below says it */
            log_event(&p->logger, LOG_ERROR, "node_not_started", "node=%" PRIu32 " error=%s text=%s", p->config.node_id,
                      err_name(rv), log_quote(quoted, sizeof quoted, text));
        }
        /* Sockets of a half-opened node may still be closing on the loop: nobody waits for them. */
        end_at_once(complain(text, correct_first(rv) ? EXIT_CORRECT_FIRST : EXIT_FAILURE));
    }
    node_on_refused(p->node, on_refused, p);
    /* Only now: until here a signal ends the process at once, however long recovery takes. */
    rv = env_uv_on_terminate(p->env, on_terminate, p);
    if (rv == 0) {
        rv = addresses_write(p);
    }
    if (rv != 0) {
        snprintf(p->errmsg, sizeof p->errmsg, "data.dir = %s: file addresses: %s", p->config.data_dir, err_text(rv));
        end_at_once(complain(p->errmsg, EXIT_FAILURE));
    }
    addresses_format(p, "=", " ", addresses, sizeof addresses);
    log_event(&p->logger, LOG_INFO, "node_started", "node=%" PRIu32 " %s version=%s", p->config.node_id, addresses,
              CAIRN_VERSION);
    env_uv_run(p->env);
    return EXIT_SUCCESS;
}

static int run(struct program *p)
{
    char text[ERRMSG_SIZE];
    uint64_t files;
    int status;

    if (config_check_places(&p->config, p->errmsg) != 0 || open_log(p) != 0) {
        return complain(p->errmsg, EXIT_CORRECT_FIRST);
    }
    if (core_check_library(text) != 0) {
        return complain(text, EXIT_CORRECT_FIRST);
    }
    files = raise_files_limit();
    if (files < p->config.connections_max + FILES_SPARE) {
        log_event(&p->logger, LOG_WARN, "open_files_limit_low", "limit=%" PRIu64 " wanted=%" PRIu32, files,
                  p->config.connections_max + FILES_SPARE);
    }
    struct env_uv_params env_params = {.logger = &p->logger, .pool_threads = p->config.threads_pool};
    int rv = env_uv_new(&env_params, &p->env);
    if (rv != 0) {
        snprintf(p->errmsg, sizeof p->errmsg, "the event loop cannot be made: %s", err_text(rv));
        return complain(p->errmsg, EXIT_FAILURE);
    }
    timer_init(&p->stuck, on_stuck);
    status = run_node(p);
    env_uv_free(p->env);
    return status;
}

static int act(struct program *p, const struct config_input *input)
{
    if (config_load(&p->config, input, p->errmsg) != 0) {
        return complain(p->errmsg, EXIT_CORRECT_FIRST);
    }
    switch (p->config.action) {
    case CONFIG_HELP:
        config_help(stdout);
        return EXIT_SUCCESS;
    case CONFIG_VERSION:
        printf("cairnd %s\n", CAIRN_VERSION);
        return EXIT_SUCCESS;
    case CONFIG_PRINT:
        config_print(&p->config, stdout);
        return EXIT_SUCCESS;
    case CONFIG_CHECK:
    case CONFIG_RUN:
        break;
    }
    if (config_check(&p->config, p->errmsg) != 0) {
        return complain(p->errmsg, EXIT_CORRECT_FIRST);
    }
    if (p->config.action == CONFIG_RUN) {
        return run(p);
    }
    if (config_check_places(&p->config, p->errmsg) != 0) {
        return complain(p->errmsg, EXIT_CORRECT_FIRST);
    }
    printf("ok\n");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv, char **envp)
{
    struct config_input input = {.argc = argc, .argv = argv, .envp = envp, .file_default = CONFIG_FILE_DEFAULT};
    struct program *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return complain(err_text(ERR_NOMEM), EXIT_FAILURE);
    }
    int status = act(p, &input);
    free(p);
    if (fflush(stdout) != 0) {
        status = complain("standard output cannot be written", EXIT_FAILURE);
    }
    return status;
}
