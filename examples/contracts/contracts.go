// Package contracts holds the contracts of the events that the example services
// exchange.
package contracts

import (
	"embed"
	"fmt"

	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

//go:embed order.created
var files embed.FS

// Load reads the contracts.
func Load() (*contract.Set, error) {
	set, err := contract.Load(files, contract.Config{})
	if err != nil {
		return nil, fmt.Errorf("contracts of the examples: %w", err)
	}
	return set, nil
}
