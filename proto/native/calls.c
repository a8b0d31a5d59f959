#include "proto/native/calls.h"

const char *call_name(uint16_t call)
{
    switch (call) {
#define X(name, number, version_min, version_max)                                                                      \
    case number:                                                                                                       \
        return #name;
        CALL_TABLE(X)
#undef X
    default:
        return "UNKNOWN_CALL";
    }
}

int call_check(uint16_t call, uint16_t version)
{
    switch (call) {
#define X(name, number, version_min, version_max)                                                                      \
    case number:                                                                                                       \
        return version >= (version_min) && version <= (version_max) ? 0 : ERR_VERSION;
        CALL_TABLE(X)
#undef X
    default:
        return ERR_UNKNOWN_CALL;
    }
}
