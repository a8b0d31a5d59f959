#include <stdarg.h>
#include <stdio.h>

#include "client/src/client.h"
#include "proto/base/err.h"

const char *cairn_error_name(int code)
{
    return err_name(code);
}

const char *cairn_error_text(int code)
{
    return err_text(code);
}

bool cairn_error_retriable(int code)
{
    return err_retriable(code);
}

int error_set(struct cairn_error *error, int code, const char *format, ...)
{
    va_list args;

    if (error != NULL) {
        error->code = code;
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return code;
}
