/* core-sim: many seeds of the simulation, spread over processes. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/core/sim.h"

struct options {
    uint64_t seeds, from, steps;
    unsigned jobs;
    uint32_t rules_off;
    bool trace, quiet, stop_at_first;
};

/* What one process has found, through a pipe. */
struct report {
    struct counts counts;
    uint64_t passed, failed, died;
    uint64_t first_seed;
    char first_violation[512];
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void counts_add(struct counts *to, const struct counts *from)
{
    const uint64_t *f = (const uint64_t *)from;
    uint64_t *t = (uint64_t *)to;
    for (size_t i = 0; i < sizeof *to / sizeof *t; i++) {
        t[i] += f[i];
    }
}

static void report_add(struct report *to, const struct report *from)
{
    counts_add(&to->counts, &from->counts);
    to->passed += from->passed;
    if (from->failed > 0 && (to->failed == 0 || from->first_seed < to->first_seed)) {
        to->first_seed = from->first_seed;
        memcpy(to->first_violation, from->first_violation, sizeof to->first_violation);
    }
    to->failed += from->failed;
    to->died += from->died;
}

static void run_seed(const struct options *o, uint64_t seed, struct report *report)
{
    static struct world world; /* too big for the stack; one at a time in a process */

    world_open(&world, seed, o->rules_off, o->trace);
    world_run(&world, o->steps);
    world_close(&world);
    counts_add(&report->counts, &world.counts);
    if (!violated(&world)) {
        report->passed++;
        return;
    }
    if (report->failed++ == 0) {
        report->first_seed = seed;
        memcpy(report->first_violation, world.violation, sizeof report->first_violation);
    }
    if (!o->quiet) {
        printf("seed %llu: %s\n", (unsigned long long)seed, world.violation);
        fflush(stdout);
    }
}

/* Progress of a child, so that a seed that kills the process is known by name. */
struct progress {
    uint64_t seed;
};

static void child(const struct options *o, unsigned job, int fd)
{
    struct report report = {0};
    struct report done;

    for (uint64_t i = job; i < o->seeds; i += o->jobs) {
        memset(&done, 0, sizeof done);
        done.died = o->from + i; /* begun */
        if (write(fd, &done, sizeof done) != (ssize_t)sizeof done) {
            _exit(2);
        }
        run_seed(o, o->from + i, &report);
        if (report.failed > 0 && o->stop_at_first) {
            break;
        }
    }
    report.died = 0;
    if (write(fd, &report, sizeof report) != (ssize_t)sizeof report) {
        _exit(2);
    }
    fflush(stdout);
    exit(0); /* the leak checker runs at exit */
}

static void collect(const struct options *o, pid_t pid, int fd, struct report *total)
{
    struct report report = {0};
    struct report last = {0};
    uint64_t begun = 0;
    uint64_t n_begun = 0;
    int status;

    while (read(fd, &report, sizeof report) == (ssize_t)sizeof report) {
        if (report.died != 0) {
            begun = report.died;
            n_begun++;
        } else {
            last = report;
        }
    }
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    report_add(total, &last);
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
        struct report death = {0};
        death.failed = 1;
        death.died = 1;
        death.first_seed = begun;
        death.passed = last.passed == 0 && n_begun > 0 ? n_begun - 1 : 0;
        snprintf(death.first_violation, sizeof death.first_violation, "the process died (%s %d)",
                 WIFSIGNALED(status) ? "signal" : "exit status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        printf("seed %llu: %s\n", (unsigned long long)begun, death.first_violation);
        report_add(total, &death);
    }
}

static void run(const struct options *o, struct report *total)
{
    pid_t pids[64];
    int fds[64];

    fflush(stdout);
    for (unsigned job = 0; job < o->jobs; job++) {
        int ends[2];
        if (pipe(ends) != 0) {
            perror("pipe");
            exit(2);
        }
        pids[job] = fork();
        if (pids[job] < 0) {
            perror("fork");
            exit(2);
        }
        if (pids[job] == 0) {
            close(ends[0]);
            child(o, job, ends[1]);
        }
        close(ends[1]);
        fds[job] = ends[0];
    }
    for (unsigned job = 0; job < o->jobs; job++) {
        collect(o, pids[job], fds[job], total);
    }
}

static void print_counts(const struct counts *c, double took)
{
    printf("seeds %llu steps %llu crashes %llu torn %llu restarts %llu elections %llu leaderships %llu commits %llu submits %llu "
           "snapshots %llu installs %llu changes %llu transfers %llu messages %llu lost %llu partitions %llu pauses %llu held "
           "%llu seconds %.1f\n",
           (unsigned long long)c->seeds, (unsigned long long)c->steps, (unsigned long long)c->crashes, (unsigned long long)c->torn,
           (unsigned long long)c->restarts, (unsigned long long)c->elections, (unsigned long long)c->leaderships,
           (unsigned long long)c->commits, (unsigned long long)c->submits, (unsigned long long)c->snapshots,
           (unsigned long long)c->installs, (unsigned long long)c->changes, (unsigned long long)c->transfers,
           (unsigned long long)c->messages, (unsigned long long)c->lost, (unsigned long long)c->partitions,
           (unsigned long long)c->pauses, (unsigned long long)c->held, took);
}

static int usage(void)
{
    fprintf(stderr, "usage: core-sim [--seeds N] [--from S] [--jobs J] [--steps N] [--rule-off R]... [--trace] [--quiet] "
                    "[--first] [--expect-failure]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"seeds", 1, NULL, 'n'},   {"from", 1, NULL, 's'},   {"jobs", 1, NULL, 'j'},
                                          {"steps", 1, NULL, 'S'},   {"rule-off", 1, NULL, 'r'}, {"trace", 0, NULL, 't'},
                                          {"quiet", 0, NULL, 'q'},   {"first", 0, NULL, 'f'},  {"expect-failure", 0, NULL, 'x'},
                                          {NULL, 0, NULL, 0}};
    struct options o = {.seeds = 1000, .from = 1, .steps = 1500, .jobs = 1};
    struct report total = {0};
    bool expect_failure = false;
    double began = seconds();
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t value = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
        switch (c) {
        case 'n': o.seeds = value; break;
        case 's': o.from = value; break;
        case 'j': o.jobs = (unsigned)value; break;
        case 'S': o.steps = value; break;
        case 'r': o.rules_off |= UINT32_C(1) << (value & 31); break;
        case 't': o.trace = true; break;
        case 'q': o.quiet = true; break;
        case 'f': o.stop_at_first = true; break;
        case 'x': expect_failure = true; o.stop_at_first = true; break;
        default: return usage();
        }
    }
    if (o.jobs == 0 || o.jobs > 64 || o.from == 0 || optind != argc) {
        return usage();
    }
    run(&o, &total);
    print_counts(&total.counts, seconds() - began);
    if (total.failed > 0) {
        printf("first: seed %llu: %s\n", (unsigned long long)total.first_seed, total.first_violation);
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)total.passed, (unsigned long long)total.failed);
    return (total.failed > 0) == expect_failure ? 0 : 1;
}
