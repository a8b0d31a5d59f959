/* Where values come from: defaults, the file, the environment, flags. */
#include "node/config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/config_internal.h"

#define WHERE_SIZE (ENV_PATH_MAX + 128)
#define QUOTED_SIZE 160 /* foreign text in an error line, escaped and cut */

struct load {
    struct config *c;
    const struct config_input *input;
    const char *file; /* NULL: not named */
    char *errmsg;
};

/* ---- one value ---- */

/* @where: "/etc/cairn/cairnd.conf:12: ". Errors: ERR_CONFIG. */
static int set(struct load *l, const char *where, const struct config_key *key, const char *value,
               enum config_source source, uint32_t line)
{
    uint32_t at = (uint32_t)(key - config_keys);
    char why[CONFIG_WHY_SIZE];
    char allowed[CONFIG_WHY_SIZE];
    char quoted[QUOTED_SIZE];

    if (source != CONFIG_DEFAULT && l->c->origin[at].source == source) {
        log_quote(quoted, sizeof quoted, value);
        if (source == CONFIG_FILE) {
            snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s%s = %s: given twice, first in line %" PRIu32 "; allowed: once",
                     where, key->name, quoted, l->c->origin[at].line);
        } else {
            snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s%s = %s: given twice; allowed: once", where, key->name, quoted);
        }
        return ERR_CONFIG;
    }
    if (config_value_parse(key, value, l->c, why) != 0) {
        snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s%s = %s: %s%sallowed: %s", where, key->name,
                 log_quote(quoted, sizeof quoted, value), why, why[0] == '\0' ? "" : "; ",
                 config_key_allowed(key, allowed));
        return ERR_CONFIG;
    }
    l->c->origin[at].source = source;
    l->c->origin[at].line = line;
    return 0;
}

static int unknown(struct load *l, const char *where, const char *name, const char *value)
{
    char quoted_name[QUOTED_SIZE];
    char quoted[QUOTED_SIZE];
    log_quote(quoted_name, sizeof quoted_name, name);
    log_quote(quoted, sizeof quoted, value);
    snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s%s = %s: unknown key; allowed: those that cairnd --help lists", where,
             quoted_name, quoted);
    return ERR_CONFIG;
}

static void set_defaults(struct load *l)
{
    for (uint32_t i = 0; i < config_n_keys; i++) {
        if (config_keys[i].initial != NULL) {
            int rv = set(l, "default: ", &config_keys[i], config_keys[i].initial, CONFIG_DEFAULT, 0);
            assert(rv == 0);
            (void)rv;
        }
    }
}

/* ---- the file ---- */

static char *trim(char *text)
{
    char *end = text + strlen(text);
    while (end > text && strchr(" \t\r", end[-1]) != NULL) {
        end--;
    }
    *end = '\0';
    return text + strspn(text, " \t");
}

/* A comment begins with a '#' at the line's begin or behind a space. */
static void cut_comment(char *text)
{
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '#' && (p == text || p[-1] == ' ' || p[-1] == '\t')) {
            *p = '\0';
            return;
        }
    }
}

static int set_line(struct load *l, char *text, uint32_t line)
{
    char where[WHERE_SIZE];
    char quoted[QUOTED_SIZE];
    snprintf(where, sizeof where, "%s:%" PRIu32 ": ", l->c->file, line);
    cut_comment(text);
    text = trim(text);
    if (*text == '\0') {
        return 0;
    }
    char *equals = strchr(text, '=');
    if (equals == NULL) {
        snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s%s: not a setting; allowed: key = value", where,
                 log_quote(quoted, sizeof quoted, text));
        return ERR_CONFIG;
    }
    *equals = '\0';
    const char *value = trim(equals + 1);
    const char *name = trim(text);
    const struct config_key *key = config_key_find(name, strlen(name));
    if (key == NULL) {
        return unknown(l, where, name, value);
    }
    return set(l, where, key, value, CONFIG_FILE, line);
}

/* *out (NUL behind it) is the caller's. Errors: ERR_NOT_FOUND; others with errmsg. */
static int read_file(struct load *l, const char *path, char **out)
{
    size_t size = 0;
    ssize_t n = 1;
    char *data;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return ERR_NOT_FOUND;
    }
    data = fd < 0 ? NULL : malloc(CONFIG_FILE_MAX_BYTES + 2);
    if (fd >= 0 && data == NULL) {
        close(fd);
        snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s: out of memory", path);
        return ERR_NOMEM;
    }
    while (fd >= 0 && n > 0 && size <= CONFIG_FILE_MAX_BYTES) {
        n = read(fd, data + size, CONFIG_FILE_MAX_BYTES + 1 - size);
        size += n > 0 ? (size_t)n : 0;
    }
    if (fd < 0 || n < 0) {
        snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s: cannot be read: %s", path, strerror(errno));
        goto err;
    }
    if (size > CONFIG_FILE_MAX_BYTES || memchr(data, '\0', size) != NULL) {
        snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s: not a configuration file; allowed: text of at most %u bytes", path,
                 CONFIG_FILE_MAX_BYTES);
        goto err;
    }
    close(fd);
    data[size] = '\0';
    *out = data;
    return 0;
err:
    if (fd >= 0) {
        close(fd);
    }
    free(data);
    return ERR_CONFIG;
}

static int load_file(struct load *l)
{
    const char *path = l->file != NULL ? l->file : l->input->file_default;
    char *data;
    if (path == NULL) {
        return 0;
    }
    if (*path == '\0' || strlen(path) >= sizeof l->c->file) {
        snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "--config \"%.64s\": not a path; allowed: 1 to %zu bytes", path,
                 sizeof l->c->file - 1);
        return ERR_CONFIG;
    }
    int rv = read_file(l, path, &data);
    if (rv == ERR_NOT_FOUND && l->file == NULL) {
        return 0;
    }
    if (rv != 0) {
        if (rv == ERR_NOT_FOUND) {
            snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s: the configuration file is not there", path);
        }
        return rv == ERR_NOMEM ? rv : ERR_CONFIG;
    }
    snprintf(l->c->file, sizeof l->c->file, "%s", path);
    uint32_t line = 1;
    char *rest = data;
    for (char *text = strsep(&rest, "\n"); rv == 0 && text != NULL; text = strsep(&rest, "\n"), line++) {
        rv = set_line(l, text, line);
    }
    free(data);
    return rv;
}

/* ---- the environment ---- */

#define VARIABLE_CONFIG "CAIRND_CONFIG"

static const struct config_key *key_of_variable(const char *name, size_t length)
{
    char variable[CONFIG_VARIABLE_MAX];
    for (uint32_t i = 0; i < config_n_keys; i++) {
        config_key_variable(&config_keys[i], variable);
        if (strlen(variable) == length && memcmp(variable, name, length) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

static int load_environment(struct load *l)
{
    for (char *const *p = l->input->envp; p != NULL && *p != NULL; p++) {
        const char *equals = strchrnul(*p, '=');
        size_t length = (size_t)(equals - *p);
        const char *value = *equals == '=' ? equals + 1 : equals;
        char name[QUOTED_SIZE];
        char where[WHERE_SIZE];
        int rv;
        if (strncmp(*p, CONFIG_VARIABLE_PREFIX, strlen(CONFIG_VARIABLE_PREFIX)) != 0 ||
            (length == strlen(VARIABLE_CONFIG) && memcmp(*p, VARIABLE_CONFIG, length) == 0)) {
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)length, *p);
        const struct config_key *key = key_of_variable(*p, length);
        if (key == NULL) {
            rv = unknown(l, "environment: ", name, value);
        } else {
            snprintf(where, sizeof where, "environment %s: ", name);
            rv = set(l, where, key, value, CONFIG_ENVIRONMENT, 0);
        }
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static const char *file_of_environment(const struct config_input *input)
{
    size_t length = strlen(VARIABLE_CONFIG "=");
    for (char *const *p = input->envp; p != NULL && *p != NULL; p++) {
        if (strncmp(*p, VARIABLE_CONFIG "=", length) == 0) {
            return *p + length;
        }
    }
    return NULL;
}

/* ---- flags ---- */

static int usage(struct load *l, const char *argument, const char *what)
{
    char quoted[QUOTED_SIZE];
    snprintf(l->errmsg, CONFIG_ERRMSG_SIZE, "%s: %s (see cairnd --help)", log_quote(quoted, sizeof quoted, argument),
             what);
    return ERR_CONFIG;
}

static bool action_of(const char *argument, enum config_action *action)
{
    static const struct {
        const char *flag;
        enum config_action action;
    } actions[] = {{"--check-config", CONFIG_CHECK},
                   {"--print-config", CONFIG_PRINT},
                   {"--help", CONFIG_HELP},
                   {"-h", CONFIG_HELP},
                   {"--version", CONFIG_VERSION}};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(argument, actions[i].flag) == 0) {
            *action = actions[i].action;
            return true;
        }
    }
    return false;
}

/* One flag with its value: "--key=value", "--key value", and for a bool also "--key" alone. *i moves on past the value.
 * @length: of the name. *value NULL: there is none. */
static void split_flag(const struct config_input *input, int *i, size_t *length, const char **value, bool is_bool)
{
    const char *argument = input->argv[*i];
    const char *next = *i + 1 < input->argc ? input->argv[*i + 1] : NULL;
    *length = strcspn(argument, "=");
    if (argument[*length] == '=') {
        *value = argument + *length + 1;
    } else if (is_bool && (next == NULL || (strcmp(next, "true") != 0 && strcmp(next, "false") != 0))) {
        *value = "true";
    } else {
        *value = next;
        (*i)++;
    }
}

/* In two passes, because the file stands below the flags: @values false finds the action and the file's name only. */
static int load_flags(struct load *l, bool values)
{
    const struct config_input *input = l->input;
    for (int i = 1; i < input->argc; i++) {
        const char *argument = input->argv[i];
        enum config_action action;
        const char *value;
        size_t length;
        int rv = 0;
        if (strncmp(argument, "--", 2) != 0 && strcmp(argument, "-h") != 0) {
            return usage(l, argument, "not a flag; allowed: --key=value");
        }
        if (action_of(argument, &action)) {
            if (!values && l->c->action != CONFIG_RUN && l->c->action != action) {
                return usage(l, argument,
                             "only one of --check-config, --print-config, --help and --version is allowed");
            }
            l->c->action = action;
            continue;
        }
        length = strcspn(argument, "=");
        const struct config_key *key = config_key_find(argument + 2, length - 2);
        bool is_config = length == strlen("--config") && strncmp(argument, "--config", length) == 0;
        split_flag(input, &i, &length, &value, key != NULL && key->type == CONFIG_BOOL);
        if (key == NULL && !is_config) {
            return unknown(l, "flags: ", argument, value != NULL ? value : "");
        }
        if (value == NULL) {
            return usage(l, argument, "its value is missing");
        }
        if (is_config && !values) {
            rv = l->file == NULL ? 0 : usage(l, argument, "given twice; allowed: once");
            l->file = value;
        } else if (!is_config && values) {
            rv = set(l, "flags: ", key, value, CONFIG_FLAG, 0);
        }
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int load_all(struct load *l)
{
    set_defaults(l);
    int rv = load_flags(l, false);
    if (rv != 0 || l->c->action == CONFIG_HELP || l->c->action == CONFIG_VERSION) {
        return rv;
    }
    if (l->file == NULL) {
        l->file = file_of_environment(l->input);
    }
    rv = load_file(l);
    if (rv == 0) {
        rv = load_environment(l);
    }
    return rv != 0 ? rv : load_flags(l, true);
}

int config_load(struct config *c, const struct config_input *input, char *errmsg)
{
    struct load l = {.c = c, .input = input, .errmsg = errmsg};
    memset(c, 0, sizeof *c);
    int rv = load_all(&l);
    if (rv != 0) {
        /* Whatever was quoted of foreign text: it is one line. */
        for (char *p = errmsg; *p != '\0'; p++) {
            *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
        }
    }
    return rv;
}
