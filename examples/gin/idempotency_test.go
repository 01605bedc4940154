package gin_test

import "testing"

func TestIdempotencyKeyStandsOrFallsWithItsOrder(t *testing.T) {
	services.IdempotencyKeyStandsOrFallsWithItsOrder(t)
}
