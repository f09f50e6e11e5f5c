// Package views is the read side: a local copy of each table that HTTP reads,
// kept up to date from the table's changelog topic, and a way to wait for a row
// to change.
//
// A view may lag behind its table, and says by how much (Staleness). It never
// answers from a copy that is still being built (ErrNotReady).
package views
