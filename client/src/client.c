#include "client/src/client.h"

#include <stdlib.h>
#include <string.h>

const char *cairn_version(void)
{
    return CAIRN_VERSION;
}

static int bootstrap_add(struct core_config *config, const char *text, size_t length, struct cairn_error *error)
{
    const char *colon = memrchr(text, ':', length);
    size_t port_length = colon != NULL ? (size_t)(text + length - colon) - 1 : 0;
    long port = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;

    if (config->bootstrap_count == CLIENT_BOOTSTRAP_MAX) {
        return error_set(error, ERR_INVALID, "bootstrap: more than %d addresses", CLIENT_BOOTSTRAP_MAX);
    }
    if (length >= CLIENT_ADDRESS_SIZE || colon == NULL || colon == text || port_length == 0 || port_length > 5 ||
        port < 1 || port > 65535) {
        return error_set(error, ERR_INVALID, "bootstrap: \"%.*s\" is not HOST:PORT", (int)(length < 100 ? length : 100),
                         text);
    }
    memcpy(config->bootstrap[config->bootstrap_count], text, length);
    config->bootstrap[config->bootstrap_count][length] = '\0';
    config->bootstrap_count++;
    return 0;
}

static int bootstrap_parse(struct core_config *config, const char *text, struct cairn_error *error)
{
    int rv;

    while (*text != '\0') {
        size_t length = strcspn(text, ", ");
        if (length > 0) {
            rv = bootstrap_add(config, text, length, error);
            if (rv != 0) {
                return rv;
            }
        }
        text += length + (text[length] != '\0');
    }
    if (config->bootstrap_count == 0) {
        return error_set(error, ERR_INVALID, "bootstrap: no address given, want HOST:PORT[,HOST:PORT...]");
    }
    return 0;
}

int cairn_client_open(const char *bootstrap, const struct cairn_options *options, struct cairn_client **out,
                      struct cairn_error *error)
{
    struct cairn_client *client;
    struct core_config config;
    int rv;

    core_config_init(&config);
    {
        const struct option_field fields[] = {
            {.name = "client_id", .kind = OPTION_TEXT, .target = &config.client_id},
            {.name = "connect_timeout_ms",
             .kind = OPTION_U32,
             .target = &config.connect_timeout_ms,
             .min = 10,
             .max = 600000},
            {.name = "request_timeout_ms",
             .kind = OPTION_U32,
             .target = &config.request_timeout_ms,
             .min = 100,
             .max = 600000},
            {.name = "metadata_max_age_ms",
             .kind = OPTION_U32,
             .target = &config.metadata_max_age_ms,
             .min = 100,
             .max = 86400000},
        };
        rv = options_apply(options, fields, sizeof fields / sizeof fields[0], error);
    }
    if (rv != 0) {
        return rv;
    }
    config.bootstrap = malloc(CLIENT_BOOTSTRAP_MAX * sizeof config.bootstrap[0]);
    client = calloc(1, sizeof *client);
    if (client == NULL || config.bootstrap == NULL) {
        rv = error_set(error, ERR_NOMEM, "open client: out of memory");
        goto out;
    }
    rv = bootstrap_parse(&config, bootstrap, error);
    if (rv != 0) {
        goto out;
    }
    client->request_timeout_ms = config.request_timeout_ms;
    rv = driver_start(&client->driver, &config);
    if (rv != 0) {
        rv = error_set(error, rv, "open client: start its thread: %s", err_text(rv));
        goto out;
    }
    *out = client;
    client = NULL;
out:
    free(config.bootstrap);
    free(client);
    return rv;
}

void cairn_client_close(struct cairn_client *client)
{
    if (client != NULL) {
        driver_stop(&client->driver);
        free(client);
    }
}
