// Package audit proves the promises of an installation from its raw topics, or
// names the keys that break them. It shares no rule with the engine: it has its
// own small structs for the JSON, its own table of an order's life, and takes
// from the rest of the program only how topics and groups are called.
//
// # How it reads
//
// All topics are read from their oldest record, merged by the records' times, so
// that a message and its answer are met soon after each other. The order across
// topics is only a help: what is judged does not depend on it. An obligation (a
// reserve wants a reply, a version the one before it) is opened by a record and
// closed by another. What is still open where the topics ended at the start (the
// cut) is a debt. Each debt names the group that owes it; while that group has
// not committed what was there at the cut, its debts are not judged. On a live
// system the topics are followed until every debt is paid or Settle has passed.
// An order in a status with a deadline, and a call to the gateway that is due,
// wait within their time: they are counted as open.
//
// # What it remembers
//
// An order that is over and owes nothing is kept in full for half a minute of
// the topics' time, so that repeats can be compared byte for byte. Then 14 bytes of it stay: a
// fingerprint of its id, its last version, its status, what became of its money and goods. So memory is what is
// open, plus per store its products, per rider and area some marks, plus O(orders)
// and O(verdicts, add_stock, remove_stock) fingerprints of 12 to 24 bytes in a map.
// For an hour, and within a bound in bytes, rows remember what they refused, so that another
// answer to a repeat is a violation: an order that refused something is kept in full for that
// long. Beyond either bound a repeat may be decided anew, which is noted.
// Of a later repeat only the version is judged, not its bytes.
//
// # What topics alone can't tell
//
//   - ready, postpone, give_up, withdraw and move on dispatch-commands, and replies that
//     come too late for their order, may change nothing: of those it is only known that
//     their group has committed past them.
//   - A store's command without "verdict": true leaves its trace in the store's
//     row. Where the table was compacted, the trace may be gone: such commands are
//     counted as not provable, add_stock and remove_stock are still in the sums.
//   - Which event is told to whom: a notification must have its event and be
//     logged, but that one is missing is not seen.
//   - What the gateway did: only what it answered.
//   - What older records said, where a partition does not begin at offset 0: by
//     retention, or because somebody deleted them. A debt that one of those may have
//     paid is no violation: its key is named as not proved. Which keys' records those
//     were is seen only by what is missed elsewhere: a command that was deleted before
//     anybody read it leaves nothing to miss. Where records are gone, the order of first
//     appearances is not judged, as what is left may be repeats.
//
// # Order
//
// The first appearances of an order's versions on order-events come in order, and
// so do those of what one recipient is told about an order, on notifications and
// on the message log. Steps of a delivery are judged as they come for the first time. Repeats may come late.
//
// # Storms
//
// Two groups that answer each other's repeats never end. A message that 16
// others led to without a row changing (header baedal-hops) must be a dead letter, and
// there are not 500 copies of one message, unless clients repeated as often what caused it.
//
// Documented edges of the engine at-least-once (a row forgets a decision and a
// repeat is decided anew, see docs/architecture.md) break a promise, and are reported.
package audit
