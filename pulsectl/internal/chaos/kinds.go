package chaos

import "strings"

// Kind is a kind of fault, such as relay-kill. What precedes the dash is its
// group.
type Kind string

// The kinds of faults.
const (
	ServiceKill   Kind = "service-kill"
	ServicePause  Kind = "service-pause"
	RelayKill     Kind = "relay-kill"
	RelayPause    Kind = "relay-pause"
	ConsumerKill  Kind = "consumer-kill"
	ConsumerPause Kind = "consumer-pause"

	BrokerStop             Kind = "broker-stop"
	BrokerKill             Kind = "broker-kill"
	BrokerRestart          Kind = "broker-restart"
	BrokerBlock            Kind = "broker-block"
	BrokerDropConfirms     Kind = "broker-drop-confirms"
	BrokerWithholdConfirms Kind = "broker-withhold-confirms"
	BrokerDelayConfirms    Kind = "broker-delay-confirms"
	BrokerDuplicate        Kind = "broker-duplicate"
	BrokerDelay            Kind = "broker-delay"
	BrokerRefuse           Kind = "broker-refuse"
	BrokerStall            Kind = "broker-stall"
	BrokerCredentials      Kind = "broker-credentials"
	BrokerRevoke           Kind = "broker-revoke"
	BrokerDeleteQueue      Kind = "broker-delete-queue"
	BrokerDeleteExchange   Kind = "broker-delete-exchange"

	LinkCut       Kind = "link-cut"
	LinkPartition Kind = "link-partition"
	LinkLatency   Kind = "link-latency"
	LinkStall     Kind = "link-stall"
	LinkOneWay    Kind = "link-one-way"
	LinkLoss      Kind = "link-loss"

	DatabaseLock        Kind = "database-lock"
	DatabaseStop        Kind = "database-stop"
	DatabaseKill        Kind = "database-kill"
	DatabaseTerminate   Kind = "database-terminate"
	DatabaseCredentials Kind = "database-credentials"
	DatabaseRevoke      Kind = "database-revoke"
	DatabaseClock       Kind = "database-clock"
)

// description says what a kind does.
type description struct {
	kind  Kind
	usage string
}

var descriptions = []description{
	{ServiceKill, "kill -9 of the service that takes orders, which starts again"},
	{ServicePause, "SIGSTOP of it, then SIGCONT"},
	{RelayKill, "kill -9 of a relay, which starts again"},
	{RelayPause, "SIGSTOP of a relay, then SIGCONT"},
	{ConsumerKill, "kill -9 of a consumer, which starts again"},
	{ConsumerPause, "SIGSTOP of a consumer, then SIGCONT"},
	{BrokerStop, "the broker is stopped, and started again"},
	{BrokerKill, "kill -9 of the broker, which starts again with what is on disk"},
	{BrokerRestart, "the broker is restarted"},
	{BrokerBlock, "the broker blocks publishers, as one that is short of memory"},
	{BrokerDropConfirms, "confirms are lost"},
	{BrokerWithholdConfirms, "confirms come when the fault ends"},
	{BrokerDelayConfirms, "confirms come late"},
	{BrokerDuplicate, "deliveries come twice"},
	{BrokerDelay, "deliveries come late"},
	{BrokerRefuse, "queues refuse messages, as if they were full"},
	{BrokerStall, "queues hang, as those without a majority"},
	{BrokerCredentials, "the user's password is changed, and connections are cut"},
	{BrokerRevoke, "the user's permissions are revoked, and connections are cut"},
	{BrokerDeleteQueue, "the consumer's queues are deleted with what they hold; that is published again at the end"},
	{BrokerDeleteExchange, "the exchange is deleted, and declared again with its bindings"},
	{LinkCut, "connections are cut"},
	{LinkPartition, "connections are cut, and refused"},
	{LinkLatency, "bytes come late"},
	{LinkStall, "no byte passes; later all come"},
	{LinkOneWay, "no byte passes in one direction; later all come"},
	{LinkLoss, "bytes of one direction are lost, and then the connections"},
	{DatabaseLock, "another writer holds the lock of the database"},
	{DatabaseStop, "the database is stopped, and started again"},
	{DatabaseKill, "kill -9 of the database, which starts again"},
	{DatabaseTerminate, "the sessions of all programs are terminated, again and again"},
	{DatabaseCredentials, "the role may not log in: its password is changed, and its sessions are terminated"},
	{DatabaseRevoke, "the role's rights to the tables are revoked"},
	{DatabaseClock, "the clock of the database is moved, and moved back"},
}

// Usage says what the kind does.
func (k Kind) Usage() string {
	for _, d := range descriptions {
		if d.kind == k {
			return d.usage
		}
	}
	return ""
}

// Kinds returns every kind.
func Kinds() []Kind {
	kinds := make([]Kind, len(descriptions))
	for i, d := range descriptions {
		kinds[i] = d.kind
	}
	return kinds
}

// alone reports whether no other fault may be active during one of this kind: what
// it does holds links of all processes.
func (k Kind) alone() bool { return k == BrokerDeleteQueue || k == BrokerDeleteExchange }

func (k Kind) group() string {
	group, _, _ := strings.Cut(string(k), "-")
	return group
}
