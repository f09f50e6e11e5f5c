package sim

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
)

var update = flag.Bool("update", false, "write testdata/day anew")

// dayFiles makes the small day of testdata/day: the same for the same seed. Nothing in it is taken from a recorded one.
func dayFiles(seed uint64, orders, couriers, restaurants int) map[string]string {
	rnd := rand.New(rand.NewPCG(seed, seed))
	at := func() string { return fmt.Sprintf("%d\t%d", 1000+rnd.IntN(4000), 1000+rnd.IntN(3000)) }
	files := map[string]string{
		parametersFile: "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door\tmaximum click-to-door\tpay per order\tguaranteed pay per hour\n300\t4\t4\t40\t90\t10\t15\n",
		characteristicsFile: fmt.Sprintf("number of orders: %d\nnumber of restaurants: %d\nnumber of couriers: %d\n",
			orders, restaurants, couriers),
	}
	var b strings.Builder
	b.WriteString("restaurant\tx\ty\n")
	for i := range restaurants {
		fmt.Fprintf(&b, "r%d\t%s\n", i+1, at())
	}
	files[restaurantsFile] = b.String()
	b.Reset()
	b.WriteString("courier\tx\ty\ton_time\toff_time\n")
	for i := range couriers {
		on := 10 * rnd.IntN(3)
		fmt.Fprintf(&b, "c%d\t%s\t%d\t%d\n", i+1, at(), on, 150+10*rnd.IntN(4))
	}
	files[couriersFile] = b.String()
	b.Reset()
	b.WriteString("order\tx\ty\tplacement_time\trestaurant\tready_time\n")
	for i := range orders {
		placed := rnd.IntN(120)
		fmt.Fprintf(&b, "o%d\t%s\t%d\tr%d\t%d\n", i+1, at(), placed, 1+rnd.IntN(restaurants), placed+5+rnd.IntN(20))
	}
	files[ordersFile] = b.String()
	return files
}

func writeDay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "day")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

func TestReadDay(t *testing.T) {
	files := dayFiles(2026, 40, 8, 6)
	if *update {
		require.NoError(t, os.MkdirAll("testdata/day", 0o755))
	}
	for name, text := range files {
		path := filepath.Join("testdata/day", name)
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
		have, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(have), "%s is not what the generator makes: go test ./sim -run TestReadDay -update", path)
	}

	d, err := ReadDay("testdata/day")
	require.NoError(t, err)
	require.Equal(t, "day", d.Name)
	require.Len(t, d.Orders, 40)
	require.Len(t, d.Couriers, 8)
	require.Len(t, d.Restaurants, 6)
	require.Equal(t, 300.0, d.MetersPerMinute)
	require.Equal(t, []float64{4, 4, 40, 90, 10, 15}, []float64{d.PickupService, d.DropoffService, d.Target, d.Maximum, d.PayPerOrder, d.PayPerHour})
	require.True(t, slices.IsSortedFunc(d.Orders, func(a, b DayOrder) int { return int(a.Placed - b.Placed) }))
	for _, o := range d.Orders {
		require.GreaterOrEqual(t, o.Ready, o.Placed)
		require.Contains(t, files[ordersFile], fmt.Sprintf("%s\t%g\t%g\t%g\t%s\t%g\n", o.ID, o.At.X, o.At.Y, o.Placed, d.Restaurants[o.Restaurant].ID, o.Ready))
	}
}

func TestReadDay_WindowsLineEndsAndNoCharacteristics(t *testing.T) {
	files := dayFiles(1, 5, 2, 2)
	delete(files, characteristicsFile)
	files[ordersFile] = strings.ReplaceAll(files[ordersFile], "\n", "\r\n") + "\r\n"
	d, err := ReadDay(writeDay(t, files))
	require.NoError(t, err)
	require.Len(t, d.Orders, 5)
}

func TestReadDay_Wrong(t *testing.T) {
	cases := map[string]struct {
		file, old, new string
		want           []string
	}{
		"no number":            {restaurantsFile, "restaurant\tx\ty\n", "restaurant\tx\ty\nr9\t12\tfar\n", []string{`restaurants.txt:2: y "far" is not a number`}},
		"field missing":        {couriersFile, "off_time\n", "off_time\nc9\t1\t2\t3\n", []string{"couriers.txt:2: 4 fields instead of 5"}},
		"no minute":            {couriersFile, "off_time\n", "off_time\nc9\t1\t2\t3.5\t9\n", []string{`couriers.txt:2: on_time "3.5" is not a whole minute`}},
		"shift backwards":      {couriersFile, "off_time\n", "off_time\nc9\t1\t2\t30\t9\n", []string{`couriers.txt:2: off_time "9" is before on_time`}},
		"header":               {ordersFile, "placement_time", "placed", []string{`orders.txt:1: column 4 is "placed" instead of "placement_time"`}},
		"unknown restaurant":   {ordersFile, "ready_time\n", "ready_time\no99\t1\t1\t5\tr77\t9\n", []string{`orders.txt:2: restaurant "r77" is not in restaurants.txt`}},
		"ready before placed":  {ordersFile, "ready_time\n", "ready_time\no99\t1\t1\t5\tr1\t4\n", []string{`orders.txt:2: ready_time "4" is before placement_time`}},
		"twice":                {ordersFile, "ready_time\n", "ready_time\no2\t1\t1\t5\tr1\t9\n", []string{`order "o2" comes twice`}},
		"two mistakes at once": {ordersFile, "ready_time\n", "ready_time\no99\tx\t1\t5\tr1\tsoon\n", []string{`x "x" is not a number`, `ready_time "soon" is not`}},
		"slash in an id":       {ordersFile, "ready_time\n", "ready_time\na/b\t1\t1\t5\tr1\t9\n", []string{`orders.txt:2: order "a/b" is not an id`}},
		"no speed":             {parametersFile, "\n300\t", "\n0\t", []string{`instance_parameters.txt:2: meters_per_minute "0" must be above zero`}},
		"cut off":              {characteristicsFile, "number of orders: 5", "number of orders: 6", []string{"instance_characteristics.txt:1: number of orders is 6, but there are 5"}},
		"too far apart":        {restaurantsFile, "restaurant\tx\ty\nr1\t", "restaurant\tx\ty\nr1\t90000", []string{"at most 170 km fit"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := dayFiles(1, 5, 2, 2)
			changed := strings.Replace(files[c.file], c.old, c.new, 1)
			require.NotEqual(t, files[c.file], changed)
			files[c.file] = changed
			_, err := ReadDay(writeDay(t, files))
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	t.Run("file missing", func(t *testing.T) {
		files := dayFiles(1, 5, 2, 2)
		delete(files, couriersFile)
		_, err := ReadDay(writeDay(t, files))
		require.ErrorContains(t, err, "a recorded day has a file couriers.txt")
	})
	t.Run("empty", func(t *testing.T) {
		files := dayFiles(1, 5, 2, 2)
		files[ordersFile] = ""
		_, err := ReadDay(writeDay(t, files))
		require.ErrorContains(t, err, "orders.txt: nothing follows the header")
	})
}

func TestDay_Travel(t *testing.T) {
	d := &Day{MetersPerMinute: 320}
	from := Point{}
	require.Zero(t, d.Travel(from, from))
	require.Equal(t, 1.0, d.Travel(from, Point{3, 4}))
	require.Equal(t, 5.0, d.Travel(from, Point{960, 1280}))
	require.Equal(t, 6.0, d.Travel(from, Point{960, 1281}))
}

// On the globe things lie as far apart as on the plane, to 0.01 %.
func TestDay_Globe(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []float64{100, 20_000, 2 * reach} {
		d := &Day{Restaurants: []Restaurant{{At: Point{5e6, -7e6}}, {At: Point{5e6 + size, -7e6 + size}}}}
		globe := d.globe()
		for range 2000 {
			a := Point{5e6 + rnd.Float64()*size, -7e6 + rnd.Float64()*size}
			b := Point{5e6 + rnd.Float64()*size, -7e6 + rnd.Float64()*size}
			require.InEpsilon(t, a.distance(b), greatCircle(globe(a), globe(b)), 1e-4)
		}
	}
}

func greatCircle(a, b domain.Place) float64 {
	rad := func(deg float64) float64 { return deg * math.Pi / 180 }
	la, lb := rad(a.Lat), rad(b.Lat)
	h := math.Pow(math.Sin((lb-la)/2), 2) + math.Cos(la)*math.Cos(lb)*math.Pow(math.Sin(rad(b.Lon-a.Lon)/2), 2)
	return 2 * earthRadius * math.Asin(math.Sqrt(h))
}

func TestAgenda(t *testing.T) {
	var a agenda
	var done []int
	for i, at := range []float64{5, 1, 3, 1, 9} {
		a.add(at, func() { done = append(done, i) })
	}
	for item, ok := a.next(5); ok; item, ok = a.next(5) {
		item.do()
	}
	require.Equal(t, []int{1, 3, 2, 0}, done)
	require.Len(t, a.items, 1)
}
