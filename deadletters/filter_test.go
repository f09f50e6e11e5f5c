package deadletters_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/deadletters"
)

func TestParseFilter(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	l := &deadletters.Letter{ID: deadletters.ID{Partition: 3, Offset: 17}, From: deadletters.Source{Topic: "t.order-commands", Partition: 1, Offset: 5},
		Group: "t.orders", Error: `userId: is missing`, At: now.Add(-time.Hour), Key: []byte("o=1")}
	for name, c := range map[string]struct {
		only []string
		want bool
	}{
		"Nothing":          {nil, true},
		"Group":            {[]string{"group=t.orders"}, true},
		"GroupShort":       {[]string{"group=orders"}, true},
		"OtherGroup":       {[]string{"group=stock"}, false},
		"PartOfGroup":      {[]string{"group=order"}, false},
		"Topic":            {[]string{"topic=t.order-commands"}, true},
		"TopicShort":       {[]string{"topic=order-commands"}, true},
		"OtherTopic":       {[]string{"topic=order-events"}, false},
		"Error":            {[]string{"error=is missing"}, true},
		"OtherError":       {[]string{"error=panic"}, false},
		"KeyWithEquals":    {[]string{"key=o=1"}, true},
		"PartOfKey":        {[]string{"key=o"}, false},
		"SinceDuration":    {[]string{"since=61m"}, true},
		"SinceShorter":     {[]string{"since=59m"}, false},
		"SinceTime":        {[]string{"since=2026-01-02T11:00:00Z"}, true},
		"SinceLaterTime":   {[]string{"since=2026-01-02T11:00:01Z"}, false},
		"SinceOtherZone":   {[]string{"since=2026-01-02T20:00:00+09:00"}, true},
		"ID":               {[]string{"id=3/17"}, true},
		"OtherID":          {[]string{"id=17/3"}, false},
		"AnyOfOneKey":      {[]string{"id=1/1", "id=3/17"}, true},
		"AllOfSeveralKeys": {[]string{"id=3/17", "group=stock"}, false},
		"All":              {[]string{"id=3/17", "group=orders", "since=2h", "error=userId", "topic=order-commands", "key=o=1"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := deadletters.ParseFilter(c.only, "t.", now)
			require.NoError(t, err)
			assert.Equal(t, c.want, f.Match(l))
		})
	}
	for _, wrong := range []string{"", "group", "group=", "=x", "color=red", "since=yesterday", "since=-1h", "id=3", "id=3/", "id=-1/0", "id=3/17/1", "id=99999999999/1"} {
		_, err := deadletters.ParseFilter([]string{wrong}, "", now)
		require.Error(t, err, wrong)
	}
}
