/* Limits of raft/group that are nobody else's business. */
#ifndef CAIRN_GROUP_LIMITS_H
#define CAIRN_GROUP_LIMITS_H

#define WHEEL_SLOTS 128             /* ticks that the timer wheel looks ahead; later deadlines are filed again */
#define TURN_PASSES 4               /* rounds over groups that have work, in one end of turn */
#define TURN_APPLY_ENTRIES 8192     /* applied in one end of turn, all groups */
#define GROUP_APPLY_ENTRIES 512     /* of one group in one round */
#define GROUP_APPLY_BYTES (8u << 20)
#define READS_MAX 32                /* reads of the shard log under way, a host; each up to READ_BYTES */
#define READ_BYTES (4u << 20)
#define READ_TRIES_MAX 20           /* of a read that the disk fails, a tick apart; then the place counts as corrupt */
#define PEERS_MAX 32                /* replicas that a group remembers where to reach */
#define PEER_QUEUE_MAX 64           /* messages behind a read for one peer; beyond it dropped, Raft repeats them */
#define REOPEN_MAX 16               /* times that a group's core is opened anew before the replica is given up */
#define WRITE_ENTRIES_KEEP 256      /* a pooled write keeps room for so many entries */
#define WRITES_KEEP 1024            /* pooled writes */
#define CHANGES_MAX 4096            /* membership changes in one log */

#endif
