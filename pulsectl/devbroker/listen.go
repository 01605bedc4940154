package devbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Down makes the broker unreachable, as an outage would: it stops listening and cuts every connection without a word.
// What is queued stays; what was delivered and not acknowledged is queued again. Down returns when all that has
// happened. A broker that is down already stays so.
func (b *Broker) Down() error {
	b.control.Lock()
	defer b.control.Unlock()
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		return ErrClosed
	}
	if b.faults.on(FaultDown, nil) == nil {
		b.faults = append(b.faults, &Fault{Kind: FaultDown, Since: time.Now()})
	}
	b.mu.Unlock()
	b.stopNow()
	b.log.Info("down on demand")
	return nil
}

// stopNow stops listening and cuts every connection. The caller holds control.
func (b *Broker) stopNow() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.disconnect(ctx, net.ErrClosed) // its error only says that nobody was waited for
}

// Up listens again after [Broker.Down], on the same address. It fails if the port has been taken by somebody else
// meanwhile; the broker then stays down. A broker that is up already stays so.
func (b *Broker) Up() error {
	b.control.Lock()
	defer b.control.Unlock()
	return b.listen()
}

// listen starts to accept connections. The caller holds control.
func (b *Broker) listen() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failure != nil:
		return b.failure
	case b.closing:
		return ErrClosed
	case b.listener != nil:
		return nil
	}
	addr := b.cfg.Addr
	if b.addr != nil {
		addr = b.addr.String() // port 0 was settled the first time
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("devbroker: %w", err)
	}
	b.listener, b.addr = l, l.Addr()
	b.faults.remove(func(f *Fault) bool { return f.Kind == FaultDown })
	b.accepting.Go(func() { b.accept(l) })
	return nil
}

// Restart does what restarting a broker does: connections are closed with 320 CONNECTION_FORCED, transient messages,
// transient and exclusive queues and transient exchanges are gone, and it listens again. It is quicker than closing
// the broker and starting it anew, and works without a data directory, too. ctx bounds how long clients are waited for.
func (b *Broker) Restart(ctx context.Context) error {
	b.control.Lock()
	defer b.control.Unlock()
	b.mu.Lock()
	closing := b.closing
	b.mu.Unlock()
	if closing {
		return ErrClosed
	}
	if err := b.disconnect(ctx, connectionForced("broker forced connection closure with reason 'shutdown'")); err != nil {
		b.log.Info("restart: clients were cut off", "error", err)
	}
	b.mu.Lock()
	b.forgetTransient()
	b.settleQueues()
	b.mu.Unlock()
	return b.listen()
}

// DropConnections cuts every connection as a broken network does, and returns how many there were. Clients may connect
// again at once.
func (b *Broker) DropConnections() int {
	conns := b.connected()
	for _, c := range conns {
		c.cut()
	}
	return len(conns)
}

// accept takes connections until the listener is closed.
func (b *Broker) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, as a rule: it passes when clients go.
			b.log.Error("accepting connections", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-b.stopped:
				return
			}
			continue
		}
		b.admit(nc)
	}
}

// admit serves a connection unless there are too many.
func (b *Broker) admit(nc net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.conns) >= b.cfg.MaxConnections {
		b.log.Warn("connection refused: too many", "client", nc.RemoteAddr().String(), "limit", b.cfg.MaxConnections)
		_ = nc.Close()
		return
	}
	c := newConn(b, nc)
	b.conns[c] = struct{}{}
	b.clients.Go(func() {
		c.serve()
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	})
}
