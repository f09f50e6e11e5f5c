// Package state is the local store of a table: the rows of one changelog
// partition on disk, always exactly as they were at one offset of that
// changelog.
//
// All partitions of a process share one Pebble database (DB). A Table is one
// of them and is what goka takes for its storage. Writes wait in memory until
// they are known to be in the changelog, and reach the disk in one batch
// together with the offset they belong to. So a table on disk may be old, but
// never ahead of its changelog and never torn, and what it lacks is read again
// from the changelog at the next start.
//
// Nothing here is the only copy of anything. That is why batches are not
// synced (a power cut loses the newest ones, rows and offset alike), and why a
// damaged database is put aside and rebuilt instead of repaired.
package state
