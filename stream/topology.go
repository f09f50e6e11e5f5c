package stream

// Wiring is what a group reads and writes, by the names of topics.
type Wiring struct {
	Group       string   `json:"group"`
	Reads       []string `json:"reads"`
	Loop        string   `json:"loop,omitempty"` // what it sends itself
	Writes      []string `json:"writes"`
	Table       string   `json:"table,omitempty"`
	DeadLetters string   `json:"deadLetters"`
}

// WiringOf returns the wiring of a definition, as it is handed to goka. That any
// group writes to what it reads, where a record is in the wrong partition, is left
// out.
func WiringOf(d Definition) Wiring { return d.wiring() }

func (g Group[R]) wiring() Wiring {
	w := Wiring{Group: g.Name, DeadLetters: g.DeadLetters.Name()}
	for _, in := range g.Inputs {
		if in.loop {
			w.Loop = in.sink.Name()
		} else {
			w.Reads = append(w.Reads, in.sink.Name())
		}
	}
	for _, out := range g.Outputs {
		w.Writes = append(w.Writes, out.Name())
	}
	if g.Table != nil {
		w.Table = g.Table.Name()
	}
	return w
}
