package telemetry

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Set is a set of attributes in the form that each kind of instrument takes.
type Set struct {
	Add     []metric.AddOption
	Record  []metric.RecordOption
	Observe []metric.ObserveOption
}

// NewSet returns the set of attributes.
func NewSet(attributes ...attribute.KeyValue) *Set {
	option := metric.WithAttributeSet(attribute.NewSet(attributes...))
	return &Set{Add: []metric.AddOption{option}, Record: []metric.RecordOption{option}, Observe: []metric.ObserveOption{option}}
}

// maxSets bounds the sets of one Sets, and so the series of its instruments.
const maxSets = 500

// Other stands for values of an attribute beyond those that are told apart.
const Other = "_OTHER"

// Sets holds the attribute sets of measurements that are told apart by a K. Each
// is made once, so that measuring allocates nothing.
type Sets[K comparable] struct {
	attributes func(K) []attribute.KeyValue
	fold       func(K) K // a K of which there are few, for those beyond the bound

	mu    sync.RWMutex
	known map[K]*Set
}

// NewSets returns an empty Sets. attributes makes those of a K; fold returns the K
// under which one is counted when there are too many: values that come from
// outside are replaced by Other, or left out.
func NewSets[K comparable](attributes func(K) []attribute.KeyValue, fold func(K) K) *Sets[K] {
	return &Sets[K]{attributes: attributes, fold: fold, known: make(map[K]*Set)}
}

// Of returns the set of k.
func (s *Sets[K]) Of(k K) *Set {
	s.mu.RLock()
	set, full := s.known[k], len(s.known) >= maxSets
	s.mu.RUnlock()
	if set != nil {
		return set
	}
	if full {
		k = s.fold(k)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if set = s.known[k]; set == nil {
		set = NewSet(s.attributes(k)...)
		s.known[k] = set
	}
	return set
}
