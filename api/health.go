package api

import (
	"math"
	"net/http"
	"time"
)

// readyLag is how far a view may lag in a process that calls itself ready. It
// is passed when the broker cannot be asked for this long, too.
const readyLag = 30 * time.Second

type readiness struct {
	Ready      bool        `json:"ready"`
	Processors string      `json:"processors,omitempty"` // what they wait for
	Views      []viewState `json:"views"`
}

type viewState struct {
	View        string `json:"view"`
	Table       string `json:"table"`
	Ready       bool   `json:"ready"`
	Applied     int64  `json:"applied"` // records of the changelog that the view is past
	Newest      int64  `json:"newest"`  // and that there are
	StalenessMs *int64 `json:"stalenessMs,omitempty"`
	Problem     string `json:"problem,omitempty"`
}

func (s *server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *server) readyz(w http.ResponseWriter, _ *http.Request) error {
	out, status := s.readiness(), http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	return writeJSON(w, status, out)
}

func (s *server) readiness() readiness {
	out := readiness{Ready: true, Views: []viewState{}}
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			out.Ready, out.Processors = false, err.Error()
		}
	}
	if s.Tables.Progress != nil {
		for _, p := range s.Tables.Progress() {
			v := viewState{View: p.View, Table: p.Table, Applied: p.Applied, Newest: max(p.Newest, p.Applied), Problem: p.Problem}
			v.Ready = p.Recovered && p.Staleness <= readyLag && p.Problem == ""
			if p.Staleness < math.MaxInt64 {
				ms := p.Staleness.Milliseconds()
				v.StalenessMs = &ms
			}
			out.Ready = out.Ready && v.Ready
			out.Views = append(out.Views, v)
		}
	}
	return out
}
