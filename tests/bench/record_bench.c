/* What one record costs in this room: append, validate (crc and walk), iterate. Prints ns per record; an argument sets
 * the value's bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/record/record_builder.h"

#define BATCH_SIZE (128u << 10) /* bytes */
#define ROUNDS 2000             /* batches */

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void check(int rv, const char *what)
{
    if (rv != 0) {
        fprintf(stderr, "%s: %s\n", what, err_text(rv));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int32_t value_length = argc > 1 ? atoi(argv[1]) : 100;
    struct record_batch_limits limits = {.size_max = BATCH_SIZE};
    struct record_batch_header h;
    struct record_builder b;
    struct record_iter it;
    struct record r;
    uint8_t *memory = malloc(BATCH_SIZE);
    char *value = calloc(1, (size_t)value_length + 1);
    double append = 0;
    double finish = 0;
    double validate = 0;
    double iterate = 0;
    uint64_t records = 0;
    uint64_t sum = 0;
    uint8_t *out;
    size_t size;

    if (memory == NULL || value == NULL) {
        return 1;
    }
    record_builder_init(&b, memory, BATCH_SIZE);
    for (int i = 0; i < ROUNDS; i++) {
        double t[5];
        t[0] = now_ns();
        while (record_builder_append(&b, "key-1234", 8, value, value_length, NULL, 0, 1700000000000 + i) == 0) {
        }
        t[1] = now_ns();
        check(record_builder_finish(&b, &RECORD_BATCH_PLAIN, NULL, &out, &size), "finish");
        t[2] = now_ns();
        check(record_batch_validate(out, size, &limits, &h, NULL), "validate");
        t[3] = now_ns();
        check(record_iter_init(&it, out, size, NULL), "iterate");
        while (record_iter_next(&it, &r)) {
            sum += (uint64_t)r.value_length + (uint64_t)r.offset;
        }
        check(record_iter_error(&it), "iterate");
        t[4] = now_ns();
        append += t[1] - t[0];
        finish += t[2] - t[1];
        validate += t[3] - t[2];
        iterate += t[4] - t[3];
        records += (uint64_t)h.count;
        record_builder_reset(&b);
    }
    printf("value_bytes=%d records=%llu append_ns=%.1f finish_ns=%.1f validate_ns=%.1f iterate_ns=%.1f (%llu)\n",
           value_length, (unsigned long long)records, append / (double)records, finish / (double)records,
           validate / (double)records, iterate / (double)records, (unsigned long long)sum);
    free(value);
    free(memory);
    return 0;
}
