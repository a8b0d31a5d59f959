/* What stands in the payload of a RAFT frame: messages of many groups, one behind the other. Pure bytes, so that the
 * fuzzer reaches all of it.
 *
 * A message, little-endian: u64 group | u32 header bytes | u32 entries | header | entries * (entry header | payload) */
#ifndef CAIRN_TRANSPORT_PEER_FRAME_H
#define CAIRN_TRANSPORT_PEER_FRAME_H

#include <stdint.h>

#include "proto/base/cursor.h"
#include "proto/base/entry.h"

#define PEER_FRAME_PREFIX_SIZE 16   /* bytes before a message's header */
#define PEER_FRAME_HEADER_MAX 2048  /* bytes of a message's header */
#define PEER_FRAME_ENTRIES_MAX 4096 /* entries in one message */

struct peer_message {
    uint64_t group;
    const uint8_t *header; /* inside the frame */
    uint32_t size;         /* of @header */
    uint32_t n;            /* entries */
};

void peer_frame_prefix(uint8_t out[PEER_FRAME_PREFIX_SIZE], uint64_t group, uint32_t size, uint32_t n);

/* The next message of a payload that lies in @buf. @entries has room for PEER_FRAME_ENTRIES_MAX; the n references put
 * there are the caller's, and their payloads point into @buf. The leader's checksum of each payload is verified here,
 * once, on arrival. Errors (no references are left): ERR_MALFORMED, ERR_TOO_BIG, ERR_VERSION, ERR_CORRUPT, ERR_NOMEM. */
int peer_frame_next(struct cursor *c, struct buf *buf, struct peer_message *out, struct entry **entries) MUST_USE;

#endif
