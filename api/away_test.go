package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/domain/order"
)

// What is told of a command that the brokers did not acknowledge: which of the two it is, when to come again, and no line in the log.
func TestAPI_BrokersAway(t *testing.T) {
	for _, c := range append(commandCases[:len(commandCases):len(commandCases)], commandCases[0]) {
		t.Run(c.method+c.path, func(t *testing.T) {
			f := newFixture(t)
			f.commands.err = fmt.Errorf("%w: no broker answers", api.ErrNotSent)
			a := f.do(c.method, c.path, c.body, "Idempotency-Key", "k-1")
			a.problem(t, http.StatusServiceUnavailable, `was not sent: send it again (id "k-1")`)
			require.Equal(t, "no", a.json["sent"])
			require.Equal(t, "1", a.Header().Get("Retry-After"))
			f.commands.err = fmt.Errorf("%w: nothing came", api.ErrUnacknowledged)
			a = f.do(c.method, c.path, c.body, "Idempotency-Key", "k-1")
			a.problem(t, http.StatusServiceUnavailable, `may have arrived or not: send it again with the id "k-1"`)
			require.Equal(t, "unknown", a.json["sent"])
			require.Equal(t, "1", a.Header().Get("Retry-After"))
			require.Empty(t, f.log.String(), "the brokers are away: that is said once, not for each request")
		})
	}
}

// deafCommands are those of brokers that do not answer.
type deafCommands struct{ api.Commands }

func (deafCommands) SendOrder(ctx context.Context, _ string, _ *order.Command) error {
	<-ctx.Done()
	return api.ErrUnacknowledged
}

// The client's limit holds for the broker's acknowledgement, and for all that is waited for together.
func TestAPI_Limit(t *testing.T) {
	for _, c := range []struct {
		query, prefer string
		want          time.Duration
	}{
		{"", "", 5 * time.Second},
		{"", "wait=1", time.Second},
		{"", "wait=0", 100 * time.Millisecond},
		{"", "respond-async", 5 * time.Second},
		{"", "wait=2", 2 * time.Second},
		{"", "Wait=2", 2 * time.Second},
		{"", "respond-async, wait=7; x=1", 7 * time.Second},
		{"", `wait="3"`, 3 * time.Second},
		{"", "wait=600", time.Minute},
		{"", "wait=soon", 5 * time.Second},
		{"", "wait=-1", 5 * time.Second},
		{"", "wait", 5 * time.Second},
		{"", "handling=lenient", 5 * time.Second},
		{"wait=paid", "wait=2", 2 * time.Second},
	} {
		t.Run(c.query+" "+c.prefer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				deaf := f.with(deafCommands{&f.commands})
				began := time.Now()
				deaf.do("POST", "/v1/orders?"+c.query, placeBody, "Prefer", c.prefer).problem(t, http.StatusServiceUnavailable, "may have arrived")
				require.Equal(t, c.want, time.Since(began))

				if !strings.Contains(c.query, "wait") && c.want > leastSend {
					query := "/v1/orders/o-1?wait=delivered&" + c.query
					began = time.Now()
					require.Equal(t, http.StatusOK, f.get(query, "Prefer", c.prefer).Code)
					require.Equal(t, c.want, time.Since(began), "the wait for a status is bounded by the same")
				}
			})
		})
	}
	t.Run("Together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			slow := f.with(slowCommands{&f.commands})
			began := time.Now()
			require.Equal(t, http.StatusAccepted, slow.do("POST", "/v1/orders?wait=paid", placeBody, "Prefer", "wait=3").Code)
			require.Equal(t, 3*time.Second, time.Since(began))
		})
	})
}

const leastSend = 100 * time.Millisecond

// slowCommands take two seconds.
type slowCommands struct{ api.Commands }

func (slowCommands) SendOrder(context.Context, string, *order.Command) error {
	time.Sleep(2 * time.Second)
	return nil
}
