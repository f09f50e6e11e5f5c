// Package projection re-keys what happens to orders by user, store and food.
package projection

import "baedal/domain"

// Note is what the projections group tells itself about an order under the key
// of a read model (user/ID, store/ID, food/ID).
type Note struct {
	domain.Meta
	Key string `json:"key"`
}

// Names returns the key that the message itself claims.
func (n *Note) Names() string { return n.Key }

// Model is a row of the read models.
type Model struct {
	Key string `json:"key"`
}
