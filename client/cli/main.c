/* cairn: the command for people and scripts. Finds the command in the table and runs it. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/commands.h"

const struct arg cli_args[] = {
    {"bootstrap", 'b', ARG_TEXT, offsetof(struct cli, bootstrap), "HOST:PORT[,..]",
     "nodes to ask first (CAIRN_BOOTSTRAP, else " CLI_BOOTSTRAP_DEFAULT ")"},
    {"json", 0, ARG_FLAG, offsetof(struct cli, json), NULL, "answer in JSON, for programs"},
    {"timeout", 0, ARG_DURATION_MS, offsetof(struct cli, timeout_ms), "TIME", "give up after (10s)"},
    {0},
};

const struct command *const cli_commands[] = {
    &command_cluster_status,
    &command_topic_create,
    &command_topic_list,
    &command_topic_describe,
    &command_topic_delete,
    &command_produce,
    &command_consume,
    &command_group_list,
    &command_group_describe,
    &command_group_lag,
    &command_group_reset_offsets,
    &command_group_delete,
    &command_bench_produce,
    &command_bench_consume,
    &command_bench_latency,
    NULL,
};

int cli_parse(struct cli *cli, const struct command *command, int argc, char **argv, void *target, int *operands)
{
    switch (args_parse(cli, command, argc, argv, target, operands)) {
    case ARGS_HELP:
        return EXIT_OK;
    case ARGS_ERROR:
        return EXIT_USAGE;
    case ARGS_OK:
        break;
    }
    return -1;
}

int cli_begin(struct cli *cli, const struct command *command, int argc, char **argv, void *target, const char *what,
              const char **operand)
{
    int operands;
    int rv = cli_parse(cli, command, argc, argv, target, &operands);

    if (rv >= 0) {
        return rv;
    }
    if (what != NULL) {
        if (operands == argc) {
            return cli_usage(command, "which %s? NAME is missing", what);
        }
        if (operands != argc - 1) {
            return cli_usage(command, "one %s at a time", what);
        }
        *operand = argv[operands];
    }
    rv = cli_open(cli);
    return rv == EXIT_OK ? -1 : rv;
}

int cli_number(const struct command *command, const char *option, const char *text, int64_t min, int64_t max,
               int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (*end != '\0' || end == text || errno != 0 || *out < min || *out > max) {
        return cli_usage(command, "--%s: \"%s\" is not allowed, only a number from %lld to %lld", option, text,
                         (long long)min, (long long)max);
    }
    return EXIT_OK;
}

int cli_open(struct cli *cli)
{
    struct cairn_error error;

    return cairn_client_open(cli->bootstrap, NULL, &cli->client, &error) == 0 ? EXIT_OK : cli_fail(&error);
}

int cli_fail(const struct cairn_error *error)
{
    fprintf(stderr, "cairn: %s\n", error->text);
    switch (error->code) {
    case CAIRN_ERR_INVALID:
    case CAIRN_ERR_CONFIG:
        return EXIT_USAGE;
    case CAIRN_ERR_TIMEOUT:
    case CAIRN_ERR_LEADER_NOT_READY:
        return EXIT_UNREACHABLE;
    default:
        return EXIT_FAILED;
    }
}

int cli_usage(const struct command *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "cairn %s: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry: cairn %s --help\n", command->name);
    return EXIT_USAGE;
}

bool cli_interrupted(struct cli *cli)
{
    struct signalfd_siginfo info;

    return read(cli->signal_fd, &info, sizeof info) == sizeof info;
}

int cli_options(const struct command *command, const struct arg_list *list, struct cairn_options *options)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        char name[64];

        if (equals == NULL || equals == list->items[i] || (size_t)(equals - list->items[i]) >= sizeof name) {
            return cli_usage(command, "\"%s\" is not NAME=VALUE", list->items[i]);
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - list->items[i]), list->items[i]);
        (void)cairn_options_set(options, name, equals + 1);
    }
    return EXIT_OK;
}

void cli_option_set(struct cairn_options *options, const char *name, unsigned long long value)
{
    char text[32];

    snprintf(text, sizeof text, "%llu", value);
    (void)cairn_options_set(options, name, text);
}

static void help(void)
{
    printf("cairn %s: talk to a Cairn cluster\n\nUsage: cairn COMMAND [options]\n\n", cairn_version());
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        printf("  %-20s %s\n", (*c)->name, (*c)->summary);
    }
    printf("\n`cairn COMMAND --help` tells the options of each, with examples.\n\n"
           "Everywhere: --bootstrap HOST:PORT[,..] (or CAIRN_BOOTSTRAP; default %s), --json, --timeout TIME.\n"
           "Ends with 0: done; 1: failed, or some records have an unknown outcome; 2: wrong usage;\n"
           "3: no answer in time.\n",
           CLI_BOOTSTRAP_DEFAULT);
}

/* The command whose words @argv begins with; *words: how many. */
static const struct command *command_find(int argc, char **argv, int *words)
{
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        char name[64];

        *words = strchr((*c)->name, ' ') != NULL ? 2 : 1;
        if (argc < *words) {
            continue;
        }
        snprintf(name, sizeof name, *words == 2 ? "%s %s" : "%s", argv[0], *words == 2 ? argv[1] : "");
        if (strcmp(name, (*c)->name) == 0) {
            return *c;
        }
    }
    return NULL;
}

static void signals_init(struct cli *cli)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL); /* the client's thread inherits it */
    cli->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
}

/* Not a command: say what comes closest. */
static int command_unknown(int argc, char **argv)
{
    fprintf(stderr, "cairn: there is no command \"%s%s%s\"", argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
            argc > 1 && argv[1][0] != '-' ? argv[1] : "");
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        if (strncmp((*c)->name, argv[0], strlen(argv[0])) == 0) {
            fprintf(stderr, "\n  did you mean: cairn %s", (*c)->name);
        }
    }
    fprintf(stderr, "\nTry: cairn --help\n");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const char *bootstrap = getenv("CAIRN_BOOTSTRAP");
    struct cli cli = {.bootstrap = bootstrap != NULL && bootstrap[0] != '\0' ? bootstrap : CLI_BOOTSTRAP_DEFAULT,
                      .timeout_ms = CLI_TIMEOUT_MS_DEFAULT,
                      .colour_out = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL,
                      .terminal_err = isatty(STDERR_FILENO)};
    const struct command *command;
    int words;
    int rv;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help();
        return argc < 2 ? EXIT_USAGE : EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("cairn %s\n", cairn_version());
        return EXIT_OK;
    }
    command = command_find(argc - 1, argv + 1, &words);
    if (command == NULL) {
        return command_unknown(argc - 1, argv + 1);
    }
    signals_init(&cli);
    rv = command->run(&cli, command, argc - words, argv + words);
    cairn_client_close(cli.client);
    if (fflush(stdout) != 0 && rv == EXIT_OK && errno != EPIPE) {
        fprintf(stderr, "cairn: write to standard output: %s\n", strerror(errno));
        rv = EXIT_FAILED;
    }
    return rv;
}
