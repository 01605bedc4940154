package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// faultJSON is a fault in a file that people read and change.
type faultJSON struct {
	Kind   Kind   `json:"kind"`
	Target string `json:"target"`
	At     string `json:"at"`
	For    string `json:"for"`
	Delay  string `json:"delay,omitempty"`
	Back   bool   `json:"back,omitempty"`
}

// MarshalJSON writes durations as texts such as 1.5s.
func (f Fault) MarshalJSON() ([]byte, error) {
	text := faultJSON{Kind: f.Kind, Target: f.Target, At: f.At.String(), For: f.For.String(), Back: f.Back}
	if f.Delay > 0 {
		text.Delay = f.Delay.String()
	}
	return json.Marshal(text)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Fault) UnmarshalJSON(raw []byte) (err error) {
	var text faultJSON
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	*f = Fault{Kind: text.Kind, Target: text.Target, Back: text.Back}
	for _, d := range []struct {
		value *time.Duration
		text  string
	}{{&f.At, text.At}, {&f.For, text.For}, {&f.Delay, text.Delay}} {
		if d.text == "" {
			continue
		}
		if *d.value, err = time.ParseDuration(d.text); err != nil {
			return fmt.Errorf("fault %s: %w", text.Kind, err)
		}
	}
	return nil
}

// Recorded is what a run can be repeated from: a part of its report.
type Recorded struct {
	Seed      uint64  `json:"seed"`
	Duration  string  `json:"duration"`
	Rate      int     `json:"rate"`
	Relays    int     `json:"relays"`
	Consumers int     `json:"consumers"`
	Schedule  []Fault `json:"schedule"`
}

// Record returns what the run can be repeated from.
func (c Config) Record() Recorded {
	return Recorded{c.Seed, c.Duration.String(), c.Rate, c.Relays, c.Consumers, c.Faults}
}

// Repeat sets what was recorded.
func (c *Config) Repeat(raw []byte) error {
	var r Recorded
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if r.Rate < 1 || r.Relays < 1 || r.Consumers < 1 || r.Duration == "" {
		return errors.New("it lacks rate, relays, consumers or duration: is it the JSON of a run?")
	}
	duration, err := time.ParseDuration(r.Duration)
	if err == nil && duration <= 0 {
		err = errors.New("it must be positive")
	}
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	c.Seed, c.Duration, c.Rate, c.Relays, c.Consumers, c.Faults = r.Seed, duration, r.Rate, r.Relays, r.Consumers, r.Schedule
	if c.Faults == nil {
		c.Faults = []Fault{} // none, rather than those of the seed
	}
	return nil
}
