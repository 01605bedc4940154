package diagnosis

import "github.com/asimalizada/pulse-events/internal/rabbit/routing"

// unbound returns those topics that reach no queue from an exchange. known is
// false if the exchange routes by something else than its type tells.
func unbound(topics []string, exchange string, kinds map[string]string, bindings []routing.Binding) (missing []string, known bool) {
	known = true
	table := routing.Table{Kinds: kinds, Bindings: bindings}
	for _, topic := range topics {
		switch r := table.Reaches(topic, exchange); {
		case len(r.Queues) > 0:
		case r.Unsure:
			known = false
		default:
			missing = append(missing, topic)
		}
	}
	return missing, known
}
