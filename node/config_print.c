/* The documented file, and --help. */
#include <stdlib.h>
#include <string.h>

#include "node/config_internal.h"

static void print_lines(FILE *out, const char *indent, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        fprintf(out, "%s%.*s\n", indent, (int)n, text);
        text += n + (text[n] == '\n');
    }
}

void config_print(const struct config *c, FILE *out)
{
    char value[CONFIG_VALUE_MAX_BYTES];
    char allowed[CONFIG_WHY_SIZE];
    fputs("# cairnd's configuration: key = value. '#' at the begin of a line or behind a space begins a comment.\n"
          "# The environment overrides this file (CAIRND_NODE_ID for node.id), flags override both (--node.id=1).\n"
          "# Check it with `cairnd --config FILE --check-config`.\n",
          out);
    for (uint32_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != NULL) {
            fprintf(out, "\n# ---- %s ----\n", key->section);
        }
        fputc('\n', out);
        print_lines(out, "# ", key->doc);
        fprintf(out, "# %s. ", key->required ? "Required" : "Optional");
        fprintf(out, "Allowed: %s. ", config_key_allowed(key, allowed));
        fprintf(out, "Default: %s.\n", key->initial != NULL ? key->initial : "not set");
        config_value_format(key, c, value);
        if (value[0] != '\0') {
            fprintf(out, "%s = %s\n", key->name, value);
        } else {
            fprintf(out, "#%s = %s\n", key->name, key->example);
        }
    }
}

void config_help(FILE *out)
{
    char allowed[CONFIG_WHY_SIZE];
    fputs("cairnd: a node of a Cairn cluster, a distributed replicated log.\n"
          "\n"
          "usage: cairnd [--config FILE] [--key=value]...\n"
          "       cairnd --check-config ...   check everything, start nothing; prints ok or what is wrong\n"
          "       cairnd --print-config ...   the documented configuration file with the values in effect\n"
          "       cairnd --version | --help\n"
          "\n"
          "Values come from, each overriding those before: defaults, the file (--config FILE, or CAIRND_CONFIG, "
          "or\n" CONFIG_FILE_DEFAULT " if it is there), the environment (CAIRND_NODE_ID for node.id), flags\n"
          "(--node.id=1 or --node.id 1). Unknown keys are errors. SIGTERM and SIGINT stop the node in order, a second\n"
          "one at once. Exit status: 0 stopped, 2 something is to be corrected first (configuration, a busy port, a "
          "data\n"
          "directory in use or of another node), 1 and others a failure.\n"
          "\n"
          "examples:\n"
          "  A cluster of one, for trying things out:\n"
          "    cairnd --node.id=1 --cluster.seeds=1@127.0.0.1:7500 --data.dir=/tmp/cairn \\\n"
          "           --topic.default.replication=1\n"
          "  The first of three nodes:\n"
          "    cairnd --node.id=1 --cluster.seeds=1@10.0.0.1:7500,2@10.0.0.2:7500,3@10.0.0.3:7500 \\\n"
          "           --peer.listen=10.0.0.1:7500 --listeners=client@10.0.0.1:7400\n"
          "  A file to begin with:\n"
          "    cairnd --config /dev/null --print-config > cairnd.conf\n"
          "\n"
          "keys:\n",
          out);
    for (uint32_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != NULL) {
            fprintf(out, "  %s\n", key->section);
        }
        fprintf(out, "    --%s=%s%s\n", key->name, key->initial != NULL ? key->initial : key->example,
                key->required && key->initial == NULL ? "   (required, an example)"
                : key->initial == NULL                ? "   (an example)"
                                                      : "");
        print_lines(out, "        ", key->doc);
        fprintf(out, "        Allowed: %s.\n", config_key_allowed(key, allowed));
    }
}
