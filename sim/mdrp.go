package sim

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"baedal/domain"
)

// Day is a recorded day of meal delivery in the format of the Meal Delivery Routing Problem instances (Reyes, Erera, Savelsbergh,
// Sahasrabudhe, O'Neil, 2018; github.com/grubhub/mdrplib). Times are minutes of the day, places metres on a plane.
type Day struct {
	Name            string
	MetersPerMinute float64
	PickupService   float64 // minutes at the restaurant; half of them before the pickup counts
	DropoffService  float64 // minutes at the door; half of them before the dropoff counts
	Target, Maximum float64 // click-to-door, minutes
	PayPerOrder     float64
	PayPerHour      float64 // guaranteed

	Orders      []DayOrder // by placement
	Couriers    []Courier
	Restaurants []Restaurant
}

// DayOrder is one recorded order. It is known from Placed on, with the minute at which the food is Ready.
type DayOrder struct {
	ID            string
	At            Point
	Placed, Ready float64
	Restaurant    int // index in Day.Restaurants
}

// Courier is one rider with his shift.
type Courier struct {
	ID      string
	At      Point
	On, Off float64
}

// Restaurant is one store.
type Restaurant struct {
	ID string
	At Point
}

// Point is a place on the plane in metres.
type Point struct{ X, Y float64 }

func (p Point) distance(q Point) float64 { return math.Hypot(p.X-q.X, p.Y-q.Y) }

// Travel returns the whole minutes that a courier takes from one point to another.
func (d *Day) Travel(from, to Point) float64 {
	return math.Ceil(from.distance(to)/d.MetersPerMinute - 1e-9) // a rounding error is not a minute
}

// Files of a day.
const (
	ordersFile          = "orders.txt"
	couriersFile        = "couriers.txt"
	restaurantsFile     = "restaurants.txt"
	parametersFile      = "instance_parameters.txt"
	characteristicsFile = "instance_characteristics.txt" // optional: of its statistics only the counts are checked
)

// ReadDay reads the files of dir. An error names file, line and field of everything that is wrong, ten things at most.
func ReadDay(dir string) (*Day, error) {
	d := &Day{Name: filepath.Base(filepath.Clean(dir))}
	p := &parser{dir: dir}
	p.table(parametersFile, []string{"meters_per_minute", "pickup service minutes", "dropoff service minutes", "target click-to-door",
		"maximum click-to-door", "pay per order", "guaranteed pay per hour"}, func(r row) {
		d.MetersPerMinute = r.number(0)
		d.PickupService, d.DropoffService = r.positive(1), r.positive(2)
		d.Target, d.Maximum = r.positive(3), r.positive(4)
		d.PayPerOrder, d.PayPerHour = r.positive(5), r.positive(6)
		if d.MetersPerMinute <= 0 {
			r.wrong(0, "must be above zero")
		}
	})
	restaurants := make(map[string]int)
	p.table(restaurantsFile, []string{"restaurant", "x", "y"}, func(r row) {
		id := r.id(0)
		if _, known := restaurants[id]; known {
			r.wrong(0, "comes twice")
		}
		restaurants[id] = len(d.Restaurants)
		d.Restaurants = append(d.Restaurants, Restaurant{ID: id, At: Point{r.number(1), r.number(2)}})
	})
	couriers := make(map[string]bool)
	p.table(couriersFile, []string{"courier", "x", "y", "on_time", "off_time"}, func(r row) {
		c := Courier{ID: r.id(0), At: Point{r.number(1), r.number(2)}, On: r.minute(3), Off: r.minute(4)}
		if couriers[c.ID] {
			r.wrong(0, "comes twice")
		}
		if c.Off < c.On {
			r.wrong(4, "is before on_time")
		}
		couriers[c.ID] = true
		d.Couriers = append(d.Couriers, c)
	})
	orders := make(map[string]bool)
	p.table(ordersFile, []string{"order", "x", "y", "placement_time", "restaurant", "ready_time"}, func(r row) {
		o := DayOrder{ID: r.id(0), At: Point{r.number(1), r.number(2)}, Placed: r.minute(3), Ready: r.minute(5)}
		if orders[o.ID] {
			r.wrong(0, "comes twice")
		}
		at, known := restaurants[r.cols[4]]
		if !known {
			r.wrong(4, "is not in "+restaurantsFile)
		}
		if o.Ready < o.Placed {
			r.wrong(5, "is before placement_time")
		}
		orders[o.ID], o.Restaurant = true, at
		d.Orders = append(d.Orders, o)
	})
	if len(p.errs) == 0 {
		p.counts(d)
	}
	if len(p.errs) == 0 {
		p.add(d.checkSize())
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	slices.SortStableFunc(d.Orders, func(a, b DayOrder) int { return cmp.Compare(a.Placed, b.Placed) })
	return d, nil
}

type parser struct {
	dir  string
	errs []error
}

func (p *parser) add(err error) {
	if err != nil && len(p.errs) < 10 {
		p.errs = append(p.errs, err)
	}
}

// table gives each line after the header, split at the tabs, to f.
func (p *parser) table(file string, header []string, f func(row)) {
	in, err := os.Open(filepath.Join(p.dir, file))
	if err != nil {
		p.add(fmt.Errorf("a recorded day has a file %s: %w", file, err))
		return
	}
	defer func() { _ = in.Close() }() // only read
	lines := bufio.NewScanner(in)
	n, rows := 0, 0
	for lines.Scan() {
		n++
		text := strings.TrimPrefix(strings.TrimRight(lines.Text(), "\r"), "\ufeff") // of editors that put a mark in front
		if strings.TrimSpace(text) == "" {
			continue
		}
		cols := strings.Split(text, "\t")
		for i := range cols {
			cols[i] = strings.TrimSpace(cols[i])
		}
		if len(cols) != len(header) {
			p.add(fmt.Errorf("%s:%d: %d fields instead of %d (%s), separated by tabs", file, n, len(cols), len(header), strings.Join(header, ", ")))
			if n == 1 {
				return
			}
			continue
		}
		if n == 1 {
			for i := range header {
				if cols[i] != header[i] {
					p.add(fmt.Errorf("%s:1: column %d is %q instead of %q", file, i+1, cols[i], header[i]))
					return
				}
			}
			continue
		}
		rows++
		f(row{p: p, file: file, line: n, header: header, cols: cols})
	}
	if err := lines.Err(); err != nil {
		p.add(fmt.Errorf("%s:%d: %w", file, n+1, err))
	} else if rows == 0 {
		p.add(fmt.Errorf("%s: nothing follows the header", file))
	}
}

// counts compares with what the characteristics say: a file that was cut off looks whole otherwise.
func (p *parser) counts(d *Day) {
	data, err := os.ReadFile(filepath.Join(p.dir, characteristicsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		p.add(err)
		return
	}
	have := map[string]int{"number of orders": len(d.Orders), "number of restaurants": len(d.Restaurants), "number of couriers": len(d.Couriers)}
	for i, line := range strings.Split(string(data), "\n") {
		name, value, ok := strings.Cut(line, ":")
		n, known := have[strings.TrimSpace(name)]
		if !ok || !known {
			continue
		}
		if want, err := strconv.Atoi(strings.TrimSpace(value)); err != nil || want != n {
			p.add(fmt.Errorf("%s:%d: %s is %s, but there are %d", characteristicsFile, i+1, strings.TrimSpace(name), strings.TrimSpace(value), n))
		}
	}
}

type row struct {
	p      *parser
	file   string
	line   int
	header []string
	cols   []string
}

func (r row) wrong(i int, problem string) {
	r.p.add(fmt.Errorf("%s:%d: %s %q %s", r.file, r.line, r.header[i], r.cols[i], problem))
}

func (r row) id(i int) string {
	if err := domain.CheckID(r.header[i], r.cols[i]); err != nil || len(r.cols[i]) > 100 {
		r.wrong(i, "is not an id: 1 to 100 bytes without a slash")
	}
	return r.cols[i]
}

func (r row) number(i int) float64 {
	v, err := strconv.ParseFloat(r.cols[i], 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		r.wrong(i, "is not a number")
	}
	return v
}

func (r row) positive(i int) float64 {
	v := r.number(i)
	if v < 0 {
		r.wrong(i, "is negative")
	}
	return v
}

func (r row) minute(i int) float64 {
	v, err := strconv.Atoi(r.cols[i])
	if err != nil || v < 0 {
		r.wrong(i, "is not a whole minute of the day")
	}
	return float64(v)
}

// earthRadius is the mean radius of the earth (IUGG R1) in metres, as great-circle distances are reckoned with.
const earthRadius = 6371008.8

// reach is how far from the middle of its day a point may lie. The plane is laid onto the globe where equator and prime meridian
// meet: y goes north, x goes east, both as arcs on the mean sphere. There a degree of longitude is shorter than one of latitude by
// the cosine of the latitude, so within reach a great circle differs from the plane's straight line by less than 0.01 %.
const reach = 85_000.0

func (d *Day) bounds() (lo, hi Point) {
	lo, hi = Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
	add := func(p Point) {
		lo.X, lo.Y = min(lo.X, p.X), min(lo.Y, p.Y)
		hi.X, hi.Y = max(hi.X, p.X), max(hi.Y, p.Y)
	}
	for _, o := range d.Orders {
		add(o.At)
	}
	for _, c := range d.Couriers {
		add(c.At)
	}
	for _, r := range d.Restaurants {
		add(r.At)
	}
	return lo, hi
}

func (d *Day) checkSize() error {
	lo, hi := d.bounds()
	if w, h := hi.X-lo.X, hi.Y-lo.Y; w > 2*reach || h > 2*reach {
		return fmt.Errorf("places lie %.0f × %.0f km apart: at most %.0f km fit", w/1000, h/1000, 2*reach/1000)
	}
	return nil
}

// globe returns how points of the day are laid onto the globe.
func (d *Day) globe() func(Point) domain.Place {
	lo, hi := d.bounds()
	mid := Point{(lo.X + hi.X) / 2, (lo.Y + hi.Y) / 2}
	const degrees = 180 / math.Pi / earthRadius
	return func(p Point) domain.Place {
		return domain.Place{Lat: (p.Y - mid.Y) * degrees, Lon: (p.X - mid.X) * degrees}
	}
}
