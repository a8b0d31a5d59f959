#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/checker/checker.h"

#define SETUP_LIMIT_US 60000000u
#define PROGRESS_US 250000u
#define POLL_MS 1

uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- arguments ---------------------------------------------------------------------------------------------------------------- */

static void usage(void)
{
    fprintf(stderr,
            "usage: checker --bootstrap HOST:PORT,... --topic T [load] | checker --direct HOST:PORT ... [direct]\n"
            "  load:   --streams 2 --rate RECORDS/S --seconds S | --records N  (a signal TERM ends the load early)\n"
            "          --value-size 100 --batch-records 10 --partitions P (expected) --drain S --timeout S\n"
            "          --allow-direct (records of --direct may stand there)  --until-gone (the topic will be deleted)\n"
            "  direct: --bootstrap (for the topic's id) --topic T --partition P --offset O --token N --no-produce\n"
            "          sends a produce and a fetch to just this node, prints \"sent\", then what it answered\n"
            "prints JSON lines; exit 0: all well, 1: a violation (told on standard error), 2: usage\n");
}

enum option_code {
    OPTION_BOOTSTRAP = 256,
    OPTION_TOPIC,
    OPTION_PARTITIONS,
    OPTION_STREAMS,
    OPTION_RATE,
    OPTION_SECONDS,
    OPTION_RECORDS,
    OPTION_VALUE_SIZE,
    OPTION_BATCH_RECORDS,
    OPTION_DRAIN,
    OPTION_TIMEOUT,
    OPTION_ALLOW_DIRECT,
    OPTION_UNTIL_GONE,
    OPTION_DIRECT,
    OPTION_PARTITION,
    OPTION_OFFSET,
    OPTION_TOKEN,
    OPTION_NO_PRODUCE,
};

static const struct option options[] = {
    {"bootstrap", required_argument, NULL, OPTION_BOOTSTRAP},
    {"topic", required_argument, NULL, OPTION_TOPIC},
    {"partitions", required_argument, NULL, OPTION_PARTITIONS},
    {"streams", required_argument, NULL, OPTION_STREAMS},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"records", required_argument, NULL, OPTION_RECORDS},
    {"value-size", required_argument, NULL, OPTION_VALUE_SIZE},
    {"batch-records", required_argument, NULL, OPTION_BATCH_RECORDS},
    {"drain", required_argument, NULL, OPTION_DRAIN},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"allow-direct", no_argument, NULL, OPTION_ALLOW_DIRECT},
    {"until-gone", no_argument, NULL, OPTION_UNTIL_GONE},
    {"direct", required_argument, NULL, OPTION_DIRECT},
    {"partition", required_argument, NULL, OPTION_PARTITION},
    {"offset", required_argument, NULL, OPTION_OFFSET},
    {"token", required_argument, NULL, OPTION_TOKEN},
    {"no-produce", no_argument, NULL, OPTION_NO_PRODUCE},
    {0},
};

static bool parse_text(struct checker_args *a, int code)
{
    switch (code) {
    case OPTION_BOOTSTRAP:
        a->bootstrap = optarg;
        return true;
    case OPTION_TOPIC:
        a->topic = optarg;
        return true;
    case OPTION_DIRECT:
        a->direct = optarg;
        return true;
    case OPTION_ALLOW_DIRECT:
        a->allow_direct = true;
        return true;
    case OPTION_UNTIL_GONE:
        a->until_gone = true;
        return true;
    case OPTION_NO_PRODUCE:
        a->direct_no_produce = true;
        return true;
    default:
        return false;
    }
}

static bool parse_number(struct checker_args *a, int code)
{
    char *end = NULL;
    double number = optarg == NULL ? -1 : strtod(optarg, &end);

    if (number < 0 || end == optarg || *end != '\0' || number > 1e15) {
        return false;
    }
    switch (code) {
    case OPTION_PARTITIONS:
        a->partitions = (uint32_t)number;
        return number <= PARTITIONS_MAX;
    case OPTION_STREAMS:
        a->streams = (uint32_t)number;
        return number >= 1 && number <= STREAMS_MAX;
    case OPTION_RATE:
        a->rate = number;
        return number > 0;
    case OPTION_SECONDS:
        a->seconds = number;
        return true;
    case OPTION_RECORDS:
        a->records = (uint64_t)number;
        return true;
    case OPTION_VALUE_SIZE:
        a->value_size = (uint32_t)number;
        return number >= VALUE_SIZE_MIN && number <= VALUE_SIZE_MAX;
    case OPTION_BATCH_RECORDS:
        a->batch_records = (uint32_t)number;
        return number >= 1 && number <= 100000;
    case OPTION_DRAIN:
        a->drain_s = number;
        return true;
    case OPTION_TIMEOUT:
        a->timeout_s = number;
        return number > 0;
    case OPTION_PARTITION:
        a->direct_partition = (uint32_t)number;
        return number < PARTITIONS_MAX;
    case OPTION_OFFSET:
        a->direct_offset = (int64_t)number;
        return true;
    case OPTION_TOKEN:
        a->direct_token = (uint64_t)number;
        return true;
    default:
        return false;
    }
}

static bool parse(int argc, char **argv, struct checker_args *a)
{
    int code;
    *a = (struct checker_args){.streams = 2, .rate = 10000, .value_size = 100, .batch_records = 10, .drain_s = 60,
                               .timeout_s = 15};
    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!parse_text(a, code) && !parse_number(a, code)) {
            return false;
        }
    }
    return optind == argc && a->bootstrap != NULL && a->topic != NULL;
}

/* ---- phases --------------------------------------------------------------------------------------------------------------------- */

static bool have_leaders(const struct checker *ck)
{
    for (uint32_t i = 0; i < ck->n_partitions; i++) {
        if (meta_leader(ck, i) < 0) {
            return false;
        }
    }
    return ck->topic_known;
}

static bool have_ids(const struct checker *ck)
{
    for (uint32_t i = 0; i < ck->args.streams; i++) {
        if (ck->streams[i].producer_id < 0) {
            return false;
        }
    }
    return true;
}

/* Errors: ERR_CONFIG, ERR_NOMEM with @errmsg. */
static int setup_tick(struct checker *ck, char *errmsg)
{
    int rv = 0;

    if (!have_leaders(ck)) {
        return 0;
    }
    if (ck->lanes == NULL) {
        if (ck->args.partitions != 0 && ck->args.partitions != ck->n_partitions) {
            snprintf(errmsg, ERRMSG_SIZE, "topic %s has %u partitions, not %u", ck->args.topic, ck->n_partitions,
                     ck->args.partitions);
            return ERR_CONFIG;
        }
        rv = read_init(ck, errmsg);
        return rv != 0 ? rv : produce_init(ck, errmsg);
    }
    produce_tick(ck); /* producer ids */
    if (have_ids(ck) && read_list_offsets(ck, ck->begin)) {
        for (uint32_t i = 0; i < ck->n_partitions; i++) {
            ck->follow[i].next = ck->begin[i];
            ck->again[i].next = ck->begin[i];
        }
        ck->load_begin_us = ck->now_us;
        ck->phase = PHASE_LOAD;
    }
    return 0;
}

static void load_tick(struct checker *ck, bool stop)
{
    const struct checker_args *a = &ck->args;
    bool time_is_over = a->seconds > 0 && (double)(ck->now_us - ck->load_begin_us) >= a->seconds * 1e6;
    bool all_offered = a->records > 0 && (double)(ck->now_us - ck->load_begin_us) * a->rate / 1e6 >= (double)a->records;

    produce_tick(ck);
    read_tick(ck, ck->follow);
    if (stop || time_is_over || all_offered || ck->topic_gone) {
        ck->load_end_us = ck->now_us;
        ck->phase = PHASE_DRAIN;
    }
}

static void begin_again(struct checker *ck)
{
    for (uint32_t i = 0; i < ck->n_partitions; i++) {
        ck->again[i].end = ck->end[i];
        ck->again[i].high_watermark = ck->follow[i].high_watermark;
    }
    ck->phase = PHASE_AGAIN;
}

/* Errors: ERR_TIMEOUT with @errmsg. */
static int tick(struct checker *ck, bool stop, char *errmsg)
{
    double left_s = ck->load_end_us == 0 ? 0 : (double)(ck->now_us - ck->load_end_us) / 1e6;

    if (ck->topic_gone && ck->phase != PHASE_SETUP) {
        ck->load_end_us = ck->load_end_us == 0 ? ck->now_us : ck->load_end_us;
        ck->phase = PHASE_DONE;
        return 0;
    }
    switch (ck->phase) {
    case PHASE_SETUP:
        return setup_tick(ck, errmsg);
    case PHASE_LOAD:
        load_tick(ck, stop);
        return 0;
    case PHASE_DRAIN:
        produce_tick(ck);
        read_tick(ck, ck->follow);
        if (!produce_outstanding(ck) || left_s > ck->args.drain_s) {
            ck->phase = PHASE_ENDS;
        }
        return 0;
    case PHASE_ENDS:
        read_tick(ck, ck->follow);
        if (read_list_offsets(ck, ck->end)) {
            ck->phase = PHASE_CATCH_UP;
        }
        break;
    case PHASE_CATCH_UP:
        read_tick(ck, ck->follow);
        if (read_finished(ck, ck->follow, ck->end)) {
            begin_again(ck);
        } else {
            for (uint32_t i = 0; i < ck->n_partitions; i++) {
                ck->follow[i].end = ck->end[i];
            }
        }
        break;
    case PHASE_AGAIN:
        read_tick(ck, ck->again);
        if (read_finished(ck, ck->again, ck->end)) {
            verify_acknowledged(ck, ck->end);
            ck->phase = PHASE_DONE;
        }
        break;
    case PHASE_DONE:
        break;
    }
    if (ck->phase != PHASE_DONE && left_s > ck->args.drain_s + 4 * ck->args.timeout_s) {
        snprintf(errmsg, ERRMSG_SIZE, "reading everything again did not end in time");
        return ERR_TIMEOUT;
    }
    return 0;
}

static void progress(const struct checker *ck)
{
    static const char *const names[] = {"setup", "load", "drain", "ends", "catch_up", "again", "done"};
    uint64_t consumed = 0;
    for (uint32_t i = 0; ck->follow != NULL && i < ck->n_partitions; i++) {
        consumed += ck->follow[i].records;
    }
    printf("{\"type\": \"progress\", \"phase\": \"%s\", \"acknowledged\": %" PRIu64 ", \"consumed\": %" PRIu64 "}\n",
           names[ck->phase], ck->stats.acknowledged, consumed);
    fflush(stdout);
}

static bool signalled(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info;
}

static int run(struct checker *ck, int signals)
{
    char errmsg[ERRMSG_SIZE] = "";
    uint64_t begin_us = clock_us();
    uint64_t told_us = 0;
    bool stop = false;
    int rv = 0;

    ck->now_us = begin_us;
    rv = meta_init(ck, errmsg);
    while (rv == 0 && ck->phase != PHASE_DONE && ck->stats.violations < VIOLATIONS_MAX) {
        meta_tick(ck);
        stop |= signalled(signals);
        rv = tick(ck, stop, errmsg);
        if (rv == 0 && ck->phase == PHASE_SETUP && (stop || ck->now_us - begin_us > SETUP_LIMIT_US)) {
            snprintf(errmsg, ERRMSG_SIZE, "topic %s: not all partitions had a leader in time", ck->args.topic);
            rv = ERR_TIMEOUT;
        }
        if (ck->now_us - told_us > PROGRESS_US) {
            told_us = ck->now_us;
            progress(ck);
        }
        meta_drop_stalled(ck);
        net_poll(ck, POLL_MS);
    }
    if (rv != 0) {
        fprintf(stderr, "checker: %s\n", errmsg);
        ck->stats.violations++;
    }
    return ck->stats.violations == 0 ? 0 : 1;
}

static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    struct checker_args args;
    struct checker *ck;
    int signals;
    int rv;

    if (!parse(argc, argv, &args)) {
        usage();
        return 2;
    }
    if (args.direct != NULL) {
        return direct_run(&args);
    }
    ck = calloc(1, sizeof *ck);
    if (ck == NULL) {
        return 1;
    }
    ck->args = args;
    ck->limits = (struct frame_limits){FRAME_MESSAGE_MAX, FRAME_PAYLOAD_MAX};
    ck->wall_offset_us = clock_wall_us() - clock_us();
    ck->epoll = epoll_create1(EPOLL_CLOEXEC);
    list_init(&ck->conns);
    histogram_init(&ck->stats.latency_us);
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        ck->streams[i].producer_id = -1;
    }
    signals = block_signals();
    if (ck->epoll < 0 || signals < 0 || getrandom(&ck->run, sizeof ck->run, 0) != (ssize_t)sizeof ck->run) {
        fprintf(stderr, "checker: %s\n", strerror(errno));
        return 1;
    }
    rv = run(ck, signals);
    report(ck);
    net_close(ck);
    produce_close(ck);
    read_close(ck);
    free(ck->partitions);
    free(ck);
    close(signals);
    return rv;
}
