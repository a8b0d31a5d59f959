/* The framing of requests and responses: a size, a header whose version hangs on the API, a message. */
#ifndef CAIRN_KAFKA_HEADER_H
#define CAIRN_KAFKA_HEADER_H

#include "proto/base/cursor.h"
#include "proto/base/err.h"
#include "proto/kafka/kafka_api.h"

#define KAFKA_FRAME_PREFIX_SIZE 4 /* an int32: how many bytes follow */
#define KAFKA_FRAME_SIZE_MIN 8    /* bytes: key, version, correlation */
#define KAFKA_RESPONSE_HEADER_SIZE_MAX 5

/* What a request says before its message. */
struct kafka_header {
    const struct kafka_api *api; /* NULL: the key is not one of ours */
    int16_t key;
    int16_t version;
    int32_t correlation_id;
    struct kafka_string client_id; /* points into the frame; length -1: none */
};

/* The size that a frame's first four bytes announce, to be checked before anything is allocated.
 * Errors: ERR_MALFORMED smaller than any request; ERR_TOO_BIG larger than @size_max (text that starts like HTTP, too).
 */
int kafka_frame_size(const uint8_t prefix[KAFKA_FRAME_PREFIX_SIZE], uint32_t size_max, uint32_t *out) MUST_USE;

/* Read a request's header; @c then stands at its message.
 * Errors: ERR_MALFORMED; ERR_UNKNOWN_CALL not an API of ours, and ERR_VERSION a version that its messages do not have.
 * With the last two @out holds key, version and correlation (and api, for ERR_VERSION), and the rest is unreadable.
 * ApiVersions is then answered in version 0 with error 35 and the keys (KIP-511); anyone else's connection is closed.
 */
int kafka_header_parse(struct cursor *c, struct kafka_header *out) MUST_USE;

/* The response's header to the request @h, in front of a message of @version (that of the request, or 0 where
 * ApiVersions falls back). Fails @w where it is full. */
void kafka_response_header_write(struct writer *w, const struct kafka_header *h, int16_t version);
size_t kafka_response_header_bytes(const struct kafka_header *h, int16_t version);

#endif
