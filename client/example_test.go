package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"baedal/client"
)

// A customer orders, waits for the food for a minute at most, and confirms that it came. A second try under the same key would get the same order.
func Example() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:8080", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	key, paid, delivered, minute := "cart-17", client.Status("paid"), client.Status("delivered"), "wait=60"
	order, err := client.As[client.Order](c.PlaceOrder(ctx, &client.PlaceOrderParams{IdempotencyKey: &key, Wait: &paid}, client.PlaceOrder{
		UserID: "me", StoreID: "hongs-kitchen",
		Lines:   []client.OrderedLine{{Product: "bulgogi", Quantity: 1}},
		Address: client.AddressOf{Lat: 37.55, Lon: 126.92},
	}))
	if refused := (*client.Problem)(nil); errors.As(err, &refused) {
		log.Fatal(refused.Detail) // such as short, with what is left in refused.Short
	}
	if err == nil {
		order, err = client.As[client.Order](c.GetOrder(ctx, order.ID, &client.GetOrderParams{Wait: &delivered, Prefer: &minute}))
	}
	if err == nil && order.Status == delivered {
		order, err = client.As[client.Order](c.ConfirmOrder(ctx, order.ID, nil, client.Bare{}))
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(order.Status)
}

// A store's board, live: what is on it, and then every change. A stream that is cut goes on where it was.
func ExampleEvents() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:8080", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	err = client.Events(ctx, func(ctx context.Context, last *string) (*http.Response, error) {
		return c.FollowStore(ctx, "hongs-kitchen", &client.FollowStoreParams{LastEventID: last})
	}, func(e client.Event) error {
		if e.Name != "order" {
			return nil
		}
		var o client.OrderSummary
		if err := e.Into(&o); err != nil {
			return err
		}
		fmt.Println(o.ID, o.Status)
		return nil
	})
	log.Fatal(err)
}
