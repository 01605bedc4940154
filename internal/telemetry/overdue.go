package telemetry

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Overdue is for how long something has been due that is done from time to time. It
// grows until it is found to be otherwise, so that work which is not done, or not
// even looked at, shows. The zero Overdue is not known.
type Overdue struct {
	mu sync.Mutex
	by time.Duration
	at time.Time // when that was found; zero: not known
}

// Found sets it to by, as of now.
func (o *Overdue) Found(by time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.by, o.at = by, time.Now()
}

// Begin has it grow from 0, unless it is known.
func (o *Overdue) Begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at.IsZero() {
		o.at = time.Now()
	}
}

// Forget makes it unknown, as when another process does the work.
func (o *Overdue) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.by, o.at = 0, time.Time{}
}

// Observe reports it in seconds if it is known.
func (o *Overdue) Observe(to metric.Observer, gauge metric.Float64Observable, options ...metric.ObserveOption) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() {
		to.ObserveFloat64(gauge, (o.by + time.Since(o.at)).Seconds(), options...)
	}
}
