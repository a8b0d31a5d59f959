#include "proto/base/mutant.h"

#include <stddef.h>
#include <string.h>

struct mutant_state mutant_state;

static const char *const names[MUTANT_COUNT] = {
    [MUTANT_NONE] = "",
#define X(name, what) [MUTANT_##name] = #name,
    MUTANT_TABLE(X)
#undef X
};

bool mutant_select(const char *name)
{
    for (int m = MUTANT_NONE; m < MUTANT_COUNT; m++) {
        if (strcmp(name != NULL ? name : "", names[m]) == 0) {
            mutant_state.selected = (enum mutant)m;
            return true;
        }
    }
    return false;
}

const char *mutant_name(enum mutant mutant)
{
    return mutant >= MUTANT_NONE && mutant < MUTANT_COUNT ? names[mutant] : NULL;
}
