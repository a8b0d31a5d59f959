#include "util.h"

#include "proto/native/cluster.pb-c.h"
#include "proto/native/command.pb-c.h"
#include "proto/native/native.pb-c.h"

/* The generated code is built, found by its include path, and survives bytes that are not its own. */
static void a_generated_message_round_trips(void **state)
{
    char software[] = "cairn";
    Cairn__Native__HelloRequest in = CAIRN__NATIVE__HELLO_REQUEST__INIT;
    Cairn__Native__HelloRequest *out;
    uint8_t bytes[64];
    size_t size;

    in.client_software = software;
    size = cairn__native__hello_request__pack(&in, bytes);
    out = cairn__native__hello_request__unpack(NULL, size, bytes);
    assert_non_null(out);
    assert_string_equal(out->client_software, "cairn");
    cairn__native__hello_request__free_unpacked(out, NULL);
    assert_null(cairn__native__hello_request__unpack(NULL, size - 1, bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_generated_message_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
