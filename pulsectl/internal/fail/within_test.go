package fail_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		if err := fail.Within(t.Context(), 30*time.Second, slow); fail.From(err).Kind != fail.Unreachable || err.Error() != "no answer within 30s" {
			t.Error(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := fail.Within(ended, 30*time.Second, slow); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
