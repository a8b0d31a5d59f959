#include "tests/unit/client/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct frame_limits limits = {.message_max = FRAME_MESSAGE_MAX, .payload_max = FRAME_PAYLOAD_MAX};

static void server_reply(struct world *w, struct world_link *link, const uint8_t *bytes, size_t size)
{
    struct server *s = container_of(w, struct server, world);

    for (int i = 0; i < SERVER_LINKS_MAX; i++) {
        if (s->links[i].link == link && s->links[i].fd >= 0) {
            while (size > 0) {
                ssize_t n = send(s->links[i].fd, bytes, size, MSG_NOSIGNAL);
                if (n <= 0) {
                    return;
                }
                bytes += n;
                size -= (size_t)n;
            }
        }
    }
}

static void link_close(struct server *s, struct server_link *l)
{
    close(l->fd);
    l->fd = -1;
    frame_reader_close(&l->reader);
    world_link_free(&s->world, l->link);
    l->link = NULL;
}

static void link_accept(struct server *s, uint32_t node)
{
    int fd = accept(s->listeners[node], NULL, NULL);
    int one = 1;

    if (fd < 0) {
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int i = 0; i < SERVER_LINKS_MAX; i++) {
        if (s->links[i].fd < 0) {
            s->links[i].fd = fd;
            s->links[i].node = node;
            s->links[i].link = world_link_new(node);
            frame_reader_init(&s->links[i].reader, NULL, &limits, 0);
            return;
        }
    }
    close(fd);
}

static void link_read(struct server *s, struct server_link *l)
{
    struct frame f;
    uint8_t *base;
    size_t length;
    ssize_t n;
    int rv = frame_reader_alloc(&l->reader, &base, &length);

    assert(rv == 0);
    (void)rv;
    n = recv(l->fd, base, length, 0);
    if (n <= 0) {
        link_close(s, l);
        return;
    }
    frame_reader_commit(&l->reader, (size_t)n);
    while (frame_reader_next(&l->reader, &f)) {
        world_serve(&s->world, l->link, l->node, &f);
        buf_release(f.buf);
    }
    if (frame_reader_error(&l->reader) != 0) {
        link_close(s, l); /* somebody who speaks something else */
    }
}

/* Consumer groups live by the clock. */
static void server_tick(struct server *s)
{
    struct timespec now;

    if (s->world.tick != NULL) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        s->world.now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
        s->world.tick(&s->world);
    }
}

static void *server_main(void *arg)
{
    struct server *s = arg;

    while (!s->stopping) {
        struct pollfd fds[WORLD_NODES + SERVER_LINKS_MAX];
        int index[WORLD_NODES + SERVER_LINKS_MAX];
        nfds_t n = 0;

        pthread_mutex_lock(&s->mutex);
        for (int i = 1; i <= WORLD_NODES; i++) {
            index[n] = -i;
            fds[n++] = (struct pollfd){.fd = s->listeners[i], .events = POLLIN};
        }
        for (int i = 0; i < SERVER_LINKS_MAX; i++) {
            if (s->links[i].fd >= 0) {
                index[n] = i;
                fds[n++] = (struct pollfd){.fd = s->links[i].fd, .events = POLLIN};
            }
        }
        pthread_mutex_unlock(&s->mutex);
        if (poll(fds, n, 20) < 0) {
            continue;
        }
        pthread_mutex_lock(&s->mutex);
        server_tick(s);
        for (nfds_t i = 0; i < n; i++) {
            if (fds[i].revents == 0) {
                continue;
            }
            if (index[i] < 0) {
                link_accept(s, (uint32_t)-index[i]);
            } else if (s->links[index[i]].fd == fds[i].fd) {
                link_read(s, &s->links[index[i]]);
            }
        }
        pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

void server_start(struct server *s, uint32_t partitions, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    world_init(&s->world, partitions, seed);
    s->world.reply = server_reply;
    for (int i = 0; i < SERVER_LINKS_MAX; i++) {
        s->links[i].fd = -1;
    }
    for (uint32_t n = 1; n <= WORLD_NODES; n++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        int rv;

        s->listeners[n] = socket(AF_INET, SOCK_STREAM, 0);
        rv = bind(s->listeners[n], (struct sockaddr *)&address, sizeof address);
        assert(rv == 0);
        rv = listen(s->listeners[n], 64);
        assert(rv == 0);
        rv = getsockname(s->listeners[n], (struct sockaddr *)&address, &length);
        assert(rv == 0);
        (void)rv;
        snprintf(s->world.addresses[n], sizeof s->world.addresses[n], "127.0.0.1:%u", ntohs(address.sin_port));
    }
    snprintf(s->bootstrap, sizeof s->bootstrap, "%s", s->world.addresses[1]);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_create(&s->thread, NULL, server_main, s);
}

void server_stop(struct server *s)
{
    s->stopping = true;
    pthread_join(s->thread, NULL);
    for (int i = 0; i < SERVER_LINKS_MAX; i++) {
        if (s->links[i].fd >= 0) {
            link_close(s, &s->links[i]);
        }
    }
    for (uint32_t n = 1; n <= WORLD_NODES; n++) {
        close(s->listeners[n]);
    }
    pthread_mutex_destroy(&s->mutex);
    world_close(&s->world);
}

void server_cut(struct server *s, uint32_t node)
{
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < SERVER_LINKS_MAX; i++) {
        if (s->links[i].fd >= 0 && s->links[i].node == node) {
            link_close(s, &s->links[i]);
        }
    }
    pthread_mutex_unlock(&s->mutex);
}
