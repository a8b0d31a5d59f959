/* "host:port" in text and binary, and libuv's errors in ours. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/env/env_uv_impl.h"

int env_uv_address_split(const char *address, char host[ENV_ADDRESS_MAX], char port[6])
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) {
        return ERR_INVALID;
    }
    size_t port_length = strlen(colon + 1);
    if (port_length == 0 || port_length > 5 || strspn(colon + 1, "0123456789") != port_length ||
        strtoul(colon + 1, NULL, 10) > 65535) {
        return ERR_INVALID;
    }
    const char *begin = address;
    const char *end = colon;
    if (*begin == '[') {
        begin++;
        if (end - begin < 1 || end[-1] != ']') {
            return ERR_INVALID;
        }
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) != NULL) {
        return ERR_INVALID; /* an IPv6 host without brackets */
    }
    size_t length = (size_t)(end - begin);
    if (length == 0 || length >= ENV_ADDRESS_MAX) {
        return ERR_INVALID;
    }
    memcpy(host, begin, length);
    host[length] = '\0';
    memcpy(port, colon + 1, port_length + 1);
    return 0;
}

int env_uv_address_numeric(const char *host, const char *port, struct sockaddr_storage *out)
{
    in_port_t number = htons((uint16_t)strtoul(port, NULL, 10));
    memset(out, 0, sizeof *out);
    struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)out;
    if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = number;
        return 0;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = number;
        return 0;
    }
    return ERR_NOT_FOUND;
}

void env_uv_address_format(const struct sockaddr *sa, char *out, size_t out_size)
{
    char text[INET6_ADDRSTRLEN];
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)sa;
        inet_ntop(AF_INET, &in4->sin_addr, text, sizeof text);
        snprintf(out, out_size, "%s:%u", text, ntohs(in4->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
        snprintf(out, out_size, "[%s]:%u", text, ntohs(in6->sin6_port));
    } else {
        snprintf(out, out_size, "unknown:0");
    }
}

socklen_t env_uv_address_size(const struct sockaddr *sa)
{
    return sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

int env_uv_err(int uv_error)
{
    switch (uv_error) {
    case UV_ECANCELED:
    case UV_ECONNRESET:
    case UV_EPIPE:
    case UV_ENOTCONN:
        return ERR_CLOSED;
    case UV_ECONNREFUSED:
    case UV_EACCES:
    case UV_EPERM:
        return ERR_REFUSED;
    case UV_EADDRNOTAVAIL:
        return ERR_IO;
    default:
        break;
    }
    if (uv_error <= UV_EAI_ADDRFAMILY && uv_error > UV_EOF) {
        return uv_error == UV_EAI_MEMORY ? ERR_NOMEM : ERR_NOT_FOUND; /* the name cannot be resolved */
    }
    return err_from_errno(-uv_error);
}
