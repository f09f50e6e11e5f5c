package processors

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain/payment"
)

// talkative is a gateway that says more than a message can hold, in no characters.
type talkative struct{ err error }

func (g talkative) Call(context.Context, payment.Call) (answer, reason string, err error) {
	return payment.Denied, "no" + strings.Repeat("\xff", 2_000_000), g.err
}

// What a gateway says must not make a message that can't be sent: its call would be made for ever.
func TestCallGateway_SaysTooMuch(t *testing.T) {
	for _, err := range []error{nil, errors.New(strings.Repeat("배", 1_000_000))} {
		r, err := callGateway(talkative{err})(t.Context(), payment.Call{OrderID: "o-1", Kind: payment.Authorize, Attempt: 1})
		require.NoError(t, err)
		data, err := codecs.Marshal(r)
		require.NoError(t, err)
		require.Less(t, len(data), 2000)
	}
}
