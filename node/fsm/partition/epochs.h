/* Where each leader epoch (Raft term) of a partition begins: what a reader that comes back after a change of leaders
 * asks, to learn whether what it has read still stands (KIP-101, KIP-320). 16 bytes a change of leaders. */
#ifndef CAIRN_FSM_EPOCHS_H
#define CAIRN_FSM_EPOCHS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define EPOCHS_MAX 65536u /* remembered a partition; then the older half is forgotten */

struct epoch_start {
    uint64_t epoch;
    int64_t offset;
};

struct epochs {
    struct epoch_start *items; /* both fields rise */
    size_t n;
    size_t capacity;
};

void epochs_init(struct epochs *e);
void epochs_close(struct epochs *e);
/* An entry of @epoch is applied, the next record's offset being @offset. Errors: ERR_NOMEM, nothing was changed. */
int epochs_note(struct epochs *e, uint64_t epoch, int64_t offset) MUST_USE;
/* The newest epoch that is not newer than @asked, and the offset behind its last record, the log ending at @end. An
 * @asked before the first known one: itself, and where the first begins. Errors: ERR_NOT_FOUND newer than every epoch.
 */
int epochs_end(const struct epochs *e, uint64_t asked, int64_t end, uint64_t *epoch, int64_t *end_offset) MUST_USE;
uint32_t epochs_digest(const struct epochs *e, uint32_t crc);

#endif
