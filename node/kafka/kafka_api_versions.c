#include <stdio.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/api_versions.h"

/* What we handle, and nothing else: clients take every key for a promise. */
static bool fill_keys(struct kafka_request *r, struct kafka_api_versions_response *response)
{
    response->api_keys = kafka_alloc(r, kafka_handlers_count, sizeof *response->api_keys);
    if (response->api_keys == NULL) {
        return false;
    }
    for (size_t i = 0; i < kafka_handlers_count; i++) {
        const struct kafka_api *api = kafka_api_find(kafka_handlers[i].key);
        struct kafka_api_versions_response_api *out = &response->api_keys[response->api_keys_count++];
        out->api_key = api->key;
        out->min_version = api->version_min;
        out->max_version = api->version_max;
    }
    return true;
}

int kafka_api_versions(struct kafka_request *r)
{
    struct kafka_api_versions_request m;
    struct kafka_api_versions_response response;
    int rv = kafka_api_versions_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    if (m.client_software_name.length > 0) {
        snprintf(r->session->client, sizeof r->session->client, "%.*s/%.*s/%.*s",
                 m.client_software_name.length > 24 ? 24 : m.client_software_name.length, m.client_software_name.data,
                 m.client_software_version.length > 12 ? 12 : m.client_software_version.length,
                 m.client_software_version.data,
                 r->header.client_id.length > 24  ? 24
                 : r->header.client_id.length < 0 ? 0
                                                  : r->header.client_id.length,
                 r->header.client_id.length > 0 ? r->header.client_id.data : "");
    }
    kafka_api_versions_response_init(&response);
    if (!fill_keys(r, &response)) {
        return ERR_NOMEM;
    }
    kafka_answer(r, &response);
    return 0;
}

int kafka_api_versions_unknown(struct kafka_request *r)
{
    struct kafka_api_versions_response response;

    kafka_api_versions_response_init(&response);
    response.error_code = KAFKA_ERROR_UNSUPPORTED_VERSION;
    if (!fill_keys(r, &response)) {
        return ERR_NOMEM;
    }
    kafka_answer_version(r, 0, &response);
    return 0;
}
