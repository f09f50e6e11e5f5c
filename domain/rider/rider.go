package rider

// Rider is the row of one rider.
type Rider struct {
	ID string `json:"id"`
}
