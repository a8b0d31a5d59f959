/* What a seed draws: the cluster, its machines, its workload, its faults. */
#include "node/control/control_internal.h"
#include "tests/sim/cluster_internal.h"

#define FETCH_MIN_BYTES 3000
/* A window of 16 KB over 20 ms carries less than two library producers send. A deadline for progress is no fair question where
 * more is offered than carried: so less is offered there. (What happens else: raft/transport/README.md, "Slow ways".) */
#define WAY_LEAST_BYTES_PER_S 1000000
#define SLOW_WAY_GAPS 4 /* times longer ones between batches */
#define DRIFT_MAX_PPM 10000 /* far more than any quartz */

uint64_t cluster_draw(struct cluster *c, uint64_t low, uint64_t high)
{
    return sim_rng_range(&c->rng, low, high);
}

void cluster_draw_config(struct cluster *c)
{
    static const uint64_t files[] = {64u << 10, 256u << 10, 1u << 20, 4u << 20};
    static const uint64_t caches[] = {4u << 10, 64u << 10, 1u << 20, 64u << 20};
    static const unsigned sizes[20] = {1, 2, 4, 5, 5, 7, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};
    struct cluster_config *f = &c->config;
    struct workload *w = &c->workload;

    c->n = c->params->nodes != 0 ? c->params->nodes : sizes[cluster_draw(c, 0, 19)];
    f->seeds = c->n > 3 && cluster_draw(c, 0, 1) == 0 ? 3 : c->n; /* the others join what these form */
    f->shards = 1 + (uint32_t)(c->params->seed & 1);
    f->log_file_bytes = files[cluster_draw(c, 0, 3)];
    f->cache_bytes = caches[cluster_draw(c, 0, 3)];
    if (cluster_draw(c, 0, 3) == 0) {
        f->election_timeout_ms = (uint32_t)cluster_draw(c, 300, 800);
        f->heartbeat_ms = f->election_timeout_ms / 4;
    }
    f->disk_errors = cluster_draw(c, 0, 15) == 0;
    f->wipe = c->n >= 3 && c->n <= f->seeds && !f->disk_errors && cluster_draw(c, 0, 5) == 0;
    f->lies = c->n >= 3 && !f->wipe && cluster_draw(c, 0, 3) == 0;
    f->read_errors = c->n >= 3 && !f->wipe && (c->params->seed >> 1) % 12 == 0;
    f->transfer_mean_ns = cluster_draw(c, 0, 2) == 0 ? cluster_draw(c, 100, 5000) * SIM_MS : 0;
    f->stop_mean_ns = cluster_draw(c, 0, 3) == 0 ? cluster_draw(c, 2, 10) * SIM_S : 0;
    f->isolate_mean_ns = c->n > 1 && cluster_draw(c, 0, 1) == 0 ? cluster_draw(c, 1, 6) * SIM_S : 0;
    f->isolate_max_ns = cluster_draw(c, 1000, 5000) * SIM_MS;

    coordinator_config_default(&f->groups); /* a group must be able to live through much in a run */
    f->groups.session_timeout_min_ms = 500;
    f->groups.initial_delay_ms = (int32_t)cluster_draw(c, 0, 500);

    w->n_nodes = c->n;
    w->n_topics = 1 + (unsigned)cluster_draw(c, 0, 1);
    w->churn = w->n_topics > 1 && cluster_draw(c, 0, 1) == 0 && !f->wipe; /* new topics find no third node any more */
    w->partitions = 1 + (unsigned)cluster_draw(c, 0, 3);
    w->replication = c->n < 3 ? c->n : 3;
    w->batch_gap_ms = (uint32_t)cluster_draw(c, 10, 40) * w->partitions * w->n_topics;
    w->records_max = (uint32_t)cluster_draw(c, 1, 10);
    w->request_timeout_ms = (uint32_t)cluster_draw(c, 300, 3000);
    w->delivery_timeout_ms = cluster_draw(c, 0, 2) == 0 ? (uint32_t)cluster_draw(c, 1000, 8000) : 0;
    w->fetch_max_bytes = FETCH_MIN_BYTES + (uint32_t)sim_rng_skewed(&c->rng, 200000);
}

/* From a fast machine room to one with a bad switch and old disks. */
void cluster_draw_world(struct cluster *c, struct sim_params *sim)
{
    static const uint64_t latencies[] = {300 * SIM_US, 300 * SIM_US, 3 * SIM_MS, 20 * SIM_MS};
    static const uint64_t syncs[] = {400 * SIM_US, 400 * SIM_US, 5 * SIM_MS, 30 * SIM_MS};
    static const uint32_t buffers[] = {512u << 10, 512u << 10, 64u << 10, 16u << 10};

    sim->net.latency_max_ns = latencies[cluster_draw(c, 0, 3)];
    sim->net.spike_ppm = (uint32_t)(cluster_draw(c, 0, 2) * 500);
    sim->net.spike_max_ns = cluster_draw(c, 10, 300) * SIM_MS;
    sim->net.buffer_bytes = buffers[cluster_draw(c, 0, 3)];
    sim->net.reset_ppm = cluster_draw(c, 0, 7) == 0 ? (uint32_t)cluster_draw(c, 1, 100) : 0;
    sim->net.stall_timeout_ns = cluster_draw(c, 1, 20) * SIM_S;
    if (sim->net.buffer_bytes * (SIM_S / sim->net.latency_max_ns) < WAY_LEAST_BYTES_PER_S) {
        c->workload.batch_gap_ms *= SLOW_WAY_GAPS;
    }
    sim->disk.sync_max_ns = syncs[cluster_draw(c, 0, 3)];
    sim->loop.wake_max_ns = cluster_draw(c, 0, 3) == 0 ? cluster_draw(c, 10, 3000) * SIM_US : 10 * SIM_US;
    sim->loop.work_max_ns = cluster_draw(c, 0, 3) == 0 ? cluster_draw(c, 10, 3000) * SIM_US : 40 * SIM_US;
    sim->net.late_ppm = cluster_draw(c, 0, 1) == 0 ? (uint32_t)cluster_draw(c, 1000, 500000) : 0;
    sim->net.late_max_ns = cluster_draw(c, 1, 5000) * SIM_MS;
    sim->mono_drift_max_ppm = cluster_draw(c, 0, 1) == 0 ? (uint32_t)cluster_draw(c, 1, DRIFT_MAX_PPM) : 0;
}

/* The fault atlas: one disk lies, so that of three replicas two are whole, and only in a run in which no other disk loses
 * anything for good. (disk_lies.c spares the newest write, as long as nothing stands behind it.) */
void cluster_draw_lies(struct cluster *c, struct sim_swarm_knobs *k)
{
    c->config.liar = (unsigned)cluster_draw(c, 1, c->n);
    k->lie_mask = 1ull << (c->config.liar - 1);
    k->lost_write_mean_ns = cluster_draw(c, 0, 1) == 0 ? cluster_draw(c, 500, 10000) * SIM_MS : 0;
    k->astray_write_mean_ns = cluster_draw(c, 0, 1) == 0 ? cluster_draw(c, 500, 10000) * SIM_MS : 0;
    k->rot_mean_ns = cluster_draw(c, 0, 1) == 0 ? cluster_draw(c, 500, 10000) * SIM_MS : 0;
}

bool cluster_may(const struct cluster *c, const char *kind)
{
    return c->params->faults == NULL || sim_swarm_named(c->params->faults, kind);
}

/* Only the named kinds; those that were not drawn get a middling frequency. */
void cluster_choose_faults(struct cluster *c, struct sim_swarm_knobs *k)
{
    struct cluster_config *f = &c->config;
    struct sim_params *sim = sim_world_knobs(c->world);

    if (c->params->faults == NULL) {
        return;
    }
    sim_swarm_choose(k, c->params->faults);
    f->stop_mean_ns = !cluster_may(c, "stop") ? 0 : f->stop_mean_ns != 0 ? f->stop_mean_ns : 3 * SIM_S;
    f->transfer_mean_ns = !cluster_may(c, "transfer") ? 0 : f->transfer_mean_ns != 0 ? f->transfer_mean_ns : SIM_S;
    f->isolate_mean_ns = !cluster_may(c, "isolate") ? 0 : f->isolate_mean_ns != 0 ? f->isolate_mean_ns : 3 * SIM_S;
    f->disk_errors = cluster_may(c, "disk");
    f->wipe = cluster_may(c, "wipe") && c->n >= 3 && c->n <= f->seeds;
    f->lies = c->n >= 3 && !f->wipe;
    f->liar = f->lies ? (unsigned)(c->params->seed % c->n) + 1 : 0;
    k->lie_mask = f->lies ? 1ull << (f->liar - 1) : 0;
    f->read_errors = f->lies && cluster_may(c, "read_error");
    sim->net.spike_ppm = cluster_may(c, "loss") ? 1000 : 0;
    sim->net.reset_ppm = cluster_may(c, "tear") ? 50 : 0;
    sim->net.late_ppm = cluster_may(c, "late") ? 300000 : 0;
    sim->mono_drift_max_ppm = cluster_may(c, "drift") ? DRIFT_MAX_PPM : 0;
}
