/* One record as text by a format, or as a line of JSON. */
#ifndef CAIRN_CLI_RECORD_PRINT_H
#define CAIRN_CLI_RECORD_PRINT_H

#include <cairn/consumer.h>
#include <stdio.h>

/* %k %v %o %p %t %T %s %h %%; \n \t \0 \\. Anything else stands for itself. */
void record_print(FILE *out, const char *format, const char *topic, int32_t partition,
                  const struct cairn_record *record);

/* Bytes that are no UTF-8 stand as "key_base64" and "value_base64". */
void record_print_json(FILE *out, const char *topic, int32_t partition, const struct cairn_record *record);

#endif
