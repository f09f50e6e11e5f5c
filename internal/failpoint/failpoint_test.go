package failpoint

import "testing"

// A name that is there twice would be met twice as often as its round says.
func TestPoints_NamedOnce(t *testing.T) {
	seen := map[Point]bool{}
	for _, p := range Points {
		if p.Point == "" || seen[p.Point] {
			t.Errorf("%q is no name of one point", p.Point)
		}
		seen[p.Point] = true
	}
}

// Hit must cost nothing where nobody asked for it: it is called for every message.
func BenchmarkHit(b *testing.B) {
	for b.Loop() {
		Hit(Entered, "orders")
	}
}
