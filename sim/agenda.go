package sim

import (
	"container/heap"
	"time"
)

// agenda is what is still to be done, by the time at which it is due. It is for one goroutine.
type agenda struct {
	items []due
	seq   int
}

type due struct {
	at  float64 // in the unit of its user
	seq int     // what is due at the same time is done in the order of adding
	do  func()
}

func (a *agenda) Len() int { return len(a.items) }
func (a *agenda) Less(i, j int) bool {
	x, y := a.items[i], a.items[j]
	return x.at < y.at || x.at == y.at && x.seq < y.seq
}
func (a *agenda) Swap(i, j int) { a.items[i], a.items[j] = a.items[j], a.items[i] }
func (a *agenda) Push(x any)    { a.items = append(a.items, x.(due)) }
func (a *agenda) Pop() any {
	last := a.items[len(a.items)-1]
	a.items[len(a.items)-1] = due{}
	a.items = a.items[:len(a.items)-1]
	return last
}

func (a *agenda) add(at float64, do func()) {
	a.seq++
	heap.Push(a, due{at, a.seq, do})
}

// next returns the item that is due at now, if any.
func (a *agenda) next(now float64) (due, bool) {
	if len(a.items) == 0 || a.items[0].at > now {
		return due{}, false
	}
	return heap.Pop(a).(due), true
}

// clock maps the wall's time to simulated minutes.
type clock struct {
	start time.Time
	from  float64 // the minute at start
	speed float64 // simulated seconds in a second
}

func (c clock) minute(t time.Time) float64 { return c.from + t.Sub(c.start).Minutes()*c.speed }

func (c clock) wall(minutes float64) time.Duration {
	return time.Duration(minutes / c.speed * float64(time.Minute))
}

func (c clock) at(minute float64) time.Time { return c.start.Add(c.wall(minute - c.from)) }
