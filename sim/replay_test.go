package sim

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/internal/kafkatest"
)

func TestReplay(t *testing.T) {
	brokers, cat, _ := startEngine(t)
	var out bytes.Buffer
	rep, err := Replay(t.Context(), cat, brokers, "testdata/day", ReplayOptions{Speed: 2000, Settle: 2 * time.Second}, &out)
	require.NoError(t, err)
	require.Contains(t, out.String(), "day: 40 orders, 8 couriers, 6 restaurants")
	require.Equal(t, 40, rep.Placed)
	require.Equal(t, 40, rep.Delivered, "%v", rep.UndeliveredBy)
	require.True(t, rep.OK())
	require.Empty(t, rep.RefusedCommands)
	require.GreaterOrEqual(t, rep.ReadyToPickupMinutes.P50, 0.0)
	// 5 minutes of cooking at least, half a service, some travel, half a service.
	require.Greater(t, rep.ClickToDoorMinutes.Mean, 10.0)
	require.Less(t, rep.ClickToDoorMinutes.Mean, 60.0)
	require.GreaterOrEqual(t, rep.ClickToDoorMinutes.P90, rep.ClickToDoorMinutes.P50)
	require.InDelta(t, 40/rep.CourierHours, rep.OrdersPerCourierHour, 1e-9)
	require.Less(t, rep.WallSeconds, 60.0)

	var text bytes.Buffer
	require.NoError(t, rep.WriteText(&text))
	for _, want := range []string{"click-to-door", "orders per rider and hour", "over 40 min", "engine: place → assigned"} {
		require.Contains(t, text.String(), want)
	}
	js, err := json.Marshal(rep)
	require.NoError(t, err)
	require.Contains(t, string(js), `"clickToDoorMinutes":{"count":40`)
}

// Food that is ready only after every shift's end is picked up by nobody.
func TestReplay_NobodyPicksUpAfterHisShift(t *testing.T) {
	kafkatest.Waits(t)
	brokers, cat, _ := startEngine(t)
	files := dayFiles(3, 4, 2, 2)
	delete(files, characteristicsFile)
	files[couriersFile] = "courier\tx\ty\ton_time\toff_time\nc1\t2000\t2000\t0\t100\nc2\t2000\t2000\t0\t20\n"
	files[ordersFile] = "order\tx\ty\tplacement_time\trestaurant\tready_time\n" +
		"early\t2000\t2000\t1\tr1\t15\n" + "late\t2000\t2000\t60\tr1\t101\n"
	rep, err := Replay(t.Context(), cat, brokers, writeDay(t, files), ReplayOptions{Speed: 1500, Settle: 500 * time.Millisecond}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, rep.Delivered)
	require.Equal(t, 1, rep.Undelivered)
	require.False(t, rep.OK())
	require.Equal(t, map[string]int{"ready": 1}, rep.UndeliveredBy)
	require.NotZero(t, rep.Declined)
}

func TestReplay_EngineSilent(t *testing.T) {
	kafkatest.Waits(t)
	brokers, cat, e := startEngine(t)
	e.dropAll = true
	rep, err := Replay(t.Context(), cat, brokers, "testdata/day", ReplayOptions{Speed: 1000, Timeout: time.Second}, nil)
	require.ErrorContains(t, err, "nothing was heard of it")
	require.NotNil(t, rep)
}

func TestReplay_Options(t *testing.T) {
	_, err := Replay(t.Context(), nil, nil, "testdata/day", ReplayOptions{Speed: -1}, nil)
	require.ErrorContains(t, err, "--speed")
	_, err = Replay(t.Context(), nil, nil, "testdata/nowhere", ReplayOptions{}, nil)
	require.ErrorContains(t, err, "testdata/nowhere")
}
