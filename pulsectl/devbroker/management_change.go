package devbroker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

var changeRoutes = []route{
	{pattern: "PUT /api/vhosts/{vhost}", admin: true, do: (*managed).putVHost},
	{pattern: "DELETE /api/vhosts/{vhost}", admin: true, do: func(m *managed) (any, error) { return nil, m.b.DeleteVHost(m.part("vhost")) }},
	{pattern: "PUT /api/users/{user}", admin: true, do: (*managed).putUser},
	{pattern: "DELETE /api/users/{user}", admin: true, do: func(m *managed) (any, error) { return nil, m.b.DeleteUser(m.part("user")) }},
	{pattern: "PUT /api/permissions/{vhost}/{user}", admin: true, do: (*managed).putPermissions},
	{pattern: "DELETE /api/permissions/{vhost}/{user}", admin: true, do: func(m *managed) (any, error) {
		return nil, m.b.ClearPermissions(m.part("user"), m.part("vhost"))
	}},
	{pattern: "PUT /api/exchanges/{vhost}/{exchange}", do: (*managed).putExchange},
	{pattern: "DELETE /api/exchanges/{vhost}/{exchange}", do: (*managed).deleteExchange},
	{pattern: "POST /api/exchanges/{vhost}/{exchange}/publish", do: (*managed).publish},
	{pattern: "PUT /api/queues/{vhost}/{queue}", do: (*managed).putQueue},
	{pattern: "DELETE /api/queues/{vhost}/{queue}", do: (*managed).deleteQueue},
	{pattern: "DELETE /api/queues/{vhost}/{queue}/contents", do: func(m *managed) (any, error) {
		_, err := m.define(&wire.QueuePurge{Queue: m.part("queue")})
		return nil, err
	}},
	{pattern: "POST /api/queues/{vhost}/{queue}/get", do: (*managed).get},
	{pattern: "POST /api/bindings/{vhost}/e/{exchange}/q/{queue}", do: (*managed).postBinding},
	{pattern: "DELETE /api/connections/{connection}", do: (*managed).closeConnection},
}

// created is the status of a PUT: whether there was nothing before.
func (m *managed) created(existed bool) {
	if m.status = http.StatusCreated; existed {
		m.status = http.StatusNoContent
	}
}

func (m *managed) exists(look func() bool) bool {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	return look()
}

func (m *managed) putVHost() (any, error) {
	name := m.part("vhost")
	m.created(m.exists(func() bool { return m.b.vhosts[name] != nil }))
	return nil, m.b.AddVHost(name)
}

func (m *managed) putUser() (any, error) {
	var body struct {
		Password *string `json:"password"`
		Hash     *string `json:"password_hash"`
		Tags     any     `json:"tags"`
	}
	if err := m.body(&body); err != nil {
		return nil, err
	}
	u := User{Name: m.part("user")}
	switch tags := body.Tags.(type) {
	case string:
		u.Tags = strings.FieldsFunc(tags, func(r rune) bool { return r == ',' || r == ' ' })
	case []any:
		for _, tag := range tags {
			u.Tags = append(u.Tags, fmt.Sprint(tag))
		}
	default:
		return nil, badRequest("key_missing: tags")
	}
	var set func(*user)
	switch {
	case body.Password != nil:
		set = func(known *user) { known.setPassword(*body.Password) }
	case body.Hash != nil:
		secret, err := base64.StdEncoding.DecodeString(*body.Hash)
		if err != nil || len(secret) > 0 && len(secret) != saltSize+sha256.Size {
			return nil, badRequest("password_hash: not a salted SHA-256 in base64")
		}
		set = func(known *user) { known.secret = secret }
	default:
		return nil, badRequest("Either 'password' or 'password_hash' is required")
	}
	m.created(m.exists(func() bool { return m.b.users[u.Name] != nil }))
	return nil, m.b.setUser(u, set)
}

func (m *managed) putPermissions() (any, error) {
	var p struct{ Configure, Write, Read *string }
	if err := m.body(&p); err != nil {
		return nil, err
	}
	if p.Configure == nil || p.Write == nil || p.Read == nil {
		return nil, badRequest("key_missing: configure, write and read are needed")
	}
	user, vhost := m.part("user"), m.part("vhost")
	m.created(m.exists(func() bool { u := m.b.users[user]; return u != nil && u.grants[vhost] != nil }))
	return nil, m.b.SetPermissions(user, vhost, Permissions{Configure: *p.Configure, Write: *p.Write, Read: *p.Read})
}

// declaration is the body of a PUT of a queue, an exchange, or a binding.
type declaration struct {
	Type       string         `json:"type"`
	Durable    *bool          `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Internal   bool           `json:"internal"`
	RoutingKey string         `json:"routing_key"`
	Arguments  map[string]any `json:"arguments"`
}

func (m *managed) declared(d *declaration) error {
	if err := m.body(d); err != nil {
		return err
	}
	return shortNames(d.Arguments)
}

func (d declaration) durable() bool { return d.Durable == nil || *d.Durable }

func (m *managed) putExchange() (any, error) {
	var d declaration
	if err := m.declared(&d); err != nil {
		return nil, err
	}
	m.created(m.exists(func() bool {
		v := m.b.vhosts[m.part("vhost")]
		return v != nil && v.exchanges[m.part("exchange")] != nil
	}))
	_, err := m.define(&wire.ExchangeDeclare{
		Exchange: m.part("exchange"), Type: d.Type, Durable: d.durable(), AutoDelete: d.AutoDelete, Internal: d.Internal,
		Arguments: toTable(d.Arguments),
	})
	return nil, err
}

func (m *managed) deleteExchange() (any, error) {
	name := m.part("exchange")
	if !m.exists(func() bool { v := m.b.vhosts[m.part("vhost")]; return v != nil && v.exchanges[name] != nil }) {
		return nil, errNoObject
	}
	_, err := m.define(&wire.ExchangeDelete{Exchange: name, IfUnused: m.req.URL.Query().Get("if-unused") == "true"})
	return nil, err
}

func (m *managed) putQueue() (any, error) {
	var d declaration
	if err := m.declared(&d); err != nil {
		return nil, err
	}
	m.created(m.queueExists())
	_, err := m.define(&wire.QueueDeclare{
		Queue: m.part("queue"), Durable: d.durable(), AutoDelete: d.AutoDelete, Arguments: toTable(d.Arguments),
	})
	return nil, err
}

func (m *managed) queueExists() bool {
	return m.exists(func() bool {
		v := m.b.vhosts[m.part("vhost")]
		return v != nil && v.queues[m.part("queue")] != nil
	})
}

func (m *managed) deleteQueue() (any, error) {
	if !m.queueExists() {
		return nil, errNoObject
	}
	query := m.req.URL.Query()
	_, err := m.define(&wire.QueueDelete{
		Queue: m.part("queue"), IfUnused: query.Get("if-unused") == "true", IfEmpty: query.Get("if-empty") == "true",
	})
	return nil, err
}

func (m *managed) postBinding() (any, error) {
	var d declaration
	if err := m.declared(&d); err != nil {
		return nil, err
	}
	m.status = http.StatusCreated
	_, err := m.define(&wire.QueueBind{
		Queue: m.part("queue"), Exchange: m.part("exchange"), RoutingKey: d.RoutingKey, Arguments: toTable(d.Arguments),
	})
	return nil, err
}

// toTable makes a table of an object in JSON, with the types that the management API chooses.
func toTable(values map[string]any) wire.Table {
	t := make(wire.Table, len(values))
	for key, value := range values {
		t[key] = toField(value)
	}
	return t
}

func toField(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		return toTable(v)
	case []any:
		fields := make([]any, len(v))
		for i, element := range v {
			fields[i] = toField(element)
		}
		return fields
	}
	return value
}

// publish publishes a message and reports whether a queue took it.
func (m *managed) publish() (any, error) {
	var body struct {
		RoutingKey string         `json:"routing_key"`
		Payload    string         `json:"payload"`
		Encoding   string         `json:"payload_encoding"`
		Properties map[string]any `json:"properties"`
	}
	if err := m.body(&body); err != nil {
		return nil, err
	}
	content := []byte(body.Payload)
	if body.Encoding == "base64" {
		var err error
		if content, err = base64.StdEncoding.DecodeString(body.Payload); err != nil {
			return nil, badRequest("payload: " + err.Error())
		}
	}
	if int64(len(content)) > m.b.cfg.MaxMessageSize {
		return nil, badRequest("payload: too large")
	}
	exchange := m.part("exchange")
	if exchange == "amq.default" {
		exchange = ""
	}
	if err := shortNames(body.Properties); err != nil {
		return nil, err
	}
	props, err := toProperties(body.Properties)
	if err != nil {
		return nil, err
	}
	u := &upload{method: &wire.BasicPublish{Exchange: exchange, RoutingKey: body.RoutingKey}, props: props.Append(nil), body: content}
	if u.routing, err = wire.Scan(u.props); err != nil {
		return nil, badRequest("properties: " + err.Error())
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	v, err := m.vhost()
	if err != nil {
		return nil, err
	}
	taken, err := m.b.publish(m.channel(v), u)
	if err != nil {
		return nil, asHTTP(err)
	}
	return object{"routed": taken > 0}, nil
}

// toProperties reads a message's properties in JSON.
func toProperties(values map[string]any) (p wire.Properties, err error) {
	text := func(key string) *string {
		if v, ok := values[key]; ok {
			s := fmt.Sprint(v)
			return &s
		}
		return nil
	}
	octet := func(key string) *byte {
		n, ok := toField(values[key]).(int64)
		if !ok {
			return nil
		}
		if n < 0 || n > math.MaxUint8 {
			err = badRequest(fmt.Sprintf("%s: %d is not between 0 and 255", key, n))
		}
		b := byte(n)
		return &b
	}
	p = wire.Properties{
		ContentType: text("content_type"), ContentEncoding: text("content_encoding"), DeliveryMode: octet("delivery_mode"),
		Priority: octet("priority"), CorrelationID: text("correlation_id"), ReplyTo: text("reply_to"), Expiration: text("expiration"),
		MessageID: text("message_id"), Type: text("type"), UserID: text("user_id"), AppID: text("app_id"),
	}
	if headers, ok := values["headers"].(map[string]any); ok {
		p.Headers = toTable(headers)
	}
	if n, ok := toField(values["timestamp"]).(int64); ok {
		at := uint64(n)
		p.Timestamp = &at
	}
	return p, err
}

// get takes messages from a queue, and puts them back if that is asked for.
func (m *managed) get() (any, error) {
	var body struct {
		Count    int    `json:"count"`
		AckMode  string `json:"ackmode"`
		Encoding string `json:"encoding"`
	}
	if err := m.body(&body); err != nil {
		return nil, err
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	v, err := m.vhost()
	if err != nil {
		return nil, err
	}
	q, err := m.channel(v).queueToRead(m.part("queue"))
	if err != nil {
		return nil, asHTTP(err)
	}
	messages, taken := []object{}, []delivery{}
	for range min(body.Count, q.ready()) {
		e := q.pop()
		messages = append(messages, q.exportedEntry(e, body.Encoding))
		e.deliveries++
		taken = append(taken, delivery{queue: q, entry: e})
	}
	switch {
	case strings.Contains(body.AckMode, "requeue_true"):
		m.b.requeue(taken)
	case strings.HasPrefix(body.AckMode, "reject"):
		m.b.reject(taken)
	default:
		m.b.acknowledge(taken)
	}
	m.b.settleQueues()
	return messages, nil
}

func (q *queue) exportedEntry(e *entry, encoding string) object {
	payload, how := string(e.msg.body), "string"
	if encoding == "base64" || !utf8.Valid(e.msg.body) {
		payload, how = base64.StdEncoding.EncodeToString(e.msg.body), "base64"
	}
	return object{
		"payload": payload, "payload_encoding": how, "payload_bytes": len(e.msg.body), "redelivered": e.deliveries > 0,
		"exchange": e.msg.exchange, "routing_key": e.msg.key, "message_count": q.ready(), "properties": fromProperties(q.propsFor(e, true)),
	}
}

// fromProperties writes a message's properties in JSON.
func fromProperties(raw []byte) object {
	p, _ := wire.ParseProperties(raw) // checked when the message came in
	o := object{}
	for key, field := range map[string]*string{
		"content_type": p.ContentType, "content_encoding": p.ContentEncoding, "correlation_id": p.CorrelationID, "reply_to": p.ReplyTo,
		"expiration": p.Expiration, "message_id": p.MessageID, "type": p.Type, "user_id": p.UserID, "app_id": p.AppID,
	} {
		if field != nil {
			o[key] = *field
		}
	}
	for key, field := range map[string]*byte{"delivery_mode": p.DeliveryMode, "priority": p.Priority} {
		if field != nil {
			o[key] = *field
		}
	}
	if p.Timestamp != nil {
		o["timestamp"] = *p.Timestamp
	}
	if p.Headers != nil {
		o["headers"] = plain(p.Headers)
	}
	return o
}
