package deadletters

import (
	"strings"
	"time"
)

// Filter selects letters. The zero value selects all; what is set adds up.
type Filter struct {
	Refs     map[string]bool // nil: any
	Group    string          // Group.ID
	Reason   string          // exactly this
	Error    string          // the last error contains it, whatever the case
	Topic    string          // exactly this, as those below
	Type     string
	Key      string
	Consumer string
	Since    time.Time // last failed at or after
	Until    time.Time // last failed before
	// MinAttempts and MaxAttempts bound the failed attempts; 0: any number.
	MinAttempts, MaxAttempts int

	WithoutID bool // those without an event id alone
}

// All reports whether f selects every letter.
func (f Filter) All() bool {
	return f.Refs == nil && f.Group == "" && f.Reason == "" && f.Error == "" && f.Topic == "" && f.Type == "" && f.Key == "" && f.Consumer == "" &&
		f.Since.IsZero() && f.Until.IsZero() && f.MinAttempts == 0 && f.MaxAttempts == 0 && !f.WithoutID
}

// Match reports whether f selects a letter. A letter without a time is in no
// period.
func (f Filter) Match(l *Letter) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	switch {
	case f.Refs != nil && !f.Refs[l.Ref],
		!same(f.Group, l.Group), !same(f.Reason, l.Reason), !same(f.Topic, l.Topic), !same(f.Type, l.Type),
		!same(f.Key, l.Key), !same(f.Consumer, l.Consumer),
		f.Error != "" && !strings.Contains(strings.ToLower(l.Error), strings.ToLower(f.Error)),
		!f.Since.IsZero() && l.LastFailedAt.Before(f.Since),
		!f.Until.IsZero() && (l.LastFailedAt.IsZero() || !l.LastFailedAt.Before(f.Until)),
		f.MinAttempts > 0 && l.Attempts < f.MinAttempts,
		f.MaxAttempts > 0 && l.Attempts > f.MaxAttempts,
		f.WithoutID && l.EventID != "":
		return false
	}
	return true
}
