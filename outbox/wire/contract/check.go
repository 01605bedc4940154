package contract

import (
	"errors"
	"fmt"
	"strings"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// ErrBroken matches the errors of contracts that say a message does not satisfy
// its contract, or has none.
var ErrBroken = errors.New("contract is broken")

// Fault is what makes a message break its contract.
type Fault struct {
	Path    string // of the value in the payload, such as $.lines[2].amount
	Rule    string // the keyword of the schema, such as required; empty: the payload could not be read
	Problem string
}

// BrokenError says how a message breaks its contract. It matches ErrBroken, and
// wire.ErrUndecodable where the payload is no JSON.
type BrokenError struct {
	Contract Contract // without a File: there is no such contract
	Faults   []Fault  // at least one

	undecodable bool
}

// shownFaults bounds the faults in an error's text.
const shownFaults = 5

func (e *BrokenError) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i == shownFaults {
			fmt.Fprintf(&b, "; and %d more", len(e.Faults)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Path + ": " + f.Problem)
	}
	if e.Contract.File != "" {
		fmt.Fprintf(&b, " (contract %s)", e.Contract)
	}
	return b.String()
}

// Is reports whether target is ErrBroken, or wire.ErrUndecodable and e is about a
// payload that cannot be read.
func (e *BrokenError) Is(target error) bool {
	return target == ErrBroken || e.undecodable && target == wire.ErrUndecodable
}

// role are the contracts of a set in one of their roles.
type role struct {
	set     *Set
	schemas map[id]*schema.Schema // nil: nothing is checked
}

// Newest implements wire.Contracts.
func (r role) Newest(m wire.Message) int { return r.set.newest[r.set.name(m)] }

// name returns the name under which there are contracts for a message, or "".
func (s *Set) name(m wire.Message) string {
	for _, name := range []string{m.Type, m.Topic} {
		if _, found := s.newest[name]; found {
			return name
		}
	}
	return ""
}

// Check implements wire.Contracts. The error is a *BrokenError.
func (r role) Check(m wire.Message) error {
	s := r.set
	name := s.name(m)
	if r.schemas == nil || name == "" && s.cfg.Optional {
		return nil
	}
	key := id{name, m.Version}
	c, found := s.of[key]
	broken := func(problem string, args ...any) error {
		return &BrokenError{Contract: c, Faults: []Fault{{Path: "$", Problem: fmt.Sprintf(problem, args...)}}}
	}
	switch {
	case name == "":
		return broken("there is no contract for type %q, topic %q", m.Type, m.Topic)
	case !found:
		return broken("there is no version %d of contract %s; the newest is %d", m.Version, name, s.newest[name])
	case m.ContentEncoding != "":
		return broken("the payload is encoded (%s) and cannot be read; decode it before", m.ContentEncoding)
	case !wire.IsJSON(m.ContentType):
		return broken("the content type is %q; a contract is about JSON", m.ContentType)
	}
	document, err := schema.Decode(m.Payload, s.cfg.MaxBytes)
	if err != nil {
		_, limit := errors.AsType[*schema.LimitError](err)
		return &BrokenError{Contract: c, undecodable: !limit, Faults: []Fault{{Path: "$", Problem: strings.TrimPrefix(err.Error(), "$: ")}}}
	}
	faults := r.schemas[key].Validate(document)
	if len(faults) == 0 {
		return nil
	}
	// What is wrong for consumers comes first: an object with a fault inside does not
	// count its properties as declared.
	if wrong := s.open[key].Validate(document); len(wrong) > 0 {
		faults = wrong
	}
	e := &BrokenError{Contract: c, Faults: make([]Fault, len(faults))}
	for i, f := range faults {
		e.Faults[i] = Fault(f)
	}
	return e
}
