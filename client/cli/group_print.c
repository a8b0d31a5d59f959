#include "client/cli/group_print.h"

static void number_fill(char *out, size_t size, int64_t n)
{
    if (n < 0) {
        snprintf(out, size, "-");
    } else {
        snprintf(out, size, "%lld", (long long)n);
    }
}

void lag_cells_fill(const struct cairn_partition_lag *p, struct lag_cells *cells)
{
    snprintf(cells->partition, sizeof cells->partition, "%d", p->partition);
    number_fill(cells->committed, sizeof cells->committed, p->offset);
    number_fill(cells->end, sizeof cells->end, p->end_offset);
    number_fill(cells->lag, sizeof cells->lag, p->lag);
    if (p->lag_ms < 0) {
        snprintf(cells->behind, sizeof cells->behind, "-");
    } else if (p->lag_ms < 60000) {
        snprintf(cells->behind, sizeof cells->behind, "%.1f s", (double)p->lag_ms / 1000);
    } else {
        human_time((double)p->lag_ms / 1000, cells->behind);
    }
}

static json_t *number_json(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

json_t *lag_json(const struct cairn_group_lag *lag)
{
    json_t *out = json_array();

    for (size_t i = 0; i < lag->count; i++) {
        const struct cairn_partition_lag *p = &lag->partitions[i];
        json_t *item = json_pack("{s:s, s:I, s:o, s:o, s:o}", "topic", p->topic, "partition", (json_int_t)p->partition,
                                 "committed", number_json(p->offset), "end", number_json(p->end_offset), "lag",
                                 number_json(p->lag));

        json_object_set_new(item, "lag_seconds", p->lag_ms < 0 ? json_null() : json_real((double)p->lag_ms / 1000));
        if (p->code != 0) {
            json_object_set_new(item, "error", json_string(cairn_error_name(p->code)));
        }
        json_array_append_new(out, item);
    }
    return out;
}
