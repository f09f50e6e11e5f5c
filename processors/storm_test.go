package processors_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Commands that bear the ids of the engine's own messages, and all of them again:
// whatever two groups make of it, they come to an end, and the order can be ended.
func TestNoStorm(t *testing.T) {
	for _, id := range []string{"o-1/assigned/1/1", "o-1/request/1", "o-1/reserve/1", "o-1/reserved/1", "o-1/approved/1", "o-1/failed/1", "o-1/1", "deadline/o-1/3"} {
		t.Run(id, func(t *testing.T) {
			w := newTown(t)
			w.store("")
			w.order(placeJSON("p", 2))
			before := len(w.sent)
			w.order(`{"type":"accept","cookingTime":"10m","id":"` + id + `"}`)
			w.rider(`{"type":"online","id":"on","area":"a-1","lat":37.5,"lon":127}`)
			require.Less(t, len(w.sent)-before, 100, "messages that two commands have caused")
			for range 3 {
				w.order(`{"type":"accept","cookingTime":"10m","id":"` + id + `"}`)
				w.rider(`{"type":"online","id":"on","area":"a-1","lat":37.5,"lon":127}`)
			}
			require.Less(t, len(w.sent)-before, 400)
			w.order(`{"type":"cancel","by":"operator","id":"c"}`)
			w.status("cancelled")
		})
	}
}
