#include "client/cli/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define LONG_ONLY 256 /* getopt's value of an option without a letter: this + its index */

struct slot {
    const struct arg *arg;
    uint8_t *base; /* what its offset counts from */
};

static bool number(const char *text, uint64_t max, uint64_t *out, const char **rest)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    *rest = end;
    return text[0] >= '0' && text[0] <= '9' && errno == 0 && *out <= max;
}

static bool size_value(const char *text, uint64_t *out)
{
    static const char units[] = "kMGT";
    const char *rest;
    const char *unit;
    unsigned shift;

    if (!number(text, UINT64_MAX >> 40, out, &rest)) {
        return false;
    }
    if (*rest == '\0') {
        return true;
    }
    unit = strchr(units, *rest == 'K' ? 'k' : *rest);
    if (unit == NULL || rest[1] != '\0') {
        return false;
    }
    shift = 10 * (unsigned)(unit - units + 1);
    if (*out > UINT64_MAX >> shift) {
        return false;
    }
    *out <<= shift;
    return true;
}

static bool duration_value(const char *text, uint32_t *out)
{
    const char *rest;
    uint64_t n;
    uint64_t unit = 1000;

    if (!number(text, UINT32_MAX, &n, &rest)) {
        return false;
    }
    if (strcmp(rest, "ms") == 0) {
        unit = 1;
    } else if (strcmp(rest, "m") == 0) {
        unit = 60000;
    } else if (*rest != '\0' && strcmp(rest, "s") != 0) {
        return false;
    }
    if (n * unit > INT32_MAX) {
        return false;
    }
    *out = (uint32_t)(n * unit);
    return true;
}

/* NULL: taken; otherwise what is allowed. */
static const char *slot_set(const struct slot *slot, const char *value)
{
    void *target = slot->base + slot->arg->offset;
    struct arg_list *list;
    const char *rest = "";
    uint64_t n = 0;

    switch (slot->arg->kind) {
    case ARG_FLAG:
        *(bool *)target = true;
        return NULL;
    case ARG_TEXT:
        *(const char **)target = value;
        return NULL;
    case ARG_U32:
        if (!number(value, UINT32_MAX, &n, &rest) || *rest != '\0') {
            return "a number up to 4294967295";
        }
        *(uint32_t *)target = (uint32_t)n;
        return NULL;
    case ARG_U64:
        if (!number(value, UINT64_MAX, (uint64_t *)target, &rest) || *rest != '\0') {
            return "a number";
        }
        return NULL;
    case ARG_SIZE:
        return size_value(value, target) ? NULL : "a size such as 100, 64k, 1M or 2G";
    case ARG_DURATION_MS:
        return duration_value(value, target) ? NULL : "a time such as 10 (seconds), 500ms or 2m";
    case ARG_LIST:
        list = target;
        if (list->count == ARG_LIST_MAX) {
            return "at most 64 of these";
        }
        list->items[list->count++] = value;
        return NULL;
    }
    return NULL;
}

static void arg_print(const struct arg *a)
{
    char left[64];

    snprintf(left, sizeof left, "%c%c%c --%s%s%s", a->letter != 0 ? '-' : ' ', a->letter != 0 ? a->letter : ' ',
             a->letter != 0 ? ',' : ' ', a->name, a->value != NULL ? " " : "", a->value != NULL ? a->value : "");
    printf("  %-30s %s\n", left, a->help);
}

void args_help(const struct command *command)
{
    printf("%s\n\nUsage: cairn %s [options]%s%s\n", command->summary, command->name,
           command->operands != NULL ? " " : "", command->operands != NULL ? command->operands : "");
    if (command->args != NULL && command->args[0].name != NULL) {
        printf("\nOptions:\n");
        for (const struct arg *a = command->args; a->name != NULL; a++) {
            arg_print(a);
        }
    }
    printf("\nEverywhere:\n");
    for (const struct arg *a = cli_args; a->name != NULL; a++) {
        arg_print(a);
    }
    arg_print(&(struct arg){.name = "help", .letter = 'h', .help = "this text"});
    if (command->examples != NULL) {
        printf("\nExamples:\n%s", command->examples);
    }
}

static void slots_add(struct slot *slots, size_t *count, const struct arg *args, void *base)
{
    for (; args != NULL && args->name != NULL && *count < ARGS_MAX - 2; args++) {
        slots[(*count)++] = (struct slot){.arg = args, .base = base};
    }
}

static const struct slot *slot_find(const struct slot *slots, size_t count, int value)
{
    if (value >= LONG_ONLY) {
        return &slots[value - LONG_ONLY];
    }
    for (size_t i = 0; i < count; i++) {
        if (slots[i].arg->letter == value) {
            return &slots[i];
        }
    }
    return NULL;
}

/* getopt's tables for @slots. */
static void tables_make(const struct slot *slots, size_t count, struct option *longs, char *letters)
{
    for (size_t i = 0; i < count; i++) {
        const struct arg *a = slots[i].arg;

        longs[i] = (struct option){.name = a->name,
                                   .has_arg = a->kind == ARG_FLAG ? no_argument : required_argument,
                                   .val = a->letter != 0 ? a->letter : LONG_ONLY + (int)i};
        if (a->letter != 0) {
            *letters++ = a->letter;
            if (a->kind != ARG_FLAG) {
                *letters++ = ':';
            }
        }
    }
    longs[count] = (struct option){.name = "help", .val = 'h'};
    longs[count + 1] = (struct option){0};
    *letters++ = 'h';
    *letters = '\0';
}

enum args_result args_parse(struct cli *cli, const struct command *command, int argc, char **argv, void *target,
                            int *operands)
{
    struct slot slots[ARGS_MAX];
    struct option longs[ARGS_MAX + 1];
    char letters[2 * ARGS_MAX + 4] = ":"; /* a missing value is told apart */
    size_t count = 0;
    int value;

    slots_add(slots, &count, command->args, target);
    slots_add(slots, &count, cli_args, cli);
    tables_make(slots, count, longs, letters + 1);
    optind = 1;
    opterr = 0;
    while ((value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const struct slot *slot;
        const char *allowed;

        if (value == 'h') {
            args_help(command);
            return ARGS_HELP;
        }
        if (value == '?' || value == ':') {
            (void)cli_usage(command, value == ':' ? "%s needs a value" : "%s is not an option here", argv[optind - 1]);
            return ARGS_ERROR;
        }
        slot = slot_find(slots, count, value);
        allowed = slot_set(slot, optarg);
        if (allowed != NULL) {
            (void)cli_usage(command, "--%s: \"%s\" is not allowed, only %s", slot->arg->name, optarg, allowed);
            return ARGS_ERROR;
        }
    }
    if (optind < argc && command->operands == NULL) {
        (void)cli_usage(command, "\"%s\" is one too many", argv[optind]);
        return ARGS_ERROR;
    }
    *operands = optind;
    return ARGS_OK;
}
