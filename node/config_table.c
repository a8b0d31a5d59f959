/* Every key, once. */
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "node/config_internal.h"
#include "proto/base/entry.h"

#define FIELD(name) .offset = offsetof(struct config, name)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define LOG_FILE_BYTES_MIN (32 * MIB)
#define PATH_BYTES_MAX 400 /* what is made inside of the data directory has room in ENV_PATH_MAX */

static_assert(LOG_FILE_BYTES_MIN > ENTRY_PAYLOAD_MAX + MIB, "a log file has room for the largest record batch");
static_assert(PATH_BYTES_MAX < ENV_PATH_MAX - 64, "paths inside of the data directory");

const struct config_key config_keys[] = {
    {.section = "This node",
     .name = "node.id",
     .type = CONFIG_NUMBER,
     FIELD(node_id),
     .required = true,
     .example = "1",
     .min = 1,
     .max = INT32_MAX,
     .doc = "This node's number in the cluster. It belongs to the data directory: never give it to\n"
            "another one."},
    {.name = "node.rack",
     .type = CONFIG_NAME,
     FIELD(node_rack),
     .example = "rack-a",
     .max = 63,
     .doc = "Where the node stands (rack, zone). Replicas of a partition are spread over racks."},
    {.name = "data.dir",
     .type = CONFIG_PATH,
     FIELD(data_dir),
     .required = true,
     .initial = "/var/lib/cairn",
     .max = PATH_BYTES_MAX,
     .doc = "Everything that this node stores. Made at the first start if its parent directory exists."},
    {.name = "shards",
     .type = CONFIG_NUMBER,
     FIELD(shards),
     .initial = "1",
     .min = 1,
     .max = SHARDS_MAX,
     .doc = "Event loops, each with a shard log of its own. Fixed at the first start."},
    {.name = "threads.pool",
     .type = CONFIG_NUMBER,
     FIELD(threads_pool),
     .initial = "2",
     .min = 1,
     .max = 64,
     .doc = "Threads for reads from disk, file creation and compression."},
    {.name = "stop.timeout.ms",
     .type = CONFIG_NUMBER,
     FIELD(stop_timeout_ms),
     .initial = "10000",
     .min = 0,
     .max = 600000,
     .doc = "At SIGTERM: so long at most leaderships are handed over before the node closes."},

    {.section = "Cluster",
     .name = "cluster.seeds",
     .type = CONFIG_SEEDS,
     FIELD(cluster_seeds),
     .required = true,
     .example = "1@10.0.0.1:7500,2@10.0.0.2:7500,3@10.0.0.3:7500",
     .allowed = "a list of id@host:port, separated by commas",
     .doc = "The nodes that found the cluster, by id and peer address; the same list on each of them. A node\n"
            "that is not listed joins through them. A cluster of one lists just itself (and wants\n"
            "topic.default.replication = 1)."},
    {.name = "cluster.forget.pledge",
     .type = CONFIG_BOOL,
     FIELD(cluster_forget_pledge),
     .initial = "false",
     .doc = "The way out when a seed never came up and the cluster was never formed: correct cluster.seeds on\n"
            "all seeds, then start each once with this set. Refused once a cluster is formed."},
    {.name = "peer.listen",
     .type = CONFIG_ADDRESS,
     FIELD(peer_listen),
     .initial = "127.0.0.1:7500",
     .min = 0,
     .doc = "Where the other nodes connect. Port 0 takes any free one."},
    {.name = "peer.advertised",
     .type = CONFIG_ADDRESS,
     FIELD(peer_advertised),
     .example = "node1.example.org:7500",
     .min = 1,
     .doc = "What the other nodes are told of it. If not set: this node's entry in cluster.seeds, or else\n"
            "peer.listen."},

    {.section = "Clients",
     .name = "listeners",
     .type = CONFIG_LISTENERS,
     FIELD(listeners),
     .initial = "client@127.0.0.1:7400",
     .min = 0,
     .allowed = "a list of name@host:port, separated by commas",
     .doc = "Where Cairn's own clients and the cairn command connect. Port 0 takes any free one."},
    {.name = "kafka.listeners",
     .type = CONFIG_LISTENERS,
     FIELD(kafka_listeners),
     .initial = "kafka@127.0.0.1:9092",
     .min = 0,
     .none = true,
     .allowed = "a list of name@host:port, separated by commas, or none",
     .doc = "Where Kafka's clients connect; names are those of no other listener."},
    {.name = "advertised.listeners",
     .type = CONFIG_LISTENERS,
     FIELD(advertised_listeners),
     .example = "client@node1.example.org:7400,kafka@node1.example.org:9092",
     .min = 1,
     .allowed = "a list of name@host:port with names of listeners, separated by commas",
     .doc = "What clients are told of both kinds, by name. A listener that is not named here is told as it is bound."},
    {.name = "http.listen",
     .type = CONFIG_ADDRESS,
     FIELD(http_listen),
     .example = "127.0.0.1:9404",
     .min = 0,
     .doc = "Where GET /metrics tells what this node counts, and how far the consumer groups that it coordinates\n"
            "are behind, in Prometheus' text format. If not set: nowhere. Port 0 takes any free one."},
    {.name = "connections.max",
     .type = CONFIG_NUMBER,
     FIELD(connections_max),
     .initial = "10000",
     .min = 1,
     .max = 1000000,
     .doc = "Client connections at a time; further ones are refused."},
    {.name = "connection.idle.timeout.ms",
     .type = CONFIG_NUMBER,
     FIELD(connection_idle_timeout_ms),
     .initial = "600000",
     .min = 0,
     .max = 86400000,
     .doc = "A client connection without any traffic for so long is closed. 0: never."},

    {.section = "Log",
     .name = "log.file.bytes",
     .type = CONFIG_SIZE,
     FIELD(log_file_bytes),
     .initial = "64M",
     .min = LOG_FILE_BYTES_MIN,
     .max = 2 * GIB,
     .doc = "Size of a shard log's files, a multiple of 4k."},
    {.name = "log.max.bytes",
     .type = CONFIG_SIZE,
     FIELD(log_max_bytes),
     .initial = "16G",
     .min = 128 * MIB,
     .max = 1024 * TIB,
     .doc = "Disk space of all shard logs of this node together. Beyond it producing is refused until retention or\n"
            "deletion makes room."},
    {.name = "log.reserve.bytes",
     .type = CONFIG_SIZE,
     FIELD(log_reserve_bytes),
     .initial = "512M",
     .min = MIB,
     .max = TIB,
     .doc = "Of log.max.bytes and of the disk's free space, a shard: kept for what must go on when producing is\n"
            "refused (votes, metadata, deleting)."},
    {.section = "Memory",
     .name = "memory.max.bytes",
     .type = CONFIG_SIZE,
     FIELD(memory_max_bytes),
     .initial = "1G",
     .min = 128 * MIB,
     .max = TIB,
     .doc = "Record bytes in memory: received, on their way, cached. Above three quarters of it clients are read no\n"
            "further, above all of it peers are slowed down too."},
    {.name = "cache.bytes",
     .type = CONFIG_SIZE,
     FIELD(cache_bytes),
     .initial = "256M",
     .min = MIB,
     .max = TIB,
     .doc = "Of that, recent records kept for consumers and followers. At most half of memory.max.bytes."},

    {.section = "Raft",
     .name = "raft.election.timeout.ms",
     .type = CONFIG_NUMBER,
     FIELD(raft_election_timeout_ms),
     .initial = "800",
     .min = 100,
     .max = 800,
     .doc = "A replica that hears nothing from its leader for one to two times this long stands for election. More\n"
            "than twice raft.heartbeat.ms. The same on all nodes."},
    {.name = "raft.heartbeat.ms",
     .type = CONFIG_NUMBER,
     FIELD(raft_heartbeat_ms),
     .initial = "250",
     .min = 10,
     .max = 399,
     .doc = "A leader with nothing to send is heard of so often. The same on all nodes."},

    {.section = "Topics",
     .name = "topic.default.partitions",
     .type = CONFIG_NUMBER,
     FIELD(topic_default_partitions),
     .initial = "6",
     .min = 1,
     .max = METADATA_PARTITIONS_MAX,
     .doc = "Of a topic that is created without saying how many."},
    {.name = "topic.default.replication",
     .type = CONFIG_NUMBER,
     FIELD(topic_default_replication),
     .initial = "3",
     .min = 1,
     .max = METADATA_REPLICAS_MAX,
     .doc = "Replicas of each of its partitions. Never more than there are nodes."},
    {.name = "auto.create.topics.enable",
     .type = CONFIG_BOOL,
     FIELD(auto_create_topics),
     .initial = "true",
     .doc = "Kafka's clients that ask for a topic that is not there, and mean to, get it created."},

    {.section = "Consumer groups",
     .name = "group.initial.rebalance.delay.ms",
     .type = CONFIG_NUMBER,
     FIELD(group_initial_delay_ms),
     .initial = "3000",
     .min = 0,
     .max = 300000,
     .doc = "An empty group's first rebalance waits so long for more members to come."},
    {.name = "group.min.session.timeout.ms",
     .type = CONFIG_NUMBER,
     FIELD(group_session_timeout_min_ms),
     .initial = "6000",
     .min = 1,
     .max = GROUP_SESSION_TIMEOUT_MAX_MS,
     .doc = "A member that is silent for its session timeout is thrown out of its group. The shortest that it may\n"
            "ask for."},
    {.name = "group.max.session.timeout.ms",
     .type = CONFIG_NUMBER,
     FIELD(group_session_timeout_max_ms),
     .initial = "1800000",
     .min = 1,
     .max = GROUP_SESSION_TIMEOUT_MAX_MS,
     .doc = "The longest."},
    {.name = "group.max.size",
     .type = CONFIG_NUMBER,
     FIELD(group_members_max),
     .initial = "2000",
     .min = 1,
     .max = GROUP_MEMBERS_MAX,
     .doc = "Members of a group."},
    {.name = "offsets.retention.minutes",
     .type = CONFIG_NUMBER,
     FIELD(offsets_retention_minutes),
     .initial = "10080",
     .min = 1,
     .max = 5256000,
     .doc = "So long after a group's last member has gone (or, without members, after the last commit) its committed\n"
            "offsets are forgotten."},

    {.section = "Log lines",
     .name = "log.level",
     .type = CONFIG_LEVEL,
     FIELD(log_level),
     .initial = "info",
     .allowed = "error, warn, info or debug",
     .doc = "What is logged: this and everything more serious."},
    {.name = "log.file",
     .type = CONFIG_PATH,
     FIELD(log_file),
     .example = "/var/log/cairn/cairnd.log",
     .max = PATH_BYTES_MAX,
     .doc = "Lines are appended there. If not set: stderr."},
};

const uint32_t config_n_keys = sizeof config_keys / sizeof config_keys[0];
static_assert(sizeof config_keys / sizeof config_keys[0] <= CONFIG_KEYS_MAX, "origin[] has a place for each key");

const struct config_key *config_key_find(const char *name, size_t length)
{
    for (uint32_t i = 0; i < config_n_keys; i++) {
        if (strlen(config_keys[i].name) == length && memcmp(config_keys[i].name, name, length) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

void config_key_variable(const struct config_key *key, char out[CONFIG_VARIABLE_MAX])
{
    int n = snprintf(out, CONFIG_VARIABLE_MAX, "%s%s", CONFIG_VARIABLE_PREFIX, key->name);
    for (int i = 0; i < n && i < CONFIG_VARIABLE_MAX - 1; i++) {
        out[i] = out[i] == '.' ? '_' : (char)toupper((unsigned char)out[i]);
    }
}

const char *config_key_allowed(const struct config_key *key, char out[CONFIG_WHY_SIZE])
{
    char low[CONFIG_SIZE_TEXT];
    char high[CONFIG_SIZE_TEXT];
    size_t length = strlen(key->name);
    switch (key->type) {
    case CONFIG_NUMBER:
        snprintf(out, CONFIG_WHY_SIZE, "%s from %" PRIu64 " to %" PRIu64,
                 length > 3 && strcmp(key->name + length - 3, ".ms") == 0 ? "milliseconds" : "a number", key->min,
                 key->max);
        break;
    case CONFIG_SIZE:
        config_size_format(key->min, low);
        config_size_format(key->max, high);
        snprintf(out, CONFIG_WHY_SIZE, "bytes from %s to %s (k, M, G: times 1024, 1024^2, 1024^3)", low, high);
        break;
    case CONFIG_BOOL:
        snprintf(out, CONFIG_WHY_SIZE, "true or false");
        break;
    case CONFIG_NAME:
        snprintf(out, CONFIG_WHY_SIZE, "at most %" PRIu64 " letters, digits and . _ -", key->max);
        break;
    case CONFIG_PATH:
        snprintf(out, CONFIG_WHY_SIZE, "a path of at most %" PRIu64 " bytes", key->max);
        break;
    case CONFIG_ADDRESS:
        snprintf(out, CONFIG_WHY_SIZE, "host:port or [ipv6]:port, port %" PRIu64 " to 65535", key->min);
        break;
    case CONFIG_LEVEL:
    case CONFIG_SEEDS:
    case CONFIG_LISTENERS:
        snprintf(out, CONFIG_WHY_SIZE, "%s", key->allowed);
        break;
    }
    return out;
}
