package wire

import (
	"fmt"
	"strconv"
)

// Contracts are the schemas of messages, by type and version. Package
// outbox/wire/contract has some, made of JSON Schemas; outbox.WithContracts and
// inbox.ConsumerConfig.Contracts check messages with them.
type Contracts interface {
	// Newest returns the newest version of the contract for messages with m's type
	// and topic; zero: there is none.
	Newest(m Message) int
	// Check returns an error if m does not satisfy the contract of its version, or
	// there is no such contract. It begins with the place of the fault, such as
	// $.lines[2].amount, and matches ErrUndecodable where the payload could not be
	// read at all. Check neither changes m nor keeps it, and is called by several
	// goroutines.
	Check(m Message) error
}

// MaxVersion is the largest version of a contract.
const MaxVersion = 1_000_000

// ParseVersion reads the version of a contract, 1 to MaxVersion, from text; the
// empty one is zero.
func ParseVersion(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 || version > MaxVersion {
		return 0, fmt.Errorf("%.40q is not the version of a contract, a number from 1 to %d", text, MaxVersion)
	}
	return version, nil
}

// CheckConsumed checks a message as consumers do: one without a version is of
// version 1, and one that is newer than all known counts as the newest of these.
func CheckConsumed(c Contracts, m Message) error {
	m.Version = max(m.Version, 1)
	if newest := c.Newest(m); newest > 0 {
		m.Version = min(m.Version, newest)
	}
	return c.Check(m)
}
