// Package failpoint names the moments at which a process may be killed or
// stopped by the fault suite. In a normal build Hit is an empty function, and
// nothing of it is left in the program; with the build tag chaos,
// BAEDAL_FAILPOINT says where to die.
package failpoint

// Point is a moment between two steps.
type Point string

// Points, in the order in which a message meets them.
const (
	Entered      Point = "entered"       // a message is noted as being handled
	Forwarding   Point = "forwarding"    // a record in a wrong partition, before it is sent to the right one
	Forwarded    Point = "forwarded"     // after that, before it is acknowledged
	Burying      Point = "burying"       // a dead letter, before it is sent
	Buried       Point = "buried"        // after that, before it is acknowledged
	Decided      Point = "decided"       // before anything is sent
	RowUnsent    Point = "row-unsent"    // outputs are in the outbox, the row is not sent
	RowKept      Point = "row-kept"      // the row is in the table's memory, and not sent
	RowSent      Point = "row-sent"      // the row is sent, not acknowledged
	RowAcked     Point = "row-acked"     // the row is acknowledged, outputs are not let go
	OutputsHeld  Point = "outputs-held"  // outputs may leave, and have not
	OutputsSome  Point = "outputs-some"  // one of several outputs has left
	OutputsSent  Point = "outputs-sent"  // all outputs are sent, not acknowledged
	OutputsAcked Point = "outputs-acked" // outputs are acknowledged, the message is not finished
	Finished     Point = "finished"      // the message is finished, its offset not committed

	Committing Point = "committing"  // before offsets are committed
	Committed  Point = "committed"   // offsets are committed, tables not flushed
	FlushedOne Point = "flushed-one" // one table is flushed
	Flushed    Point = "flushed"     // all tables are flushed

	IntakeStopped Point = "intake-stopped" // exactly once: nothing is inside
	OffsetsAdded  Point = "offsets-added"  // offsets are in the transaction, which is not committed
	TxnCommitted  Point = "txn-committed"  // the transaction is committed, tables not flushed
	TxnFlushed    Point = "txn-flushed"    // tables are flushed, the next transaction has not begun

	Recovering Point = "recovering" // a table reads its changelog
	Recovered  Point = "recovered"  // a table is recovered, its timers are not set
	Assigned   Point = "assigned"   // partitions were given
	Revoked    Point = "revoked"    // partitions are taken away, work is in flight
	Drained    Point = "drained"    // nothing is in flight, the last commit is to come
	Left       Point = "left"       // the last commit is done

	Ringing Point = "ringing" // a timer rang, its message is not sent
	Rang    Point = "rang"    // its message is sent, not acknowledged
)

// When says in which kind of run a point is met.
type When int

// Kinds.
const (
	Always      When = iota
	AtLeastOnce      // with this guarantee only
	ExactlyOnce      // with this guarantee only
	AtStart          // while a process starts and gets its partitions
	AtEnd            // while partitions are taken away
)

// Points has every point and when it is met.
var Points = []struct {
	Point
	When
}{
	{Entered, Always}, {Forwarding, Always}, {Forwarded, Always}, {Burying, Always}, {Buried, Always}, {Decided, Always},
	{RowUnsent, Always}, {RowKept, Always}, {RowSent, Always}, {RowAcked, Always},
	{OutputsHeld, AtLeastOnce}, {OutputsSome, AtLeastOnce}, {OutputsSent, AtLeastOnce}, {OutputsAcked, AtLeastOnce},
	{Finished, Always},
	{Committing, AtLeastOnce}, {Committed, AtLeastOnce}, {FlushedOne, Always}, {Flushed, AtLeastOnce},
	{IntakeStopped, ExactlyOnce}, {OffsetsAdded, ExactlyOnce}, {TxnCommitted, ExactlyOnce}, {TxnFlushed, ExactlyOnce},
	{Recovering, AtStart}, {Recovered, AtStart}, {Assigned, AtStart},
	{Revoked, AtEnd}, {Drained, AtEnd}, {Left, AtEnd},
	{Ringing, Always}, {Rang, Always},
}
