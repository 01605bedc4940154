package sqltext

import (
	"strings"
	"sync"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Limits of what is remembered. Texts that vary with their data are many; what
// comes after the first of them is read each time.
const (
	maxTexts    = 1000
	maxTextSize = 4 << 10
)

type key struct {
	dialect sqldb.Dialect
	quoting Quoting
	text    string
}

// texts are the effects of texts read before. Safe for concurrent use.
type texts struct {
	mu sync.RWMutex
	m  map[key]Effects
}

var memory = texts{m: make(map[key]Effects)}

func (t *texts) get(k key) (Effects, bool) {
	if len(k.text) > maxTextSize {
		return Effects{}, false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	effects, known := t.m[k]
	return effects, known
}

func (t *texts) put(k key, effects Effects) {
	if len(k.text) > maxTextSize {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.m) < maxTexts {
		k.text = strings.Clone(k.text)
		t.m[k] = effects
	}
}
