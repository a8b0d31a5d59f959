#include "node/http/metrics.h"

#include <stdio.h>

/* ---- shards ----------------------------------------------------------------------------------------------------- */

static void run_on_shard(struct shard *shard, struct shard_op *op)
{
    struct metrics_shard *part = container_of(op, struct metrics_shard, stats.op);
    wal_stats(shard_wal(shard), &part->wal);
    group_host_stats(shard_host(shard), &part->host);
    shard_stats_run(shard, op); /* completes the op */
}

/* The same table for each shard: a family a row, a sample a shard. @base is where the first shard's struct stands. */
static void shard_families(struct metrics *m, const struct metrics_row *rows, size_t n_rows, size_t base)
{
    char number[16];
    const struct metrics_label label = {.name = "shard", .value = number};
    for (size_t r = 0; r < n_rows; r++) {
        metrics_family(&m->text, rows[r].name, rows[r].type, rows[r].help);
        for (uint32_t i = 0; i < m->n; i++) {
            snprintf(number, sizeof number, "%u", i);
            metrics_row_sample(&m->text, &rows[r], (const char *)&m->shards[i] + base, &label, 1);
        }
    }
}

/* ---- the node --------------------------------------------------------------------------------------------------- */

static void node_families(struct metrics *m)
{
    struct service *s = m->service;
    struct control *control = service_control(s);
    const struct metadata_fsm *metadata = service_metadata(s);
    const struct metrics_label version = {.name = "version", .value = service_version(s)};
    struct transport_stats transport;
    struct metrics_text *t = &m->text;

    metrics_family(t, "cairn_build_info", METRICS_GAUGE, "Always 1; the label tells what runs.");
    metrics_sample(t, "cairn_build_info", &version, 1, 1);
    metrics_value(t, "cairn_node_id", METRICS_GAUGE, "This node's number in the cluster.", control_node(control));
    metrics_family(t, "cairn_uptime_seconds", METRICS_GAUGE, "Time since this node started.");
    metrics_sample_seconds(t, "cairn_uptime_seconds", NULL, 0, service_uptime_ms(s), 1000);
    metrics_value(t, "cairn_cluster_formed", METRICS_GAUGE, "1 if this node is part of a cluster.",
                  control_formed(control));
    metrics_value(t, "cairn_metadata_leader", METRICS_GAUGE, "1 if this node leads the metadata group.",
                  control_leader_of(control, METADATA_GROUP, NULL) == control_node(control));
    metrics_value(t, "cairn_topics", METRICS_GAUGE, "Topics of the cluster, as this node knows them.",
                  metadata_fsm_topic_count(metadata));
    metrics_value(t, "cairn_partitions", METRICS_GAUGE, "Partitions of the cluster, as this node knows them.",
                  metadata_fsm_partition_count(metadata));
    metrics_value(t, "cairn_partitions_without_leader", METRICS_GAUGE,
                  "Partitions whose leader this node does not know.", service_partitions_without_leader(s));
    if (control_transport(control) != NULL) {
        transport_stats(control_transport(control), &transport);
        metrics_rows(t, metrics_transport_rows, metrics_transport_rows_count, &transport);
    }
}

/* ---- consumer groups -------------------------------------------------------------------------------------------- */

struct lag_family {
    const char *name;
    const char *help;
    void (*sample)(struct metrics_text *t, const char *name, const struct metrics_label *labels, unsigned n_labels,
                   const struct service_lag_part *part);
};

static void sample_offset(struct metrics_text *t, const char *name, const struct metrics_label *labels,
                          unsigned n_labels, const struct service_lag_part *part)
{
    metrics_sample(t, name, labels, n_labels, part->offset);
}

static void sample_records(struct metrics_text *t, const char *name, const struct metrics_label *labels,
                           unsigned n_labels, const struct service_lag_part *part)
{
    if (part->error == 0 && part->lag >= 0) {
        metrics_sample(t, name, labels, n_labels, part->lag);
    }
}

static void sample_seconds(struct metrics_text *t, const char *name, const struct metrics_label *labels,
                           unsigned n_labels, const struct service_lag_part *part)
{
    if (part->error == 0 && part->lag_ms >= 0) {
        metrics_sample_seconds(t, name, labels, n_labels, (uint64_t)part->lag_ms, 1000);
    }
}

static const struct lag_family lag_families[] = {
    {"cairn_group_committed_offset", "Offset that the consumer group has committed.", sample_offset},
    {"cairn_group_lag_records", "Records that the consumer group has not processed. Absent while it is not known.",
     sample_records},
    {"cairn_group_lag_seconds",
     "Age of the first record that the consumer group has not processed. Absent while it is not known.",
     sample_seconds},
};

/* Of the groups that this node coordinates: over all nodes each group is told once. */
static void lag_samples(struct metrics *m)
{
    char number[16];
    struct metrics_label labels[] = {{"group", NULL}, {"topic", NULL}, {"partition", number}};
    metrics_value(&m->text, "cairn_consumer_groups", METRICS_GAUGE, "Consumer groups that this node coordinates.",
                  m->lag.n_groups);
    for (size_t f = 0; f < sizeof lag_families / sizeof lag_families[0]; f++) {
        metrics_family(&m->text, lag_families[f].name, METRICS_GAUGE, lag_families[f].help);
        for (uint32_t i = 0; i < m->lag.n_groups; i++) {
            const struct service_lag_group *g = &m->lag.groups[i];
            labels[0].value = g->group;
            for (uint32_t k = 0; g->error == 0 && k < g->n_parts; k++) {
                labels[1].value = g->parts[k].topic_name;
                snprintf(number, sizeof number, "%d", g->parts[k].partition);
                lag_families[f].sample(&m->text, lag_families[f].name, labels, 3, &g->parts[k]);
            }
        }
    }
}

static void render(struct metrics *m)
{
    metrics_text_init(&m->text, METRICS_TEXT_MAX_BYTES);
    node_families(m);
    shard_families(m, metrics_shard_rows, metrics_shard_rows_count, offsetof(struct metrics_shard, stats.stats));
    shard_families(m, metrics_wal_rows, metrics_wal_rows_count, offsetof(struct metrics_shard, wal));
    shard_families(m, metrics_host_rows, metrics_host_rows_count, offsetof(struct metrics_shard, host));
    if (m->more != NULL) {
        m->more(m->more_data, &m->text);
    }
    lag_samples(m);
    m->complete = metrics_text_end(&m->text);
}

/* Asked for last, because its names are good until this returns. */
static void on_lag(struct service_lag *lag)
{
    struct metrics *m = container_of(lag, struct metrics, lag);
    if (!m->cancelled) {
        render(m);
    }
    service_lag_close(lag);
    m->done(m);
}

static void part_done(struct metrics *m)
{
    m->pending--;
    if (m->pending > 0) {
        return;
    }
    if (m->cancelled) {
        m->done(m);
        return;
    }
    m->ctx = (struct request_context){.principal = "metrics", .listener = "", .client = "metrics"};
    m->lag = (struct service_lag){.ctx = &m->ctx, .all = true, .done = on_lag};
    service_lag(m->service, &m->lag);
}

static void shard_done(struct shard_op *op)
{
    part_done(container_of(op, struct metrics_shard, stats.op)->metrics);
}

void metrics_collect(struct metrics *m)
{
    struct shards *set = control_shards(service_control(m->service));
    m->n = shards_count(set);
    m->pending = m->n + 1; /* one for this loop: answers may come inside the calls */
    for (uint32_t i = 0; i < m->n; i++) {
        m->shards[i].metrics = m;
        m->shards[i].stats.op.run = run_on_shard;
        m->shards[i].stats.op.done = shard_done;
        shards_submit_to(set, i, &m->shards[i].stats.op);
    }
    part_done(m);
}

void metrics_cancel(struct metrics *m)
{
    m->cancelled = true;
}
