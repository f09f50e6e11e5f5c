package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/internal/kafkatest"
)

func TestLoad(t *testing.T) {
	brokers, cat, _ := startEngine(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var out bytes.Buffer
	rep, err := Load(ctx, cat, brokers, LoadOptions{Orders: 500, Stores: 10, ManualShare: 0.5, CancelShare: 0.1, InFlight: 50, Timeout: 10 * time.Second}, &out)
	require.NoError(t, err)
	require.Zero(t, rep.Unfinished, "%v", rep.UnfinishedOrders)
	require.True(t, rep.OK())
	require.Equal(t, 500, rep.Final)
	require.Equal(t, 500, rep.ByStatus["completed"]+rep.ByStatus["cancelled"], "%v", rep.ByStatus)
	require.NotZero(t, rep.ByStatus["cancelled"])
	require.Equal(t, rep.ByStatus["completed"], rep.PlaceToDeliveredMs.Count)
	require.Greater(t, rep.PlaceToDeliveredMs.P50, rep.PlaceToAssignedMs.P50)
	require.Greater(t, rep.LifecyclesPerSecond, 1.0)
	require.Contains(t, out.String(), "registering 10 stores and 15 riders in 5 areas")
	for reason := range rep.RefusedCommands { // customers who were too late, and accepts that a cancel overtook; no rider
		require.Contains(t, []string{"not while ready", "not while cancelled", "not while assigned", "not while picked_up", "not while cooking",
			"not while completed", "not while delivered"}, reason)
	}
}

func TestLoad_Rate(t *testing.T) {
	brokers, cat, _ := startEngine(t)
	rep, err := Load(t.Context(), cat, brokers, LoadOptions{Duration: time.Second, Rate: 100, Stores: 2, WarmUp: 500 * time.Millisecond, Timeout: 10 * time.Second}, nil)
	require.NoError(t, err)
	require.True(t, rep.OK())
	require.InDelta(t, 100, rep.Orders, 10)
	require.Greater(t, rep.WallSeconds, 0.9)
	require.InDelta(t, rep.Orders/2, rep.PlaceToDeliveredMs.Count, 10, "those of the warm-up are left out")
}

func TestLoad_Unfinished(t *testing.T) {
	kafkatest.Waits(t)
	brokers, cat, e := startEngine(t)
	e.dropAll = true
	rep, err := Load(t.Context(), cat, brokers, LoadOptions{Orders: 30, Stores: 2, Timeout: time.Second}, nil)
	require.NoError(t, err)
	require.False(t, rep.OK())
	require.Equal(t, 30, rep.Unfinished)
	require.Equal(t, map[string]int{"not seen": 30}, rep.UnfinishedByStatus)
	require.Len(t, rep.UnfinishedOrders, 20)

	var text bytes.Buffer
	require.NoError(t, rep.WriteText(&text))
	require.Contains(t, text.String(), rep.UnfinishedOrders[0].ID+"  not seen")
	js, err := json.Marshal(rep)
	require.NoError(t, err)
	require.Contains(t, string(js), `"placeToAssignedMs":{"count":0`)
}

func TestLoad_OptionsAllMistakesAtOnce(t *testing.T) {
	_, err := Load(t.Context(), nil, nil, LoadOptions{Orders: -1, ManualShare: 2, Stores: 3, Areas: 4, WarmUp: -1}, nil)
	require.ErrorContains(t, err, "--orders")
	require.ErrorContains(t, err, "--manual-share")
	require.ErrorContains(t, err, "--areas")
	require.ErrorContains(t, err, "--warm-up")
}

func TestLoad_NoTopics(t *testing.T) {
	brokers, cat, _ := startEngine(t)
	other := *cat
	other.OrderEvents.Topic = "nowhere"
	_, err := Load(t.Context(), &other, brokers, LoadOptions{}, nil)
	require.ErrorContains(t, err, "topic nowhere")
	require.ErrorContains(t, err, "baedal up")
}

func TestLoad_NoEngine(t *testing.T) {
	brokers, cat, _ := startEngine(t)
	other := *cat
	other.StoreCommands.Topic = cat.PaymentRequests.Name() // where nobody answers
	_, err := Load(t.Context(), &other, brokers, LoadOptions{Stores: 1, Timeout: 300 * time.Millisecond}, nil)
	require.ErrorContains(t, err, "is the engine running?")
}
