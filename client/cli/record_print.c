#include "client/cli/record_print.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void headers_print(FILE *out, const struct cairn_record *record)
{
    struct cairn_record copy = *record;
    struct cairn_record_header h;
    const char *comma = "";

    while (cairn_record_header(&copy, &h)) {
        fprintf(out, "%s%.*s=%.*s", comma, (int)h.key_size, h.key, (int)h.value_size,
                h.value != NULL ? (const char *)h.value : "");
        comma = ",";
    }
}

static void bytes_print(FILE *out, const void *bytes, size_t size)
{
    if (size > 0) { /* no key: no pointer either */
        fwrite(bytes, 1, size, out);
    }
}

static void field_print(FILE *out, char field, const char *topic, int32_t partition, const struct cairn_record *record)
{
    switch (field) {
    case 'k':
        bytes_print(out, record->key, record->key_size);
        return;
    case 'v':
        bytes_print(out, record->value, record->value_size);
        return;
    case 'o':
        fprintf(out, "%lld", (long long)record->offset);
        return;
    case 'p':
        fprintf(out, "%d", partition);
        return;
    case 't':
        fprintf(out, "%lld", (long long)record->timestamp_ms);
        return;
    case 'T':
        fputs(topic, out);
        return;
    case 's':
        fprintf(out, "%zu", record->value_size);
        return;
    case 'h':
        headers_print(out, record);
        return;
    case '%':
        fputc('%', out);
        return;
    default:
        fputc('%', out);
        fputc(field, out);
    }
}

void record_print(FILE *out, const char *format, const char *topic, int32_t partition,
                  const struct cairn_record *record)
{
    for (const char *p = format; *p != '\0'; p++) {
        if (*p == '%' && p[1] != '\0') {
            field_print(out, *++p, topic, partition, record);
        } else if (*p == '\\' && p[1] != '\0') {
            p++;
            fputc(*p == 'n' ? '\n' : *p == 't' ? '\t' : *p == '0' ? '\0' : *p, out);
        } else {
            fputc(*p, out);
        }
    }
}

static json_t *base64(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((size + 2) / 3 * 4 + 1);
    size_t at = 0;
    json_t *out;

    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < size; i += 3) {
        uint32_t n = (uint32_t)bytes[i] << 16 | (i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (i + 2 < size ? bytes[i + 2] : 0);
        text[at++] = digits[n >> 18];
        text[at++] = digits[n >> 12 & 63];
        text[at++] = i + 1 < size ? digits[n >> 6 & 63] : '=';
        text[at++] = i + 2 < size ? digits[n & 63] : '=';
    }
    out = json_stringn(text, at);
    free(text);
    return out;
}

static void bytes_json(json_t *object, const char *name, const void *bytes, size_t size)
{
    char encoded[32];
    json_t *text;

    if (bytes == NULL) {
        json_object_set_new(object, name, json_null());
        return;
    }
    text = json_stringn(bytes, size); /* NULL: not UTF-8 */
    if (text != NULL) {
        json_object_set_new(object, name, text);
        return;
    }
    snprintf(encoded, sizeof encoded, "%s_base64", name);
    json_object_set_new(object, encoded, base64(bytes, size));
}

void record_print_json(FILE *out, const char *topic, int32_t partition, const struct cairn_record *record)
{
    json_t *object = json_pack("{s:s, s:i, s:I, s:I}", "topic", topic, "partition", (int)partition, "offset",
                               (json_int_t)record->offset, "timestamp_ms", (json_int_t)record->timestamp_ms);
    struct cairn_record copy = *record;
    struct cairn_record_header h;
    json_t *headers;

    bytes_json(object, "key", record->key, record->key_size);
    bytes_json(object, "value", record->value, record->value_size);
    if (record->header_count > 0) {
        headers = json_array();
        while (cairn_record_header(&copy, &h)) {
            json_t *item = json_object();
            bytes_json(item, "key", h.key, h.key_size);
            bytes_json(item, "value", h.value, h.value_size);
            json_array_append_new(headers, item);
        }
        json_object_set_new(object, "headers", headers);
    }
    json_dumpf(object, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(object);
}
