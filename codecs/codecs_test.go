package codecs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

var (
	_ goka.Codec = codecs.JSON[order.Command]{}
	_ goka.Codec = codecs.Raw{}
)

const place = `{"type":"place","userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"lat":1,"lon":2}}`

func TestDecode(t *testing.T) {
	c, err := codecs.Decode[order.Command]([]byte(strings.Replace(place, "{", `{"color":"red","nested":{"a":[1,null]},`, 1)))
	require.NoError(t, err, "unknown fields are ignored")
	require.Equal(t, []domain.Line{{Product: "p", Quantity: 1}}, c.Lines)

	v, err := codecs.JSON[order.Command]{}.Decode([]byte(place))
	require.NoError(t, err)
	require.IsType(t, &order.Command{}, v)
	require.IsType(t, &order.Command{}, codecs.JSON[order.Command]{}.New())
}

// What is wrong is named by its field.
func TestDecode_WrongField(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(place, old, new, 1) }
	decode := map[string]func(string) error{
		"order": func(s string) error { _, err := codecs.Decode[order.Command]([]byte(s)); return err },
		"store": func(s string) error { _, err := codecs.Decode[stock.Command]([]byte(s)); return err },
		"rider": func(s string) error { _, err := codecs.Decode[rider.Command]([]byte(s)); return err },
		"area":  func(s string) error { _, err := codecs.Decode[dispatch.Command]([]byte(s)); return err },
	}
	for _, c := range []struct{ of, json, field, problem string }{
		{"order", with(`"place"`, `17`), "type", "must be a string, not a JSON number"},
		{"order", with(`"u"`, `true`), "userId", "must be a string, not a JSON boolean"},
		{"order", with(`"u"`, `["u"]`), "userId", "must be a string, not a JSON array"},
		{"order", with(`"quantity":1`, `"quantity":"1"`), "lines[0].quantity", "must be a whole number, not a JSON string"},
		{"order", with(`"quantity":1`, `"quantity":1.5`), "lines[0].quantity", "must be a whole number, written without a fraction or an exponent"},
		{"order", with(`"quantity":1`, `"quantity":1e0`), "lines[0].quantity", "must be a whole number, written without a fraction or an exponent"},
		{"order", with(`"quantity":1`, `"quantity":99999999999999999999`), "lines[0].quantity", "is a number out of range"},
		{"order", with(`"quantity":1`, `"quantity":0`), "lines[0].quantity", "must be from 1 to 1000000"},
		{"order", with(`[{`, `{"a":[{`), "lines", "must be a JSON array, not a JSON object"},
		{"order", with(`"lat":1`, `"lat":{}`), "address.lat", "must be a number, not a JSON object"},
		{"order", with(`"lat":1`, `"lat":91`), "address.lat", "must be between -90 and 90 degrees"},
		{"order", with(`"u"`, `""`), "userId", "is missing"},
		{"order", with(`"type"`, `"at":"yesterday","type"`), "at", `"yesterday" is not an RFC 3339 time`},
		{"order", with(`"type"`, `"at":5,"type"`), "at", "must be a string, not a JSON number"},
		{"order", `{"type":"accept","cookingTime":"ten minutes"}`, "cookingTime", `"ten minutes" is not a duration such as 90s`},
		{"order", `{"type":"accept","cookingTime":90}`, "cookingTime", "must be a string, not a JSON number"},
		{"order", `{"type":"dance"}`, "type", `"dance" is not a command of an order`},
		{"order", `{}`, "type", `"" is not a command`},
		{"store", `{"type":"add_stock","product":"p","quantity":"all"}`, "quantity", "must be a whole number, not a JSON string"},
		{"store", `{"type":"reserve","orderId":"o","attempt":1,"lines":[{"product":"p","quantity":1},{"product":7}]}`, "lines[1].product", "must be a string, not a JSON number"},
		{"rider", `{"type":"move","lat":"north","lon":1}`, "lat", "must be a number, not a JSON string"},
		{"rider", `{"type":"move","lon":1}`, "lat", "is missing"},
		{"area", `{"type":"enter","riderId":"r","place":{"lat":[],"lon":1}}`, "place.lat", "must be a number, not a JSON array"},
	} {
		err := decode[c.of](c.json)
		require.Error(t, err, c.json)
		field, ok := domain.WrongField(err)
		require.True(t, ok, "%s: %v", c.json, err)
		require.Equal(t, c.field, field, "%s: %v", c.json, err)
		require.True(t, strings.HasPrefix(err.Error(), c.field+": "+c.problem), "%s: %v", c.json, err)
	}
}

// All that is wrong is named at once, whether its form or its value is wrong.
func TestDecode_AllWrongFields(t *testing.T) {
	for _, c := range []struct{ json, all string }{
		{`{"type":"place","userId":5,"lines":[{"product":"x","quantity":1.5},null,{"product":7,"quantity":"2"}],"address":[],"at":"x"}`,
			"/userId /lines/0/quantity /lines/2/product /lines/2/quantity /address /at /storeId /lines/1/product /lines/1/quantity"},
		{`{"type":"place","lines":[{"product":"a","quantity":0},{"product":"a","quantity":1}],"address":{"lat":91}}`,
			"/userId /storeId /lines/0/quantity /lines/1/product /address/lon"},
		{`{"type":"request_refund","photoUrl":"x","wish":"y"}`, "/userId /reason /photoUrl /wish"},
		{`{"type":"accept","cookingTime":5,"ifVersion":"x"}`, "/cookingTime /ifVersion"},
	} {
		_, err := codecs.Decode[order.Command]([]byte(c.json))
		var all []string
		for _, fe := range domain.WrongFields(err) {
			all = append(all, fe.Pointer())
		}
		require.Equal(t, c.all, strings.Join(all, " "), c.json)
	}
	many := `{"type":"place","lines":[` + strings.Repeat(`{"product":1},`, 500) + `7]}`
	_, err := codecs.Decode[order.Command]([]byte(many))
	require.Len(t, domain.WrongFields(err), domain.MaxFieldErrors)
}

func TestDecode_NoMessage(t *testing.T) {
	for _, s := range []string{"", " ", "{", "[]", "null", " null\n", `"x"`, "17", place + "x", place + place, "\xff", `{"type":"confirm","type":"cancel"}`, "{\"type\":\"conf\xffirm\"}"} {
		_, err := codecs.Decode[order.Command]([]byte(s))
		require.ErrorContains(t, err, "not the JSON of a message", "%q", s)
		_, named := domain.WrongField(err)
		require.False(t, named, "%q", s)
	}
}

// An error goes into a header of a dead letter: it quotes no message at length.
func TestDecode_ShortErrors(t *testing.T) {
	long := strings.Repeat("x", 800_000)
	for _, s := range []string{
		`{"` + long + `":1,"` + long + `":2}`, `{"` + long + `":[}`, `{"type":"` + long + `"}`, `{"type":"confirm","at":"` + long + `"}`,
		`{"type":"accept","cookingTime":"` + long + `"}`, `{"type":"confirm","id":"` + long + `"}`, long, `"` + long, `{"lines":[{"quantity":1` + strings.Repeat("0", 800_000) + `}]}`,
	} {
		_, err := codecs.Decode[order.Command]([]byte(s))
		require.Error(t, err)
		require.Less(t, len(err.Error()), 1000)
	}
}

func TestTimesAndDurations(t *testing.T) {
	want := domain.At(time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC))
	for _, s := range []string{"2026-01-02T03:04:05.678Z", "2026-01-02T12:04:05.678+09:00", "2026-01-02T03:04:05.6789Z"} {
		c, err := codecs.Decode[order.Command]([]byte(`{"type":"confirm","at":"` + s + `"}`))
		require.NoError(t, err)
		require.Equal(t, want, c.At, s)
	}
	for s, d := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond, "0": 0} {
		c, err := codecs.Decode[order.Command]([]byte(`{"type":"accept","cookingTime":"` + s + `"}`))
		require.NoError(t, err)
		require.Equal(t, d, time.Duration(*c.CookingTime), s)
	}
	data, err := codecs.Marshal(&order.Command{Meta: domain.Meta{Type: "accept", At: want}, CookingTime: new(domain.Duration(90 * time.Second))})
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"accept","at":"2026-01-02T03:04:05.678Z","cookingTime":"1m30s"}`, string(data))
	data, err = codecs.Marshal(&order.Command{Meta: domain.Meta{Type: "confirm"}})
	require.NoError(t, err)
	require.Equal(t, `{"type":"confirm"}`, string(data), "what is not said is left out")
}

func TestEncode(t *testing.T) {
	c := codecs.JSON[domain.Verdict]{}
	v := domain.NewVerdict("order-commands", "o-1", domain.Name{ID: "c-1", Digest: "d", Mark: "m"}, domain.Refusal{}, 7, 0)
	data, err := c.Encode(&v)
	require.NoError(t, err)
	require.Equal(t, `{"type":"accepted","id":"o-1/verdict/order-commands/m/c-1","commandId":"c-1","stream":"order-commands","key":"o-1","digest":"d","verdict":"accepted","version":7}`, string(data))
	again, err := c.Encode(data)
	require.NoError(t, err)
	require.Equal(t, data, again, "bytes pass unchanged")
	for _, wrong := range []any{v, nil, "text", &order.Command{}} {
		_, err := c.Encode(wrong)
		require.ErrorContains(t, err, "was given to the codec of *domain.Verdict")
	}
}

func TestRaw(t *testing.T) {
	for _, data := range [][]byte{nil, {}, []byte("\xff\x00")} {
		v, err := codecs.Raw{}.Decode(data)
		require.NoError(t, err)
		require.Equal(t, any(data), v)
		b, err := codecs.Raw{}.Encode(data)
		require.NoError(t, err)
		require.Equal(t, data, b)
	}
	b, err := codecs.Raw{}.Encode(nil)
	require.NoError(t, err)
	require.Nil(t, b)
	_, err = codecs.Raw{}.Encode("text")
	require.ErrorContains(t, err, "a string was given to the codec of bytes")
}

// Whatever comes on any stream or table: decoding it doesn't panic, which would stop goka's processor, and what was decoded
// can be encoded and decoded again to the same bytes.
func FuzzDecode(f *testing.F) {
	c := topics.New("", 1)
	all := map[string]goka.Codec{
		"order-commands": c.OrderCommands, "verdicts": c.Verdicts, "order-events": c.OrderEvents, "store-commands": c.StoreCommands,
		"stock-replies": c.StockReplies, "payment-requests": c.PaymentRequests, "payment-replies": c.PaymentReplies,
		"rider-commands": c.RiderCommands, "dispatch-commands": c.DispatchCommands, "rider-events": c.RiderEvents,
		"delivery-events": c.DeliveryEvents, "notifications": c.Notifications, "orders-loop": c.OrdersLoop,
		"payments-loop": c.PaymentsLoop, "projections-loop": c.ProjectionsLoop,
		"orders-table": c.OrdersTable, "stock-table": c.StockTable, "payments-table": c.PaymentsTable, "riders-table": c.RidersTable,
		"dispatch-table": c.DispatchTable, "projections-table": c.ProjectionsTable,
	}
	for _, seed := range []string{place, "", "null", "{}", "[]", `{"type":null,"lines":null,"address":null}`, `{"type":"place","lines":[null,{"product":null}]}`,
		`{"type":"request_refund","userId":"u","reason":"r","photoUrl":"http://%zz","wish":"refund"}`,
		`{"type":"accept","cookingTime":"-1ns","at":"0000-01-01T00:00:00Z"}`, `{"type":"move","lat":1e400,"lon":-0}`,
		`{"id":"a","riders":["","x","\u0000"],"deliveries":[null,"",{}],"done":[{"steps":[""]}],"recent":[{"by":""}],"gone":[null]}`,
		`{"type":"result","kind":"void","answer":"ok","orderId":"o","attempt":-1}`, `{"seen":{"1":2,"x":3}}`, "{\"type\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, codec := range all {
			v, err := codec.Decode(data)
			if err != nil {
				if err.Error() == "" {
					t.Errorf("%s: an error that says nothing about %q", name, data)
				}
				continue
			}
			first, err := codec.Encode(v)
			if err != nil {
				continue // such as a year that JSON can't write: nothing that came in can be lost by it
			}
			again, err := codec.Decode(first)
			if err != nil {
				t.Errorf("%s: %q was decoded and written as %q, which can't be decoded: %v", name, data, first, err)
				continue
			}
			second, err := codec.Encode(again)
			if err != nil || string(second) != string(first) {
				t.Errorf("%s: %q is written as %q and then as %q, %v", name, data, first, second, err)
			}
		}
	})
}

// The digest is of what a command says, however it is written; what it is called, when, and whether it is answered is left out.
func TestDigest(t *testing.T) {
	digest := func(s string) string {
		d, err := codecs.Digest([]byte(s))
		require.NoError(t, err, s)
		return d
	}
	const same = `{"type":"cancel","by":"customer","reason":"é"}`
	want := sha256.Sum256([]byte(`{"by":"customer","reason":"é","type":"cancel"}`))
	require.Equal(t, hex.EncodeToString(want[:]), digest(same), "whoever knows RFC 8785 can compute it")
	for _, s := range []string{
		`{"by":"customer","reason":"é","type":"cancel"}`, ` { "type" : "cancel","by":"customer",` + "\n" + `"reason":"\u00e9"} `,
		`{"id":"c-1","at":"2026-01-02T15:04:05Z","verdict":true,"type":"cancel","by":"customer","reason":"é"}`,
	} {
		require.Equal(t, digest(same), digest(s), s)
	}
	for _, s := range []string{
		`{"type":"cancel","by":"store","reason":"é"}`, `{"type":"cancel","by":"customer","reason":"e"}`, `{"type":"cancel","by":"customer"}`,
		`{"type":"cancel","by":"customer","reason":"é","color":"red"}`, `{}`, `{"type":"cancel","by":"customer","reason":{"id":"é"}}`,
	} {
		require.NotEqual(t, digest(same), digest(s), s)
	}
	require.NotEqual(t, digest(`{"a":{"id":1}}`), digest(`{"a":{"id":2}}`), "only the command's own id is left out")
	for _, s := range []string{"", "[]", "null", `"x"`, "{", "\xff"} {
		_, err := codecs.Digest([]byte(s))
		require.Error(t, err, "%q", s)
	}
	c, err := codecs.Decode[order.Command]([]byte(`{"type":"confirm","id":"c-1"}`))
	require.NoError(t, err)
	require.Equal(t, digest(`{"type":"confirm"}`), c.Digest)
}

// Maps are written in one order, so that a row that did not change is the same bytes.
func TestMarshal_Maps(t *testing.T) {
	m := projection.Model{Key: "s/f", Seen: map[string]int64{}}
	for i := range 20 {
		m.Seen[fmt.Sprint("t/", i)] = int64(i)
	}
	first, err := codecs.Marshal(&m)
	require.NoError(t, err)
	for range 20 {
		again, err := codecs.Marshal(&m)
		require.NoError(t, err)
		require.Equal(t, string(first), string(again))
	}
}

func BenchmarkDigest(b *testing.B) {
	for b.Loop() {
		_, _ = codecs.Digest([]byte(place))
	}
}
