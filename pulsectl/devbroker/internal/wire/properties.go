package wire

// Property flags of the class basic, as they stand in a content header.
const (
	flagContentType     = 1 << 15
	flagContentEncoding = 1 << 14
	flagHeaders         = 1 << 13
	flagDeliveryMode    = 1 << 12
	flagPriority        = 1 << 11
	flagCorrelationID   = 1 << 10
	flagReplyTo         = 1 << 9
	flagExpiration      = 1 << 8
	flagMessageID       = 1 << 7
	flagTimestamp       = 1 << 6
	flagType            = 1 << 5
	flagUserID          = 1 << 4
	flagAppID           = 1 << 3
	flagClusterID       = 1 << 2
	flagsKnown          = 0xFFFC
)

// Properties are a message's properties. A missing field is nil, so that
// writing repeats exactly what was read.
type Properties struct {
	ContentType, ContentEncoding *string
	Headers                      Table // nil if absent
	DeliveryMode, Priority       *byte
	CorrelationID, ReplyTo       *string
	Expiration, MessageID        *string
	Timestamp                    *uint64 // seconds since 1970
	Type, UserID, AppID          *string
	ClusterID                    *string
}

// ParseProperties parses property flags and list, as in [ContentHeader].
func ParseProperties(raw []byte) (Properties, error) {
	c := coder{buf: raw, reading: true}
	var flags uint16
	c.short(&flags)
	if flags&^flagsKnown != 0 {
		c.fail("property flags %#x", flags)
	}
	var p Properties
	p.walk(&c, flags)
	if c.err == nil && len(c.buf) > 0 {
		c.fail("%d bytes after the properties", len(c.buf))
	}
	return p, c.err
}

// Append appends property flags and list to dst.
func (p *Properties) Append(dst []byte) []byte {
	c := coder{buf: dst}
	flags := p.flags()
	c.short(&flags)
	p.walk(&c, flags)
	return c.buf
}

func (p *Properties) walk(c *coder, flags uint16) {
	str := func(flag uint16, field **string) {
		if flags&flag != 0 {
			if c.reading {
				*field = new(string)
			}
			c.shortstr(*field)
		}
	}
	octet := func(flag uint16, field **byte) {
		if flags&flag != 0 {
			if c.reading {
				*field = new(byte)
			}
			c.octet(*field)
		}
	}
	str(flagContentType, &p.ContentType)
	str(flagContentEncoding, &p.ContentEncoding)
	if flags&flagHeaders != 0 {
		c.table(&p.Headers)
	}
	octet(flagDeliveryMode, &p.DeliveryMode)
	octet(flagPriority, &p.Priority)
	str(flagCorrelationID, &p.CorrelationID)
	str(flagReplyTo, &p.ReplyTo)
	str(flagExpiration, &p.Expiration)
	str(flagMessageID, &p.MessageID)
	if flags&flagTimestamp != 0 {
		if c.reading {
			p.Timestamp = new(uint64)
		}
		c.longlong(p.Timestamp)
	}
	str(flagType, &p.Type)
	str(flagUserID, &p.UserID)
	str(flagAppID, &p.AppID)
	str(flagClusterID, &p.ClusterID)
}

func (p *Properties) flags() (flags uint16) {
	for flag, present := range map[uint16]bool{
		flagContentType: p.ContentType != nil, flagContentEncoding: p.ContentEncoding != nil,
		flagHeaders: p.Headers != nil, flagDeliveryMode: p.DeliveryMode != nil, flagPriority: p.Priority != nil,
		flagCorrelationID: p.CorrelationID != nil, flagReplyTo: p.ReplyTo != nil,
		flagExpiration: p.Expiration != nil, flagMessageID: p.MessageID != nil,
		flagTimestamp: p.Timestamp != nil, flagType: p.Type != nil, flagUserID: p.UserID != nil,
		flagAppID: p.AppID != nil, flagClusterID: p.ClusterID != nil,
	} {
		if present {
			flags |= flag
		}
	}
	return flags
}

// Routing is the part of a message's properties that a broker needs to accept
// and route it.
type Routing struct {
	DeliveryMode byte // 0 if absent
	HasMode      bool
	Priority     byte   // 0 if absent
	ReplyTo      string // "" if absent
	Expiration   string
	Expires      bool   // it has an expiration
	UserID       string // "" if absent
	Headers      []byte // the entries of the header table, for [DecodeTable]; nil if absent. Aliases what was scanned
	Copies       bool   // the headers hold "CC" or "BCC": further routing keys
}

// Scan checks property flags and list, headers included, and reads only what
// routing needs, because every published message passes through it.
func Scan(raw []byte) (Routing, error) {
	c := coder{buf: raw, reading: true}
	var (
		flags uint16
		out   Routing
	)
	c.short(&flags)
	if flags&^flagsKnown != 0 {
		c.fail("property flags %#x", flags)
	}
	for flag := uint16(flagContentType); flag >= flagClusterID; flag >>= 1 {
		if flags&flag == 0 {
			continue
		}
		switch flag {
		case flagHeaders:
			out.Headers = c.block()
			out.Copies = c.checkEntries(out.Headers)
		case flagDeliveryMode:
			if b := c.take(1); b != nil {
				out.DeliveryMode, out.HasMode = b[0], true
			}
		case flagPriority:
			if b := c.take(1); b != nil {
				out.Priority = b[0]
			}
		case flagReplyTo:
			out.ReplyTo = string(c.shortBytes())
		case flagTimestamp:
			c.take(8)
		case flagExpiration:
			out.Expiration, out.Expires = string(c.shortBytes()), true
		case flagUserID:
			out.UserID = string(c.shortBytes())
		default:
			c.shortBytes()
		}
	}
	if c.err == nil && len(c.buf) > 0 {
		c.fail("%d bytes after the properties", len(c.buf))
	}
	return out, c.err
}

func (c *coder) shortBytes() []byte {
	n := c.take(1)
	if n == nil {
		return nil
	}
	return c.take(int(n[0]))
}

// checkEntries checks a header table without building it and reports whether it
// has further routing keys.
func (c *coder) checkEntries(b []byte) (copies bool) {
	t := coder{buf: b, reading: true}
	for len(t.buf) > 0 {
		key := t.shortBytes()
		copies = copies || string(key) == "CC" || string(key) == "BCC"
		t.skipValue(0)
	}
	c.adopt(t.err)
	return copies
}

func (c *coder) skipValue(depth int) {
	kind := c.take(1)
	if kind == nil {
		return
	}
	switch kind[0] {
	case 'V':
	case 'S', 'x':
		c.block()
	case 'F', 'A':
		nested := coder{buf: c.block(), reading: true}
		if depth >= maxDepth {
			c.fail("headers nested more than %d deep", maxDepth)
			return
		}
		for len(nested.buf) > 0 {
			if kind[0] == 'F' {
				nested.shortBytes()
			}
			nested.skipValue(depth + 1)
		}
		c.adopt(nested.err)
	default:
		if size := scalarSize(kind[0]); size == 0 {
			c.fail("unknown field type %q", kind[0])
		} else {
			c.take(size)
		}
	}
}
