package audit

import "baedal/topics"

// stream is one topic of an installation.
type stream uint8

const (
	orderCommands stream = iota
	storeCommands
	riderCommands
	verdicts
	orderEvents
	stockReplies
	paymentRequests
	paymentReplies
	dispatchCommands
	riderEvents
	deliveryEvents
	notifications
	messageLog
	deadLetters
	ordersLoop
	paymentsLoop
	projectionsLoop
	ordersTable
	stockTable
	paymentsTable
	ridersTable
	dispatchTable
	projectionsTable
	streams // how many there are
)

// names returns how the topics are called on the broker.
func names(c *topics.Catalog) (n [streams]string) {
	return [streams]string{
		orderCommands: c.OrderCommands.Name(), storeCommands: c.StoreCommands.Name(), riderCommands: c.RiderCommands.Name(),
		verdicts: c.Verdicts.Name(), orderEvents: c.OrderEvents.Name(), stockReplies: c.StockReplies.Name(),
		paymentRequests: c.PaymentRequests.Name(), paymentReplies: c.PaymentReplies.Name(),
		dispatchCommands: c.DispatchCommands.Name(), riderEvents: c.RiderEvents.Name(), deliveryEvents: c.DeliveryEvents.Name(),
		notifications: c.Notifications.Name(), messageLog: c.MessageLog.Name(), deadLetters: c.DeadLetters.Name(),
		ordersLoop: c.OrdersLoop.Name(), paymentsLoop: c.PaymentsLoop.Name(), projectionsLoop: c.ProjectionsLoop.Name(),
		ordersTable: c.OrdersTable.Name(), stockTable: c.StockTable.Name(), paymentsTable: c.PaymentsTable.Name(),
		ridersTable: c.RidersTable.Name(), dispatchTable: c.DispatchTable.Name(), projectionsTable: c.ProjectionsTable.Name(),
	}
}

// group is a consumer group.
type group uint8

const (
	nobody group = iota
	orders
	stock
	payments
	riders
	dispatch
	notifier
	messenger
	projections
	groups // how many there are, and nobody
)

func groupNames(c *topics.Catalog) [groups]string {
	return [groups]string{
		orders: c.Group(topics.Orders), stock: c.Group(topics.Stock), payments: c.Group(topics.Payments),
		riders: c.Group(topics.Riders), dispatch: c.Group(topics.Dispatch), notifier: c.Group(topics.Notifier),
		messenger: c.Group(topics.Messenger), projections: c.Group(topics.Projections),
	}
}

// inputs is what each group reads.
var inputs = [groups][]stream{
	orders:      {orderCommands, stockReplies, paymentReplies, deliveryEvents, ordersLoop},
	stock:       {storeCommands},
	payments:    {paymentRequests, paymentsLoop},
	riders:      {riderCommands, riderEvents},
	dispatch:    {dispatchCommands},
	notifier:    {orderEvents},
	messenger:   {notifications},
	projections: {orderEvents, projectionsLoop},
}

// isTable says which topics are compacted.
func (s stream) isTable() bool { return s >= ordersTable && s <= projectionsTable }

// What the keys of topics that only the engine writes, and of the groups, are.
const (
	byOrder = iota + 1
	byStore
	byRider
	byArea
)

var keysOfStreams = [streams]int{orderEvents: byOrder, stockReplies: byOrder, paymentRequests: byOrder, paymentReplies: byOrder,
	deliveryEvents: byOrder, ordersTable: byOrder, paymentsTable: byOrder, stockTable: byStore, riderEvents: byRider, ridersTable: byRider,
	dispatchCommands: byArea, dispatchTable: byArea}

var keysOfGroups = [groups]int{orders: byOrder, payments: byOrder, stock: byStore, riders: byRider, dispatch: byArea}

// atHome are the streams and tables that the engine writes, each key into the
// same partition of all of them.
var atHome = [streams]bool{verdicts: true, orderEvents: true, stockReplies: true, paymentRequests: true, paymentReplies: true,
	deliveryEvents: true, riderEvents: true, ordersTable: true, paymentsTable: true, stockTable: true, ridersTable: true}

// partitionOf returns in which partition a group handles the key of a record;
// -1: not known. Clients may put a key anywhere.
func (w where) partitionOf(g group) int32 {
	if k := keysOfStreams[w.stream]; k != 0 && k == keysOfGroups[g] {
		return w.partition
	}
	return -1
}
