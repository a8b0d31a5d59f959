#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/http/metrics.h"
#include "node/http/metrics_text.h"

static const char end_whole[] = "# HELP cairn_metrics_truncated 1 if this text had no room for everything.\n"
                                "# TYPE cairn_metrics_truncated gauge\n"
                                "cairn_metrics_truncated 0\n";

/* The text with its NUL, without the end; to be freed. */
static char *text_of(struct metrics_text *t)
{
    char *copy;
    assert_true(metrics_text_end(t));
    assert_true(t->size >= strlen(end_whole));
    assert_memory_equal(t->data + t->size - strlen(end_whole), end_whole, strlen(end_whole));
    copy = strndup(t->data, t->size - strlen(end_whole));
    metrics_text_close(t);
    return copy;
}

static void families_stand_with_help_type_and_samples(void **state)
{
    struct metrics_text t;
    const struct metrics_label labels[] = {{"group", "g"}, {"topic", "t"}};
    char *text;
    metrics_text_init(&t, METRICS_TEXT_MAX_BYTES);
    metrics_value(&t, "a_total", METRICS_COUNTER, "Some.", 7);
    metrics_family(&t, "b", METRICS_GAUGE, "More.");
    metrics_sample(&t, "b", labels, 2, -1);
    metrics_sample_seconds(&t, "b", labels, 1, 1234567, 1000);
    metrics_sample_seconds(&t, "b", NULL, 0, 1000000001, 1000000000);
    text = text_of(&t);
    assert_string_equal(text, "# HELP a_total Some.\n# TYPE a_total counter\na_total 7\n"
                              "# HELP b More.\n# TYPE b gauge\n"
                              "b{group=\"g\",topic=\"t\"} -1\nb{group=\"g\"} 1234.567000\nb 1.000000\n");
    free(text);
}

/* A group's name is any bytes that a client likes: it must not end a line, a value, or the whole scrape. */
static void a_label_cannot_break_the_text(void **state)
{
    struct metrics_text t;
    const struct metrics_label label = {"group", "a\"b\\c\nd\te\xff\x7f{},="};
    char *text;
    metrics_text_init(&t, METRICS_TEXT_MAX_BYTES);
    metrics_sample(&t, "x", &label, 1, 1);
    text = text_of(&t);
    assert_string_equal(text, "x{group=\"a\\\"b\\\\c\\nd?e??{},=\"} 1\n");
    free(text);
}

static void a_long_label_is_cut_between_escapes(void **state)
{
    struct metrics_text t;
    char value[2 * METRICS_LABEL_MAX_BYTES];
    const struct metrics_label label = {"g", value};
    char *text;
    memset(value, '"', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    metrics_text_init(&t, METRICS_TEXT_MAX_BYTES);
    metrics_sample(&t, "x", &label, 1, 1);
    text = text_of(&t);
    assert_int_equal(strlen(text), strlen("x{g=\"\"} 1\n") + METRICS_LABEL_MAX_BYTES);
    assert_string_equal(text + strlen(text) - strlen("\\\"\"} 1\n"), "\\\"\"} 1\n");
    free(text);
}

static void what_does_not_fit_is_left_out_whole_and_told(void **state)
{
    struct metrics_text t;
    const struct metrics_label label = {"number", "0123456789"};
    size_t lines = 0;
    metrics_text_init(&t, 20000);
    for (int i = 0; i < 10000; i++) {
        metrics_sample(&t, "cairn_some", &label, 1, 1);
    }
    assert_true(t.full);
    assert_true(t.size > 15000 && t.size <= 20000);
    assert_int_equal(t.size % strlen("cairn_some{number=\"0123456789\"} 1\n"), 0);
    metrics_sample(&t, "x", NULL, 0, 1); /* would fit: but the text ends where it began to leave out */
    assert_true(metrics_text_end(&t));
    assert_true(t.size <= 20000);
    for (size_t i = 0; i < t.size; i++) {
        lines += t.data[i] == '\n';
    }
    assert_int_equal(t.data[t.size - 1], '\n');
    assert_int_equal(t.data[t.size - 2], '1');
    assert_true(lines > 400);
    metrics_text_close(&t);
}

static void an_empty_text_has_an_end(void **state)
{
    struct metrics_text t;
    char *text;
    metrics_text_init(&t, METRICS_TEXT_MAX_BYTES);
    text = text_of(&t);
    assert_string_equal(text, "");
    free(text);
}

static void check_rows(const struct metrics_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(rows[i].name);
        bool total = length > 6 && strcmp(rows[i].name + length - 6, "_total") == 0;
        assert_int_equal(total, rows[i].type == METRICS_COUNTER); /* as the convention has it */
        assert_memory_equal(rows[i].name, "cairn_", 6);
        assert_int_equal(strspn(rows[i].name, "abcdefghijklmnopqrstuvwxyz0123456789_"), length);
        assert_null(strpbrk(rows[i].help, "\n\\"));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(rows[i].name, rows[k].name);
        }
    }
}

static void the_tables_keep_the_conventions(void **state)
{
    struct wal_stats wal = {.flushes = 3, .flush_ns = 2500000000u};
    struct metrics_text t;
    char *text;
    check_rows(metrics_shard_rows, metrics_shard_rows_count);
    check_rows(metrics_wal_rows, metrics_wal_rows_count);
    check_rows(metrics_host_rows, metrics_host_rows_count);
    check_rows(metrics_transport_rows, metrics_transport_rows_count);
    metrics_text_init(&t, METRICS_TEXT_MAX_BYTES);
    metrics_rows(&t, metrics_wal_rows, metrics_wal_rows_count, &wal);
    text = text_of(&t);
    assert_non_null(strstr(text, "\ncairn_log_flushes_total 3\n"));
    assert_non_null(strstr(text, "\ncairn_log_flush_seconds_total 2.500000\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_stand_with_help_type_and_samples),
        cmocka_unit_test(a_label_cannot_break_the_text),
        cmocka_unit_test(a_long_label_is_cut_between_escapes),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole_and_told),
        cmocka_unit_test(an_empty_text_has_an_end),
        cmocka_unit_test(the_tables_keep_the_conventions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
