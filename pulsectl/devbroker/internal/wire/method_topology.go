package wire

// Methods of the classes exchange and queue.

// ExchangeDeclare is exchange.declare.
type ExchangeDeclare struct {
	Exchange, Type                                 string
	Passive, Durable, AutoDelete, Internal, NoWait bool
	Arguments                                      Table
}

// ID returns the method's class and number.
func (*ExchangeDeclare) ID() uint32 { return classExchange<<16 | 10 }

func (m *ExchangeDeclare) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Exchange)
	c.shortstr(&m.Type)
	c.flags(&m.Passive, &m.Durable, &m.AutoDelete, &m.Internal, &m.NoWait)
	c.table(&m.Arguments)
}

// ExchangeDeclareOk is exchange.declare-ok.
type ExchangeDeclareOk struct{}

// ID returns the method's class and number.
func (*ExchangeDeclareOk) ID() uint32 { return classExchange<<16 | 11 }

func (*ExchangeDeclareOk) walk(*coder) {}

// ExchangeDelete is exchange.delete.
type ExchangeDelete struct {
	Exchange         string
	IfUnused, NoWait bool
}

// ID returns the method's class and number.
func (*ExchangeDelete) ID() uint32 { return classExchange<<16 | 20 }

func (m *ExchangeDelete) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Exchange)
	c.flags(&m.IfUnused, &m.NoWait)
}

// ExchangeDeleteOk is exchange.delete-ok.
type ExchangeDeleteOk struct{}

// ID returns the method's class and number.
func (*ExchangeDeleteOk) ID() uint32 { return classExchange<<16 | 21 }

func (*ExchangeDeleteOk) walk(*coder) {}

// ExchangeBind is exchange.bind.
type ExchangeBind struct {
	Destination, Source, RoutingKey string
	NoWait                          bool
	Arguments                       Table
}

// ID returns the method's class and number.
func (*ExchangeBind) ID() uint32 { return classExchange<<16 | 30 }

func (m *ExchangeBind) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Destination)
	c.shortstr(&m.Source)
	c.shortstr(&m.RoutingKey)
	c.flags(&m.NoWait)
	c.table(&m.Arguments)
}

// ExchangeBindOk is exchange.bind-ok.
type ExchangeBindOk struct{}

// ID returns the method's class and number.
func (*ExchangeBindOk) ID() uint32 { return classExchange<<16 | 31 }

func (*ExchangeBindOk) walk(*coder) {}

// ExchangeUnbind is exchange.unbind.
type ExchangeUnbind struct {
	Destination, Source, RoutingKey string
	NoWait                          bool
	Arguments                       Table
}

// ID returns the method's class and number.
func (*ExchangeUnbind) ID() uint32 { return classExchange<<16 | 40 }

func (m *ExchangeUnbind) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Destination)
	c.shortstr(&m.Source)
	c.shortstr(&m.RoutingKey)
	c.flags(&m.NoWait)
	c.table(&m.Arguments)
}

// ExchangeUnbindOk is exchange.unbind-ok.
type ExchangeUnbindOk struct{}

// ID returns the method's class and number.
func (*ExchangeUnbindOk) ID() uint32 { return classExchange<<16 | 51 }

func (*ExchangeUnbindOk) walk(*coder) {}

// QueueDeclare is queue.declare.
type QueueDeclare struct {
	Queue                                           string
	Passive, Durable, Exclusive, AutoDelete, NoWait bool
	Arguments                                       Table
}

// ID returns the method's class and number.
func (*QueueDeclare) ID() uint32 { return classQueue<<16 | 10 }

func (m *QueueDeclare) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.flags(&m.Passive, &m.Durable, &m.Exclusive, &m.AutoDelete, &m.NoWait)
	c.table(&m.Arguments)
}

// QueueDeclareOk is queue.declare-ok.
type QueueDeclareOk struct {
	Queue                       string
	MessageCount, ConsumerCount uint32
}

// ID returns the method's class and number.
func (*QueueDeclareOk) ID() uint32 { return classQueue<<16 | 11 }

func (m *QueueDeclareOk) walk(c *coder) {
	c.shortstr(&m.Queue)
	c.long(&m.MessageCount)
	c.long(&m.ConsumerCount)
}

// QueueBind is queue.bind.
type QueueBind struct {
	Queue, Exchange, RoutingKey string
	NoWait                      bool
	Arguments                   Table
}

// ID returns the method's class and number.
func (*QueueBind) ID() uint32 { return classQueue<<16 | 20 }

func (m *QueueBind) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
	c.flags(&m.NoWait)
	c.table(&m.Arguments)
}

// QueueBindOk is queue.bind-ok.
type QueueBindOk struct{}

// ID returns the method's class and number.
func (*QueueBindOk) ID() uint32 { return classQueue<<16 | 21 }

func (*QueueBindOk) walk(*coder) {}

// QueueUnbind is queue.unbind.
type QueueUnbind struct {
	Queue, Exchange, RoutingKey string
	Arguments                   Table
}

// ID returns the method's class and number.
func (*QueueUnbind) ID() uint32 { return classQueue<<16 | 50 }

func (m *QueueUnbind) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
	c.table(&m.Arguments)
}

// QueueUnbindOk is queue.unbind-ok.
type QueueUnbindOk struct{}

// ID returns the method's class and number.
func (*QueueUnbindOk) ID() uint32 { return classQueue<<16 | 51 }

func (*QueueUnbindOk) walk(*coder) {}

// QueuePurge is queue.purge.
type QueuePurge struct {
	Queue  string
	NoWait bool
}

// ID returns the method's class and number.
func (*QueuePurge) ID() uint32 { return classQueue<<16 | 30 }

func (m *QueuePurge) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.flags(&m.NoWait)
}

// QueuePurgeOk is queue.purge-ok.
type QueuePurgeOk struct {
	MessageCount uint32
}

// ID returns the method's class and number.
func (*QueuePurgeOk) ID() uint32 { return classQueue<<16 | 31 }

func (m *QueuePurgeOk) walk(c *coder) {
	c.long(&m.MessageCount)
}

// QueueDelete is queue.delete.
type QueueDelete struct {
	Queue                     string
	IfUnused, IfEmpty, NoWait bool
}

// ID returns the method's class and number.
func (*QueueDelete) ID() uint32 { return classQueue<<16 | 40 }

func (m *QueueDelete) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.flags(&m.IfUnused, &m.IfEmpty, &m.NoWait)
}

// QueueDeleteOk is queue.delete-ok.
type QueueDeleteOk struct {
	MessageCount uint32
}

// ID returns the method's class and number.
func (*QueueDeleteOk) ID() uint32 { return classQueue<<16 | 41 }

func (m *QueueDeleteOk) walk(c *coder) {
	c.long(&m.MessageCount)
}
