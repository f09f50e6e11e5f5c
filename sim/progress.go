package sim

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells how far long work is: on a terminal in one line that is written over each second, else in a line each 5 s.
type progress struct {
	w        io.Writer // nil: nobody wants to know
	terminal bool
	open     bool // a line on the terminal waits for its end
	next     time.Time
	lastDone int
	lastAt   time.Duration
}

func newProgress(w io.Writer) *progress { return &progress{w: w, terminal: isTerminal(w)} }

func isTerminal(w io.Writer) bool {
	if outer, ok := w.(interface{ Unwrap() io.Writer }); ok {
		w = outer.Unwrap()
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) line(format string, args ...any) {
	if p.w != nil {
		p.end()
		fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// status shows a line that the next one replaces.
func (p *progress) status(text string) {
	if p.w == nil {
		return
	}
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.open = true
		return
	}
	if now := time.Now(); !now.Before(p.next) {
		p.next = now.Add(5 * time.Second)
		fmt.Fprintln(p.w, text)
	}
}

// rate shows how many of total (0: not known) are done, how fast it goes now, and when it will be over.
func (p *progress) rate(done, total, placed int, elapsed time.Duration) {
	if p.w == nil {
		return
	}
	rate := 0.0
	if dt := elapsed - p.lastAt; dt > 0 {
		rate = float64(done-p.lastDone) / dt.Seconds()
	}
	p.lastDone, p.lastAt = done, elapsed
	if total == 0 {
		p.status(fmt.Sprintf("%d of %d placed orders ended, %.0f /s, %s", done, placed, rate, elapsed.Round(time.Second)))
		return
	}
	eta := "?"
	if overall := float64(done) / elapsed.Seconds(); overall > 0 {
		eta = time.Duration(float64(total-done) / overall * float64(time.Second)).Round(time.Second).String()
	}
	p.status(fmt.Sprintf("%d/%d orders ended (%d on their way), %.0f /s, ETA %s", done, total, placed-done, rate, eta))
}

func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}
