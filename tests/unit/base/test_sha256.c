#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/sha256.h"

static void check(const char *text, size_t repeat, const char *expected)
{
    uint8_t out[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct sha256 s;
    sha256_init(&s);
    for (size_t i = 0; i < repeat; i++) {
        sha256_update(&s, text, strlen(text));
    }
    sha256_final(&s, out);
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        snprintf(&hex[2 * i], 3, "%02x", out[i]);
    }
    assert_string_equal(hex, expected);
}

/* FIPS 180-4's examples. */
static void standard_vectors(void **state)
{
    (void)state;
    check("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check("aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(standard_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
