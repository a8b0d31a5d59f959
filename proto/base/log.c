#include "proto/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_SIZE 1024 /* bytes with the NUL; longer lines are cut */

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

void log_event(struct logger *logger, enum log_level level, const char *event, const char *fmt, ...)
{
    char line[LOG_LINE_SIZE];
    size_t length;
    va_list args;
    int n;

    if (logger == NULL || level > logger->level) {
        return;
    }
    n = snprintf(line, sizeof(line), "%s %s ", level_name(level), event);
    length = n < 0 ? 0 : (size_t)n;
    if (length >= sizeof(line)) {
        length = sizeof(line) - 1;
    }
    va_start(args, fmt);
    n = vsnprintf(line + length, sizeof(line) - length, fmt, args);
    va_end(args);
    length = strlen(line);
    if (n == 0 && length > 0) {
        length--; /* the space before the pairs that are not there */
    }
    /* A value that somebody forgot to quote must not forge a second line. */
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[length] = '\0';
    logger->write(logger, level, line, length);
}

const char *log_quote(char *out, size_t out_size, const char *text)
{
    size_t n = 0;

    if (out_size == 0) {
        return out;
    }
    if (out_size < sizeof("\"\"")) {
        out[0] = '\0';
        return out;
    }
    out[n++] = '"';
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        char piece[5];
        size_t length = 1;
        piece[0] = (char)c;
        if (c == '"' || c == '\\') {
            piece[0] = '\\';
            piece[1] = (char)c;
            length = 2;
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(piece, sizeof(piece), "\\x%02x", c);
            length = 4;
        }
        /* An escape is written whole or not at all; 2: the closing quote and the NUL. */
        if (length > out_size - n - 2) {
            break;
        }
        memcpy(out + n, piece, length);
        n += length;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

/* The only place of proto that reads a clock: the line's time is for people, nothing is decided by it, and the
 * simulator brings a sink of its own. */
static void write_fd(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    int fd = (int)(intptr_t)logger->data;
    char stamp[64];
    struct timespec now;
    struct tm tm;
    size_t n;
    struct iovec iov[3];
    static const char newline[] = "\n";

    (void)level;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(stamp + n, sizeof(stamp) - n, ".%03ldZ ", now.tv_nsec / 1000000);

    /* One write a line, so that lines of several threads and processes do not mix. */
    iov[0] = (struct iovec){.iov_base = stamp, .iov_len = n};
    iov[1] = (struct iovec){.iov_base = (void *)(uintptr_t)line, .iov_len = length};
    iov[2] = (struct iovec){.iov_base = (void *)(uintptr_t)newline, .iov_len = 1};
    if (writev(fd, iov, 3) < 0) {
        return; /* nowhere left to say it */
    }
}

void logger_init_fd(struct logger *logger, enum log_level level, int fd)
{
    logger->level = level;
    logger->write = write_fd;
    logger->data = (void *)(intptr_t)fd;
}
