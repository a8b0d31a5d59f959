/* Structured log lines: an event name and key=value pairs, at state changes only; the hot path counts instead. */
#ifndef CAIRN_BASE_LOG_H
#define CAIRN_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Where lines go. Owned by the program (or by the simulated node); passed down, never global. */
struct logger {
    enum log_level level;
    /* Called with one whole line without its newline: `level event key=value ...` (time is the sink's to add).
     * Any thread. */
    void (*write)(struct logger *logger, enum log_level level, const char *line, size_t length);
    void *data;
};

/* @fmt is printf's and gives the key=value pairs: log_event(l, LOG_INFO, "peer_up", "node=%u addr=%s", id, addr).
 * Values with spaces or quotes are the caller's to quote (log_quote); a control character that slips
 * through becomes '?'. Lines are cut at 1023 bytes. A NULL logger drops the line. */
void log_event(struct logger *logger, enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Copy @text to @out as a quoted value, control characters escaped, cut to fit (an escape
 * whole or not at all). Returns @out. */
const char *log_quote(char *out, size_t out_size, const char *text);

/* A ready sink: ISO 8601 time with milliseconds, then the line, to @fd (stderr, a file), one write a line. */
void logger_init_fd(struct logger *logger, enum log_level level, int fd);

#endif
