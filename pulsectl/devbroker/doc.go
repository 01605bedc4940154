// Package devbroker is an AMQP 0-9-1 broker inside your process, for development and tests. It is not for production: it
// keeps every message in memory, and is one process without a cluster. It behaves as RabbitMQ 3.10 does, so that
// the client code that is tested against it is the client code that runs in production.
//
// In a test:
//
//	broker := devbroker.NewTest(t)
//	conn, err := amqp.Dial(broker.URL())
//
// In a program, with messages that survive a restart:
//
//	broker, err := devbroker.Start(ctx, devbroker.Config{DataDir: dir})
//	defer broker.Close()
//
// # What is there
//
// Exchanges (direct, fanout, topic, headers), bindings between exchanges, alternate exchanges; classic and quorum
// queues with TTL, expiry, length limits, priorities, dead-lettering with x-death, delivery limits, single active
// consumer; confirms, transactions, mandatory returns, CC and BCC; direct reply-to; prefetch by consumer and by channel,
// consumer priorities, redelivery in order, cancel notifications; heartbeats and connection.blocked. Virtual hosts, and
// users with permissions ([Broker.SetUser]); at first there is user guest, password guest, virtual host "/", on the loopback
// interface, as a fresh RabbitMQ. TLS, and a part of the management API ([Broker.Management]). Error codes and texts are
// RabbitMQ's, and so are its server properties, since clients depend on them; the property "devbroker" identifies it.
//
// Quorum queues are accepted, and differ from classic ones where a client can see it: every message counts
// as persistent, deliveries are counted in x-delivery-count, and there is no global prefetch. It has one replica.
//
// # What is not
//
// Streams, basic.publish with immediate, and methods of plug-ins are refused with 540 NOT_IMPLEMENTED, exchange types of
// plug-ins with 503, as by a RabbitMQ without them. There are no policies, no topic permissions and no AMQP 1.0. Only
// PLAIN and AMQPLAIN authenticate. docs/devbroker.md lists what else differs, and which test suites of other projects it passes.
//
// # Durability
//
// With [Config.DataDir], durable exchanges and queues, their bindings, persistent messages in durable queues, and virtual
// hosts are kept in a journal there. A confirm is sent after the message is on disk (fsync; publishers share one), so a
// confirmed message survives kill -9 and a power cut. What is acknowledged does not come back after an orderly stop;
// after kill -9 the last acknowledgements may be forgotten and their messages delivered again, marked as redelivered. The
// journal is compacted while the broker runs: its size follows what is queued. Without DataDir everything is lost when
// the broker is closed.
//
// # Memory and disk
//
// At [Config.MemoryLimit], and when the disk of DataDir is nearly full ([Config.DiskFreeLimit]), the broker blocks
// publishers as RabbitMQ's alarms do: it sends connection.blocked to connections that publish and stops reading from them
// until consumers have made room, or the disk has more space.
//
// # Faults
//
// A [Broker] can misbehave on demand, so that programs can be tested against it: [Broker.Down] and [Broker.Up] are an
// outage, [Broker.Restart], [Broker.DropConnections] and [Broker.CloseConnections] interrupt, and [Broker.Inject]
// withholds, delays or drops confirms, blocks publishers, duplicates or delays deliveries, and lets queues refuse messages
// or stand still, all of them or one. [Broker.Faults] lists what is active and [Broker.Clear] ends it. [Broker.Queues],
// [Broker.Connections] and [Broker.Stats] return its state.
package devbroker
