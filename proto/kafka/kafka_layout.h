/* Private to the codec: what a field holds, and how many bytes it takes. */
#ifndef CAIRN_KAFKA_LAYOUT_H
#define CAIRN_KAFKA_LAYOUT_H

#include "proto/kafka/kafka_schema.h"

/* @in: the struct that has the field. */
bool kafka_field_is_default(const struct kafka_field *f, const uint8_t *in);

/* Bytes of the whole field, without a tag's own header. @records: count the bytes of records too. */
size_t kafka_field_size(const struct kafka_field *f, int16_t version, bool flexible, bool records, const uint8_t *in);

#endif
