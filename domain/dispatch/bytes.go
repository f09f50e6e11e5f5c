package dispatch

import (
	"strconv"

	"baedal/domain"
)

// What bounds the row of an area, in bytes as it is written. A delivery is
// counted with what it needs until its end, so that whatever ends one, or brings
// a rider who ends it, has room when nothing new has: a request is refused
// first, then no delivery is given away until another one has ended. Riders have
// room of their own.
const (
	RequestBytes  = 460_000 // of deliveries, beyond which a request fails with AreaFull
	DeliveryBytes = 580_000 // of deliveries, beyond which none is given away or declined
	RiderBytes    = 140_000 // of riders, beyond which no new one may enter
	DoneBytes     = 60_000  // of finished deliveries remembered, beyond the newest
)

// MaxTries is how many riders may lose a delivery. When the last of them has,
// it has failed: nobody brings it.
const MaxTries = 20

// How many bytes the parts take at most, beside ids.
const (
	deliveryBytes = 140 // beside its places
	stepBytes     = 75
	assignedBytes = 55 // more
	riderBytes    = 141
)

// written counts a delivery with the steps that it may still need: to be picked
// up, and to be taken from the rider who has it.
func (d *Delivery) written() int {
	if d.fixed == 0 {
		d.fixed = deliveryBytes + domain.Written(d.OrderID) + pointBytes(d.Pickup) + pointBytes(d.Drop) + stepBytes
	}
	n := d.fixed
	for i := range d.Steps {
		n += d.Steps[i].written()
	}
	for _, r := range d.Declined {
		n += domain.Written(r) + 1
	}
	if d.State() == StateAssigned {
		n += unassignBytes(d.Rider())
	}
	return n
}

func (s *Step) written() int {
	if s.Type == Assigned {
		return stepBytes + assignedBytes + domain.Written(s.RiderID)
	}
	return stepBytes
}

func unassignBytes(rider string) int { return stepBytes + domain.Written(rider) + 1 }

// assignBytes is how much longer a delivery gets by being given to a rider.
func assignBytes(rider string) int {
	return stepBytes + assignedBytes + domain.Written(rider) + unassignBytes(rider)
}

func pointBytes(p domain.Place) int {
	var b [32]byte
	return len(strconv.AppendFloat(b[:0], p.Lat, 'g', -1, 64)) + len(strconv.AppendFloat(b[:0], p.Lon, 'g', -1, 64))
}

func (p *Past) written() int { return domain.Written(string(p.packed)) + 1 }

func (a *Area) deliveryBytes() (n int) {
	for _, d := range a.Deliveries {
		n += d.written()
	}
	return n
}

// mayAssign reports whether there is room to give a delivery to a rider.
func (a *Area) mayAssign(rider string) bool {
	return a.deliveryBytes()+assignBytes(rider) <= DeliveryBytes
}

// mayEnter reports whether there is room for a new rider.
func (a *Area) mayEnter(rider string) bool {
	n := riderBytes + domain.Written(rider)
	for _, r := range a.Riders {
		n += riderBytes + domain.Written(r.ID)
	}
	return n <= RiderBytes
}

// newest returns the last of all that take no more than most bytes, at least one.
func newest(all []Past, most int) []Past {
	sum := 0
	for i := len(all) - 1; i >= 0; i-- {
		if sum += all[i].written(); sum > most && i < len(all)-1 {
			return all[i+1:]
		}
	}
	return all
}
