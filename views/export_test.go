package views

// PartitionOf is where the producers of a table put a key.
var PartitionOf = partitionOf
