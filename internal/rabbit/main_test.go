package rabbit

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Init()
	goleak.VerifyTestMain(m)
}
