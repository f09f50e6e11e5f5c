// Package notification turns events of orders into sentences for the people
// who wait for them, and keeps what each of them was told.
package notification

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/stock"
)

// Audiences.
const (
	Customer = "customer"
	Store    = "store"
	Rider    = "rider"
)

// Notification is a message of notifications and of message-log (key: the
// recipient's id). Its type repeats the event's.
type Notification struct {
	domain.Meta
	Recipient string `json:"recipient"`
	Audience  string `json:"audience"`
	OrderID   string `json:"orderId"`
	Status    string `json:"status"`
	Message   string `json:"message"`
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (n *Notification) Validate() error {
	return cmp.Or(
		domain.CheckText("type", n.Type, domain.MaxID),
		domain.CheckMadeID(n.ID),
		domain.CheckID("recipient", n.Recipient),
		domain.CheckOneOf("audience", n.Audience, audiences...),
		domain.CheckID("orderId", n.OrderID),
		domain.CheckText("status", n.Status, domain.MaxID),
		domain.CheckText("message", n.Message, domain.MaxPhrase))
}

// Names returns the key that the message itself claims.
func (n *Notification) Names() string { return n.Recipient }

// Language is what the sentences are written in.
type Language string

// Languages.
const (
	English Language = "en"
	Korean  Language = "ko"
)

// ParseLanguage returns the language of a flag.
func ParseLanguage(s string) (Language, error) {
	switch l := Language(s); l {
	case English, Korean:
		return l, nil
	}
	return "", fmt.Errorf("%q is no language of the notifications: en or ko", s)
}

type sentence map[Language]string

func say(en, ko string) sentence { return sentence{English: en, Korean: ko} }

// sentences is who is told what at which event. {order}, {rider}, {store},
// {reason}, {total}, {ready} and {wish} are filled in.
var sentences = map[string]map[string]sentence{
	string(order.Placed): {
		Customer: say("We have your order {order} and are asking {store}.", "주문 {order}을(를) 받았습니다. {store}에 확인하고 있습니다."),
	},
	string(order.Paid): {
		Customer: say("Order {order} is paid: {total}.", "주문 {order}의 결제가 완료되었습니다: {total}."),
		Store:    say("New order {order}: please accept it.", "새 주문 {order}: 접수해 주세요."),
	},
	string(order.AcceptedStatus): {
		Customer: say("{store} has accepted order {order}.", "{store}에서 주문 {order}을(를) 접수했습니다."),
	},
	string(order.Cooking): {
		Customer: say("Your order {order} is being cooked.", "주문 {order}의 조리를 시작했습니다."),
	},
	string(order.RiderAssigned): {
		Customer: say("{rider} will bring order {order}.", "{rider} 라이더가 주문 {order}을(를) 배달합니다."),
		Store:    say("{rider} will pick up order {order}.", "{rider} 라이더가 주문 {order}을(를) 픽업합니다."),
		Rider:    say("Order {order} is yours: pick it up at {store}.", "주문 {order} 배차: {store}에서 픽업해 주세요."),
	},
	string(order.Assigned): {
		Customer: say("Order {order} is ready, and {rider} is on the way to fetch it.", "주문 {order}이(가) 준비되었고 {rider} 라이더가 가지러 갑니다."),
		Rider:    say("Order {order} is ready at {store}.", "주문 {order}이(가) {store}에 준비되었습니다."),
	},
	order.RiderLost: {
		Customer: say("We are looking for another rider for order {order}.", "주문 {order}의 다른 라이더를 찾고 있습니다."),
		Rider:    say("Order {order} is not yours any more: {reason}.", "주문 {order} 배차가 취소되었습니다: {reason}."),
	},
	string(order.PickedUp): {
		Customer: say("Order {order} is on its way.", "주문 {order}이(가) 출발했습니다."),
		Store:    say("{rider} has picked up order {order}.", "{rider} 라이더가 주문 {order}을(를) 픽업했습니다."),
	},
	string(order.Delivered): {
		Customer: say("Order {order} has arrived. Enjoy your meal!", "주문 {order}이(가) 도착했습니다. 맛있게 드세요!"),
		Rider:    say("Thank you for delivering order {order}.", "주문 {order} 배달 완료, 감사합니다."),
	},
	order.Delayed: {
		Customer: say("The payment of order {order} takes longer than usual.", "주문 {order}의 결제가 지연되고 있습니다."),
	},
	order.Rescheduled: {
		Customer: say("Order {order} will be ready later than we said: at {ready}.", "주문 {order}의 준비가 늦어집니다: {ready}에 준비됩니다."),
		Rider:    say("Order {order} will be ready later: at {ready}.", "주문 {order}의 준비가 늦어집니다: {ready}에 준비됩니다."),
	},
	order.Reminded: {
		Store: say("Order {order} should be ready by now.", "주문 {order}이(가) 준비될 시간입니다."),
	},
	string(order.RefusedStatus):  everyone("Order {order} can't be made: {reason}.", "주문 {order}을(를) 진행할 수 없습니다: {reason}.", Customer),
	string(order.PaymentFailed):  everyone("Order {order} could not be paid: {reason}.", "주문 {order}의 결제에 실패했습니다: {reason}.", Customer),
	string(order.Rejected):       everyone("Order {order} was not taken: {reason}. You pay nothing.", "주문 {order}이(가) 거절되었습니다: {reason}. 결제되지 않습니다.", Customer),
	string(order.Cancelled):      everyone("Order {order} is {reason}.", "주문 {order}이(가) 취소되었습니다: {reason}.", Customer, Store, Rider),
	string(order.DeliveryFailed): everyone("Order {order} can't be delivered: {reason}. Nobody pays for it.", "주문 {order}을(를) 배달할 수 없습니다: {reason}.", Customer, Store, Rider),
	string(order.RefundRequested): {
		Customer: say("{store} knows that you ask for {wish} for order {order}: {reason}.", "주문 {order}의 {wish} 요청을 {store}에 전달했습니다: {reason}."),
		Store:    say("The customer of order {order} asks for {wish}: {reason}. Please decide.", "주문 {order}의 고객이 {wish}을(를) 요청했습니다: {reason}. 결정해 주세요."),
	},
	string(order.Refunded):     everyone("Order {order} is refunded: {total}.", "주문 {order}이(가) 환불되었습니다: {total}.", Customer, Store),
	string(order.RefundDenied): everyone("The refund of order {order} is denied: {reason}.", "주문 {order}의 환불이 거절되었습니다: {reason}.", Customer),
}

// reasons says in words what other groups give as a reason in one.
var reasons = map[string]sentence{
	dispatch.NoRider:   say("no rider was found", "배달할 라이더를 찾지 못했습니다"),
	dispatch.AreaFull:  say("too many deliveries are waiting in the area", "지역에 대기 중인 배달이 너무 많습니다"),
	dispatch.Withdrawn: say("the delivery was taken back", "배달 요청이 철회되었습니다"),
	dispatch.Declined:  say("you gave it back", "배차를 거절하셨습니다"),
	dispatch.Late:      say("it was not picked up in time", "제시간에 픽업되지 않았습니다"),

	stock.UnknownStore:   say("the store is not known", "등록되지 않은 매장입니다"),
	stock.Closed:         say("the store is closed", "매장이 영업 중이 아닙니다"),
	stock.UnknownProduct: say("the store does not have one of the products", "매장에 없는 메뉴가 있습니다"),
	stock.Short:          say("it is sold out", "재고가 부족합니다"),
	stock.PriceChanged:   say("the price has changed", "가격이 변경되었습니다"),
	stock.Busy:           say("the store has too many orders", "매장에 주문이 너무 많습니다"),
}

// wishes says in words what a customer wants instead of what came.
var wishes = map[string]sentence{
	order.WishRefund:     say("a refund", "환불"),
	order.WishRedelivery: say("another delivery", "재배달"),
}

func inWords(e *order.Event, l Language) string {
	switch e.Type { // in the others people have a say, who may use these words too
	case string(order.RefusedStatus), string(order.DeliveryFailed), order.RiderLost:
		if s, ok := reasons[e.Reason]; ok {
			return s[l]
		}
	}
	return e.Reason
}

func everyone(en, ko string, audiences ...string) map[string]sentence {
	m := map[string]sentence{}
	for _, a := range audiences {
		m[a] = say(en, ko)
	}
	return m
}

// Audiences in the order in which they are told.
var audiences = []string{Customer, Store, Rider}

// fill puts what an event says in the place of the names in braces.
func fill(s string, e *order.Event, l Language) string {
	b := make([]byte, 0, len(s)+64)
	for {
		before, after, found := strings.Cut(s, "{")
		b = append(b, before...)
		if !found {
			return string(b)
		}
		name, rest, _ := strings.Cut(after, "}")
		switch name {
		case "order":
			b = append(b, e.OrderID...)
		case "rider":
			b = append(b, e.RiderID...)
		case "store":
			b = append(b, e.StoreID...)
		case "reason":
			b = append(b, inWords(e, l)...)
		case "ready":
			b, _ = e.ReadyAt.AppendText(b) // what was read can be written
		case "wish":
			b = append(b, wishes[e.Wish][l]...)
		case "total":
			if e.Total != nil {
				b = strconv.AppendInt(b, *e.Total, 10)
			}
		}
		s = rest
	}
}

// Of returns what an event makes known to whom. Each id is a function of the
// event's, so the same event gives the same notifications.
func Of(e *order.Event, l Language) (all []Notification) {
	to := map[string]string{Customer: e.UserID, Store: e.StoreID, Rider: e.RiderID}
	for _, a := range audiences {
		s, ok := sentences[e.Type][a]
		if !ok || to[a] == "" {
			continue
		}
		all = append(all, Notification{
			Meta:      domain.Meta{Type: e.Type, ID: e.ID + "/" + a, At: e.At},
			Recipient: to[a], Audience: a, OrderID: e.OrderID, Status: string(e.Status), Message: fill(s[l], e, l),
		})
	}
	return all
}
