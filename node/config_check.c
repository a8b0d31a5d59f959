/* What must be given, what must fit together, and whether the places named can be written. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/config_internal.h"

#define MSG(...) snprintf(errmsg, CONFIG_ERRMSG_SIZE, __VA_ARGS__)

static const struct control_seed *own_seed(const struct config *c)
{
    for (uint32_t i = 0; i < c->cluster_seeds.n; i++) {
        if (c->cluster_seeds.items[i].node == c->node_id) {
            return &c->cluster_seeds.items[i];
        }
    }
    return NULL;
}

const char *config_peer_advertised(const struct config *c)
{
    const struct control_seed *own = own_seed(c);
    if (c->peer_advertised[0] != '\0') {
        return c->peer_advertised;
    }
    return own != NULL && config_address_port(own->address) != 0 ? own->address : NULL;
}

const char *config_listener_advertised(const struct config *c, const char *name)
{
    for (uint32_t i = 0; i < c->advertised_listeners.n; i++) {
        if (strcmp(c->advertised_listeners.items[i].name, name) == 0) {
            return c->advertised_listeners.items[i].address;
        }
    }
    return NULL;
}

static int check_required(const struct config *c, char *errmsg)
{
    char value[CONFIG_VALUE_MAX_BYTES];
    char variable[CONFIG_VARIABLE_MAX];
    char allowed[CONFIG_WHY_SIZE];
    for (uint32_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        config_value_format(key, c, value);
        if (key->required && value[0] == '\0') {
            config_key_variable(key, variable);
            MSG("%s is not set (%s, environment %s or --%s); allowed: %s", key->name,
                c->file[0] != '\0' ? c->file : "no configuration file was read", variable, key->name,
                config_key_allowed(key, allowed));
            return ERR_CONFIG;
        }
    }
    return 0;
}

/* The own entry of the seeds is what all others were told: this node must be found there. */
static int check_own_seed(const struct config *c, const struct control_seed *own, char *errmsg)
{
    uint32_t listen_port = config_address_port(c->peer_listen);
    if (c->peer_advertised[0] != '\0') {
        if (strcmp(c->peer_advertised, own->address) == 0) {
            return 0;
        }
        MSG("peer.advertised = %s: cluster.seeds has this node (%" PRIu32 ") at %s; allowed: the same in both",
            c->peer_advertised, c->node_id, own->address);
        return ERR_CONFIG;
    }
    if (strcmp(c->peer_listen, own->address) == 0 ||
        (config_address_wildcard(c->peer_listen) && listen_port == config_address_port(own->address))) {
        return 0;
    }
    MSG("peer.listen = %s: cluster.seeds has this node (%" PRIu32
        ") at %s; allowed: the same address, or 0.0.0.0 and the same port, or peer.advertised = %s where that leads "
        "here",
        c->peer_listen, c->node_id, own->address, own->address);
    return ERR_CONFIG;
}

static int check_peers(const struct config *c, char *errmsg)
{
    const struct control_seed *own = own_seed(c);
    for (uint32_t i = 0; i < c->cluster_seeds.n; i++) {
        const struct control_seed *seed = &c->cluster_seeds.items[i];
        bool nowhere = config_address_port(seed->address) == 0 && (seed != own || c->cluster_seeds.n > 1);
        if (nowhere || config_address_wildcard(seed->address)) {
            MSG("cluster.seeds = %" PRIu32
                "@%s: nobody can connect there; allowed: the address that the node is reached at",
                seed->node, seed->address);
            return ERR_CONFIG;
        }
    }
    if (config_address_wildcard(c->peer_advertised)) {
        MSG("peer.advertised = %s: nobody can connect there; allowed: the address that this node is reached at",
            c->peer_advertised);
        return ERR_CONFIG;
    }
    if (own != NULL) {
        return check_own_seed(c, own, errmsg);
    }
    if (c->peer_advertised[0] == '\0' && config_address_wildcard(c->peer_listen)) {
        MSG("peer.listen = %s: peer.advertised must say where the other nodes find this one; allowed: host:port",
            c->peer_listen);
        return ERR_CONFIG;
    }
    return 0;
}

/* Both kinds of listeners are one row: places and names must differ over all of them. */
static uint32_t listeners_count(const struct config *c)
{
    return c->listeners.n + c->kafka_listeners.n;
}

static const struct control_listener *listener_at(const struct config *c, uint32_t i, const char **key)
{
    bool kafka = i >= c->listeners.n;
    *key = kafka ? "kafka.listeners" : "listeners";
    return kafka ? &c->kafka_listeners.items[i - c->listeners.n] : &c->listeners.items[i];
}

static int check_listener(const struct config *c, uint32_t i, char *errmsg)
{
    const char *key;
    const char *ignored;
    const struct control_listener *l = listener_at(c, i, &key);
    const char *same = strcmp(l->address, c->peer_listen) == 0 ? "peer.listen" : NULL;
    if (config_address_wildcard(l->address) && config_listener_advertised(c, l->name) == NULL) {
        MSG("%s = %s@%s: advertised.listeners must say where clients find it; allowed: %s@host:port", key, l->name,
            l->address, l->name);
        return ERR_CONFIG;
    }
    for (uint32_t j = 0; j < i; j++) {
        const struct control_listener *other = listener_at(c, j, &ignored);
        if (strcmp(l->name, other->name) == 0) {
            MSG("%s = %s@%s: another listener has this name; allowed: one for each", key, l->name, l->address);
            return ERR_CONFIG;
        }
        if (same == NULL && strcmp(l->address, other->address) == 0) {
            same = other->name;
        }
    }
    if (same != NULL && config_address_port(l->address) != 0) {
        MSG("%s = %s@%s: %s has the same address; allowed: one for each", key, l->name, l->address, same);
        return ERR_CONFIG;
    }
    return 0;
}

static bool listener_known(const struct config *c, const char *name)
{
    const char *ignored;
    for (uint32_t i = 0; i < listeners_count(c); i++) {
        if (strcmp(listener_at(c, i, &ignored)->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int check_listeners(const struct config *c, char *errmsg)
{
    if (listeners_count(c) > METADATA_LISTENERS_MAX) {
        MSG("kafka.listeners = %s@%s ...: with listeners there are more than %d; allowed: that many together",
            c->kafka_listeners.items[0].name, c->kafka_listeners.items[0].address, METADATA_LISTENERS_MAX);
        return ERR_CONFIG;
    }
    for (uint32_t i = 0; i < listeners_count(c); i++) {
        int rv = check_listener(c, i, errmsg);
        if (rv != 0) {
            return rv;
        }
    }
    for (uint32_t i = 0; i < c->advertised_listeners.n; i++) {
        const struct control_listener *l = &c->advertised_listeners.items[i];
        bool known = listener_known(c, l->name);
        if (!known || config_address_wildcard(l->address)) {
            MSG("advertised.listeners = %s@%s: %s; allowed: the address that clients reach it at, for names in "
                "listeners and kafka.listeners",
                l->name, l->address, known ? "nobody can connect there" : "no listener has this name");
            return ERR_CONFIG;
        }
    }
    return 0;
}

static int check_sizes(const struct config *c, char *errmsg)
{
    char value[CONFIG_SIZE_TEXT];
    char limit[CONFIG_SIZE_TEXT];
    uint64_t log_min = c->shards * (c->log_reserve_bytes + 4 * c->log_file_bytes);
    if (c->log_file_bytes % 4096 != 0) {
        MSG("log.file.bytes = %" PRIu64 ": not a multiple of 4k; allowed: such as 64M", c->log_file_bytes);
        return ERR_CONFIG;
    }
    if (c->log_max_bytes < log_min) {
        config_size_format(c->log_max_bytes, value);
        config_size_format(log_min, limit);
        MSG("log.max.bytes = %s: too small for the rest; allowed: at least %s (shards * (log.reserve.bytes + 4 * "
            "log.file.bytes))",
            value, limit);
        return ERR_CONFIG;
    }
    if (c->cache_bytes > c->memory_max_bytes / 2) {
        config_size_format(c->cache_bytes, value);
        config_size_format(c->memory_max_bytes / 2, limit);
        MSG("cache.bytes = %s: too large; allowed: at most %s (half of memory.max.bytes)", value, limit);
        return ERR_CONFIG;
    }
    return 0;
}

int config_check(const struct config *c, char *errmsg)
{
    int rv = check_required(c, errmsg);
    if (rv == 0) {
        rv = check_peers(c, errmsg);
    }
    if (rv == 0) {
        rv = check_listeners(c, errmsg);
    }
    if (rv == 0) {
        rv = check_sizes(c, errmsg);
    }
    if (rv == 0 && c->raft_election_timeout_ms <= 2 * c->raft_heartbeat_ms) {
        MSG("raft.election.timeout.ms = %" PRIu32 ": too short; allowed: more than %" PRIu32
            " (twice raft.heartbeat.ms)",
            c->raft_election_timeout_ms, 2 * c->raft_heartbeat_ms);
        rv = ERR_CONFIG;
    }
    if (rv == 0 && c->group_session_timeout_min_ms > c->group_session_timeout_max_ms) {
        MSG("group.min.session.timeout.ms = %" PRIu32 ": too long; allowed: at most %" PRIu32
            " (group.max.session.timeout.ms)",
            c->group_session_timeout_min_ms, c->group_session_timeout_max_ms);
        rv = ERR_CONFIG;
    }
    return rv;
}

/* ---- places ---- */

/* The directory that holds @path. */
static void parent_of(const char *path, char out[ENV_PATH_MAX])
{
    snprintf(out, ENV_PATH_MAX, "%s", path);
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') {
        n--;
    }
    while (n > 0 && out[n - 1] != '/') {
        n--;
    }
    while (n > 1 && out[n - 1] == '/') {
        n--;
    }
    out[n] = '\0';
    if (n == 0) {
        snprintf(out, ENV_PATH_MAX, ".");
    }
}

/* Asks by doing: permissions, read-only file systems and disks without a free inode all show. Leaves nothing behind.
 * 0 or an errno. */
static int try_directory(const char *dir)
{
    char path[ENV_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/.cairnd-check-XXXXXX", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    close(fd);
    return unlink(path) == 0 ? 0 : errno;
}

static int check_data_dir(const struct config *c, char *errmsg)
{
    char parent[ENV_PATH_MAX];
    struct stat st;
    int error;
    if (stat(c->data_dir, &st) == 0) {
        error = S_ISDIR(st.st_mode) ? try_directory(c->data_dir) : ENOTDIR;
        if (error == 0) {
            return 0;
        }
        MSG("data.dir = %s: cannot be written: %s; allowed: a directory that user %u can write", c->data_dir,
            strerror(error), (unsigned)geteuid());
        return ERR_CONFIG;
    }
    error = errno;
    if (error == ENOENT) {
        parent_of(c->data_dir, parent);
        error = try_directory(parent);
        if (error == 0) {
            return 0;
        }
        MSG("data.dir = %s: not there and cannot be made in %s: %s; allowed: a directory that user %u can write",
            c->data_dir, parent, strerror(error), (unsigned)geteuid());
        return ERR_CONFIG;
    }
    MSG("data.dir = %s: %s; allowed: a directory that user %u can write", c->data_dir, strerror(error),
        (unsigned)geteuid());
    return ERR_CONFIG;
}

static int check_log_file(const struct config *c, char *errmsg)
{
    char parent[ENV_PATH_MAX];
    struct stat st;
    int error = 0;
    if (c->log_file[0] == '\0') {
        return 0;
    }
    if (stat(c->log_file, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            error = EISDIR;
        } else if (faccessat(AT_FDCWD, c->log_file, W_OK, AT_EACCESS) != 0) {
            error = errno;
        }
    } else if (errno == ENOENT) {
        parent_of(c->log_file, parent);
        error = try_directory(parent);
    } else {
        error = errno;
    }
    if (error != 0) {
        MSG("log.file = %s: cannot be written: %s; allowed: a file that user %u can write, in a directory that is "
            "there",
            c->log_file, strerror(error), (unsigned)geteuid());
        return ERR_CONFIG;
    }
    return 0;
}

int config_check_places(const struct config *c, char *errmsg)
{
    int rv = check_data_dir(c, errmsg);
    return rv != 0 ? rv : check_log_file(c, errmsg);
}
