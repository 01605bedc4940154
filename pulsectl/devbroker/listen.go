package devbroker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Down makes the broker unreachable, like an outage: it stops listening and
// cuts every connection without an answer. Queued messages stay; delivered and
// unacknowledged ones are requeued. Down returns when all that has happened. On
// a broker that is down it does nothing.
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
	_ = b.disconnect(ctx, net.ErrClosed) // its error only says that it waited for nobody
}

// Up listens again after [Broker.Down], on the same address. It fails if
// another program uses the port meanwhile; then the broker stays down. On a
// broker that is up it does nothing.
func (b *Broker) Up() error {
	b.control.Lock()
	defer b.control.Unlock()
	return b.listen()
}

// endpoint is an address that the broker listens on while it is up.
type endpoint struct {
	configured string // "": there is none
	addr       net.Addr
	listeners  []net.Listener // none while down
	serve      func(net.Listener)
}

// endpoints are the broker's addresses. The lock guards them.
type endpoints struct{ amqp, tls, management endpoint }

func (d *endpoints) all() []*endpoint { return []*endpoint{&d.amqp, &d.tls, &d.management} }

func (d *endpoints) close() {
	for _, d := range d.all() {
		for _, l := range d.listeners {
			_ = l.Close()
		}
		d.listeners = nil
	}
}

// String returns the address of the endpoint, also while it is closed.
func (d *endpoint) String() string {
	if d.addr == nil {
		return d.configured // port 0 is chosen when it opens first
	}
	return d.addr.String()
}

// open starts to listen, on both addresses of a local host.
func (d *endpoint) open(log *slog.Logger) error {
	if d.configured == "" || len(d.listeners) > 0 {
		return nil
	}
	host, port, err := net.SplitHostPort(d.String())
	if err != nil {
		return err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	listen := func() (net.Listener, error) { return net.Listen("tcp", net.JoinHostPort(host, port)) }
	if port == "0" {
		listen = func() (net.Listener, error) { return listenAnywhere(host) }
	}
	l, err := listen()
	if err != nil {
		return err
	}
	d.addr, d.listeners = l.Addr(), []net.Listener{l}
	if host == "127.0.0.1" {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if l, err := net.Listen("tcp", net.JoinHostPort("::1", port)); err == nil {
			d.listeners = append(d.listeners, l)
		} else {
			log.Info("not listening on ::1", "port", port, "error", err) // no IPv6, or the port is in use
		}
	}
	return nil
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
	}
	var opened []*endpoint
	for _, d := range b.endpoints.all() {
		if d.configured == "" || len(d.listeners) > 0 {
			continue
		}
		if err := d.open(b.log); err != nil {
			b.endpoints.close()
			return fmt.Errorf("devbroker: %w", err)
		}
		opened = append(opened, d)
	}
	b.faults.remove(func(f *Fault) bool { return f.Kind == FaultDown })
	for _, d := range opened {
		for _, l := range d.listeners {
			b.accepting.Go(func() { d.serve(l) })
		}
	}
	return nil
}

// Restart does what a restart of a broker does: connections are closed with 320
// CONNECTION_FORCED, transient messages, transient and exclusive queues and
// transient exchanges are deleted, and it listens again. It is faster than
// closing and starting the broker, and also works without a data directory. ctx
// limits how long it waits for clients.
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

// DropConnections cuts every connection like a broken network, and returns how
// many there were. Clients may connect again at once.
func (b *Broker) DropConnections() int {
	conns := b.connected()
	for _, c := range conns {
		c.cut()
	}
	return len(conns)
}

// accept accepts connections until the listener is closed.
func (b *Broker) accept(l net.Listener, serve func(net.Conn)) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Usually out of file descriptors: this ends when clients
			// disconnect.
			b.log.Error("accepting connections", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-b.stopped:
				return
			}
			continue
		}
		serve(nc)
	}
}

// admit serves a connection unless there are too many.
func (b *Broker) admit(nc net.Conn) { b.admitConn(nc, nil) }

// admitTLS is admit for a connection that begins with TLS.
func (b *Broker) admitTLS(nc net.Conn) {
	secured := tls.Server(nc, b.cfg.TLS)
	b.admitConn(secured, secured)
}

func (b *Broker) admitConn(nc net.Conn, secured *tls.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.conns) >= b.cfg.MaxConnections {
		b.log.Warn("connection refused: too many", "client", nc.RemoteAddr().String(), "limit", b.cfg.MaxConnections)
		_ = nc.Close()
		return
	}
	c := newConn(b, nc, secured != nil)
	b.conns[c] = struct{}{}
	b.clients.Go(func() {
		c.serve()
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	})
}
