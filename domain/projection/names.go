package projection

import "baedal/domain"

// CheckName says what is wrong with the note's id: it is that of the order's
// event and the key of the model, or ORDERID/forgotten.
func (n *Note) CheckName() error {
	if n.Type == Forgotten {
		return domain.CheckName(n.ID, n.OrderID, Forgotten)
	}
	return domain.CheckName(n.ID, n.OrderID, domain.AnyNumber, n.Key)
}
