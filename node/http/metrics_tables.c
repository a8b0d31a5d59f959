/* The counter tables: name, unit, help, and where the number stands. */
#include <string.h>

#include "node/http/metrics.h"

#define ROW(structure, field, n, t, u, h)                                                                              \
    {                                                                                                                  \
        .name = (n), .type = (t), .unit = (u), .offset = offsetof(struct structure, field), .help = (h)                \
    }
#define COUNTER(structure, field, name, help)                                                                          \
    ROW(structure, field, "cairn_" name, METRICS_COUNTER, METRICS_NUMBER_U64, help)
#define GAUGE(structure, field, name, help)                                                                            \
    ROW(structure, field, "cairn_" name, METRICS_GAUGE, METRICS_NUMBER_U64, help)
#define GAUGE32(structure, field, name, help)                                                                          \
    ROW(structure, field, "cairn_" name, METRICS_GAUGE, METRICS_NUMBER_U32, help)
#define ROWS(room)                                                                                                     \
    const size_t metrics_##room##_rows_count = sizeof metrics_##room##_rows / sizeof metrics_##room##_rows[0]

const struct metrics_row metrics_shard_rows[] = {
    GAUGE32(shard_stats, groups, "raft_groups", "Raft groups with a replica here."),
    GAUGE32(shard_stats, leading, "raft_groups_leading", "Raft groups that this node leads."),
    GAUGE32(shard_stats, ready, "raft_groups_ready", "Raft groups that this node leads and serves."),
    GAUGE32(shard_stats, failed, "raft_groups_failed", "Replicas that were stopped for damaged data."),
    GAUGE(shard_stats, log_bytes, "log_bytes", "Size of the shard log's files."),
    GAUGE(shard_stats, log_bytes_max, "log_limit_bytes", "Size above which producing is refused."),
    COUNTER(shard_stats, produced_batches, "produced_batches_total", "Record batches accepted from producers."),
    COUNTER(shard_stats, produced_bytes, "produced_bytes_total", "Bytes of those."),
    COUNTER(shard_stats, fetched_bytes, "fetched_bytes_total", "Bytes of record batches given to consumers."),
    COUNTER(shard_stats, duplicates, "duplicate_batches_total",
            "Retried batches that were there already and were not written again."),
    GAUGE32(shard_stats, consumer_groups, "group_active_groups",
            "Consumer groups coordinated here that have members, or joins under way."),
    GAUGE32(shard_stats, consumer_group_members, "group_members", "Their members."),
    COUNTER(shard_stats, group_rebalances, "group_rebalances_total",
            "Rebalances of consumer groups that were completed."),
    COUNTER(shard_stats, group_sessions_expired, "group_sessions_expired_total",
            "Members of consumer groups that were silent for their session timeout."),
    COUNTER(shard_stats, group_commits, "group_commits_total", "Commits of consumer groups' offsets."),
    GAUGE32(shard_stats, consumer_groups, "consumer_groups", "Consumer groups coordinated here that have members."),
    GAUGE32(shard_stats, consumer_group_members, "consumer_group_members", "Members of those."),
    COUNTER(shard_stats, group_rebalances, "consumer_group_rebalances_total", "Rebalances completed."),
    COUNTER(shard_stats, group_sessions_expired, "consumer_group_sessions_expired_total", "Members that fell silent."),
    COUNTER(shard_stats, group_commits, "consumer_group_commits_total", "Commits of offsets."),
};
ROWS(shard);

const struct metrics_row metrics_wal_rows[] = {
    COUNTER(wal_stats, flushes, "log_flushes_total", "Writes with sync of the shard log."),
    COUNTER(wal_stats, flush_bytes, "log_flushed_bytes_total", "Bytes written by them."),
    ROW(wal_stats, flush_ns, "cairn_log_flush_seconds_total", METRICS_COUNTER, METRICS_NANOSECONDS_U64,
        "Time spent in writing and syncing."),
    COUNTER(wal_stats, inline_flushes, "log_inline_flushes_total", "Flushes done on the loop itself, as it was idle."),
    COUNTER(wal_stats, records, "log_records_total", "Records of the shard log: entries and hard state."),
    GAUGE(wal_stats, files, "log_files", "Files of the shard log."),
    COUNTER(wal_stats, files_recycled, "log_files_recycled_total", "Files that were used again."),
    GAUGE(wal_stats, bytes_live, "log_live_bytes", "Bytes in the shard log that are still needed."),
    COUNTER(wal_stats, bytes_carried, "log_carried_bytes_total", "Bytes written again to free older files."),
    GAUGE(wal_stats, cache_bytes, "cache_bytes", "Recent entries held in memory."),
    COUNTER(wal_stats, cache_misses, "cache_misses_total", "Reads that went to the disk."),
};
ROWS(wal);

const struct metrics_row metrics_host_rows[] = {
    COUNTER(group_host_stats, messages_in, "raft_messages_received_total", "Raft messages from peers."),
    COUNTER(group_host_stats, messages_out, "raft_messages_sent_total", "Raft messages to peers."),
    COUNTER(group_host_stats, unknown_group, "raft_messages_unknown_group_total",
            "Dropped: for a group not known here."),
    COUNTER(group_host_stats, malformed, "raft_messages_malformed_total", "Dropped: they do not make sense."),
    COUNTER(group_host_stats, misdirected, "raft_messages_misdirected_total", "Dropped: for or of another replica."),
    COUNTER(group_host_stats, not_open, "raft_messages_not_open_total",
            "Dropped: the group is not open, or has failed."),
    COUNTER(group_host_stats, sends_dropped, "raft_sends_dropped_total",
            "Messages not sent: no link, or a full queue."),
    COUNTER(group_host_stats, entries_applied, "raft_entries_applied_total", "Committed entries applied."),
    COUNTER(group_host_stats, submits, "raft_submits_total", "Rounds in which a group proposed entries."),
    COUNTER(group_host_stats, proposals, "raft_proposals_total", "Entries proposed."),
    COUNTER(group_host_stats, barriers, "raft_barriers_total", "Entries proposed to confirm a leadership."),
    COUNTER(group_host_stats, reads, "raft_log_reads_total", "Reads of the shard log for peers and for applying."),
    COUNTER(group_host_stats, stalls, "loop_stalls_total", "Times the loop stood still for half an election timeout."),
    COUNTER(group_host_stats, reopened, "raft_cores_reopened_total", "Raft cores opened anew after an error."),
};
ROWS(host);

const struct metrics_row metrics_transport_rows[] = {
    COUNTER(transport_stats, frames_out, "peer_frames_sent_total", "Frames sent to other nodes."),
    COUNTER(transport_stats, frames_in, "peer_frames_received_total", "Frames received from other nodes."),
    COUNTER(transport_stats, bytes_out, "peer_sent_bytes_total", "Bytes sent to other nodes."),
    COUNTER(transport_stats, bytes_in, "peer_received_bytes_total", "Bytes received from other nodes."),
    COUNTER(transport_stats, dropped, "peer_messages_dropped_total", "Messages not sent: no link, or a full queue."),
    COUNTER(transport_stats, refused, "peer_hellos_refused_total", "Links refused: another cluster, node or disk."),
    COUNTER(transport_stats, malformed, "peer_frames_malformed_total", "Links closed for what came over them."),
    COUNTER(transport_stats, connects, "peer_connects_total", "Links made."),
};
ROWS(transport);

void metrics_row_sample(struct metrics_text *t, const struct metrics_row *row, const void *base,
                        const struct metrics_label *labels, unsigned n_labels)
{
    const char *place = (const char *)base + row->offset;
    uint64_t u64 = 0;
    uint32_t u32 = 0;
    switch (row->unit) {
    case METRICS_NUMBER_U32:
        memcpy(&u32, place, sizeof u32);
        metrics_sample(t, row->name, labels, n_labels, u32);
        return;
    case METRICS_NUMBER_U64:
        memcpy(&u64, place, sizeof u64);
        metrics_sample(t, row->name, labels, n_labels, (int64_t)u64);
        return;
    case METRICS_NANOSECONDS_U64:
        memcpy(&u64, place, sizeof u64);
        metrics_sample_seconds(t, row->name, labels, n_labels, u64, 1000000000);
        return;
    }
}

void metrics_rows(struct metrics_text *t, const struct metrics_row *rows, size_t n, const void *base)
{
    for (size_t i = 0; i < n; i++) {
        metrics_family(t, rows[i].name, rows[i].type, rows[i].help);
        metrics_row_sample(t, &rows[i], base, NULL, 0);
    }
}
