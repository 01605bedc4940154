package devbroker

import (
	"cmp"
	"encoding/base64"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// object is a JSON object.
type object map[string]any

var readRoutes = []route{
	{pattern: "GET /api/overview", do: (*managed).overview},
	{pattern: "GET /api/whoami", do: func(m *managed) (any, error) { return object{"name": m.user.name, "tags": listed(m.user.tags)}, nil }},
	{pattern: "GET /api/cluster-name", do: func(*managed) (any, error) { return object{"name": clusterName()}, nil }},
	{pattern: "GET /api/nodes", do: func(m *managed) (any, error) { return []object{m.node()}, nil }},
	{pattern: "GET /api/vhosts", do: locked((*managed).listVHosts)},
	{pattern: "GET /api/vhosts/{vhost}", do: locked(single((*managed).listVHosts))},
	{pattern: "GET /api/users", admin: true, do: locked((*managed).listUsers)},
	{pattern: "GET /api/users/{user}", admin: true, do: locked(single((*managed).listUsers))},
	{pattern: "GET /api/permissions", admin: true, do: locked((*managed).listPermissions)},
	{pattern: "GET /api/permissions/{vhost}/{user}", admin: true, do: locked(single((*managed).listPermissions))},
	{pattern: "GET /api/vhosts/{vhost}/permissions", admin: true, do: locked((*managed).listPermissions)},
	{pattern: "GET /api/users/{user}/permissions", admin: true, do: locked((*managed).listPermissions)},
	{pattern: "GET /api/exchanges", do: locked((*managed).listExchanges)},
	{pattern: "GET /api/exchanges/{vhost}", do: locked((*managed).listExchanges)},
	{pattern: "GET /api/exchanges/{vhost}/{exchange}", do: locked(single((*managed).listExchanges))},
	{pattern: "GET /api/queues", do: locked((*managed).listQueues)},
	{pattern: "GET /api/queues/{vhost}", do: locked((*managed).listQueues)},
	{pattern: "GET /api/queues/{vhost}/{queue}", do: locked(single((*managed).listQueues))},
	{pattern: "GET /api/bindings", do: locked((*managed).listBindings)},
	{pattern: "GET /api/bindings/{vhost}", do: locked((*managed).listBindings)},
	{pattern: "GET /api/queues/{vhost}/{queue}/bindings", do: locked((*managed).listBindings)},
	{pattern: "GET /api/exchanges/{vhost}/{exchange}/bindings/source", do: locked((*managed).listBindings)},
	{pattern: "GET /api/bindings/{vhost}/e/{exchange}/q/{queue}", do: locked((*managed).listBindings)},
	{pattern: "GET /api/connections", do: locked((*managed).listConnections)},
	{pattern: "GET /api/connections/{connection}", do: locked(single((*managed).listConnections))},
	{pattern: "GET /api/channels", do: locked((*managed).listChannels)},
	{pattern: "GET /api/consumers", do: locked((*managed).listConsumers)},
	{pattern: "GET /api/consumers/{vhost}", do: locked((*managed).listConsumers)},
	{pattern: "GET /api/policies", do: func(*managed) (any, error) { return []object{}, nil }},
	{pattern: "GET /api/definitions", admin: true, do: locked((*managed).definitions)},
	{pattern: "GET /api/definitions/{vhost}", admin: true, do: locked((*managed).definitions)},
	{pattern: "GET /api/aliveness-test/{vhost}", do: locked(func(m *managed) (any, error) {
		_, err := m.vhost()
		return object{"status": "ok"}, err
	})},
	{pattern: "GET /api/health/checks/alarms", do: (*managed).checkAlarms},
	{pattern: "GET /api/health/checks/local-alarms", do: (*managed).checkAlarms},
	{pattern: "GET /api/health/checks/virtual-hosts", do: healthy},
	{pattern: "GET /api/health/checks/node-is-quorum-critical", do: healthy},
	{pattern: "GET /api/health/checks/node-is-mirror-sync-critical", do: healthy},
	{pattern: "GET /api/health/checks/port-listener/{port}", do: (*managed).checkListener},
	{pattern: "GET /api/health/checks/protocol-listener/{protocol}", do: (*managed).checkListener},
}

// locked holds the lock during an operation.
func locked(do func(*managed) (any, error)) func(*managed) (any, error) {
	return func(m *managed) (any, error) {
		m.b.mu.Lock()
		defer m.b.mu.Unlock()
		return do(m)
	}
}

// single answers with the only object of a list that the path limits to it.
func single(list func(*managed) (any, error)) func(*managed) (any, error) {
	return func(m *managed) (any, error) {
		all, err := list(m)
		if err != nil {
			return nil, err
		}
		if objects := all.([]object); len(objects) == 1 {
			return objects[0], nil
		}
		return nil, errNoObject
	}
}

func listed(tags []string) []string { return append([]string{}, tags...) }

// named reports whether a part of the path, if present, is this name.
func (m *managed) named(part, name string) bool {
	want := m.part(part)
	return want == "" || want == name || part == "exchange" && want == "amq.default" && name == ""
}

func healthy(*managed) (any, error) { return object{"status": "ok"}, nil }

func (m *managed) overview() (any, error) {
	s := m.b.Stats()
	kinds := []object{}
	for _, kind := range []string{"direct", "fanout", "headers", "topic"} {
		kinds = append(kinds, object{"name": kind, "description": "AMQP " + kind + " exchange, as per the AMQP specification", "enabled": true})
	}
	return object{
		"management_version": presentedVersion, "rabbitmq_version": presentedVersion, "product_version": presentedVersion,
		"product_name": "RabbitMQ", "devbroker": serverProperties()["devbroker"], "cluster_name": clusterName(), "node": clusterName(),
		"rates_mode": "none", "exchange_types": kinds, "message_stats": object{}, "listeners": m.listeners(), "contexts": []object{},
		"erlang_version": strings.TrimPrefix(presentedPlatform, "Erlang/OTP "), "statistics_db_event_queue": 0,
		"object_totals": object{
			"channels": s.Channels, "connections": s.Connections, "consumers": s.Consumers, "exchanges": s.Exchanges, "queues": s.Queues,
		},
		"queue_totals": object{"messages": s.Ready + s.Unacked, "messages_ready": s.Ready, "messages_unacknowledged": s.Unacked},
	}, nil
}

func (m *managed) listeners() []object {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	all := []object{}
	for protocol, d := range map[string]*endpoint{"amqp": &m.b.endpoints.amqp, "amqp/ssl": &m.b.endpoints.tls, "http": &m.b.endpoints.management} {
		for _, l := range d.listeners {
			host, port, _ := net.SplitHostPort(l.Addr().String())
			number, _ := strconv.Atoi(port)
			all = append(all, object{"node": clusterName(), "protocol": protocol, "ip_address": host, "port": number})
		}
	}
	return all
}

func (m *managed) node() object {
	s := m.b.Stats()
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	return object{
		"name": clusterName(), "type": "disc", "running": true, "mem_used": s.MemoryBytes, "mem_limit": m.b.cfg.MemoryLimit,
		"mem_alarm": m.b.alarms.memory, "disk_free_alarm": m.b.alarms.disk, "partitions": []string{},
	}
}

func (m *managed) checkAlarms() (any, error) {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	alarms := []object{}
	for resource, on := range map[string]bool{"memory": m.b.alarms.memory, "disk": m.b.alarms.disk} {
		if on {
			alarms = append(alarms, object{"node": clusterName(), "resource": resource})
		}
	}
	if len(alarms) > 0 {
		m.status = 503
		return object{"status": "failed", "reason": "There are alarms in effect in the cluster", "alarms": alarms}, nil
	}
	return object{"status": "ok"}, nil
}

func (m *managed) checkListener() (any, error) {
	port, protocol := m.part("port"), m.part("protocol")
	for _, l := range m.listeners() {
		if strconv.Itoa(l["port"].(int)) == port {
			return object{"status": "ok", "port": l["port"]}, nil
		}
		if l["protocol"] == protocol || protocol == "amqp091" && l["protocol"] == "amqp" || protocol == "amqps" && l["protocol"] == "amqp/ssl" {
			return object{"status": "ok", "protocol": protocol}, nil
		}
	}
	m.status = 503
	return object{"status": "failed", "reason": "No active listener", "missing": port + protocol}, nil
}

func (m *managed) listVHosts() (any, error) {
	vhosts, err := m.vhosts()
	all := []object{}
	for _, v := range vhosts {
		if v == nil {
			break
		}
		ready, unacked := 0, 0
		for _, q := range v.queues {
			ready, unacked = ready+q.ready(), unacked+q.unacked
		}
		all = append(all, object{
			"name": v.name, "tracing": false, "description": "", "tags": []string{}, "cluster_state": object{clusterName(): "running"},
			"messages": ready + unacked, "messages_ready": ready, "messages_unacknowledged": unacked,
		})
	}
	return all, err
}

func (m *managed) listUsers() (any, error) {
	all := []object{}
	for _, u := range m.b.users {
		if m.named("user", u.name) {
			all = append(all, u.exported())
		}
	}
	return sorted(all, "name"), nil
}

// exported returns a user as in definitions, with the hash of its password.
func (u *user) exported() object {
	return object{
		"name": u.name, "tags": listed(u.tags), "limits": object{}, "hashing_algorithm": "rabbit_password_hashing_sha256",
		"password_hash": base64.StdEncoding.EncodeToString(u.secret),
	}
}

func sorted(all []object, keys ...string) []object {
	slices.SortFunc(all, func(x, y object) int {
		for _, key := range keys {
			if c := cmp.Compare(x[key].(string), y[key].(string)); c != 0 {
				return c
			}
		}
		return 0
	})
	return all
}

func (m *managed) listPermissions() (any, error) {
	all := []object{}
	for _, u := range m.b.users {
		for vhost, g := range u.grants {
			if m.named("user", u.name) && m.named("vhost", vhost) {
				all = append(all, object{"user": u.name, "vhost": vhost, "configure": g.Configure, "write": g.Write, "read": g.Read})
			}
		}
	}
	return sorted(all, "vhost", "user"), nil
}

func (m *managed) listExchanges() (any, error) {
	vhosts, err := m.vhosts()
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, v := range vhosts {
		for _, x := range v.exchanges {
			if m.named("exchange", x.name) {
				all = append(all, object{
					"name": x.name, "vhost": v.name, "type": x.kind, "durable": x.durable, "auto_delete": x.autoDelete,
					"internal": x.internal, "arguments": plain(table(x.arguments)), "user_who_performed_action": "rmq-internal",
				})
			}
		}
	}
	return sorted(all, "vhost", "name"), nil
}

// table returns an empty table for nil.
func table(t wire.Table) wire.Table {
	if t == nil {
		return wire.Table{}
	}
	return t
}

func (m *managed) listQueues() (any, error) {
	vhosts, err := m.vhosts()
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, v := range vhosts {
		for _, q := range v.queues {
			if m.named("queue", q.name) {
				all = append(all, q.exported())
			}
		}
	}
	return sorted(all, "vhost", "name"), nil
}

func (q *queue) exported() object {
	info := q.info()
	state := "running"
	return object{
		"name": q.name, "vhost": q.vhost.name, "type": info.Type, "durable": q.durable, "exclusive": q.exclusive,
		"auto_delete": q.autoDelete, "arguments": plain(table(q.arguments)), "node": clusterName(), "state": state,
		"messages": info.Ready + info.Unacked, "messages_ready": info.Ready, "messages_unacknowledged": info.Unacked,
		"message_bytes_ready": info.Bytes, "consumers": info.Consumers, "policy": nil, "operator_policy": nil,
		"effective_policy_definition": object{}, "exclusive_consumer_tag": nil,
	}
}

func (m *managed) listBindings() (any, error) {
	vhosts, err := m.vhosts()
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, v := range vhosts {
		if v.exchanges[m.part("exchange")] == nil && m.part("exchange") != "" ||
			v.queues[m.part("queue")] == nil && m.part("queue") != "" {
			return nil, errNoObject
		}
		for _, q := range v.queues { // every queue is bound to the default exchange
			if m.named("exchange", "") && m.named("queue", q.name) {
				all = append(all, bindingObject(v, "", q.name, "queue", q.name, nil))
			}
		}
		for _, x := range v.exchanges {
			for _, bound := range x.bindings {
				if !m.named("exchange", x.name) {
					continue
				}
				if bound.queue != nil && m.named("queue", bound.queue.name) {
					all = append(all, bindingObject(v, x.name, bound.queue.name, "queue", bound.key, bound.arguments))
				} else if bound.exchange != nil && m.part("queue") == "" {
					all = append(all, bindingObject(v, x.name, bound.exchange.name, "exchange", bound.key, bound.arguments))
				}
			}
		}
	}
	return sorted(all, "vhost", "source", "destination", "routing_key"), nil
}

func bindingObject(v *virtualHost, source, destination, kind, key string, args wire.Table) object {
	return object{
		"source": source, "vhost": v.name, "destination": destination, "destination_type": kind, "routing_key": key,
		"arguments": plain(table(args)), "properties_key": cmp.Or(url.PathEscape(key), "~"),
	}
}

// definitions returns the durable definitions, from which a broker can be set
// up again.
func (m *managed) definitions() (any, error) {
	exchanges, queues, bindings := []object{}, []object{}, []object{}
	vhosts, err := m.vhosts()
	if err != nil {
		return nil, err
	}
	names := []object{}
	for _, v := range vhosts {
		names = append(names, object{"name": v.name})
		for _, x := range v.exchanges {
			if x.durable && x.name != "" && !reserved(x.name) {
				exchanges = append(exchanges, object{
					"name": x.name, "vhost": v.name, "type": x.kind, "durable": true, "auto_delete": x.autoDelete,
					"internal": x.internal, "arguments": plain(table(x.arguments)),
				})
			}
			for _, bound := range x.bindings {
				if !bound.durable() {
					continue
				}
				destination, kind := "", "queue"
				if bound.queue != nil {
					destination = bound.queue.name
				} else {
					destination, kind = bound.exchange.name, "exchange"
				}
				o := bindingObject(v, x.name, destination, kind, bound.key, bound.arguments)
				delete(o, "properties_key")
				bindings = append(bindings, o)
			}
		}
		for _, q := range v.queues {
			if q.stored() {
				queues = append(queues, object{
					"name": q.name, "vhost": v.name, "durable": true, "auto_delete": q.autoDelete, "arguments": plain(table(q.arguments)),
				})
			}
		}
	}
	all := object{
		"rabbit_version": presentedVersion, "rabbitmq_version": presentedVersion, "product_name": "RabbitMQ", "product_version": presentedVersion,
		"exchanges": sorted(exchanges, "vhost", "name"), "queues": sorted(queues, "vhost", "name"),
		"bindings": sorted(bindings, "vhost", "source", "destination", "routing_key"), "policies": []object{}, "parameters": []object{},
	}
	if m.part("vhost") != "" {
		return all, nil
	}
	users, _ := m.listUsers()
	permissions, _ := m.listPermissions()
	all["vhosts"], all["users"], all["permissions"] = names, users, permissions
	all["topic_permissions"], all["global_parameters"] = []object{}, []object{}
	return all, nil
}
