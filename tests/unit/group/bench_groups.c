/* What many groups cost, and what one can carry: three members on one loop.
 *
 *     bench_groups idle GROUPS SECONDS     CPU of the loop, all three nodes together
 *     bench_groups load GROUPS SIZE SECONDS */
#include "tests/unit/group/member.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "raft/env/env_uv.h"

#define NODES 3
#define WINDOW 256 /* proposals under way, a group */

/* member.c remembers what it applies, for MEMBER_GROUPS_MAX groups; here nothing is remembered. */
struct bench {
    struct env *env;
    struct member members[NODES + 1];
    unsigned n_groups;
    uint32_t size;
    unsigned ready;
    bool loading;
    uint64_t acked;
    struct timer timer;
};

struct state {
    struct bench *b;
    struct group *g;
    struct member *m;
    unsigned under_way;
};

struct job {
    struct group_proposal p;
    struct state *state;
};

static void refill(struct state *s);

static void on_done(struct group_proposal *p, int status)
{
    struct job *job = container_of(p, struct job, p);
    struct state *s = job->state;

    s->under_way--;
    if (status == 0) {
        s->b->acked++;
    }
    free(job);
    refill(s);
}

static void refill(struct state *s)
{
    while (s->b->loading && s->under_way < WINDOW) {
        struct job *job = calloc(1, sizeof(*job));
        if (job == NULL) {
            abort();
        }
        job->state = s;
        job->p.entry = member_entry(s->m, 1, s->b->size);
        job->p.done = on_done;
        if (group_propose(s->g, &job->p) != 0) {
            entry_release(job->p.entry);
            free(job);
            return;
        }
        s->under_way++;
    }
}

static void apply(void *data, const struct entry *entry)
{
    (void)data;
    (void)entry;
}

static void leadership(void *data, bool leading, bool ready, uint64_t term)
{
    struct state *s = data;

    (void)term;
    if (leading && ready) {
        s->b->ready++;
    } else if (!leading) {
        fprintf(stderr, "group %" PRIu64 " lost its leader\n", group_id(s->g));
    }
}

static void failed(void *data, int err, const char *text)
{
    (void)data;
    fprintf(stderr, "failed: %s %s\n", err_name(err), text);
    abort();
}

static const struct group_fsm fsm = {.apply = apply, .leadership = leadership, .failed = failed};

static void stop(struct timer *timer)
{
    struct bench *b = container_of(timer, struct bench, timer);
    env_loop_stop(b->env);
}

static void run(struct bench *b, uint64_t ms)
{
    timer_init(&b->timer, stop);
    env_timer_start(b->env, &b->timer, ms);
    env_uv_run(b->env);
}

static double cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long rss_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void create(struct bench *b, struct state *states)
{
    for (unsigned g = 0; g < b->n_groups; g++) {
        struct core_config founders;
        memset(&founders, 0, sizeof(founders));
        for (uint32_t i = 1; i <= NODES; i++) {
            char address[CORE_ADDRESS_SIZE];
            snprintf(address, sizeof(address), "%u.%u", i, 1024 + i);
            if (core_config_add(&founders, 1024 + i, CORE_VOTER, address) != 0) {
                abort();
            }
        }
        for (uint32_t i = 1; i <= NODES; i++) {
            struct state *s = &states[(size_t)g * NODES + i - 1];
            struct group_params params = {.group = g + 1, .replica = 1024 + i, .fsm = &fsm, .data = s,
                                          .founders = &founders, .preferred = i == 1 + g % NODES};
            s->b = b;
            s->m = &b->members[i];
            if (group_found(b->members[i].host, &params, &s->g) != 0) {
                abort();
            }
        }
        if (g % 500 == 499) {
            run(b, 20);
        }
    }
}

int main(int argc, char **argv)
{
    bool load = argc > 1 && strcmp(argv[1], "load") == 0;
    struct bench *b = calloc(1, sizeof(*b));
    unsigned seconds = (unsigned)atoi(argc > 3 + load ? argv[3 + load] : "10");
    char root[] = "/tmp/cairn-bench-XXXXXX";
    struct state *states;
    struct transport_stats before, after;
    double used;

    b->n_groups = (unsigned)atoi(argc > 2 ? argv[2] : "10000");
    b->size = (uint32_t)atoi(load && argc > 3 ? argv[3] : "1024");
    if (env_uv_new(&(struct env_uv_params){.logger = NULL}, &b->env) != 0 || mkdtemp(root) == NULL) {
        abort();
    }
    states = calloc((size_t)b->n_groups * NODES, sizeof(*states));
    for (uint32_t i = 1; i <= NODES; i++) {
        char dir[64];
        struct member_params params = {.env = b->env, .node = i, .dir = dir, .listen = "127.0.0.1:0", .boot = 1, .bare = true,
                                       .cache_bytes = 64u << 20, .file_bytes = 64u << 20};
        snprintf(dir, sizeof(dir), "%s/n%u", root, i);
        if (env_dir_make(b->env, dir) != 0 || member_open(&b->members[i], &params) != 0) {
            fprintf(stderr, "%s\n", b->members[i].error);
            return 1;
        }
    }
    for (uint32_t i = 1; i <= NODES; i++) {
        for (uint32_t k = 1; k <= NODES; k++) {
            if (i != k && transport_peer_set(b->members[i].transport, k, transport_address(b->members[k].transport)) != 0) {
                abort();
            }
        }
    }
    run(b, 300);
    create(b, states);
    while (b->ready < b->n_groups) {
        run(b, 100);
    }
    run(b, 2000);
    printf("%u groups lead, rss %ld KiB\n", b->n_groups, rss_kib());
    transport_stats(b->members[1].transport, &before);
    used = cpu();
    if (load) {
        b->loading = true;
        for (size_t i = 0; i < (size_t)b->n_groups * NODES; i++) {
            refill(&states[i]);
        }
    }
    run(b, seconds * 1000);
    b->loading = false;
    used = cpu() - used;
    transport_stats(b->members[1].transport, &after);
    printf("cpu %.1f %% of one core for three nodes; node 1: %.0f frames/s %.0f messages/s out\n",
           100 * used / seconds, (double)(after.frames_out - before.frames_out) / seconds,
           (double)(after.messages_out - before.messages_out) / seconds);
    if (load) {
        printf("%.0f entries/s %.1f MB/s, %.2f us of cpu an entry (three nodes)\n", (double)b->acked / seconds,
               (double)b->acked * b->size / seconds / 1e6, 1e6 * used / (double)b->acked);
    }
    fflush(stdout);
    for (uint32_t i = 1; i <= NODES; i++) {
        struct group_host_stats s;
        struct wal_stats w;
        group_host_stats(b->members[i].host, &s);
        wal_stats(b->members[i].wal, &w);
        printf("node %u: stalls %" PRIu64 " reads %" PRIu64 " dropped %" PRIu64 " flushes %" PRIu64 " inline %" PRIu64 "\n", i,
               s.stalls, s.reads, s.sends_dropped, w.flushes, w.inline_flushes);
    }
    {
        char command[96];
        snprintf(command, sizeof(command), "rm -rf %s", root);
        return system(command);
    }
}
