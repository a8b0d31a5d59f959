/* Command line parsing, driven by tables: a command lists its options, where their values go and what they mean; help
 * and errors come from the same list. */
#ifndef CAIRN_CLI_ARGS_H
#define CAIRN_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARGS_MAX 40 /* options of one command, the global ones included */
#define ARG_LIST_MAX 64

enum arg_kind {
    ARG_FLAG,        /* bool */
    ARG_TEXT,        /* const char * */
    ARG_U32,         /* uint32_t */
    ARG_U64,         /* uint64_t */
    ARG_SIZE,        /* uint64_t bytes: 10, 4k, 1M, 2G (powers of 1024) */
    ARG_DURATION_MS, /* uint32_t: 10 (seconds), 10s, 500ms, 2m */
    ARG_LIST         /* struct arg_list: may be given more than once */
};

struct arg_list {
    const char *items[ARG_LIST_MAX];
    size_t count;
};

struct arg {
    const char *name; /* long; NULL ends a table */
    char letter;      /* short, 0: none */
    enum arg_kind kind;
    size_t offset;     /* of the target in the command's struct */
    const char *value; /* how help calls the value */
    const char *help;
};

struct cli;

struct command {
    const char *name; /* "topic create" */
    const char *summary;
    const char *operands; /* how help calls what follows the options; NULL: nothing may follow */
    const char *examples;
    const struct arg *args;
    int (*run)(struct cli *cli, const struct command *command, int argc, char **argv);
};

enum args_result { ARGS_OK, ARGS_HELP, ARGS_ERROR };

/* Fill @target (the command's struct) and @cli from argv[1..]; *operands is the index of the first operand. Prints help
 * or what is wrong. */
enum args_result args_parse(struct cli *cli, const struct command *command, int argc, char **argv, void *target,
                            int *operands);
void args_help(const struct command *command);

#endif
