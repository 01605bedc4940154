package queues

import (
	"context"
	"net/url"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit/routing"
)

// Described is a queue as the management API describes it.
type Described struct {
	Name             string         `json:"name"`
	Type             string         `json:"type"`
	Arguments        map[string]any `json:"arguments"`
	Policy           string         `json:"policy"`
	OperatorPolicy   string         `json:"operator_policy"`
	PolicyDefinition map[string]any `json:"effective_policy_definition"`
}

// Describe lists the queues of the virtual host.
func (m *Management) Describe(ctx context.Context) (queues []Described, err error) {
	_, err = m.get(ctx, "queues/"+url.PathEscape(m.VHost)+"?columns=name,type,arguments,policy,operator_policy,effective_policy_definition", &queues)
	return queues, err
}

// Exchange is an exchange.
type Exchange struct {
	Name      string         `json:"name"`
	Type      string         `json:"type"`
	Durable   bool           `json:"durable"`
	Arguments map[string]any `json:"arguments"`
}

// Exchanges lists the exchanges of the virtual host.
func (m *Management) Exchanges(ctx context.Context) (exchanges []Exchange, err error) {
	_, err = m.get(ctx, "exchanges/"+url.PathEscape(m.VHost)+"?columns=name,type,durable,arguments", &exchanges)
	return exchanges, err
}

// Binding leads messages from an exchange to a queue or another exchange.
type Binding = routing.Binding

// Bindings lists the bindings of the virtual host.
func (m *Management) Bindings(ctx context.Context) (bindings []Binding, err error) {
	_, err = m.get(ctx, "bindings/"+url.PathEscape(m.VHost), &bindings)
	return bindings, err
}

// Node is a member of the cluster.
type Node struct {
	Name       string   `json:"name"`
	Running    bool     `json:"running"`
	Memory     bool     `json:"mem_alarm"`
	Disk       bool     `json:"disk_free_alarm"`
	Partitions []string `json:"partitions"`
}

// Nodes lists the members of the cluster.
func (m *Management) Nodes(ctx context.Context) (nodes []Node, err error) {
	_, err = m.get(ctx, "nodes", &nodes)
	return nodes, err
}

// Permission is what a user may do in a virtual host: patterns of names.
type Permission struct {
	User      string `json:"user"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

// Permissions lists those of all users in the virtual host. Only an
// administrator may read them.
func (m *Management) Permissions(ctx context.Context) (permissions []Permission, err error) {
	_, err = m.get(ctx, "vhosts/"+url.PathEscape(m.VHost)+"/permissions", &permissions)
	return permissions, err
}

// Now returns the time of the broker's machine, to a second; zero: it does not
// say.
func (m *Management) Now(ctx context.Context) (time.Time, error) {
	var who struct{ Name string }
	return m.get(ctx, "whoami", &who)
}
