/* Every limit of the shard log in one place, with its unit. */
#ifndef CAIRN_WAL_LIMITS_H
#define CAIRN_WAL_LIMITS_H

/* A flush starts at a multiple of this and is padded to it: what the page cache and today's disks rewrite as one piece.
 * With anything smaller (512) a tear of one flush could damage the end of an earlier, acknowledged one. */
#define WAL_BLOCK_SIZE 4096u

#define WAL_FILE_SIZE_MIN (64u << 10)         /* bytes; smaller files would be mostly headers */
#define WAL_FILE_SIZE_MAX (2048u << 20)       /* bytes; positions are 32-bit */
#define WAL_SEQUENCE_MAX (1ull << 62)         /* of files and flushes: beyond it a number is not ours */
#define WAL_FLUSH_BYTES_MAX (8u << 20)        /* of one flush, unless a single entry is larger */
#define WAL_FLUSH_DIRECT_MIN 4096u            /* payload bytes from which on they are written from where they are */
#define WAL_FLUSH_DIRECTS_MAX 500u            /* such payloads a flush: two iovecs each, see ENV_IOV_MAX */
#define WAL_FLUSH_TAIL_MIN (256u << 10)       /* bytes of room below which a larger queue goes to the next file at once */
#define WAL_INLINE_MAX_BYTES (16u << 10)      /* a flush of at most this may run on the loop itself */
#define WAL_INLINE_WRITES_MAX 4u              /* ... with at most so many writes in it */
#define WAL_INLINE_SYNC_MAX_NS 1000000u       /* ... and while a flush takes less than this on average */
#define WAL_OVERLAP_MIN (64u << 10)           /* bytes queued for which the next flush does not wait for completions */
#define WAL_CLOSING_DELAY_MS 20u              /* idle for this long: the closing flush */
#define WAL_TICK_MS 1000u                     /* housekeeping: sample the disk, top up the pool, try again */
#define WAL_ZERO_FILL_MIN_NS 10000000000ull   /* a next file is zero-filled when the last one took longer than this to fill */
#define WAL_READY_FILES_MAX 2u                /* recycled or zero-filled files kept for later */
#define WAL_SLOTS_MAX (1u << 20)              /* files at a time */
#define WAL_CARRY_BYTES (512u << 10)          /* of one step of carrying forward: one step is one read and one write */
#define WAL_CARRY_ENTRIES 256u                /* of one step */
#define WAL_CARRY_SCAN_MAX 16384u             /* index items looked at in one turn */
#define WAL_CARRY_LIVE_PERCENT 25u            /* a file with less than this still alive is worth carrying at any time */
#define WAL_CARRY_LIVE_PERCENT_HALF 50u       /* ... with half of the space in use */
#define WAL_CARRY_LIVE_PERCENT_FULL 85u       /* ... with three quarters of it in use */
#define WAL_READ_GAP_MAX (32u << 10)          /* bytes of other groups' records that one pread may take along */
#define WAL_READ_CHUNK (4u << 20)             /* bytes a pread of recovery */
#define WAL_CHUNK_ITEMS 128u                  /* index items an allocation */
#define WAL_CACHE_ENTRY_OVERHEAD 160u         /* bytes accounted beside an entry's payload */

#endif
