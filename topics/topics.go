// Package topics defines every stream, group and table once: name, key, message
// type, codec, partitions and clean-up. Nothing else spells a topic's name.
package topics

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// Clean-up policies of Kafka.
const (
	Delete  = "delete"
	Compact = "compact"
)

// Retention is how long streams are kept. Tables are compacted and kept.
const Retention = 7 * 24 * time.Hour

// Spec is what a broker must know of a topic, and what a reader wants to.
type Spec struct {
	Topic      string        `json:"topic"` // with the prefix
	Key        string        `json:"key"`
	Message    string        `json:"message"`
	Partitions int           `json:"partitions"`
	Cleanup    string        `json:"cleanup"`
	Retention  time.Duration `json:"retention,omitzero"` // of a stream
	Internal   bool          `json:"internal,omitzero"`  // not for clients to write to

	message reflect.Type // nil: bytes
}

// Stream is a topic of messages of type M.
type Stream[M any] struct {
	Spec
	codecs.JSON[M]
}

// Name returns the topic's name on the broker.
func (s Stream[M]) Name() string { return s.Topic }

// Table is the changelog of a group's rows of type R.
type Table[R any] struct {
	Spec
	codecs.JSON[R]
}

// Name returns the topic's name on the broker.
func (t Table[R]) Name() string { return t.Topic }

// Groups of the installation, by their names without a prefix.
const (
	Orders      = "orders"
	Stock       = "stock"
	Payments    = "payments"
	Riders      = "riders"
	Dispatch    = "dispatch"
	Notifier    = "notifier"
	Messenger   = "messenger"
	Projections = "projections"
)

// Groups lists all groups.
var Groups = []string{Orders, Stock, Payments, Riders, Dispatch, Notifier, Messenger, Projections}

// Catalog holds the streams and tables of one installation.
type Catalog struct {
	Prefix     string
	Partitions int

	OrderCommands    Stream[order.Command]
	Verdicts         Stream[domain.Verdict]
	OrderEvents      Stream[order.Event]
	StoreCommands    Stream[stock.Command]
	StockReplies     Stream[stock.Reply]
	PaymentRequests  Stream[payment.Request]
	PaymentReplies   Stream[payment.Reply]
	RiderCommands    Stream[rider.Command]
	DispatchCommands Stream[dispatch.Command]
	RiderEvents      Stream[dispatch.RiderEvent]
	DeliveryEvents   Stream[dispatch.DeliveryEvent]
	Notifications    Stream[notification.Notification]
	MessageLog       Stream[notification.Notification]
	DeadLetters      DeadLetters

	// What a group tells itself: goka's loop streams.
	OrdersLoop      Stream[order.Deadline]
	PaymentsLoop    Stream[payment.Result]
	ProjectionsLoop Stream[projection.Note]

	OrdersTable      Table[order.Order]
	StockTable       Table[stock.Inventory]
	PaymentsTable    Table[payment.Payment]
	RidersTable      Table[rider.Rider]
	DispatchTable    Table[dispatch.Area]
	ProjectionsTable Table[projection.Model]

	all []Spec
}

// DeadLetters is the stream of messages that no rule could be applied to, key
// and value as they came.
type DeadLetters struct {
	Spec
	codecs.Raw
}

// Name returns the topic's name on the broker.
func (d DeadLetters) Name() string { return d.Topic }

// New makes the catalog of an installation. The prefix stands in front of every
// name; partitions is the count of every stream and table, so that they
// co-partition.
func New(prefix string, partitions int) *Catalog {
	c := &Catalog{Prefix: prefix, Partitions: partitions}

	c.OrderCommands = stream[order.Command](c, order.Stream, "order id")
	c.Verdicts = stream[domain.Verdict](c, "verdicts", "the command's", internal)
	c.OrderEvents = stream[order.Event](c, "order-events", "order id", internal)
	c.StoreCommands = stream[stock.Command](c, stock.Stream, "store id")
	c.StockReplies = stream[stock.Reply](c, "stock-replies", "order id", internal)
	c.PaymentRequests = stream[payment.Request](c, "payment-requests", "order id", internal)
	c.PaymentReplies = stream[payment.Reply](c, "payment-replies", "order id", internal)
	c.RiderCommands = stream[rider.Command](c, rider.Stream, "rider id")
	c.DispatchCommands = stream[dispatch.Command](c, "dispatch-commands", "area id", internal)
	c.RiderEvents = stream[dispatch.RiderEvent](c, "rider-events", "rider id", internal)
	c.DeliveryEvents = stream[dispatch.DeliveryEvent](c, "delivery-events", "order id", internal)
	c.Notifications = stream[notification.Notification](c, "notifications", "recipient", internal)
	c.MessageLog = stream[notification.Notification](c, "message-log", "recipient", internal)

	c.DeadLetters = DeadLetters{Spec: c.add(Spec{Topic: "dead-letters", Key: "as it came", Message: "bytes as they came", Cleanup: Delete, Retention: Retention, Internal: true})}

	c.OrdersLoop = stream[order.Deadline](c, Orders+"-loop", "order id", internal)
	c.PaymentsLoop = stream[payment.Result](c, Payments+"-loop", "order id", internal)
	c.ProjectionsLoop = stream[projection.Note](c, Projections+"-loop", "STORE/PRODUCT, order id", internal)

	c.OrdersTable = table[order.Order](c, Orders, "order id")
	c.StockTable = table[stock.Inventory](c, Stock, "store id")
	c.PaymentsTable = table[payment.Payment](c, Payments, "order id")
	c.RidersTable = table[rider.Rider](c, Riders, "rider id")
	c.DispatchTable = table[dispatch.Area](c, Dispatch, "area id")
	c.ProjectionsTable = table[projection.Model](c, Projections, "STORE/PRODUCT, order id")
	return c
}

// All lists every topic of the installation.
func (c *Catalog) All() []Spec { return c.all }

// Group returns the consumer group's name with the prefix.
func (c *Catalog) Group(name string) string { return c.Prefix + name }

// Short returns a topic's name without the prefix: the name in the contract.
func (c *Catalog) Short(topic string) string { return strings.TrimPrefix(topic, c.Prefix) }

func internal(s *Spec) { s.Internal = true }

func (c *Catalog) add(s Spec) Spec {
	s.Topic = c.Prefix + s.Topic
	s.Partitions = c.Partitions
	c.all = append(c.all, s)
	return s
}

func stream[M any](c *Catalog, name, key string, opts ...func(*Spec)) Stream[M] {
	s := Spec{Topic: name, Key: key, Message: fmt.Sprintf("%T", *new(M)), Cleanup: Delete, Retention: Retention, message: reflect.TypeFor[M]()}
	for _, o := range opts {
		o(&s)
	}
	return Stream[M]{Spec: c.add(s)}
}

func table[R any](c *Catalog, group, key string) Table[R] {
	return Table[R]{Spec: c.add(Spec{Topic: group + "-table", Key: key, Message: fmt.Sprintf("%T", *new(R)), Cleanup: Compact, Internal: true})}
}
