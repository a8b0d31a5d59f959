#include "node/node_metrics.h"

#include "node/conn/conn.h"

void node_metrics(void *conns, struct metrics_text *text)
{
    struct conns_stats s;
    conns_stats(conns, &s);
    metrics_value(text, "cairn_connections", METRICS_GAUGE, "Client connections.", s.open);
    metrics_value(text, "cairn_connections_accepted_total", METRICS_COUNTER, "Client connections made.",
                  (int64_t)s.accepted);
    metrics_value(text, "cairn_connections_refused_total", METRICS_COUNTER, "Client connections above connections.max.",
                  (int64_t)s.refused);
    metrics_value(text, "cairn_connections_malformed_total", METRICS_COUNTER,
                  "Client connections closed for what they sent.", (int64_t)s.malformed);
    metrics_value(text, "cairn_connections_timed_out_total", METRICS_COUNTER, "Client connections closed for silence.",
                  (int64_t)s.timed_out);
    metrics_value(text, "cairn_client_received_bytes_total", METRICS_COUNTER, "Bytes received from clients.",
                  (int64_t)s.bytes_in);
    metrics_value(text, "cairn_client_sent_bytes_total", METRICS_COUNTER, "Bytes sent to clients.",
                  (int64_t)s.bytes_out);
    metrics_value(text, "cairn_client_reads_paused_total", METRICS_COUNTER,
                  "Times that a client was read no further, for a limit of memory.", (int64_t)s.paused);
}
