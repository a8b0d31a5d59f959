/* Which API is handled where. */
#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/api_versions.h"
#include "proto/kafka/messages/metadata.h"

const struct kafka_handler kafka_handlers[] = {
    {KAFKA_API_METADATA, KAFKA_READS, kafka_metadata},
    {KAFKA_API_API_VERSIONS, KAFKA_READS, kafka_api_versions},
};
const size_t kafka_handlers_count = sizeof kafka_handlers / sizeof kafka_handlers[0];
