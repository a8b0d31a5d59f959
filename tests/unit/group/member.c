#include "tests/unit/group/member.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- state machine ---- */

static void fsm_apply(void *data, const struct entry *entry)
{
    struct mgroup *mg = data;
    struct applied *a;

    if (mg->n == mg->capacity) {
        mg->capacity = mg->capacity == 0 ? 64 : 2 * mg->capacity;
        mg->applied = realloc(mg->applied, mg->capacity * sizeof(*mg->applied));
        assert(mg->applied != NULL);
    }
    assert(entry->index == mg->n + 1); /* in order, each once */
    assert(entry_intact(entry));
    a = &mg->applied[mg->n];
    memset(a, 0, sizeof(*a));
    a->term = entry->term;
    a->kind = entry->kind;
    a->time_ms = entry->time_ms;
    a->crc = entry->crc;
    if (entry->kind == ENTRY_COMMAND) {
        assert(entry->length >= sizeof(a->value));
        memcpy(&a->value, entry->data, sizeof(a->value));
        if (mg->fail_on_value != 0 && a->value == mg->fail_on_value) {
            group_fail(mg->g, ERR_VERSION, "a command of a later version");
            return;
        }
    }
    mg->n++;
    if (mg->member->params.applied != NULL) {
        mg->member->params.applied(mg->member->params.data, mg, mg->n, a);
    }
}

static void fsm_leadership(void *data, bool leading, bool ready, uint64_t term)
{
    struct mgroup *mg = data;

    if (leading && !ready) {
        assert(!mg->leading && term > mg->term);
        mg->wins++;
        mg->term = term;
    }
    if (leading && ready) {
        assert(mg->leading && !mg->ready && term == mg->term);
    }
    if (!leading) {
        assert(mg->leading);
    }
    mg->leading = leading;
    mg->ready = ready;
    if (leading && mg->member->params.led != NULL) {
        mg->member->params.led(mg->member->params.data, mg, term, ready);
    }
}

static void fsm_failed(void *data, int err, const char *text)
{
    struct mgroup *mg = data;

    mg->failed = err;
    mg->leading = mg->ready = false;
    (void)text;
}

static const struct group_fsm fsm = {.apply = fsm_apply, .leadership = fsm_leadership, .failed = fsm_failed};

/* ---- wiring ---- */

static int host_send(void *data, uint32_t node, bool urgent, uint64_t group, const uint8_t *header, size_t size,
                     struct entry *const *entries, size_t n)
{
    struct member *m = data;

    if (node <= MEMBER_NODES_MAX && m->mute[node]) {
        return ERR_CLOSED;
    }
    return transport_send(m->transport, node, urgent ? TRANSPORT_URGENT : TRANSPORT_DATA, group, header, size, entries, n);
}

static void host_leader(void *data, struct group *g, uint64_t term, uint32_t node)
{
    struct member *m = data;

    m->leader_hint[((struct mgroup *)group_data(g))->number] = node;
    (void)term;
}

static void t_message(void *data, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                      struct entry **entries, size_t n)
{
    struct member *m = data;
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        bytes += entries[i]->length;
    }
    if (bytes > m->message_bytes_max) {
        m->message_bytes_max = bytes;
    }
    group_host_receive(m->host, node, group, header, size, entries, n);
}

static void t_control(void *data, uint32_t node, uint16_t call, const uint8_t *message, size_t size)
{
    (void)data;
    (void)node;
    (void)call;
    (void)message;
    (void)size;
}

static void t_link(void *data, uint32_t node, bool up)
{
    (void)data;
    (void)node;
    (void)up;
}

static int t_admit(void *data, const struct transport_identity *peer, char *text)
{
    (void)data;
    (void)peer;
    (void)text;
    return 0;
}

static const struct transport_ops t_ops = {
    .message = t_message, .control = t_control, .link = t_link, .admit = t_admit};

int member_open(struct member *m, const struct member_params *params)
{
    struct wal_params wp = {.env = params->env,
                            .dir = params->dir,
                            .file_size_bytes = params->file_bytes != 0 ? params->file_bytes : 4u << 20,
                            .size_max_bytes = 1u << 30,
                            .reserve_bytes = 1u << 20,
                            .cache_max_bytes = params->cache_bytes};
    struct transport_identity id = {.node = params->node, .boot = params->boot};
    struct transport_params tp = {.env = params->env,
                                  .self = &id,
                                  .listen_address = params->listen,
                                  .receive_max_bytes = 256u << 20,
                                  .ops = &t_ops,
                                  .data = m};
    struct group_host_params hp = {.env = params->env,
                                   .node = params->node,
                                   .election_timeout_ms = params->election_timeout_ms,
                                   .heartbeat_ms = params->heartbeat_ms,
                                   .send = host_send,
                                   .leader = params->bare ? NULL : host_leader,
                                   .data = m};
    int rv;

    memset(m, 0, sizeof(*m));
    m->params = *params;
    m->env = params->env;
    m->node = params->node;
    for (unsigned i = 0; i < MEMBER_GROUPS_MAX; i++) {
        m->groups[i].member = m;
        m->groups[i].number = i;
    }
    m->pool = buf_pool_new(64u << 20);
    assert(m->pool != NULL);
    wp.pool = tp.pool = hp.pool = m->pool;
    rv = wal_open(&wp, &m->wal, &m->recovery, m->error);
    if (rv != 0) {
        goto err_after_pool;
    }
    memset(&id.disk_id, (int)params->node, sizeof(id.disk_id));
    memset(&id.cluster_id, 0xC1, sizeof(id.cluster_id));
    rv = transport_open(&tp, &m->transport, m->error);
    if (rv != 0) {
        goto err_after_wal;
    }
    hp.wal = m->wal;
    rv = group_host_open(&hp, &m->host); /* opened last, its hook runs first */
    assert(rv == 0);
    return 0;

err_after_wal:
    wal_abandon(m->wal);
err_after_pool:
    buf_pool_free(m->pool);
    m->pool = NULL;
    return rv;
}

/* ---- groups ---- */

uint64_t member_replica(unsigned number, uint32_t node)
{
    return 1024 + 100 * (uint64_t)number + node;
}

void member_founders(unsigned number, const uint32_t *nodes, unsigned n, struct core_config *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < n; i++) {
        char address[CORE_ADDRESS_SIZE];
        int rv;
        snprintf(address, sizeof(address), "%" PRIu32 ".%" PRIu64, nodes[i], member_replica(number, nodes[i]));
        rv = core_config_add(out, member_replica(number, nodes[i]), CORE_VOTER, address);
        assert(rv == 0);
        (void)rv;
    }
}

static struct group_params params_of(struct member *m, unsigned number)
{
    struct group_params params = {.group = number + 1,
                                  .replica = member_replica(number, m->node),
                                  .fsm = &fsm,
                                  .data = &m->groups[number]};
    return params;
}

int member_group(struct member *m, unsigned number, const struct core_config *founders, uint32_t preferred)
{
    struct group_params params = params_of(m, number);

    if (wal_group_find(m->wal, number + 1) != NULL) {
        return group_resume(m->host, &params, &m->groups[number].g);
    }
    params.founders = founders;
    params.preferred = preferred == m->node;
    return group_found(m->host, &params, &m->groups[number].g);
}

int member_join(struct member *m, unsigned number)
{
    struct group_params params = params_of(m, number);

    if (wal_group_find(m->wal, number + 1) != NULL) {
        return group_resume(m->host, &params, &m->groups[number].g);
    }
    return group_join(m->host, &params, &m->groups[number].g);
}

struct entry *member_entry(struct member *m, uint64_t value, uint32_t size)
{
    struct buf *buf = buf_new(m->pool, size);
    struct entry *entry;

    assert(size >= sizeof(value));
    if (buf == NULL) {
        return NULL;
    }
    memset(buf->data, (int)(value & 0xff), size);
    memcpy(buf->data, &value, sizeof(value));
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, size);
    buf_release(buf);
    if (entry != NULL) {
        entry->base_offset = -1;
    }
    return entry;
}

/* ---- end ---- */

static void forget_groups(struct member *m)
{
    for (unsigned i = 0; i < MEMBER_GROUPS_MAX; i++) {
        free(m->groups[i].applied);
        m->groups[i].applied = NULL;
        m->groups[i].n = m->groups[i].capacity = 0;
        m->groups[i].g = NULL;
        m->groups[i].leading = m->groups[i].ready = false;
    }
}

void member_abandon(struct member *m)
{
    if (m->wal != NULL) {
        wal_abandon(m->wal);
    }
    if (m->host != NULL) {
        group_host_abandon(m->host);
    }
    if (m->transport != NULL) {
        transport_abandon(m->transport);
    }
    forget_groups(m);
    buf_pool_free(m->pool);
    m->wal = NULL;
    m->host = NULL;
    m->transport = NULL;
    m->pool = NULL;
}

static void on_wal_closed(void *data)
{
    ((struct member *)data)->wal_closed = true;
}

static void on_transport_closed(void *data)
{
    struct member *m = data;

    m->transport_closed = true;
    wal_close(m->wal, on_wal_closed, m);
}

void member_close(struct member *m)
{
    group_host_close(m->host);
    m->host = NULL;
    transport_close(m->transport, on_transport_closed, m);
}

bool member_closed(const struct member *m)
{
    return m->wal_closed && m->transport_closed;
}

void member_free(struct member *m)
{
    forget_groups(m);
    assert(buf_pool_bytes_out(m->pool) == 0); /* no reference was lost */
    buf_pool_free(m->pool);
    m->pool = NULL;
    m->wal = NULL;
    m->transport = NULL;
}
