#include <inttypes.h>
#include <stdio.h>

#include "tests/integration/checker/checker.h"

static double ms(uint64_t us)
{
    return (double)us / 1000.0;
}

static void report_errors(const struct ck_stats *s)
{
    const char *comma = "";
    printf("\"errors\": {");
    for (int i = 0; i < ERRORS_MAX; i++) {
        if (s->errors[i] > 0) {
            printf("%s\"%s\": %" PRIu64, comma, err_name(i), s->errors[i]);
            comma = ", ";
        }
    }
    printf("}");
}

void report(const struct checker *ck)
{
    const struct ck_stats *s = &ck->stats;
    uint64_t offered = 0;
    uint64_t sent = 0;
    uint64_t consumed = 0;
    uint64_t verified = 0;

    for (uint32_t i = 0; i < ck->n_lanes; i++) {
        offered += produce_offered(ck, i) * ck->args.batch_records;
        sent += ck->lanes[i].next * ck->args.batch_records;
    }
    for (uint32_t i = 0; ck->follow != NULL && i < ck->n_partitions; i++) {
        consumed += ck->follow[i].records;
        verified += ck->again[i].records;
    }
    printf("{\"type\": \"summary\", \"ok\": %s, \"gone\": %s, \"offered\": %" PRIu64 ", \"sent\": %" PRIu64
           ", \"acknowledged\": %" PRIu64 ", \"unknown\": %" PRIu64 ", \"consumed\": %" PRIu64
           ", \"verified\": %" PRIu64,
           s->violations == 0 ? "true" : "false", ck->topic_gone ? "true" : "false", offered, sent, s->acknowledged,
           sent - s->acknowledged, consumed, verified);
    printf(", \"violations\": %" PRIu64 ", \"duplicates\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"reordered\": %" PRIu64
           ", \"corrupt\": %" PRIu64 ", \"resent_batches\": %" PRIu64,
           s->violations, s->duplicates, s->lost, s->reordered, s->corrupt, s->resent);
    printf(", \"gap_ms\": %.1f, \"gap_at_ms\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f", ms(s->gap_us),
           s->gap_begin_us > ck->load_begin_us ? ms(s->gap_begin_us - ck->load_begin_us) : 0.0,
           ms(histogram_percentile(&s->latency_us, 50)), ms(histogram_percentile(&s->latency_us, 99)),
           ms(s->latency_us.max));
    printf(", ");
    report_errors(s);
    printf(", \"partitions\": [");
    for (uint32_t i = 0; ck->follow != NULL && i < ck->n_partitions; i++) {
        printf("%s{\"acknowledged\": %" PRIu64 ", \"gap_ms\": %.1f, \"end\": %" PRId64 "}", i == 0 ? "" : ", ",
               s->partition_acknowledged[i], ms(s->partition_gap_us[i]), ck->end[i]);
    }
    printf("], \"direct\": [");
    for (uint32_t i = 0; i < ck->n_directs; i++) {
        printf("%s{\"token\": %" PRIu64 ", \"partition\": %u, \"offset\": %" PRId64 "}", i == 0 ? "" : ", ",
               ck->directs[i].token, ck->directs[i].partition, ck->directs[i].offset);
    }
    printf("]}\n");
    fflush(stdout);
}
