#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/client.h"

struct option_pair {
    struct option_pair *next;
    char *name;
    char *value;
};

struct cairn_options {
    struct option_pair *pairs;
};

struct cairn_options *cairn_options_new(void)
{
    return calloc(1, sizeof(struct cairn_options));
}

void cairn_options_free(struct cairn_options *options)
{
    if (options == NULL) {
        return;
    }
    while (options->pairs != NULL) {
        struct option_pair *pair = options->pairs;
        options->pairs = pair->next;
        free(pair->name);
        free(pair->value);
        free(pair);
    }
    free(options);
}

int cairn_options_set(struct cairn_options *options, const char *name, const char *value)
{
    struct option_pair *pair = options->pairs;
    char *copy = strdup(value);

    if (copy == NULL) {
        return ERR_NOMEM;
    }
    while (pair != NULL && strcmp(pair->name, name) != 0) {
        pair = pair->next;
    }
    if (pair != NULL) {
        free(pair->value);
        pair->value = copy;
        return 0;
    }
    pair = calloc(1, sizeof *pair);
    if (pair == NULL) {
        free(copy);
        return ERR_NOMEM;
    }
    pair->value = copy;
    pair->name = strdup(name);
    if (pair->name == NULL) {
        free(copy);
        free(pair);
        return ERR_NOMEM;
    }
    pair->next = options->pairs;
    options->pairs = pair;
    return 0;
}

static int number_apply(const struct option_field *f, const char *value, struct cairn_error *error)
{
    unsigned long long n;
    char *end;

    errno = 0;
    n = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || n < f->min || n > f->max) {
        return error_set(error, ERR_CONFIG, "option %s: \"%.60s\" is not allowed, only a number from %llu to %llu",
                         f->name, value, (unsigned long long)f->min, (unsigned long long)f->max);
    }
    if (f->kind == OPTION_U32) {
        *(uint32_t *)f->target = (uint32_t)n;
    } else {
        *(uint64_t *)f->target = n;
    }
    return 0;
}

static int choice_apply(const struct option_field *f, const char *value, struct cairn_error *error)
{
    const char *choice = f->choices;
    size_t length = strlen(value);

    for (int i = 0; *choice != '\0'; i++) {
        size_t n = strcspn(choice, "|");
        if (n == length && memcmp(choice, value, n) == 0) {
            *(int *)f->target = i;
            return 0;
        }
        choice += n + (choice[n] == '|');
    }
    return error_set(error, ERR_CONFIG, "option %s: \"%.60s\" is not allowed, only one of %s", f->name, value,
                     f->choices);
}

static int pair_apply(const struct option_pair *pair, const struct option_field *fields, size_t count,
                      struct cairn_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, pair->name) != 0) {
            continue;
        }
        switch (fields[i].kind) {
        case OPTION_CHOICE:
            return choice_apply(&fields[i], pair->value, error);
        case OPTION_TEXT:
            *(const char **)fields[i].target = pair->value;
            return 0;
        case OPTION_U32:
        case OPTION_U64:
            return number_apply(&fields[i], pair->value, error);
        }
    }
    return error_set(error, ERR_CONFIG, "option %.80s is not known here: see <cairn/options.h>", pair->name);
}

int options_apply(const struct cairn_options *options, const struct option_field *fields, size_t count,
                  struct cairn_error *error)
{
    int rv;

    for (const struct option_pair *pair = options != NULL ? options->pairs : NULL; pair != NULL; pair = pair->next) {
        rv = pair_apply(pair, fields, count, error);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}
