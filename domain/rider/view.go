package rider

// States of a rider as readers see him.
const (
	StateOffline = "offline"
	StateIdle    = "idle"
	StateBusy    = "busy"
)

// View is a rider as readers see him.
type View struct {
	ID             string   `json:"id"`
	Area           string   `json:"area,omitempty"`
	Lat            *float64 `json:"lat,omitempty"` // left out while no place is known
	Lon            *float64 `json:"lon,omitempty"`
	State          string   `json:"state"`
	Deliveries     []string `json:"deliveries"` // order ids
	DeliveredCount int      `json:"deliveredCount"`
}

// View returns what readers see. A rider is offline until his area has let him
// in, and still on shift until it has let him go.
func (r *Rider) View() View {
	v := View{ID: r.ID, State: StateOffline, Deliveries: []string{}, DeliveredCount: r.DeliveredCount}
	if r.Place != nil {
		v.Lat, v.Lon = &r.Place.Lat, &r.Place.Lon
	}
	for _, d := range r.Deliveries {
		v.Deliveries = append(v.Deliveries, d.OrderID)
	}
	if r.On {
		v.Area, v.State = r.Area, StateIdle
		if len(v.Deliveries) > 0 {
			v.State = StateBusy
		}
	}
	return v
}
