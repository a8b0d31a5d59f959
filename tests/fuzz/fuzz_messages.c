/* Every protobuf message that a node or client decodes from a socket or a log: whatever unpacks is whole in memory (it
 * can be walked and packed). The first byte chooses the message. That packed bytes unpack again is not asked: protobuf-c
 * keeps fields it does not know, malformed ones too, and we never pass such a message on. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/native/cluster.pb-c.h"
#include "proto/native/command.pb-c.h"
#include "proto/native/native.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &cairn__native__hello_request__descriptor,
    &cairn__native__hello_response__descriptor,
    &cairn__native__metadata_request__descriptor,
    &cairn__native__metadata_response__descriptor,
    &cairn__native__produce_request__descriptor,
    &cairn__native__produce_response__descriptor,
    &cairn__native__fetch_request__descriptor,
    &cairn__native__fetch_response__descriptor,
    &cairn__native__list_offsets_request__descriptor,
    &cairn__native__list_offsets_response__descriptor,
    &cairn__native__init_producer_id_request__descriptor,
    &cairn__native__init_producer_id_response__descriptor,
    &cairn__native__create_topic_request__descriptor,
    &cairn__native__create_topic_response__descriptor,
    &cairn__native__delete_topic_request__descriptor,
    &cairn__native__describe_topic_request__descriptor,
    &cairn__native__describe_topic_response__descriptor,
    &cairn__native__list_topics_response__descriptor,
    &cairn__native__cluster_status_response__descriptor,
    &cairn__native__failure__descriptor,
    &cairn__command__metadata_command__descriptor,
    &cairn__cluster__peer_hello__descriptor,
    &cairn__cluster__peer_refusal__descriptor,
    &cairn__cluster__form_state__descriptor,
    &cairn__cluster__leaders__descriptor,
    &cairn__cluster__control_request__descriptor,
    &cairn__cluster__control_response__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *descriptor;
    ProtobufCMessage *message;
    uint8_t *packed;
    size_t packed_size;

    if (size == 0) {
        return 0;
    }
    descriptor = descriptors[data[0] % (sizeof descriptors / sizeof descriptors[0])];
    message = protobuf_c_message_unpack(descriptor, NULL, size - 1, data + 1);
    if (message == NULL) {
        return 0;
    }
    packed_size = protobuf_c_message_get_packed_size(message);
    packed = malloc(packed_size + 1);
    assert(protobuf_c_message_pack(message, packed) == packed_size);
    protobuf_c_message_free_unpacked(message, NULL);
    free(packed);
    return 0;
}
