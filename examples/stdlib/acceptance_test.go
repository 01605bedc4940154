package stdlib_test

import "testing"

func TestAcceptance(t *testing.T) { services.Acceptance(t) }
