package api_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain/order"
	"baedal/domain/stock"
)

// clientsEnv names the variable that says how many clients BenchmarkLive opens.
const clientsEnv = "BAEDAL_BENCH_CLIENTS"

// BenchmarkLive opens the streams of many clients at once, over loopback: how much
// memory one takes while it waits, and how long it takes until all have been told
// of a change. One client never reads.
//
//	BAEDAL_BENCH_CLIENTS=5000 go test ./api -run '^$' -bench Live -benchtime 5x
func BenchmarkLive(b *testing.B) {
	clients := 1000
	if n, err := strconv.Atoi(os.Getenv(clientsEnv)); err == nil {
		clients = n
	}
	for _, c := range []struct{ name, path, change string }{
		{"Order", "/v1/orders/b-1/events", "b-1"},
		{"Board", "/v1/stores/s-7/events", "b-1"},
		{"User", "/v1/users/u-7/events", "b-1"},
		{"Area", "/v1/areas/a-7/events", ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newFixture(b)
			f.stock.set("s-7", &stock.Inventory{StoreID: "s-7", Store: &stock.Store{Name: "Seven"}})
			for i := range 10 {
				f.orders.set(fmt.Sprintf("b-%d", i), openOrder(fmt.Sprintf("b-%d", i), "s-7", 1))
			}
			riders := []string{"r-1", "r-2", "r-3", "r-4", "r-5", "r-6", "r-7", "r-8", "r-9"}
			f.areas.set("a-7", areaOf("a-7", riders, map[string]string{"b-1": "r-1", "b-2": "", "b-3": ""}))
			url, _ := f.serve()
			addr := strings.TrimPrefix(url, "http://")

			before := memory()
			conns := make([]net.Conn, clients)
			for i := range conns {
				conns[i] = open(b, addr, c.path)
				defer conns[i].Close()
			}
			buf := make([]byte, 64<<10)
			for _, conn := range conns {
				reads(b, conn, buf, "1")
			}
			deaf := open(b, addr, c.path) // it never reads
			defer deaf.Close()
			time.Sleep(time.Second) // stacks and buffers are given back
			held := memory() - before

			o := openOrder("b-1", "s-7", 1)
			var all, most time.Duration
			for n := 0; b.Loop(); n++ {
				began := time.Now()
				mark := fmt.Sprintf("mark-%d", n)
				if c.change == "" {
					f.areas.set("a-7", areaOf("a-7", append(riders, mark), map[string]string{"b-1": "r-1", "b-2": "", "b-3": ""}))
				} else {
					o = grow(o, order.Cooking)
					o.Timeline[len(o.Timeline)-1].Reason, o.Reason = mark, mark
					f.orders.set("b-1", o)
				}
				for _, conn := range conns {
					reads(b, conn, buf, mark)
				}
				took := time.Since(began)
				all, most = all+took, max(most, took)
			}
			b.ReportMetric(float64(held)/float64(clients), "B/client")
			b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "ms/all")
			b.ReportMetric(float64(most.Milliseconds()), "ms/all-worst")
		})
	}
}

// open sends a request, as a client that takes no memory to speak of.
func open(b *testing.B, addr, path string) net.Conn {
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", addr)
	require.NoError(b, err)
	_, err = conn.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"))
	require.NoError(b, err)
	return conn
}

// reads reads until a mark comes.
func reads(b *testing.B, conn net.Conn, buf []byte, mark string) {
	require.NoError(b, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	have := 0
	for !bytes.Contains(buf[:have], []byte(mark)) {
		if have > len(buf)/2 {
			have = copy(buf, buf[have-len(mark):have])
		}
		n, err := conn.Read(buf[have:])
		require.NoError(b, err)
		have += n
	}
}

// memory returns the bytes that the process holds after a collection.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
