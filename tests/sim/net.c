/* Streams: bytes under way, arrivals, stalls, resets, partitions. */
#include "tests/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"

#define SEGMENTS_MAX 4096 /* of one stream; more bytes join the last one */
#define RETRANSMIT_MAX_NS (200 * SIM_MS)

static void stream_schedule(struct sim_point *point);

/* ---- pairs ----------------------------------------------------------------------------------- */

static void point_reset(struct sim_pair *pair, int side)
{
    struct sim_point *point = &pair->points[side];
    struct sim_stream out = point->out;

    memset(point, 0, sizeof(*point));
    point->out.ring = out.ring; /* buffers are kept */
    point->out.capacity = out.capacity;
    point->out.segments = out.segments;
    point->out.segments_capacity = out.segments_capacity;
    point->out.stalls = out.stalls;
    point->pair = pair;
    point->other = &pair->points[!side];
    list_init(&point->writes);
}

struct sim_pair *sim_pair_new(struct sim_world *world)
{
    struct list *l = list_pop_front(&world->free_pairs);
    struct sim_pair *pair = l == NULL ? calloc(1, sizeof(*pair)) : list_entry(l, struct sim_pair, link);

    assert(pair != NULL);
    pair->id = ++world->pair_next;
    point_reset(pair, 0);
    point_reset(pair, 1);
    list_push_back(&world->pairs, &pair->link);
    return pair;
}

void sim_pair_done(struct sim_point *point)
{
    struct sim_pair *pair = point->pair;
    struct sim_world *world = point->node->world;

    for (int i = 0; i < 2; i++) {
        if (!pair->points[i].gone || pair->points[i].conn != NULL) {
            return;
        }
    }
    pair->id = 0;
    list_remove(&pair->link);
    list_push_front(&world->free_pairs, &pair->link);
}

static void pair_free(struct list *l)
{
    struct sim_pair *pair = list_entry(l, struct sim_pair, link);
    for (int i = 0; i < 2; i++) {
        free(pair->points[i].conn);
        free(pair->points[i].out.ring);
        free(pair->points[i].out.segments);
    }
    free(pair);
}

void sim_net_free(struct sim_world *world)
{
    struct list *l;
    while ((l = list_pop_front(&world->pairs)) != NULL) {
        pair_free(l);
    }
    while ((l = list_pop_front(&world->free_pairs)) != NULL) {
        pair_free(l);
    }
}

/* ---- the line -------------------------------------------------------------------------------- */

uint64_t sim_net_latency(struct sim_world *world, const struct sim_node *from, const struct sim_node *to)
{
    const struct sim_net_knobs *k = &world->params.net;
    uint64_t ns = sim_rng_range(&world->rng, k->latency_min_ns, k->latency_max_ns) + world->extra_ns[from->id][to->id];

    if (from != to && sim_rng_chance(&world->rng, k->spike_ppm)) {
        ns += sim_draw_ns(world, k->spike_max_ns);
        world->counts.net_spikes++;
    }
    return ns;
}

bool sim_net_blocked(const struct sim_world *world, const struct sim_node *from, const struct sim_node *to)
{
    return world->blocked[from->id][to->id] || !to->powered;
}

size_t sim_stream_room(const struct sim_point *point)
{
    uint64_t used = point->out.written - point->out.read;
    uint64_t size = point->node->world->params.net.buffer_bytes;
    return used < size ? (size_t)(size - used) : 0;
}

static void ring_reserve(struct sim_stream *s, uint64_t used)
{
    if (used <= s->capacity) {
        return;
    }
    uint64_t capacity = s->capacity == 0 ? 4096 : s->capacity;
    while (capacity < used) {
        capacity *= 2;
    }
    uint8_t *ring = malloc(capacity);
    assert(ring != NULL);
    for (uint64_t at = s->read; at < s->written;) {
        uint64_t n = s->capacity - at % s->capacity; /* up to a wrap of the old ring, hence of the new one too */
        n = n < s->written - at ? n : s->written - at;
        memcpy(ring + at % capacity, s->ring + at % s->capacity, n);
        at += n;
    }
    free(s->ring);
    s->ring = ring;
    s->capacity = capacity;
}

static struct sim_segment *segment_at(const struct sim_stream *s, size_t i)
{
    return &s->segments[(s->segments_at + i) % s->segments_capacity];
}

static uint64_t line_bytes_per_s(const struct sim_point *point)
{
    const struct sim_world *world = point->node->world;
    uint64_t usual = world->params.net.bytes_per_s;
    uint64_t narrow = world->narrow_bytes_per_s[point->node->id][point->other->node->id];
    return narrow != 0 && (usual == 0 || narrow < usual) ? narrow : usual;
}

static void segment_add(struct sim_point *point, uint64_t end, enum sim_segment_end kind, bool in_middle)
{
    struct sim_stream *s = &point->out;
    struct sim_world *world = point->node->world;
    uint64_t bytes_per_s = line_bytes_per_s(point);

    if (s->n_segments >= SEGMENTS_MAX && kind == SIM_SEGMENT_DATA) {
        segment_at(s, s->n_segments - 1)->end = end;
        return;
    }
    if (s->n_segments == s->segments_capacity) {
        size_t capacity = s->segments_capacity == 0 ? 16 : s->segments_capacity * 2;
        struct sim_segment *v = malloc(capacity * sizeof(*v));
        assert(v != NULL);
        for (size_t i = 0; i < s->n_segments; i++) {
            v[i] = *segment_at(s, i);
        }
        free(s->segments);
        s->segments = v;
        s->segments_at = 0;
        s->segments_capacity = capacity;
    }
    uint64_t begin = s->n_segments == 0 ? s->arrived : segment_at(s, s->n_segments - 1)->end;
    uint64_t here = sim_here_ns(world);
    uint64_t start = here > s->busy_until ? here : s->busy_until;
    if (bytes_per_s > 0) {
        s->busy_until = start + (end - begin) * 1000000 / (bytes_per_s / 1000 + 1);
    }
    uint64_t due = s->busy_until + sim_net_latency(world, point->node, point->other->node);
    s->due_last = due > s->due_last ? due : s->due_last;
    *segment_at(s, s->n_segments++) = (struct sim_segment){end, here, s->due_last, kind, in_middle};
    stream_schedule(point);
}

void sim_stream_put(struct sim_point *point, const struct iovec *iov, size_t n_iov, size_t skip, size_t size)
{
    struct sim_stream *s = &point->out;
    struct sim_world *world = point->node->world;
    uint64_t begin = s->written;

    ring_reserve(s, s->written - s->read + size);
    for (size_t i = 0; i < n_iov && size > 0; i++) {
        const uint8_t *from = (const uint8_t *)iov[i].iov_base + skip;
        size_t n = iov[i].iov_len - skip < size ? iov[i].iov_len - skip : size;
        skip = 0;
        size -= n;
        while (n > 0) {
            size_t part = (size_t)(s->capacity - s->written % s->capacity);
            part = part < n ? part : n;
            memcpy(s->ring + s->written % s->capacity, from, part);
            s->written += part;
            from += part;
            n -= part;
        }
    }
    bool split = s->written - begin > 1 && sim_rng_chance(&world->rng, world->params.net.split_ppm);
    if (split) {
        segment_add(point, begin + 1 + sim_rng_below(&world->rng, s->written - begin - 1), SIM_SEGMENT_DATA, false);
    }
    segment_add(point, s->written, SIM_SEGMENT_DATA, split);
}

void sim_stream_take(struct sim_point *reader, uint8_t *to, size_t size)
{
    struct sim_stream *s = &reader->other->out;
    struct sim_world *world = reader->node->world;
    uint32_t crc = 0;

    while (size > 0) {
        size_t n = (size_t)(s->capacity - s->read % s->capacity);
        n = n < size ? n : size;
        memcpy(to, s->ring + s->read % s->capacity, n);
        crc = crc32c(crc, to, n);
        s->read += n;
        to += n;
        size -= n;
    }
    sim_hash_add(world, crc ^ (reader->pair->id << 32) ^ s->read);
    sim_point_writable(reader->other);
}

/* Its end takes with it what is under way. */
static void stream_clear(struct sim_point *point)
{
    struct sim_stream *s = &point->out;

    if (s->n_segments > 0 && segment_at(s, 0)->in_middle) {
        point->node->world->counts.net_torn_frames++;
    }
    s->n_segments = 0;
    s->stalled = false;
    s->written = s->arrived;
}

/* What is under way takes another, longer way. */
void sim_stream_delay(struct sim_point *point, uint64_t ns)
{
    struct sim_stream *s = &point->out;
    for (size_t i = 0; i < s->n_segments; i++) {
        segment_at(s, i)->due += ns;
    }
    s->due_last += ns;
}

void sim_point_over(struct sim_point *point)
{
    if (point->over_at == 0) {
        point->over_at = point->node->world->pair_next;
    }
}

void sim_stream_finish(struct sim_point *point, enum sim_segment_end kind)
{
    struct sim_world *world = point->node->world;

    sim_point_over(point);
    if (!point->out.finished && !point->other->gone) {
        point->out.finished = true;
        if (point->out.n_segments > 0 && sim_rng_chance(&world->rng, world->params.net.late_ppm)) {
            sim_stream_delay(point, sim_draw_ns(world, world->params.net.late_max_ns));
        }
        segment_add(point, point->out.written, kind, false);
    }
}

/* A kernel that was told of a full window probes it, and who has no such connection any more answers with a reset. The probe
 * is what is written next: there is room now. */
void sim_point_deaf(struct sim_point *point)
{
    struct sim_stream *in = &point->other->out;
    in->read = in->arrived;
    sim_point_writable(point->other);
}

/* ---- arrival --------------------------------------------------------------------------------- */

/* The owner is told; what is under way stays so. */
void sim_point_break(struct sim_point *point, int error)
{
    point->error = error;
    point->out.finished = true;
    sim_point_over(point);
    sim_point_deaf(point);
    sim_point_fail_writes(point, error);
    sim_point_readable(point);
}

void sim_point_fail(struct sim_point *point, int error)
{
    if (point->error == 0 && !point->gone) {
        stream_clear(point);
        sim_point_break(point, error);
    }
}

/* The event of a point, unless its connection is another one by now. */
static struct sim_point *point_of(struct sim_world *world, struct sim_event *event)
{
    struct sim_point *point = event->object;
    bool alive = point->pair->id == event->value;
    sim_event_free(world, event);
    return alive ? point : NULL;
}

static void point_event(struct sim_point *point, uint64_t time, void (*fire)(struct sim_world *, struct sim_event *))
{
    struct sim_world *world = point->node->world;
    struct sim_event *event = sim_event_new(world, SIM_EV_NET);
    event->fire = fire;
    event->object = point;
    event->value = point->pair->id;
    sim_event_at(world, time, event);
}

static void reset_fire(struct sim_world *world, struct sim_event *event)
{
    struct sim_point *point = point_of(world, event);
    if (point != NULL) {
        sim_point_fail(point, ERR_CLOSED);
    }
}

static void stall_limit_fire(struct sim_world *world, struct sim_event *event)
{
    uint64_t stalls = (uint64_t)(uintptr_t)event->object2;
    struct sim_point *point = point_of(world, event);
    if (point == NULL || !point->out.stalled || point->out.stalls != stalls) {
        return;
    }
    world->counts.net_timeouts++;
    stream_clear(point);
    sim_point_fail(point, ERR_TIMEOUT);
}

static void stream_stall(struct sim_point *point)
{
    struct sim_world *world = point->node->world;
    struct sim_event *event = sim_event_new(world, SIM_EV_NET);

    point->out.stalled = true;
    point->out.stalls++;
    event->fire = stall_limit_fire;
    event->object = point;
    event->object2 = (void *)(uintptr_t)point->out.stalls;
    event->value = point->pair->id;
    sim_event_at(world, world->now + world->params.net.stall_timeout_ns, event);
}

static void segment_arrives(struct sim_point *point)
{
    struct sim_stream *s = &point->out;
    struct sim_point *to = point->other;
    struct sim_world *world = point->node->world;
    struct sim_segment segment = *segment_at(s, 0);

    s->segments_at = (s->segments_at + 1) % s->segments_capacity;
    s->n_segments--;
    if (to->gone || to->error != 0) { /* closed, or over there without having told this side */
        stream_clear(point);
        if (segment.kind == SIM_SEGMENT_DATA) {
            point_event(point, world->now + sim_net_latency(world, to->node, point->node), reset_fire);
        }
        return;
    }
    if (segment.kind == SIM_SEGMENT_RST || sim_rng_chance(&world->rng, world->params.net.reset_ppm)) {
        world->counts.net_torn_frames += segment.in_middle;
        stream_clear(point);
        sim_point_fail(to, ERR_CLOSED);
        if (segment.kind != SIM_SEGMENT_RST) {
            point_event(point, world->now + sim_net_latency(world, to->node, point->node), reset_fire);
        }
        return;
    }
    s->arrived = segment.end;
    world->counts.net_late += segment.kind == SIM_SEGMENT_DATA && point->over_at != 0 &&
                              world->pair_newest[point->node->id][to->node->id] > point->over_at;
    to->eof = to->eof || segment.kind == SIM_SEGMENT_FIN;
    sim_point_readable(to);
    stream_schedule(point);
}

static void arrival_fire(struct sim_world *world, struct sim_event *event)
{
    struct sim_point *point = point_of(world, event);

    if (point == NULL) {
        return;
    }
    struct sim_stream *s = &point->out;
    s->scheduled = false;
    if (s->n_segments == 0 || s->stalled) {
        return;
    }
    bool over = point->other->gone || point->other->error != 0;
    bool answered = !over || !sim_net_blocked(world, point->other->node, point->node);
    if (sim_net_blocked(world, point->node, point->other->node) || !answered) {
        stream_stall(point);
        return;
    }
    if (segment_at(s, 0)->due > world->now) { /* it was put off */
        stream_schedule(point);
        return;
    }
    segment_arrives(point);
}

static void stream_schedule(struct sim_point *point)
{
    struct sim_stream *s = &point->out;
    if (!s->scheduled && !s->stalled && s->n_segments > 0) {
        s->scheduled = true;
        point_event(point, segment_at(s, 0)->due, arrival_fire);
    }
}

void sim_net_unstall(struct sim_world *world)
{
    list_for_each(l, &world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        for (int i = 0; i < 2; i++) {
            struct sim_point *point = &pair->points[i];
            if (point->out.stalled && !sim_net_blocked(world, point->node, point->other->node)) {
                point->out.stalled = false;
                if (point->out.n_segments > 0) {
                    segment_at(&point->out, 0)->due = world->now + sim_draw_ns(world, RETRANSMIT_MAX_NS);
                }
                stream_schedule(point);
            }
        }
    }
}

void sim_stream_hurry(struct sim_point *point)
{
    struct sim_stream *s = &point->out;
    struct sim_world *world = point->node->world;
    uint64_t here = sim_here_ns(world);
    uint64_t due = here + sim_net_latency(world, point->node, point->other->node);

    if (s->busy_until <= here) {
        return;
    }
    s->busy_until = here;
    for (size_t i = 0; i < s->n_segments; i++) {
        struct sim_segment *segment = segment_at(s, i);
        segment->due = segment->due < due ? segment->due : due;
    }
    s->due_last = s->due_last < due ? s->due_last : due;
    s->scheduled = false; /* an arrival at the old time finds nothing that is due, or nothing */
    stream_schedule(point);
}

/* ---- ends of programs ------------------------------------------------------------------------ */

/* What the program wrote "after" its end, in the time that its loop was ahead of the world's, was never written. */
static void cut_the_future(struct sim_point *point)
{
    struct sim_stream *s = &point->out;
    uint64_t now = point->node->world->now;

    while (s->n_segments > 0 && segment_at(s, s->n_segments - 1)->departs > now) {
        s->n_segments--;
        s->written = s->n_segments > 0 ? segment_at(s, s->n_segments - 1)->end : s->arrived;
        s->finished = false;
    }
}

static void point_abandon(struct sim_point *point, enum sim_end how)
{
    struct sim_world *world = point->node->world;
    bool was_gone = point->gone;

    cut_the_future(point);
    if (!was_gone && how != SIM_END_POWER && point->error == 0) {
        enum sim_segment_end kind = sim_rng_next(&world->rng) & 1 ? SIM_SEGMENT_FIN : SIM_SEGMENT_RST;
        if (kind == SIM_SEGMENT_RST && (sim_rng_next(&world->rng) & 1)) {
            stream_clear(point); /* and what was under way is lost */
        }
        sim_stream_finish(point, kind);
    }
    list_init(&point->writes); /* their memory may be gone */
    sim_point_deaf(point);
    point->gone = true;
    point->closing = true;
    point->loop = NULL;
    free(point->conn);
    point->conn = NULL;
    sim_pair_done(point);
}

void sim_net_node_ends(struct sim_node *node, enum sim_end how)
{
    sim_listeners_close_all(node, NULL);
    list_for_each_safe(l, &node->world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        uint64_t id = pair->id;
        for (int i = 0; i < 2 && pair->id == id; i++) {
            if (pair->points[i].node == node) {
                point_abandon(&pair->points[i], how);
            }
        }
    }
}

void sim_net_loop_ends(struct sim_loop *loop)
{
    sim_listeners_close_all(loop->node, loop);
    list_for_each_safe(l, &loop->world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        uint64_t id = pair->id;
        for (int i = 0; i < 2 && pair->id == id; i++) {
            if (pair->points[i].loop == loop) {
                point_abandon(&pair->points[i], SIM_END_EXIT);
            }
        }
    }
}

void sim_net_powered(struct sim_node *node)
{
    sim_net_unstall(node->world); /* what waits for it is now answered: by a reset */
}
