package views

import "baedal/domain/order"

// PartitionOf is where the producers of a table put a key.
var PartitionOf = partitionOf

// Brief makes a view of orders decode what New's does.
func Brief(m *Memory[order.Order]) { m.brief = briefOrder }
