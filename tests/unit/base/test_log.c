#include "proto/base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/base/check.h"

struct caught {
    unsigned lines;
    enum log_level level;
    char line[4096];
    size_t length;
};

static void catch_line(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    struct caught *caught = logger->data;

    caught->lines++;
    caught->level = level;
    caught->length = length;
    memcpy(caught->line, line, length);
    caught->line[length] = '\0';
}

static struct logger catching(struct caught *caught)
{
    memset(caught, 0, sizeof(*caught));
    return (struct logger){.level = LOG_INFO, .write = catch_line, .data = caught};
}

static void a_line_is_level_event_and_pairs(void **state)
{
    struct caught caught;
    struct logger logger = catching(&caught);

    log_event(&logger, LOG_WARN, "peer_down", "node=%u addr=%s", 3u, "10.0.0.1:9");
    assert_int_equal(caught.lines, 1);
    assert_int_equal(caught.level, LOG_WARN);
    assert_string_equal(caught.line, "warn peer_down node=3 addr=10.0.0.1:9");
    assert_int_equal(caught.length, strlen(caught.line));
}

static void without_pairs_there_is_no_trailing_space(void **state)
{
    struct caught caught;
    struct logger logger = catching(&caught);

    log_event(&logger, LOG_ERROR, "stopped", "%s", "");
    assert_string_equal(caught.line, "error stopped");
}

static void levels_above_the_logger_are_dropped_and_null_is_no_logger(void **state)
{
    struct caught caught;
    struct logger logger = catching(&caught);

    log_event(&logger, LOG_DEBUG, "noise", "a=%d", 1);
    assert_int_equal(caught.lines, 0);
    log_event(&logger, LOG_INFO, "news", "a=%d", 1);
    assert_int_equal(caught.lines, 1);
    log_event(NULL, LOG_ERROR, "nobody", "a=%d", 1);
}

static void a_long_line_is_cut_not_overrun(void **state)
{
    struct caught caught;
    struct logger logger = catching(&caught);
    char text[3000];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_event(&logger, LOG_INFO, "long", "v=%s", text);
    assert_int_equal(caught.lines, 1);
    assert_int_equal(caught.length, 1023);
    log_event(&logger, LOG_INFO, text, "v=%s", text);
    assert_int_equal(caught.length, 1023);
}

static void a_foreign_newline_cannot_forge_a_line(void **state)
{
    struct caught caught;
    struct logger logger = catching(&caught);

    log_event(&logger, LOG_INFO, "name", "client=%s", "a\nerror forged x=1\r\033[2J");
    assert_null(strpbrk(caught.line, "\n\r\033"));
    assert_string_equal(caught.line, "info name client=a?error forged x=1??[2J");
}

static void quoting_escapes(void **state)
{
    char out[64];

    assert_ptr_equal(log_quote(out, sizeof(out), "plain"), out);
    assert_string_equal(out, "\"plain\"");
    log_quote(out, sizeof(out), "say \"hi\" \\ \n\x7f");
    assert_string_equal(out, "\"say \\\"hi\\\" \\\\ \\x0a\\x7f\"");
    log_quote(out, sizeof(out), "");
    assert_string_equal(out, "\"\"");
    log_quote(out, sizeof(out), "gr\xc3\xbc\xc3\x9f");
    assert_string_equal(out, "\"gr\xc3\xbc\xc3\x9f\"");
}

static void quoting_never_overruns_nor_splits_an_escape(void **state)
{
    static const char text[] = "a\n\"b\\c";

    for (size_t size = 0; size < 24; size++) {
        char out[32];
        memset(out, 0x55, sizeof(out));
        log_quote(out, size, text);
        assert_int_equal(out[size], 0x55);
        if (size >= 3) {
            assert_int_equal(out[0], '"');
            assert_int_equal(out[strlen(out) - 1], '"');
            assert_true(strlen(out) < size);
        }
    }
    char out[8];
    log_quote(out, 5, "a\n"); /* room for a, not for \x0a */
    assert_string_equal(out, "\"a\"");
}

static void the_fd_sink_stamps_time_and_ends_the_line(void **state)
{
    struct logger logger;
    int fds[2];
    char got[256];
    ssize_t n;
    int year, month, day, hour, minute, second, ms, used = 0;

    assert_int_equal(pipe(fds), 0);
    logger_init_fd(&logger, LOG_INFO, fds[1]);
    log_event(&logger, LOG_INFO, "up", "port=%d", 9);
    n = read(fds[0], got, sizeof(got) - 1);
    assert_true(n > 0);
    got[n] = '\0';
    assert_int_equal(sscanf(got, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour, &minute, &second, &ms, &used), 7);
    assert_int_equal(used, strlen("2000-01-01T00:00:00.000Z "));
    assert_string_equal(got + used, "info up port=9\n");
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_level_event_and_pairs),
        cmocka_unit_test(without_pairs_there_is_no_trailing_space),
        cmocka_unit_test(levels_above_the_logger_are_dropped_and_null_is_no_logger),
        cmocka_unit_test(a_long_line_is_cut_not_overrun),
        cmocka_unit_test(a_foreign_newline_cannot_forge_a_line),
        cmocka_unit_test(quoting_escapes),
        cmocka_unit_test(quoting_never_overruns_nor_splits_an_escape),
        cmocka_unit_test(the_fd_sink_stamps_time_and_ends_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
