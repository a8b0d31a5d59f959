/* What connections count, for the metrics of node/http, which knows no connections. */
#ifndef CAIRN_NODE_METRICS_H
#define CAIRN_NODE_METRICS_H

#include "node/http/metrics_text.h"

/* @conns: a struct conns. Hub thread. */
void node_metrics(void *conns, struct metrics_text *text);

#endif
