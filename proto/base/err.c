#include "proto/base/err.h"

#include <errno.h>

const char *err_name(int err)
{
    switch (err) {
    case ERR_OK:
        return "OK";
#define X(name, number, retriable, text)                                                                               \
    case name:                                                                                                         \
        return &#name[sizeof("ERR_") - 1];
        ERR_TABLE(X)
#undef X
    default:
        return "UNKNOWN_ERROR";
    }
}

const char *err_text(int err)
{
    switch (err) {
    case ERR_OK:
        return "success";
#define X(name, number, retriable, text)                                                                               \
    case name:                                                                                                         \
        return text;
        ERR_TABLE(X)
#undef X
    default:
        return "unknown error";
    }
}

bool err_retriable(int err)
{
    switch (err) {
#define X(name, number, retriable, text)                                                                               \
    case name:                                                                                                         \
        return retriable;
        ERR_TABLE(X)
#undef X
    default:
        return false;
    }
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_OK;
    case ENOMEM:
        return ERR_NOMEM;
    case EINVAL:
        return ERR_INVALID;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EAGAIN:
    case EBUSY:
    case EMFILE:
    case ENFILE:
        return ERR_BUSY;
    case ECANCELED:
        return ERR_CANCELLED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EFBIG:
    case EMSGSIZE:
    case ENAMETOOLONG:
        return ERR_TOO_BIG;
    default:
        return ERR_IO;
    }
}
