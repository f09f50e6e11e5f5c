package dispatch

// Area is the row of one area.
type Area struct {
	ID string `json:"id"`
}
