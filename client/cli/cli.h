/* What the commands of `cairn` share: the global options, the client, how they speak to people, and how they end. */
#ifndef CAIRN_CLI_H
#define CAIRN_CLI_H

#include <cairn/cairn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/cli/args.h"

/* Documented in `cairn --help`. */
enum cli_exit { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

#define CLI_BOOTSTRAP_DEFAULT "127.0.0.1:7400"
#define CLI_TIMEOUT_MS_DEFAULT 10000

struct cli {
    const char *bootstrap;
    bool json;
    uint32_t timeout_ms;
    bool colour_out;   /* stdout is a terminal */
    bool terminal_err; /* stderr is one: progress is drawn there */
    int signal_fd;     /* SIGINT and SIGTERM arrive here */
    struct cairn_client *client;
};

extern const struct arg cli_args[];
extern const struct command *const cli_commands[]; /* ends with NULL */

/* Parse into @target; *operands: index of the first operand. -1: go on; else the exit code, all is said. */
int cli_parse(struct cli *cli, const struct command *command, int argc, char **argv, void *target, int *operands);
/* The same, take the one operand, which is a @what ("topic"; NULL: there is none to take), and connect. */
int cli_begin(struct cli *cli, const struct command *command, int argc, char **argv, void *target, const char *what,
              const char **operand);
/* The number from @min to @max that @text says, an option's value. EXIT_OK or EXIT_USAGE, told. */
int cli_number(const struct command *command, const char *option, const char *text, int64_t min, int64_t max,
               int64_t *out);
/* Connect. Prints what is wrong. EXIT_OK or the code to end with. */
int cli_open(struct cli *cli);
/* "cairn: <text>" to stderr; the exit code for @error. */
int cli_fail(const struct cairn_error *error);
int cli_usage(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* SIGINT or SIGTERM came. */
bool cli_interrupted(struct cli *cli);
/* "name=value" items into @options. EXIT_OK or EXIT_USAGE, told. */
int cli_options(const struct command *command, const struct arg_list *list, struct cairn_options *options);
void cli_option_set(struct cairn_options *options, const char *name, unsigned long long value);

/* A table for people: cells are strings, columns as wide as need be; numbers stand right. */
struct table;
struct table *table_new(const char *const *titles, const char *alignment /* 'l' or 'r' a column */);
void table_add(struct table *t, ...); /* one const char * a column; copied */
void table_print(struct table *t, const struct cli *cli);
void table_free(struct table *t);

/* Text in a colour on a terminal, else plain. Writes to @out. */
enum colour { COLOUR_GOOD, COLOUR_BAD, COLOUR_DIM, COLOUR_BOLD };
const char *coloured(const struct cli *cli, enum colour colour, const char *text, char out[128]);

#define HUMAN_SIZE 32
const char *human_bytes(double bytes, char out[HUMAN_SIZE]);  /* 1.2 MB: powers of 1000 */
const char *human_count(double count, char out[HUMAN_SIZE]);  /* 1.2 M */
const char *human_time(double seconds, char out[HUMAN_SIZE]); /* 01:02:03 */
void id_text(const uint8_t id[CAIRN_ID_SIZE], char out[37]);

uint64_t clock_ns(void);
int64_t wall_clock_ms(void);

/* One line on stderr that is drawn over, at most ten times a second; nothing where that is no terminal. */
struct progress {
    const struct cli *cli;
    uint64_t begin_ns;
    uint64_t drawn_ns;
    uint64_t total; /* units until the end, 0: not known */
    bool bytes;     /* the units */
};
void progress_begin(struct progress *p, const struct cli *cli, uint64_t total, bool bytes);
void progress_draw(struct progress *p, uint64_t done, uint64_t records, uint64_t acknowledged);
void progress_end(struct progress *p);

#endif
