/* Which mutant a simulator's process is: CAIRN_MUTANT in its environment, read before main(), so that no simulator needs to
 * know of mutants. "?" lists them. A run that ends well says how often it came by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"

static void list_all(void)
{
#define X(name, what) printf("%s\t%s\n", #name, what);
    MUTANT_TABLE(X)
#undef X
}

static void tell_times(void)
{
    fprintf(stderr, "mutant %s: met %llu times\n", mutant_name(mutant_state.selected), mutant_state.times);
}

__attribute__((constructor)) static void select_from_environment(void)
{
    const char *name = getenv("CAIRN_MUTANT");

    if (name != NULL && strcmp(name, "?") == 0) {
        list_all();
        exit(0);
    }
    if (!mutant_select(name)) {
        fprintf(stderr, "CAIRN_MUTANT=%s: there is no such mutant\n", name);
        exit(2);
    }
    if (mutant_state.selected != MUTANT_NONE) {
        atexit(tell_times);
    }
}
