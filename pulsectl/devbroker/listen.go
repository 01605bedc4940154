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

// door is an address that the broker listens on while it is up.
type door struct {
	configured string // "": there is none
	addr       net.Addr
	listeners  []net.Listener // none while down
	serve      func(net.Listener)
}

// doors are what the broker listens on. The lock guards them.
type doors struct{ amqp, tls, management door }

func (d *doors) all() []*door { return []*door{&d.amqp, &d.tls, &d.management} }

func (d *doors) close() {
	for _, d := range d.all() {
		for _, l := range d.listeners {
			_ = l.Close()
		}
		d.listeners = nil
	}
}

// String is the address that the door has, or would have.
func (d *door) String() string {
	if d.addr == nil {
		return d.configured // port 0 is settled the first time it opens
	}
	return d.addr.String()
}

// open starts to listen, on both addresses of a local host.
func (d *door) open(log *slog.Logger) error {
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
			log.Info("not listening on ::1", "port", port, "error", err) // no IPv6 here, or somebody else's port
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
	var opened []*door
	for _, d := range b.doors.all() {
		if d.configured == "" || len(d.listeners) > 0 {
			continue
		}
		if err := d.open(b.log); err != nil {
			b.doors.close()
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
func (b *Broker) accept(l net.Listener, serve func(net.Conn)) {
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
