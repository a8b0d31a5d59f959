/* What a peer can put into a frame: Raft messages with entries, hellos, refusals. No input may crash, leak a reference or
 * be believed beyond its bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "raft/core/core_message.h"
#include "raft/transport/hello.h"
#include "raft/transport/peer_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void messages(const uint8_t *data, size_t size)
{
    static struct entry *entries[PEER_FRAME_ENTRIES_MAX];
    struct buf *buf = buf_new(NULL, size + 1);
    struct peer_message m;
    struct cursor c;

    if (buf == NULL) {
        return;
    }
    memcpy(buf->data, data, size);
    cursor_init(&c, buf->data, size);
    while (cursor_left(&c) > 0 && peer_frame_next(&c, buf, &m, entries) == 0) {
        struct core_message decoded;
        assert(m.n <= PEER_FRAME_ENTRIES_MAX && m.header + m.size <= buf->data + size);
        if (core_message_decode(m.header, m.size, &decoded) == 0) {
            uint8_t again[CORE_MESSAGE_ENCODED_MAX];
            size_t length;
            int rv = core_message_encode(&decoded, again, sizeof(again), &length);
            (void)rv; /* values may be impossible; the shape may not */
        }
        for (uint32_t i = 0; i < m.n; i++) {
            assert(entries[i]->length == 0 || (entries[i]->data >= buf->data &&
                                               entries[i]->data + entries[i]->length <= buf->data + size));
            assert(entry_intact(entries[i]));
            entry_release(entries[i]);
        }
    }
    assert(atomic_load(&buf->refs) == 1);
    buf_release(buf);
}

static void greetings(const uint8_t *data, size_t size)
{
    static struct hello_boots boots;
    struct transport_identity self = {.node = 1};
    struct hello hello;
    char text[ERRMSG_SIZE];
    int err;

    if (hello_decode(data, size, &hello) == 0) {
        uint8_t again[HELLO_MESSAGE_MAX];
        size_t length;
        assert(memchr(hello.id.peer_address, '\0', sizeof(hello.id.peer_address)) != NULL);
        err = hello_encode(&hello, again, sizeof(again), &length);
        assert(err == 0);
        if (hello_check(&hello, &self, 0, &boots, text) == 0) {
            hello_boots_note(&boots, &hello.id.disk_id, hello.id.boot);
        }
    }
    if (refusal_decode(data, size, &err, text) == 0) {
        assert(err != 0 && memchr(text, '\0', sizeof(text)) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    messages(data, size);
    greetings(data, size);
    return 0;
}
