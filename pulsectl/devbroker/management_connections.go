package devbroker

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// listConnections lists the open connections of the user or, with the right
// tag, of all users.
func (m *managed) listConnections() (any, error) {
	all := []object{}
	for c := range m.b.conns {
		if m.seesConn(c) && m.named("connection", c.client.name) {
			all = append(all, c.exported())
		}
	}
	return sorted(all, "name"), nil
}

func (m *managed) seesConn(c *conn) bool {
	return c.live() && (c.user == m.user || m.user.tagged("monitoring", "administrator"))
}

// live reports whether the handshake is complete and neither side has closed
// the connection. The caller holds the lock.
func (c *conn) live() bool { return c.vhost != nil && !c.silenced && !c.gone }

func (c *conn) exported() object {
	host, port := split(c.nc.LocalAddr())
	peerHost, peerPort := split(c.nc.RemoteAddr())
	state := "running"
	if c.toldBlocked {
		state = "blocked"
	}
	o := object{
		"name": c.client.name, "node": clusterName(), "user": c.user.name, "user_who_performed_action": c.user.name, "vhost": c.vhost.name,
		"host": host, "port": port, "peer_host": peerHost, "peer_port": peerPort, "protocol": "AMQP 0-9-1", "type": "network",
		"auth_mechanism": c.client.mechanism, "ssl": c.client.tls, "state": state, "channels": len(c.channels), "channel_max": c.channelMax,
		"frame_max": c.client.frameMax, "timeout": c.client.heartbeat, "connected_at": c.client.since.UnixMilli(),
		"client_properties": plain(table(c.client.properties)),
	}
	if given, ok := c.client.properties["connection_name"].(string); ok {
		o["user_provided_name"] = given
	}
	return o
}

func split(addr net.Addr) (host string, port int) {
	host, text, _ := net.SplitHostPort(addr.String())
	port, _ = strconv.Atoi(text)
	return host, port
}

func (m *managed) listChannels() (any, error) {
	all := []object{}
	for c := range m.b.conns {
		if !m.seesConn(c) {
			continue
		}
		for _, ch := range c.channels {
			all = append(all, object{
				"name": fmt.Sprintf("%s (%d)", c.client.name, ch.id), "number": ch.id, "user": c.user.name, "vhost": c.vhost.name, "node": clusterName(),
				"connection_details": object{"name": c.client.name}, "confirm": ch.confirming, "transactional": ch.tx != nil,
				"consumer_count": len(ch.consumers), "messages_unacknowledged": len(ch.unacked) - ch.settled,
				"prefetch_count": ch.prefetch, "global_prefetch_count": ch.globalPrefetch, "state": "running",
			})
		}
	}
	return sorted(all, "name"), nil
}

func (m *managed) listConsumers() (any, error) {
	vhosts, err := m.vhosts()
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, v := range vhosts {
		for _, q := range v.queues {
			for i, c := range q.consumers {
				all = append(all, object{
					"consumer_tag": c.tag, "queue": object{"name": q.name, "vhost": v.name}, "ack_required": !c.noAck, "exclusive": c.exclusive,
					"prefetch_count": c.prefetch, "active": i == 0 || !q.settings.singleActiveConsumer, "activity_status": "up", "arguments": object{},
					"channel_details": object{
						"name":            fmt.Sprintf("%s (%d)", c.channel.conn.client.name, c.channel.id),
						"connection_name": c.channel.conn.client.name, "number": c.channel.id, "user": c.channel.conn.user.name,
					},
				})
			}
		}
	}
	return sorted(all, "consumer_tag"), nil
}

// closeConnection closes a connection with 320 CONNECTION_FORCED and the reason
// in the header X-Reason.
func (m *managed) closeConnection() (any, error) {
	reason := m.req.Header.Get("X-Reason")
	if reason == "" {
		reason = "Closed via management plugin"
	}
	name := m.part("connection")
	if m.b.closeConnections(reason, func(c *conn) bool { return c.client.name == name && m.seesConn(c) }) == 0 {
		return nil, errNoObject
	}
	return nil, nil
}

// Connection is one client's connection.
type Connection struct {
	// Name is the name in the management API, such as "127.0.0.1:51234 ->
	// 127.0.0.1:5673".
	Name        string
	User, VHost string
	Since       time.Time
	Channels    int
	// ClientProperties are the properties sent by the client. Tables in them
	// are of type map[string]any.
	ClientProperties map[string]any
}

// Connections lists the open connections, in no particular order.
func (b *Broker) Connections() []Connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Connection, 0, len(b.conns))
	for c := range b.conns {
		if c.live() {
			all = append(all, Connection{
				Name: c.client.name, User: c.user.name, VHost: c.vhost.name, Since: c.client.since, Channels: len(c.channels),
				ClientProperties: plain(table(c.client.properties)).(map[string]any),
			})
		}
	}
	return all
}

// CloseConnections closes the connections for which meant returns true, with
// 320 CONNECTION_FORCED and this reason, and returns their number.
func (b *Broker) CloseConnections(reason string, meant func(Connection) bool) int {
	names := make(map[string]bool)
	for _, c := range b.Connections() {
		if meant(c) {
			names[c.Name] = true
		}
	}
	return b.closeConnections(reason, func(c *conn) bool { return names[c.client.name] })
}
