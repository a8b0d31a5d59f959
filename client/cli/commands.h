/* The commands, one file each. */
#ifndef CAIRN_CLI_COMMANDS_H
#define CAIRN_CLI_COMMANDS_H

#include "client/cli/args.h"

extern const struct command command_cluster_status;
extern const struct command command_topic_create;
extern const struct command command_topic_list;
extern const struct command command_topic_describe;
extern const struct command command_topic_delete;
extern const struct command command_produce;
extern const struct command command_consume;
extern const struct command command_group_list;
extern const struct command command_group_describe;
extern const struct command command_group_lag;
extern const struct command command_group_reset_offsets;
extern const struct command command_group_delete;
extern const struct command command_bench_produce;
extern const struct command command_bench_consume;
extern const struct command command_bench_latency;

#endif
