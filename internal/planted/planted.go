// Package planted holds bugs that somebody could make, to check that the fault
// suite sees them. In a normal build On is always false and the compiler drops
// what stands behind it; with the build tag planted, BAEDAL_PLANTED names the
// one that is on. It imports nothing, so that the rules may use it.
package planted

// Bug is a mistake at the place where it would be made.
type Bug string

// Bugs.
const (
	CommitPastUnfinished      Bug = "commit-past-unfinished"      // an offset is committed while a message before it is in flight
	FlushBeforeAck            Bug = "flush-before-ack"            // rows are flushed that the changelog may not have
	FlushBeforeCommit         Bug = "flush-before-commit"         // exactly once: tables are flushed before the transaction is committed
	OffsetAheadOfRows         Bug = "offset-ahead-of-rows"        // a table's offset is on disk before its row
	OutputBeforeRow           Bug = "output-before-row"           // outputs leave before their row is acknowledged
	OffsetsOutsideTransaction Bug = "offsets-outside-transaction" // exactly once: offsets are committed by themselves
	VerdictRecomputed         Bug = "verdict-recomputed"          // a repeated command is judged anew
	VersionSkipped            Bug = "version-skipped"             // a repeat counts as a version
	ReservationRevived        Bug = "reservation-revived"         // a reserve that comes after its release reserves
	StockAddedTwice           Bug = "stock-added-twice"           // a repeated add_stock adds
	ForwardDropped            Bug = "forward-dropped"             // a record in a wrong partition is dropped
	ForwardApplied            Bug = "forward-applied"             // a record in a wrong partition is applied there
	ForwardReordered          Bug = "forward-reordered"           // forwarded records overtake one another
	DeadLetterDropped         Bug = "dead-letter-dropped"         // what can't be handled is dropped
	PaymentAgain              Bug = "payment-again"               // a repeated authorize asks for the money again
	RiderOverloaded           Bug = "rider-overloaded"            // a rider is given more than he can carry
	DeliveryDoubled           Bug = "delivery-doubled"            // a repeated request opens a second delivery
	TimersLost                Bug = "timers-lost"                 // deadlines are not read from the rows of a recovered table
)

// Bugs lists them all.
var Bugs = []Bug{CommitPastUnfinished, FlushBeforeAck, FlushBeforeCommit, OffsetAheadOfRows, OutputBeforeRow,
	OffsetsOutsideTransaction, VerdictRecomputed, VersionSkipped, ReservationRevived, StockAddedTwice, ForwardDropped,
	ForwardApplied, ForwardReordered, DeadLetterDropped, PaymentAgain, RiderOverloaded, DeliveryDoubled, TimersLost}
