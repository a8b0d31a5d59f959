#include "proto/kafka/kafka_api.h"

const struct kafka_api *kafka_api_find(int16_t key)
{
    size_t begin = 0, end = kafka_apis_count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        if (kafka_apis[middle].key == key) {
            return &kafka_apis[middle];
        }
        if (kafka_apis[middle].key < key) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return NULL;
}

bool kafka_api_serves(const struct kafka_api *api, int16_t version)
{
    return version >= api->serve_min && version <= api->version_max;
}

int16_t kafka_api_request_header(const struct kafka_api *api, int16_t version)
{
    return version >= api->flexible_min ? 2 : 1;
}

int16_t kafka_api_response_header(const struct kafka_api *api, int16_t version)
{
    if (api->response_header >= 0) {
        return api->response_header;
    }
    return version >= api->flexible_min ? 1 : 0;
}
