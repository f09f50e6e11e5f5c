// Package town joins the bounded contexts for a test: orders, stock, payments,
// riders, dispatch, notifications and projections, as the processors wire them,
// on logs in memory that lose and repeat what Kafka may. It holds no code that
// a program uses.
package town
