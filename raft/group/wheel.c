/* One timer for all groups of a host: a wheel of 50 ms slots. Groups are filed under the tick at which their core wants to
 * be called, or before; a deadline that has moved away is found when its slot comes up, so heartbeats cost nothing. */
#include "raft/group/internal.h"

static uint64_t election_timeout_ms(const struct group_host *host)
{
    return host->params.election_timeout_ms != 0 ? host->params.election_timeout_ms : CORE_ELECTION_TIMEOUT_MS;
}

void wheel_remove(struct group *g)
{
    list_remove(&g->wheel_link);
    g->wheel_tick = UINT64_MAX;
}

void wheel_file(struct group *g, uint64_t deadline_ms)
{
    struct group_host *host = g->host;
    uint64_t tick = deadline_ms / GROUP_TICK_MS + (deadline_ms % GROUP_TICK_MS != 0); /* never early */

    if (tick <= host->wheel_tick) {
        tick = host->wheel_tick + 1;
    }
    if (tick - host->wheel_tick >= WHEEL_SLOTS) {
        tick = host->wheel_tick + WHEEL_SLOTS - 1;
    }
    if (tick >= g->wheel_tick) {
        return;
    }
    list_remove(&g->wheel_link);
    g->wheel_tick = tick;
    list_push_back(&host->slots[tick % WHEEL_SLOTS], &g->wheel_link);
}

/* A stall counts from half an election timeout on: the last heartbeat may be older than the stall by a heartbeat's
 * interval and a tick, and others may lead an election timeout after it. */
static uint64_t stall_ms(const struct group_host *host)
{
    return election_timeout_ms(host) / 2;
}

static void host_stall(struct group_host *host)
{
    host->stats.stalls++;
    log_event(host->env->logger, LOG_WARN, "loop_stalled", "ms=%llu",
              (unsigned long long)(host->now_ms - host->ticked_ms));
    list_for_each(node, &host->groups) {
        struct group *g = list_entry(node, struct group, link);
        if (g->leading && g->core != NULL) {
            g->confirmed = false;
            g->confirm_index = core_last(g->core) + 1;
        }
    }
    host->grace = true;
    host->ticked_ms = host->now_ms;
}

bool wheel_stalled(struct group_host *host)
{
    host->now_stale = true;
    host_now(host);
    if (!host->ticking || host->now_ms - host->ticked_ms <= stall_ms(host)) {
        return false;
    }
    host_stall(host);
    return true;
}

static void run_slot(struct group_host *host, uint64_t tick)
{
    struct list due;
    struct list *node;

    list_init(&due);
    list_splice_back(&due, &host->slots[tick % WHEEL_SLOTS]);
    while ((node = list_pop_front(&due)) != NULL) {
        struct group *g = list_entry(node, struct group, wheel_link);
        g->wheel_tick = UINT64_MAX;
        group_timer(g);
    }
}

static void start_timer(struct group_host *host)
{
    env_timer_start(host->env, &host->tick, GROUP_TICK_MS - host->now_ms % GROUP_TICK_MS);
}

static void on_tick(struct timer *timer)
{
    struct group_host *host = container_of(timer, struct group_host, tick);
    uint64_t first = host->wheel_tick + 1;
    uint64_t last;

    io_try_again(host);
    if (wheel_stalled(host) || host->grace) {
        /* Timers are stale: what peers sent meanwhile waits in the sockets and is heard before they fire. */
        host->grace = false;
        host->ticked_ms = host->now_ms;
        start_timer(host);
        return;
    }
    host->ticked_ms = host->now_ms;
    last = host->now_ms / GROUP_TICK_MS;
    if (last >= first + WHEEL_SLOTS) {
        first = last - WHEEL_SLOTS + 1; /* every slot once */
    }
    host->wheel_tick = last > host->wheel_tick ? last : host->wheel_tick;
    for (uint64_t tick = first; tick <= last; tick++) {
        run_slot(host, tick);
    }
    start_timer(host);
}

void wheel_init(struct group_host *host)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++) {
        list_init(&host->slots[i]);
    }
    timer_init(&host->tick, on_tick);
}

void wheel_start(struct group_host *host)
{
    if (host->ticking) {
        return;
    }
    host_now(host);
    host->ticking = true;
    host->grace = false;
    host->ticked_ms = host->now_ms;
    host->wheel_tick = host->now_ms / GROUP_TICK_MS;
    start_timer(host);
}

void wheel_stop(struct group_host *host)
{
    env_timer_stop(host->env, &host->tick);
    host->ticking = false;
}
