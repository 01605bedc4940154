package telemetry

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestComplaintsAreNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		c := &complaints{log: slog.New(slog.NewTextHandler(&said, nil))}
		away := func() int { return strings.Count(said.String(), "collector is away") }
		for range 10 {
			c.Handle(errors.New("collector is away"))
			c.Println("scraper", "is gone")
		}
		if away() != 1 || strings.Count(said.String(), "scraper is gone") != 1 {
			t.Errorf("at once:\n%s", &said)
		}
		time.Sleep(repeatAfter)
		c.Handle(errors.New("collector is away"))
		if away() != 2 {
			t.Errorf("a minute later:\n%s", &said)
		}
	})
}
