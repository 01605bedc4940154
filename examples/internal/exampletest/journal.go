package exampletest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
)

// Journal gathers log lines of services that write at the same time.
type Journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// Find returns the first record for which every attribute has its value. Each
// line has to be a record.
func (j *Journal) Find(t *testing.T, want map[string]any) map[string]any {
	t.Helper()
	var first map[string]any
records:
	for line := range strings.Lines(j.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		for name, value := range want {
			if record[name] != value {
				continue records
			}
		}
		if first == nil {
			first = record
		}
	}
	return first
}
