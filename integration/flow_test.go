package integration

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/internal/kafkatest"
)

// A store that answers by hand, and everybody else.
func TestLife_DeliveredByHand(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newWorld(t, b)
		w.openStore("s-1", "a-1", "")
		w.riderOnline("r-1", "a-1")

		w.place("o-1", "s-1", "bibimbap", 2)
		paid := w.reaches("o-1", "paid")
		assert.Equal(t, domain.Money(18000), *paid.Total)
		assert.Equal(t, "a-1", paid.Area)
		w.stockIs("s-1", stock{OnHand: 10, Reserved: 2, Available: 8})

		w.order("o-1", `{"type":"accept","id":"accept","cookingTime":"10m","verdict":true}`)
		require.Equal(t, domain.Accepted, w.verdict("accept").Verdict)
		w.reaches("o-1", "rider_assigned")
		w.order("o-1", `{"type":"start_cooking"}`)
		w.reaches("o-1", "cooking")
		w.stockIs("s-1", stock{OnHand: 8, Reserved: 0, Available: 8})
		w.order("o-1", `{"type":"finish_cooking"}`)
		w.reaches("o-1", "assigned")
		w.rider("r-1", `{"type":"picked_up","orderId":"o-1"}`)
		w.reaches("o-1", "picked_up")
		w.rider("r-1", `{"type":"delivered","orderId":"o-1"}`)
		w.reaches("o-1", "delivered")
		w.order("o-1", `{"type":"confirm"}`)
		w.reaches("o-1", "completed")

		assert.Equal(t, []string{"placed", "paying", "paid", "accepted", "rider_assigned", "cooking", "ready", "assigned",
			"picked_up", "delivered", "completed"}, w.types("o-1"))

		var o struct {
			Status, UserID, RiderID string
			Version                 int
			Timeline                []order.Entry
		}
		h := w.get("/v1/orders/o-1?wait=completed", http.StatusOK, &o)
		assert.Equal(t, `"11-packed-gzip"`, h.Get("ETag"), "it is long, and was unpacked")
		assert.NotEmpty(t, h.Get("Baedal-Staleness-Ms"))
		assert.Equal(t, "r-1", o.RiderID)
		assert.Len(t, o.Timeline, 11)
		kafkatest.Eventually(t, func() bool {
			var r struct {
				State          string
				DeliveredCount int
			}
			w.get("/v1/riders/r-1", http.StatusOK, &r)
			return r.State == "idle" && r.DeliveredCount == 1
		}, patience, 20*time.Millisecond, "the rider is idle again")
		for path, want := range map[string]string{
			"/v1/users/u-o-1/orders":   `"o-1"`,
			"/v1/users/u-o-1/messages": "Enjoy your meal",
			"/v1/foods/bibimbap":       `2`,
			"/v1/areas/a-1/riders":     `"r-1"`,
			"/v1/orders?storeId=s-1":   `"completed"`,
		} {
			w.shows(path, want)
		}
		w.sound()
	})
}

// A store that accepts by itself cooks and finishes by itself.
func TestLife_DeliveredByItself(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newWorld(t, b)
		w.openStore("s-1", "a-1", `,"autoAccept":true,"cookingTime":"200ms"`)
		w.riderOnline("r-1", "a-1")
		w.place("o-1", "s-1", "bibimbap", 1)
		w.reaches("o-1", "assigned")
		assert.ElementsMatch(t, []string{"placed", "paying", "paid", "accepted", "cooking", "rider_assigned", "ready", "assigned"}, w.types("o-1"))
		w.sound()
	})
}

func TestLife_WaysOut(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newWorld(t, b, "--gateway", "decline-over=50000", "--deadline", "paid=1s", "--deadline", "ready=1s", "--deadline", "assigned=1s")
		w.openStore("s-hand", "a-1", "")
		w.openStore("s-auto", "a-empty", `,"autoAccept":true`)
		full := stock{OnHand: 10, Available: 10}

		w.run(t, "UnknownStore", func(t *testing.T) {
			w.place("o-unknown", "s-nowhere", "bibimbap", 1)
			assert.Equal(t, "unknown_store", w.reaches("o-unknown", "refused").Reason)
		})
		w.run(t, "ClosedStore", func(t *testing.T) {
			w.openStore("s-closed", "a-1", "")
			w.call(http.MethodPost, "/v1/stores/s-closed/close", "", http.StatusOK, nil)
			kafkatest.Eventually(t, func() bool {
				var s struct{ Open bool }
				w.get("/v1/stores/s-closed", http.StatusOK, &s)
				return !s.Open
			}, patience, 20*time.Millisecond)
			w.place("o-closed", "s-closed", "bibimbap", 1)
			assert.Equal(t, "closed", w.reaches("o-closed", "refused").Reason)
		})
		w.run(t, "UnknownProduct", func(t *testing.T) {
			w.place("o-product", "s-hand", "pizza", 1)
			assert.Equal(t, "unknown_product", w.reaches("o-product", "refused").Reason)
		})
		w.run(t, "Short", func(t *testing.T) {
			w.place("o-short", "s-hand", "bibimbap", 11)
			e := w.reaches("o-short", "refused")
			assert.Equal(t, "short", e.Reason)
			assert.Equal(t, []domain.Shortage{{Product: "bibimbap", Wanted: 11, Available: 10}}, e.Short)
		})
		w.run(t, "OtherPrice", func(t *testing.T) {
			w.order("o-price", `{"type":"place","userId":"u","storeId":"s-hand","lines":[{"product":"bibimbap","quantity":1}],"address":{"lat":1,"lon":1},"expectedTotal":8000}`)
			assert.Equal(t, "price_changed", w.reaches("o-price", "refused").Reason)
		})
		w.run(t, "PaymentDeclined", func(t *testing.T) {
			w.place("o-declined", "s-hand", "bibimbap", 6)
			w.reaches("o-declined", "payment_failed")
			w.stockIs("s-hand", full)
		})
		w.run(t, "StoreRejects", func(t *testing.T) {
			w.place("o-rejected", "s-hand", "bibimbap", 1)
			w.reaches("o-rejected", "paid")
			w.order("o-rejected", `{"type":"reject","reason":"no gas"}`)
			assert.Equal(t, "no gas", w.reaches("o-rejected", "rejected").Reason)
			w.stockIs("s-hand", full)
		})
		w.run(t, "StoreIsSilent", func(t *testing.T) {
			w.place("o-silent", "s-hand", "bibimbap", 1)
			w.reaches("o-silent", "rejected")
			w.stockIs("s-hand", full)
		})
		w.run(t, "NoRider", func(t *testing.T) {
			w.place("o-norider", "s-auto", "bibimbap", 1)
			assert.Equal(t, "no_rider", w.reaches("o-norider", "delivery_failed").Reason)
		})
		w.run(t, "Cancelled", func(t *testing.T) {
			w.riderOnline("r-1", "a-1")
			w.place("o-cancel", "s-hand", "bibimbap", 3)
			w.reaches("o-cancel", "paid")
			w.order("o-cancel", `{"type":"accept","cookingTime":"10m"}`)
			w.reaches("o-cancel", "rider_assigned")
			w.order("o-cancel", `{"type":"cancel","by":"customer","reason":"not hungry any more"}`)
			assert.Contains(t, w.reaches("o-cancel", "cancelled").Reason, "not hungry any more")
			w.stockIs("s-hand", full)
			kafkatest.Eventually(t, func() bool {
				var r struct{ State string }
				w.get("/v1/riders/r-1", http.StatusOK, &r)
				return r.State == "idle"
			}, patience, 20*time.Millisecond, "the rider is free again")
			w.place("o-sellable", "s-hand", "bibimbap", 5) // what was released is sold again
			w.reaches("o-sellable", "paid")
		})
		w.run(t, "CancelTooLate", func(t *testing.T) {
			w.place("o-late", "s-auto", "bibimbap", 1)
			w.reaches("o-late", "cooking")
			w.order("o-late", `{"type":"cancel","id":"late","by":"customer"}`)
			v := w.verdict("late")
			assert.Equal(t, domain.Refused, v.Verdict)
			assert.Equal(t, domain.CodeStatus, v.Code)
			assert.Contains(t, v.Reason, "until cooking starts")
			assert.Positive(t, v.Version)
		})
		w.run(t, "CancelUnknown", func(t *testing.T) {
			w.order("o-never", `{"type":"cancel","id":"never","by":"customer"}`)
			v := w.verdict("never")
			assert.Contains(t, v.Reason, "unknown")
			assert.Equal(t, []any{domain.CodeUnknown, 0}, []any{v.Code, v.Version})
			w.get("/v1/orders/o-never", http.StatusNotFound, nil)
		})
		w.run(t, "RiderIsLate", func(t *testing.T) {
			w.openStore("s-late", "a-late", `,"autoAccept":true`)
			w.riderOnline("r-late", "a-late")
			w.place("o-lost", "s-late", "bibimbap", 1)
			w.reaches("o-lost", "assigned")
			assert.Equal(t, "late", w.reaches("o-lost", "rider_lost").Reason)
		})
		w.run(t, "TwiceIsOnce", func(t *testing.T) {
			w.openStore("s-twice", "a-1", "")
			w.say(w.cat.StoreCommands.Name(), "s-twice", `{"type":"add_stock","id":"s-twice-stock","product":"bibimbap","quantity":10,"verdict":true}`)
			w.place("o-twice", "s-twice", "bibimbap", 1)
			w.place("o-twice", "s-twice", "bibimbap", 1)
			w.reaches("o-twice", "rejected") // nobody accepts
			w.stockIs("s-twice", full)
			assert.Equal(t, []string{"placed", "paying", "paid", "rejected"}, w.types("o-twice"))
		})
		w.sound()
	})
}

// Whatever partitioner a client has, its commands arrive where they belong.
func TestForeignPartitioners(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newWorld(t, b)
		w.openStore("s-1", "a-1", `,"autoAccept":true`)
		w.riderOnline("r-1", "a-1")
		ids := []string{"a", "b", "c", "d", "e", "f", "g", "h"}

		w.run(t, "Murmur2", func(t *testing.T) { // as Java clients have it
			cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
			require.NoError(t, err)
			defer cl.Close()
			ours := w.cl
			w.cl = cl
			defer func() { w.cl = ours }()
			for _, id := range ids {
				w.place("m-"+id, "s-1", "pizza", 1)
				w.order("m-"+id, `{"type":"cancel","id":"m-%s-cancel","by":"customer","verdict":true}`, id)
			}
			for _, id := range ids {
				w.reaches("m-"+id, "placed")
				// Order is kept per key: the cancel finds the order.
				assert.NotContains(t, w.verdict("m-"+id+"-cancel").Reason, "unknown")
			}
		})
		w.run(t, "KcatCRC32", func(t *testing.T) {
			kcat, err := exec.LookPath("kcat")
			if err != nil {
				t.Skip("no kcat here: apt-get install kcat")
			}
			var in strings.Builder
			for _, id := range ids {
				in.WriteString("k-" + id + `:{"type":"place","userId":"u","storeId":"s-1","lines":[{"product":"pizza","quantity":1}],"address":{"lat":37.5,"lon":127}}` + "\n")
			}
			cmd := exec.Command(kcat, "-P", "-b", b.Addr, "-t", w.cat.OrderCommands.Name(), "-K:")
			cmd.Stdin = strings.NewReader(in.String())
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			for _, id := range ids {
				assert.Equal(t, "unknown_product", w.reaches("k-"+id, "refused").Reason)
			}
		})
		w.shows("/metrics", "baedal_messages_forwarded_total")
		w.sound()
	})
}

// One bad message becomes a dead letter, and the partition goes on.
func TestBadMessages(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newWorld(t, b)
		w.openStore("s-1", "a-1", "")
		w.order("o-1", "not JSON")
		w.order("o-1", `{"type":"dance"}`)
		w.order("o-1", `{"type":"place","userId":"u"}`)
		w.order("o-1", `{"type":"cancel","by":"customer","orderId":"o-2"}`)
		w.order("o-1", `{"type":"accept","cookingTime":5}`)
		w.place("o-1", "s-1", "bibimbap", 1)
		w.reaches("o-1", "paid")

		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumeTopics(w.cat.DeadLetters.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		require.NoError(t, err)
		defer cl.Close()
		var errors []string
		kafkatest.Eventually(t, func() bool {
			cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
				assert.Equal(t, "o-1", string(r.Key))
				for _, h := range r.Headers {
					if h.Key == "baedal-error" {
						errors = append(errors, string(h.Value))
					}
				}
			})
			return len(errors) == 5
		}, patience, time.Millisecond)
		for i, part := range []string{"JSON", `"dance" is not a command`, "storeId", `names "o-2"`, "cookingTime"} {
			assert.Contains(t, errors[i], part)
		}
		w.sound()
	})
}

// shows waits until an answer contains a text.
func (w *world) shows(path, text string) {
	w.t.Helper()
	var last string
	kafkatest.Eventually(w.t, func() bool {
		res, err := http.Get("http://" + w.p.http + path)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var s strings.Builder
		_, _ = io.Copy(&s, res.Body)
		last = s.String()
		return res.StatusCode == http.StatusOK && strings.Contains(last, text)
	}, patience, 20*time.Millisecond, "GET %s must show %s, last: %s", path, text, &last)
}
