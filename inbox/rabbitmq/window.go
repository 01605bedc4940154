package rabbitmq

import "sync"

// window bounds the bytes of unsettled deliveries in memory. AMQP can bound
// their number only; so once the bytes reach the limit nothing more is read
// from the connection, and the rest waits with the broker.
type window struct {
	limit         int
	pause, resume func() // reading

	mu     sync.Mutex
	held   int
	lifted bool
}

// add notes the size of a delivery, free that one was settled.
func (w *window) add(bytes int)  { w.change(bytes) }
func (w *window) free(bytes int) { w.change(-bytes) }

func (w *window) change(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held += bytes
	w.apply()
}

// lift ends the bound: what is under way is to be read, and requeued.
func (w *window) lift() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lifted = true
	w.apply()
}

// apply runs under the lock, so that the last call is that of the last change.
func (w *window) apply() {
	if w.held >= w.limit && !w.lifted {
		w.pause()
	} else {
		w.resume()
	}
}
