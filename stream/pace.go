package stream

import (
	"net"
	"time"
)

// pacedDialer makes connections that do not fetch all the time. A broker
// answers a fetch as soon as there is one record, so under load a consumer asks
// for almost every record on its own, and the requests cost more than what they
// bring. A short pause between two of them lets records gather; a consumer that
// waits for records is not held up.
type pacedDialer struct {
	net.Dialer
	pause time.Duration
}

func (d *pacedDialer) Dial(network, addr string) (net.Conn, error) {
	c, err := d.Dialer.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	return &pacedConn{Conn: c, pause: d.pause}, nil
}

type pacedConn struct {
	net.Conn
	pause time.Duration
	last  time.Time
}

// Write gets a request in one piece, and one at a time.
func (c *pacedConn) Write(b []byte) (int, error) {
	const fetch = 1 // the API key, two bytes behind the four of the size
	if len(b) >= 6 && b[4] == 0 && b[5] == fetch {
		time.Sleep(c.pause - time.Since(c.last))
		c.last = time.Now()
	}
	return c.Conn.Write(b)
}
