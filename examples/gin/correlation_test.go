package gin_test

import "testing"

func TestCorrelationRunsThrough(t *testing.T) { services.CorrelationRunsThrough(t) }
