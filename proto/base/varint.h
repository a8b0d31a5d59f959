/* Zigzag varints as Kafka's records use them, on our cursors. */
#ifndef CAIRN_BASE_VARINT_H
#define CAIRN_BASE_VARINT_H

#include <stdint.h>

#include "proto/base/cursor.h"

#define VARINT32_SIZE_MAX 5
#define VARINT64_SIZE_MAX 10

/* Zigzag-decoded. More bytes than the width needs at most, or bits beyond it, fail the cursor; padding with zero groups
 * within that length is accepted, as Kafka's own readers do. */
int32_t cursor_varint32(struct cursor *c);
int64_t cursor_varint64(struct cursor *c);
/* Plain unsigned (Kafka's compact lengths). */
uint32_t cursor_uvarint32(struct cursor *c);

void writer_varint32(struct writer *w, int32_t value);
void writer_varint64(struct writer *w, int64_t value);
void writer_uvarint32(struct writer *w, uint32_t value);

unsigned varint_size(int64_t value); /* bytes of the zigzag encoding: 1 to 10 */

#endif
