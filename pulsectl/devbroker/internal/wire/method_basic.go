package wire

// Methods of the classes basic, confirm and tx.

// BasicQos is basic.qos.
type BasicQos struct {
	PrefetchSize  uint32
	PrefetchCount uint16
	Global        bool
}

// ID returns the method's class and number.
func (*BasicQos) ID() uint32 { return classBasic<<16 | 10 }

func (m *BasicQos) walk(c *coder) {
	c.long(&m.PrefetchSize)
	c.short(&m.PrefetchCount)
	c.flags(&m.Global)
}

// BasicQosOk is basic.qos-ok.
type BasicQosOk struct{}

// ID returns the method's class and number.
func (*BasicQosOk) ID() uint32 { return classBasic<<16 | 11 }

func (*BasicQosOk) walk(*coder) {}

// BasicConsume is basic.consume.
type BasicConsume struct {
	Queue, ConsumerTag                string
	NoLocal, NoAck, Exclusive, NoWait bool
	Arguments                         Table
}

// ID returns the method's class and number.
func (*BasicConsume) ID() uint32 { return classBasic<<16 | 20 }

func (m *BasicConsume) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.shortstr(&m.ConsumerTag)
	c.flags(&m.NoLocal, &m.NoAck, &m.Exclusive, &m.NoWait)
	c.table(&m.Arguments)
}

// BasicConsumeOk is basic.consume-ok.
type BasicConsumeOk struct {
	ConsumerTag string
}

// ID returns the method's class and number.
func (*BasicConsumeOk) ID() uint32 { return classBasic<<16 | 21 }

func (m *BasicConsumeOk) walk(c *coder) {
	c.shortstr(&m.ConsumerTag)
}

// BasicCancel is basic.cancel.
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

// ID returns the method's class and number.
func (*BasicCancel) ID() uint32 { return classBasic<<16 | 30 }

func (m *BasicCancel) walk(c *coder) {
	c.shortstr(&m.ConsumerTag)
	c.flags(&m.NoWait)
}

// BasicCancelOk is basic.cancel-ok.
type BasicCancelOk struct {
	ConsumerTag string
}

// ID returns the method's class and number.
func (*BasicCancelOk) ID() uint32 { return classBasic<<16 | 31 }

func (m *BasicCancelOk) walk(c *coder) {
	c.shortstr(&m.ConsumerTag)
}

// BasicPublish is basic.publish.
type BasicPublish struct {
	Exchange, RoutingKey string
	Mandatory, Immediate bool
}

// ID returns the method's class and number.
func (*BasicPublish) ID() uint32 { return classBasic<<16 | 40 }

func (m *BasicPublish) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
	c.flags(&m.Mandatory, &m.Immediate)
}

// BasicReturn is basic.return.
type BasicReturn struct {
	ReplyCode                       uint16
	ReplyText, Exchange, RoutingKey string
}

// ID returns the method's class and number.
func (*BasicReturn) ID() uint32 { return classBasic<<16 | 50 }

func (m *BasicReturn) walk(c *coder) {
	c.short(&m.ReplyCode)
	c.shortstr(&m.ReplyText)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
}

// BasicDeliver is basic.deliver.
type BasicDeliver struct {
	ConsumerTag          string
	DeliveryTag          uint64
	Redelivered          bool
	Exchange, RoutingKey string
}

// ID returns the method's class and number.
func (*BasicDeliver) ID() uint32 { return classBasic<<16 | 60 }

func (m *BasicDeliver) walk(c *coder) {
	c.shortstr(&m.ConsumerTag)
	c.longlong(&m.DeliveryTag)
	c.flags(&m.Redelivered)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
}

// BasicGet is basic.get.
type BasicGet struct {
	Queue string
	NoAck bool
}

// ID returns the method's class and number.
func (*BasicGet) ID() uint32 { return classBasic<<16 | 70 }

func (m *BasicGet) walk(c *coder) {
	c.reservedShort()
	c.shortstr(&m.Queue)
	c.flags(&m.NoAck)
}

// BasicGetOk is basic.get-ok.
type BasicGetOk struct {
	DeliveryTag          uint64
	Redelivered          bool
	Exchange, RoutingKey string
	MessageCount         uint32
}

// ID returns the method's class and number.
func (*BasicGetOk) ID() uint32 { return classBasic<<16 | 71 }

func (m *BasicGetOk) walk(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.flags(&m.Redelivered)
	c.shortstr(&m.Exchange)
	c.shortstr(&m.RoutingKey)
	c.long(&m.MessageCount)
}

// BasicGetEmpty is basic.get-empty.
type BasicGetEmpty struct{}

// ID returns the method's class and number.
func (*BasicGetEmpty) ID() uint32 { return classBasic<<16 | 72 }

func (*BasicGetEmpty) walk(c *coder) {
	c.reservedStr()
}

// BasicAck is basic.ack.
type BasicAck struct {
	DeliveryTag uint64
	Multiple    bool
}

// ID returns the method's class and number.
func (*BasicAck) ID() uint32 { return classBasic<<16 | 80 }

func (m *BasicAck) walk(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.flags(&m.Multiple)
}

// BasicReject is basic.reject.
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool
}

// ID returns the method's class and number.
func (*BasicReject) ID() uint32 { return classBasic<<16 | 90 }

func (m *BasicReject) walk(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.flags(&m.Requeue)
}

// BasicRecoverAsync is basic.recover-async.
type BasicRecoverAsync struct {
	Requeue bool
}

// ID returns the method's class and number.
func (*BasicRecoverAsync) ID() uint32 { return classBasic<<16 | 100 }

func (m *BasicRecoverAsync) walk(c *coder) {
	c.flags(&m.Requeue)
}

// BasicRecover is basic.recover.
type BasicRecover struct {
	Requeue bool
}

// ID returns the method's class and number.
func (*BasicRecover) ID() uint32 { return classBasic<<16 | 110 }

func (m *BasicRecover) walk(c *coder) {
	c.flags(&m.Requeue)
}

// BasicRecoverOk is basic.recover-ok.
type BasicRecoverOk struct{}

// ID returns the method's class and number.
func (*BasicRecoverOk) ID() uint32 { return classBasic<<16 | 111 }

func (*BasicRecoverOk) walk(*coder) {}

// BasicNack is basic.nack.
type BasicNack struct {
	DeliveryTag       uint64
	Multiple, Requeue bool
}

// ID returns the method's class and number.
func (*BasicNack) ID() uint32 { return classBasic<<16 | 120 }

func (m *BasicNack) walk(c *coder) {
	c.longlong(&m.DeliveryTag)
	c.flags(&m.Multiple, &m.Requeue)
}

// ConfirmSelect is confirm.select.
type ConfirmSelect struct {
	NoWait bool
}

// ID returns the method's class and number.
func (*ConfirmSelect) ID() uint32 { return classConfirm<<16 | 10 }

func (m *ConfirmSelect) walk(c *coder) {
	c.flags(&m.NoWait)
}

// ConfirmSelectOk is confirm.select-ok.
type ConfirmSelectOk struct{}

// ID returns the method's class and number.
func (*ConfirmSelectOk) ID() uint32 { return classConfirm<<16 | 11 }

func (*ConfirmSelectOk) walk(*coder) {}

// TxSelect is tx.select.
type TxSelect struct{}

// ID returns the method's class and number.
func (*TxSelect) ID() uint32 { return classTx<<16 | 10 }

func (*TxSelect) walk(*coder) {}

// TxCommit is tx.commit.
type TxCommit struct{}

// ID returns the method's class and number.
func (*TxCommit) ID() uint32 { return classTx<<16 | 20 }

func (*TxCommit) walk(*coder) {}

// TxRollback is tx.rollback.
type TxRollback struct{}

// ID returns the method's class and number.
func (*TxRollback) ID() uint32 { return classTx<<16 | 30 }

func (*TxRollback) walk(*coder) {}

// TxSelectOk is tx.select-ok.
type TxSelectOk struct{}

// ID returns the method's class and number.
func (*TxSelectOk) ID() uint32 { return classTx<<16 | 11 }

func (*TxSelectOk) walk(*coder) {}

// TxCommitOk is tx.commit-ok.
type TxCommitOk struct{}

// ID returns the method's class and number.
func (*TxCommitOk) ID() uint32 { return classTx<<16 | 21 }

func (*TxCommitOk) walk(*coder) {}

// TxRollbackOk is tx.rollback-ok.
type TxRollbackOk struct{}

// ID returns the method's class and number.
func (*TxRollbackOk) ID() uint32 { return classTx<<16 | 31 }

func (*TxRollbackOk) walk(*coder) {}
