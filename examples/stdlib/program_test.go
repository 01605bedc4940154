package stdlib_test

import (
	"testing"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
)

func TestPrograms(t *testing.T) { exampletest.Programs(t) }

func TestTelemetry(t *testing.T) { exampletest.Telemetry(t) }
