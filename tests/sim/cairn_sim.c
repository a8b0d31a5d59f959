/* cairn-sim: one seed, one run of a whole cluster. Ends with 0, or prints which oracle was violated and ends with 1. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/cluster.h"
#include "tests/sim/mutants/select.h"

#define HEAP_CHUNK_MAX (32 << 20)
#define HEAP_KEPT_MAX (1 << 30)

static int usage(void)
{
    fprintf(stderr, "usage: cairn-sim --seed N [--seconds S] [--nodes 1..%d] [--faults LIST|none] [--trace] [--mutant NAME]\n"
            "       cairn-sim --mutants\n"
            "LIST: "
#define X(name, many) #name ","
            SIM_SWARM_KINDS(X)
#undef X
            CLUSTER_FAULTS "\n",
            ORACLE_NODES_MAX);
    return 2;
}

int main(int argc, char **argv)
{
    struct cluster_params params = {.seconds = 30};
    struct cluster_result r;
    bool seeded = false;
    int rv;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            params.trace = true;
            continue;
        }
        if (strcmp(argv[i], "--mutants") == 0) {
            return mutants_list();
        }
        if (value == NULL) {
            return usage();
        }
        if (strcmp(argv[i], "--seed") == 0) {
            params.seed = strtoull(value, NULL, 10);
            seeded = true;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            params.seconds = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--nodes") == 0) {
            params.nodes = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--faults") == 0) {
            params.faults = value;
        } else if (strcmp(argv[i], "--mutant") == 0) {
            rv = mutants_choose(value);
            if (rv != 0) {
                return rv;
            }
        } else {
            return usage();
        }
        i++;
    }
    if (!seeded || params.nodes > ORACLE_NODES_MAX || params.seconds < 5) {
        return usage();
    }
    /* Memory that was touched once is kept: giving it back and faulting it in again was a tenth of the time. */
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_CHUNK_MAX);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_MAX);
    (void)mallopt(M_TOP_PAD, HEAP_CHUNK_MAX);
    cluster_run(&params, &r);
    printf("seed %" PRIu64 " ok hash %016" PRIx64 " events %" PRIu64 " virtual_ms %" PRIu64 " nodes %u shards %u\n", params.seed,
           r.hash, r.events, r.virtual_ns / 1000000, r.nodes, r.shards);
#define X(name) printf(#name "=%" PRIu64 " ", r.counts.name);
    ORACLE_COUNTS(X)
#undef X
#define X(name, many) printf(#many "=%u ", r.faults.many);
    SIM_SWARM_KINDS(X)
#undef X
#define X(name) printf(#name "=%" PRIu64 " ", r.world.name);
    SIM_WORLD_COUNTS(X)
#undef X
    printf("restarts=%u clocks_back=%u\n", r.faults.restarts, r.faults.clocks_back);
    return 0;
}
