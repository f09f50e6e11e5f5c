package topics_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/order"
	"baedal/topics"
)

type schema struct {
	Type       string            `yaml:"type"`
	Enum       []string          `yaml:"enum"`
	Required   []string          `yaml:"required"`
	Properties map[string]schema `yaml:"properties"`
	Items      *schema           `yaml:"items"`
	Ref        string            `yaml:"$ref"`
}

type asyncAPI struct {
	Version  string `yaml:"asyncapi"`
	Channels map[string]struct {
		Address  string `yaml:"address"`
		Messages map[string]struct {
			Ref string `yaml:"$ref"`
		} `yaml:"messages"`
	} `yaml:"channels"`
	Operations map[string]struct {
		Action  string `yaml:"action"`
		Channel struct {
			Ref string `yaml:"$ref"`
		} `yaml:"channel"`
	} `yaml:"operations"`
	Components struct {
		Messages map[string]struct {
			Payload schema `yaml:"payload"`
		} `yaml:"messages"`
		Schemas map[string]schema `yaml:"schemas"`
	} `yaml:"components"`
}

// Every stream is described, under its name on the broker.
func TestAsyncAPI(t *testing.T) {
	c := topics.New("town-", 4)
	data, err := c.AsyncAPI()
	require.NoError(t, err)
	var doc asyncAPI
	require.NoError(t, yaml.Unmarshal(data, &doc))
	require.Equal(t, "3.0.0", doc.Version)
	streams := 0
	for _, s := range c.All() {
		short := c.Short(s.Topic)
		channel, ok := doc.Channels[short]
		if s.Cleanup == topics.Compact || strings.HasSuffix(s.Topic, "-loop") {
			require.False(t, ok, s.Topic)
			continue
		}
		streams++
		require.Equal(t, s.Topic, channel.Address)
		require.Equal(t, "#/components/messages/"+short, channel.Messages[short].Ref)
		action := map[bool]string{true: "send", false: "receive"}[s.Internal]
		require.Equal(t, "#/channels/"+short, doc.Operations[action+"-"+short].Channel.Ref, short)
		require.Equal(t, action, doc.Operations[action+"-"+short].Action)
		payload := doc.Components.Messages[short].Payload
		if name, ok := strings.CutPrefix(payload.Ref, "#/components/schemas/"); ok {
			require.NotEmpty(t, doc.Components.Schemas[name].Properties, name)
		} else {
			require.Equal(t, "dead-letters", short)
		}
	}
	require.Len(t, doc.Channels, streams)

	place := doc.Components.Schemas["OrderCommand"]
	require.Equal(t, order.CommandTypes, place.Properties["type"].Enum)
	require.Equal(t, []string{"type"}, place.Required)
	require.Equal(t, "integer", place.Properties["lines"].Items.Properties["quantity"].Type)
	require.NotContains(t, place.Properties, "-", "what is not on the stream")
}

// A message as it is written has no field that is not described, and all that are required.
func TestAsyncAPI_Fields(t *testing.T) {
	data, err := topics.New("", 1).AsyncAPI()
	require.NoError(t, err)
	var doc asyncAPI
	require.NoError(t, yaml.Unmarshal(data, &doc))
	for name, message := range map[string]any{
		"OrderEvent": &order.Event{Meta: domain.Meta{Type: "placed", ID: "o-1/1", At: 1}, Version: 1, OrderID: "o-1", UserID: "u-1", StoreID: "s-1", Status: order.Placed,
			Attempt: 1, Lines: []domain.Line{{Product: "p", Quantity: 1}}, Reason: "r", Area: "a", RiderID: "r-1", CauseID: "c"},
		"DomainVerdict": &domain.Verdict{Meta: domain.Meta{Type: "refused", ID: "i"}, CommandID: "c", Stream: "s", Key: "k", Digest: "d", Verdict: "refused", Reason: "r"},
	} {
		text, err := codecs.Marshal(message)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(text, &fields))
		described := doc.Components.Schemas[name]
		for field := range fields {
			require.Contains(t, described.Properties, field, name)
		}
		for _, field := range described.Required {
			require.Contains(t, fields, field, name)
		}
	}
}
