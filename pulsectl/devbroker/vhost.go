package devbroker

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// ErrNotFound is wrapped by errors about a name that does not exist.
var ErrNotFound = errors.New("devbroker: not found")

// defaultVHost is the virtual host of journal records that name none.
const defaultVHost = "/"

// virtualHost is a namespace of exchanges and queues. The broker's lock guards
// it.
type virtualHost struct {
	name      string
	exchanges map[string]*exchange
	queues    map[string]*queue
	router    router
}

func newVirtualHost(name string) *virtualHost {
	v := &virtualHost{name: name, queues: make(map[string]*queue)}
	v.exchanges = predeclared(v)
	v.router = router{exchanges: v.exchanges, queues: v.queues}
	return v
}

// The names of objects in RabbitMQ's error texts.
func (v *virtualHost) queueName(name string) string {
	return fmt.Sprintf("queue '%s' in vhost '%s'", name, v.name)
}

func (v *virtualHost) exchangeName(name string) string {
	return fmt.Sprintf("exchange '%s' in vhost '%s'", name, v.name)
}

// sortedVHosts lists the virtual hosts by name. The caller holds the lock.
func (b *Broker) sortedVHosts() []*virtualHost {
	return slices.SortedFunc(maps.Values(b.vhosts), func(x, y *virtualHost) int { return cmp.Compare(x.name, y.name) })
}

// allQueues iterates over the queues of all virtual hosts. The caller holds the
// lock.
func (b *Broker) allQueues() iter.Seq[*queue] {
	return func(yield func(*queue) bool) {
		for _, v := range b.vhosts {
			for _, q := range v.queues {
				if !yield(q) {
					return
				}
			}
		}
	}
}

// VHosts lists the virtual hosts by name.
func (b *Broker) VHosts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.vhosts))
}

// AddVHost creates a virtual host with the predeclared exchanges, unless it
// exists. It is stored in the data directory. No user can use it before
// [Broker.SetPermissions].
func (b *Broker) AddVHost(name string) error {
	if err := checkName("virtual host", name); err != nil {
		return err
	}
	b.mu.Lock()
	if b.vhosts[name] == nil {
		b.vhosts[name] = newVirtualHost(name)
		b.store.vhostAdded(name)
	}
	stored := b.store.last
	b.mu.Unlock()
	return b.store.awaitSync(stored)
}

// DeleteVHost deletes a virtual host with its content, and closes its
// connections with 320 CONNECTION_FORCED.
func (b *Broker) DeleteVHost(name string) error {
	b.mu.Lock()
	v := b.vhosts[name]
	if v == nil {
		b.mu.Unlock()
		return fmt.Errorf("%w: virtual host %q", ErrNotFound, name)
	}
	b.removeVHost(v)
	b.settleQueues()
	stored := b.store.last
	b.mu.Unlock()
	b.closeConnections(fmt.Sprintf("vhost '%s' is deleted", name), func(c *conn) bool { return c.vhost == v })
	return b.store.awaitSync(stored)
}

// removeVHost deletes a virtual host with its content. The caller holds the
// lock.
func (b *Broker) removeVHost(v *virtualHost) {
	delete(b.vhosts, v.name)
	for _, q := range slices.Collect(maps.Values(v.queues)) {
		b.deleteQueue(q)
	}
	for _, x := range slices.Collect(maps.Values(v.exchanges)) {
		b.removeExchange(x)
	}
	for _, u := range b.users {
		delete(u.grants, v.name)
	}
	b.store.vhostRemoved(v.name)
}

// closeConnections closes the connections for which meant returns true.
func (b *Broker) closeConnections(reason string, meant func(*conn) bool) (n int) {
	for _, c := range b.connected() {
		b.mu.Lock()
		is := meant(c)
		c.silenced = c.silenced || is // from now on it does not count as open
		b.mu.Unlock()
		if is {
			n++
			c.force(connectionForced("%s", reason))
		}
	}
	return n
}

// checkName returns an error for a name that does not fit into a short string.
func checkName(what, name string) error {
	if name == "" || len(name) > 255 || strings.ContainsRune(name, 0) {
		return fmt.Errorf("devbroker: %s %q: a name has 1 to 255 bytes without NUL", what, name)
	}
	return nil
}
