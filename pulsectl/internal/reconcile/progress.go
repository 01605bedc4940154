package reconcile

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// Progress reports how far a comparison is. Its zero value is ready for use,
// and its methods are safe for concurrent use.
type Progress struct {
	looked, total atomic.Int64 // events; total is an estimate
	comparing     atomic.Bool
	text          atomic.Pointer[string]
}

// Line describes the current step in words that follow "waiting for".
func (p *Progress) Line() string {
	if p.comparing.Load() {
		looked, total := p.looked.Load(), p.total.Load()
		return fmt.Sprintf("the comparison: %s of about %s events", Thousands(looked), Thousands(max(looked, total)))
	}
	if text := p.text.Load(); text != nil {
		return *text
	}
	return "outbox, inbox and queues to be read"
}

// Looked returns the number of events compared so far.
func (p *Progress) Looked() int64 { return p.looked.Load() }

func (p *Progress) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.text.Store(&text)
}

// Thousands formats a number with thousands separators: 1,204.
func Thousands[N int | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
