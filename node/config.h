/* What cairnd was told: one file, the environment and flags, checked as a whole before anything is opened.
 *
 * Every key stands once, in the table of config_table.c: parsing, defaults, checks, --help, --print-config and
 * deploy/cairnd.conf come from there. Precedence: defaults < file < environment < flags.
 *
 * Start-up code of the program, before there is an environment (struct env): it reads its file by itself. */
#ifndef CAIRN_NODE_CONFIG_H
#define CAIRN_NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "node/control/control.h"
#include "proto/base/log.h"
#include "raft/env/env.h"

#define CONFIG_FILE_DEFAULT "/etc/cairn/cairnd.conf" /* read if it is there */
#define CONFIG_FILE_MAX_BYTES (1u << 20)
#define CONFIG_VALUE_MAX_BYTES (24u << 10) /* with its NUL; the longest are cluster.seeds */
#define CONFIG_ERRMSG_SIZE 2048            /* one line */
#define CONFIG_KEYS_MAX 40

struct config_seeds {
    uint32_t n;
    struct control_seed items[CONTROL_SEEDS_MAX];
};

struct config_listeners {
    uint32_t n;
    struct control_listener items[METADATA_LISTENERS_MAX];
};

enum config_action {
    CONFIG_RUN,
    CONFIG_CHECK,  /* --check-config */
    CONFIG_PRINT,  /* --print-config */
    CONFIG_HELP,   /* --help */
    CONFIG_VERSION /* --version */
};

/* Where a key's value came from; each overrides those before it. */
enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

struct config {
    enum config_action action;
    char file[ENV_PATH_MAX]; /* that was read; empty: none */

    uint32_t node_id; /* 0: not given */
    char node_rack[64];
    char data_dir[ENV_PATH_MAX];
    struct config_seeds cluster_seeds;
    bool cluster_forget_pledge;
    struct config_listeners listeners;
    struct config_listeners kafka_listeners;
    char http_listen[ENV_ADDRESS_MAX]; /* empty: not given */
    struct config_listeners advertised_listeners;
    char peer_listen[ENV_ADDRESS_MAX];
    char peer_advertised[ENV_ADDRESS_MAX]; /* empty: not given */
    uint32_t shards;
    uint64_t log_file_bytes;
    uint64_t log_max_bytes;
    uint64_t log_reserve_bytes;
    uint64_t cache_bytes;
    uint64_t memory_max_bytes;
    uint32_t connections_max;
    uint32_t connection_idle_timeout_ms;
    uint32_t raft_election_timeout_ms;
    uint32_t raft_heartbeat_ms;
    uint32_t topic_default_partitions;
    uint32_t topic_default_replication;
    bool auto_create_topics;
    uint32_t group_initial_delay_ms;
    uint32_t group_session_timeout_min_ms;
    uint32_t group_session_timeout_max_ms;
    uint32_t group_members_max;
    uint32_t offsets_retention_minutes;
    uint32_t stop_timeout_ms;
    enum log_level log_level;
    char log_file[ENV_PATH_MAX]; /* empty: stderr */
    uint32_t threads_pool;

    struct {
        enum config_source source;
        uint32_t line;         /* of the file */
    } origin[CONFIG_KEYS_MAX]; /* by the key's place in the table */
};

/* What the program was started with. Borrowed for the call. */
struct config_input {
    int argc;
    char *const *argv;
    char *const *envp;
    const char *file_default; /* read if nothing names another and it is there; NULL: none */
};

/* Defaults, then file, environment and flags into @c. After --help or --version nothing else is looked at. Each value
 * is checked by itself; config_check() does the rest. Errors: ERR_CONFIG, ERR_NOMEM; @errmsg (CONFIG_ERRMSG_SIZE) is
 * one line that names key, value and what is allowed. */
int config_load(struct config *c, const struct config_input *input, char *errmsg) MUST_USE;

/* What must be given, and what must fit together. Touches nothing. Errors: ERR_CONFIG with @errmsg. */
int config_check(const struct config *c, char *errmsg) MUST_USE;

/* The data directory is there and can be written, or can be made; so can the log file. Leaves nothing behind.
 * Errors: ERR_CONFIG with @errmsg. */
int config_check_places(const struct config *c, char *errmsg) MUST_USE;

/* What others are told of this node's peer listener: peer.advertised, else its own entry in cluster.seeds.
 * NULL: neither, it is the bound address. */
const char *config_peer_advertised(const struct config *c);
/* NULL: @name has none, it is the bound address. */
const char *config_listener_advertised(const struct config *c, const char *name);

/* The documented file, with the values of @c. Reading it gives the same values. */
void config_print(const struct config *c, FILE *out);
void config_help(FILE *out);

#endif
