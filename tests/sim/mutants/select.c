/* Chosen by CAIRN_MUTANT in the environment, read before main() so that core-sim need not know of mutants, or by an argument
 * of cairn-sim. A run that ends well says how often it came by. */
#include "tests/sim/mutants/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"

#if defined(CAIRN_MUTANTS) && CAIRN_MUTANTS

static void tell_times(void)
{
    fprintf(stderr, "mutant %s: met %llu times\n", mutant_name(mutant_state.selected), mutant_state.times);
}

int mutants_choose(const char *name)
{
    enum mutant before = mutant_state.selected;

    if (!mutant_select(name)) {
        fprintf(stderr, "mutant %s: there is none of this name; cairn-sim --mutants lists them\n", name);
        return 2;
    }
    if (mutant_state.selected != MUTANT_NONE && before == MUTANT_NONE) {
        atexit(tell_times);
    }
    return 0;
}

int mutants_list(void)
{
#define X(name, what) printf("%s\t%s\n", #name, what);
    MUTANT_TABLE(X)
#undef X
    return 0;
}

__attribute__((constructor)) static void choose_from_environment(void)
{
    const char *name = getenv("CAIRN_MUTANT");

    if (name != NULL && strcmp(name, "?") == 0) {
        exit(mutants_list());
    }
    if (name != NULL && mutants_choose(name) != 0) {
        exit(2);
    }
}

#else

int mutants_list(void)
{
    fprintf(stderr, "mutants: this build has none; configure one with -DCAIRN_MUTANTS=ON\n");
    return 2;
}

int mutants_choose(const char *name)
{
    return mutants_list();
}

#endif
