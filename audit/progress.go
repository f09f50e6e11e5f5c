package audit

import (
	"fmt"
	"io"
	"time"
)

// progress tells how far the reading is, every second.
type progress struct {
	w     io.Writer // nil: nobody wants to know
	began time.Time
	next  time.Time
	lines time.Time
	told  bool
}

func newProgress(w io.Writer) *progress {
	now := time.Now()
	return &progress{w: w, began: now, next: now.Add(2 * time.Second), lines: now.Add(2 * time.Second)}
}

func (p *progress) tick(done, total int64) {
	if p.w == nil || done%1024 != 0 || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(5 * time.Second)
	p.told = true
	rate := float64(done) / time.Since(p.began).Seconds()
	eta := time.Duration(float64(max(0, total-done)) / rate * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(p.w, "%d of some %d records, %.0f /s, ETA %s\n", done, total, rate, eta)
}

func (p *progress) end() { p.next = time.Now().Add(5 * time.Second) }

// line says something at most every five seconds.
func (p *progress) line(format string, args ...any) {
	if p.w == nil || time.Now().Before(p.lines) {
		return
	}
	p.lines = time.Now().Add(5 * time.Second)
	fmt.Fprintf(p.w, format+"\n", args...)
}
