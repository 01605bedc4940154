// Package rabbittest has the faults between a client and a broker that no
// broker commits on request.
package rabbittest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands between clients and a broker and hands on frames, until it is
// told to do otherwise. It is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	url      string
	wg       sync.WaitGroup

	mu      sync.Mutex
	links   map[*link]bool
	refuse  bool   // closes new connections at once
	silent  bool   // drops what the broker says
	blocked string // reason; "" when not
	// withheld are the routing keys whose confirms are kept back.
	withheld map[string]bool
	resumed  chan struct{} // closed while the client's bytes pass
	closed   bool
}

// link is one connection through the proxy.
type link struct {
	client, broker net.Conn
	write          sync.Mutex           // whole frames to the client
	confirms       map[uint16]*confirms // by channel; the proxy's lock guards them
}

// NewProxy returns a proxy to the broker at the AMQP URL, without TLS. It ends
// with the test.
func NewProxy(t testing.TB, brokerURL string) *Proxy {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: u.Host, listener: listener, links: make(map[*link]bool), resumed: make(chan struct{}), withheld: make(map[string]bool)}
	close(p.resumed)
	u.Host = listener.Addr().String()
	p.url = u.String()
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL is the broker's with the proxy's address.
func (p *Proxy) URL() string { return p.url }

// Cut breaks all connections; new ones are refused until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
	p.hangUp()
}

// Refuse refuses new connections until Restore.
func (p *Proxy) Refuse() { p.mu.Lock(); defer p.mu.Unlock(); p.refuse = true }

// Silence drops everything the broker says on all connections from now on, as
// a half-open network does, until Restore.
func (p *Proxy) Silence() { p.mu.Lock(); defer p.mu.Unlock(); p.silent = true }

// Block says connection.blocked with a reason to all connections and takes no
// more bytes from their clients, as a broker does that is short of memory.
// Connections made later are told once they have published, as RabbitMQ does.
func (p *Proxy) Block(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked, p.resumed = reason, make(chan struct{})
	for l := range p.links {
		l.say(blockedFrame(reason))
	}
}

// Stall takes no more bytes from clients and says nothing about it.
func (p *Proxy) Stall() { p.mu.Lock(); defer p.mu.Unlock(); p.resumed = make(chan struct{}) }

// Restore ends whatever fault there is. What was dropped stays dropped, so
// connections that fell silent are broken.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blocked != "" {
		for l := range p.links {
			l.say(unblockedFrame)
		}
	}
	if p.silent {
		p.hangUp()
	}
	p.refuse, p.silent, p.blocked = false, false, ""
	select {
	case <-p.resumed:
	default:
		close(p.resumed)
	}
}

// Connections is how many there are through the proxy at present.
func (p *Proxy) Connections() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.links) }

func (p *Proxy) hangUp() {
	for l := range p.links {
		l.hangUp()
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	p.Restore()
	_ = p.listener.Close()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{client: client, broker: broker, confirms: make(map[uint16]*confirms)}
		p.mu.Lock()
		if p.refuse || p.closed {
			l.hangUp()
		} else {
			p.links[l] = true
			p.wg.Go(func() { p.fromClient(l) })
			p.wg.Go(func() { p.fromBroker(l) })
		}
		p.mu.Unlock()
	}
}

func (p *Proxy) drop(l *link) {
	l.hangUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

func (l *link) hangUp() {
	_, _ = l.client.Close(), l.broker.Close()
}

func (l *link) say(frame []byte) {
	l.write.Lock()
	defer l.write.Unlock()
	_, _ = l.client.Write(frame)
}

const protocolHeader = 8

func (p *Proxy) fromClient(l *link) {
	defer p.drop(l)
	in := bufio.NewReader(l.client)
	if _, err := io.CopyN(l.broker, in, protocolHeader); err != nil {
		return
	}
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		p.mu.Lock()
		resumed, reason := p.resumed, p.blocked
		p.mu.Unlock()
		select {
		case <-resumed:
		default:
			if reason != "" && isPublish(frame) {
				l.say(blockedFrame(reason))
			}
			if reason == "" || isPublish(frame) {
				<-resumed
			}
		}
		p.noteSent(l, frame)
		if _, err := l.broker.Write(frame); err != nil {
			return
		}
	}
}

func (p *Proxy) fromBroker(l *link) {
	defer p.drop(l)
	in := bufio.NewReader(l.broker)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		for _, answer := range p.answersOf(l, frame) {
			if !silent {
				l.say(answer)
			}
		}
	}
}

// Frames, AMQP 0-9-1 section 2.3.5: type, channel, size, payload, end mark.
const (
	frameHead, frameEnd = 7, 0xCE
	methodFrame         = 1
)

var errFrame = errors.New("no AMQP frame")

func readFrame(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(frameHead)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, frameHead+int(binary.BigEndian.Uint32(head[3:]))+1)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, err
	}
	if frame[len(frame)-1] != frameEnd {
		return nil, errFrame
	}
	return frame, nil
}

// isPublish reports whether frame is the method basic.publish (60, 40).
func isPublish(frame []byte) bool { return isMethod(frame, 60, 40) }

// blockedFrame is connection.blocked (10, 60) with its reason.
func blockedFrame(reason string) []byte {
	return connectionFrame(60, append([]byte{byte(len(reason))}, reason...)...)
}

// unblockedFrame is connection.unblocked (10, 61).
var unblockedFrame = connectionFrame(61)

func connectionFrame(method byte, args ...byte) []byte {
	frame := []byte{methodFrame, 0, 0, 0, 0, 0, byte(4 + len(args)), 0, 10, 0, method}
	return append(append(frame, args...), frameEnd)
}
