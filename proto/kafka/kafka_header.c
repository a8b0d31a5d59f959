#include "proto/kafka/kafka_header.h"

#include <assert.h>

#include "proto/kafka/messages/request_header.h"
#include "proto/kafka/messages/response_header.h"

int kafka_frame_size(const uint8_t prefix[KAFKA_FRAME_PREFIX_SIZE], uint32_t size_max, uint32_t *out)
{
    struct cursor c;
    int32_t size;

    cursor_init(&c, prefix, KAFKA_FRAME_PREFIX_SIZE);
    size = cursor_i32_be(&c);
    if (size < KAFKA_FRAME_SIZE_MIN) {
        return ERR_MALFORMED;
    }
    if ((uint32_t)size > size_max) {
        return ERR_TOO_BIG;
    }
    *out = (uint32_t)size;
    return 0;
}

int kafka_header_parse(struct cursor *c, struct kafka_header *out)
{
    struct kafka_request_header header;
    struct kafka_arena none; /* a header has no arrays */
    struct cursor ahead = *c;
    int rv;

    kafka_arena_init(&none, 0);
    /* Version 0 is what every version begins with: enough to know the rest, or to answer without it. */
    rv = kafka_request_header_decode(&ahead, 0, &none, &header);
    if (rv != 0) {
        c->failed = true;
        return rv;
    }
    out->api = kafka_api_find(header.request_api_key);
    out->key = header.request_api_key;
    out->version = header.request_api_version;
    out->correlation_id = header.correlation_id;
    out->client_id = header.client_id;
    if (out->api == NULL) {
        return ERR_UNKNOWN_CALL;
    }
    if (!kafka_message_in(out->api->request, out->version)) {
        return ERR_VERSION;
    }
    rv = kafka_request_header_decode(c, kafka_api_request_header(out->api, out->version), &none, &header);
    if (rv != 0) {
        return rv;
    }
    out->client_id = header.client_id;
    return 0;
}

void kafka_response_header_write(struct writer *w, const struct kafka_header *h, int16_t version)
{
    struct kafka_response_header header = {.correlation_id = h->correlation_id};
    int rv;

    rv = kafka_response_header_encode(w, kafka_api_response_header(h->api, version), &header);
    assert(rv == 0 || rv == ERR_BUFFER_FULL);
}

size_t kafka_response_header_bytes(const struct kafka_header *h, int16_t version)
{
    struct kafka_response_header header = {.correlation_id = h->correlation_id};

    return kafka_response_header_size(kafka_api_response_header(h->api, version), &header);
}
