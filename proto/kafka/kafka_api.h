/* The APIs that we speak: which versions, how they are framed, which messages they carry. The table is made from
 * schema/ by generate.py; messages/<api>.h have the keys (KAFKA_API_PRODUCE, ...). */
#ifndef CAIRN_KAFKA_API_H
#define CAIRN_KAFKA_API_H

#include "proto/kafka/kafka_schema.h"

struct kafka_api {
    int16_t key;
    const char *name; /* as people know it: "InitProducerId" */
    int16_t version_min,
        version_max;         /* what ApiVersions advertises, and what the messages can be read and written in */
    int16_t serve_min;       /* lower ones are advertised for old clients' sake, and refused when used */
    int16_t flexible_min;    /* INT16_MAX: never */
    int16_t response_header; /* its version where it is fixed, -1 where it follows flexible_min */
    const struct kafka_message *request;
    const struct kafka_message *response;
};

/* In the order of keys. */
extern const struct kafka_api kafka_apis[];
extern const size_t kafka_apis_count;

/* NULL: not one of ours. */
const struct kafka_api *kafka_api_find(int16_t key);

/* True where a request of this version is to be carried out, not refused with UNSUPPORTED_VERSION. */
bool kafka_api_serves(const struct kafka_api *api, int16_t version);

/* Versions of the headers that surround the messages of @version. */
int16_t kafka_api_request_header(const struct kafka_api *api, int16_t version);
int16_t kafka_api_response_header(const struct kafka_api *api, int16_t version);

#endif
