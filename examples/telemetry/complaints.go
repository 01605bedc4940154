package telemetry

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// repeatAfter is how long a complaint is not repeated.
const repeatAfter = time.Minute

// complaints logs what OpenTelemetry cannot return to anybody, such as that a
// collector is away: at once, and then once a minute, since an exporter says so
// every few seconds.
type complaints struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]time.Time // by text
}

// maxComplaints bounds the texts that are remembered: they may hold numbers.
const maxComplaints = 100

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) { c.say(err.Error()) }

// Println implements promhttp.Logger, which hears of each metric that a scraper
// did not wait for.
func (c *complaints) Println(words ...any) { c.say(strings.TrimSpace(fmt.Sprintln(words...))) }

func (c *complaints) say(text string) {
	c.mu.Lock()
	last, known := c.last[text]
	repeated := known && time.Since(last) < repeatAfter
	if !repeated {
		if c.last == nil || len(c.last) >= maxComplaints {
			c.last = make(map[string]time.Time)
		}
		c.last[text] = time.Now()
	}
	c.mu.Unlock()
	if !repeated {
		c.log.Warn("telemetry", "error", text)
	}
}
