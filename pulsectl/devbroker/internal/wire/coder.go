package wire

import "encoding/binary"

// coder reads a method's arguments from buf or appends them to it, so that each
// method is described once for both directions. It keeps the first error; after
// it reads yield zero values.
type coder struct {
	buf     []byte
	reading bool
	err     error
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = malformed(format, args...)
	}
	c.buf = nil
}

// take returns the next n bytes when reading, or nil if there are fewer.
func (c *coder) take(n int) []byte {
	if n > len(c.buf) {
		c.fail("%d bytes expected where %d are left", n, len(c.buf))
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

func (c *coder) octet(p *byte) {
	if !c.reading {
		c.buf = append(c.buf, *p)
	} else if b := c.take(1); b != nil {
		*p = b[0]
	}
}

func (c *coder) short(p *uint16) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint16(c.buf, *p)
	} else if b := c.take(2); b != nil {
		*p = binary.BigEndian.Uint16(b)
	}
}

func (c *coder) long(p *uint32) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint32(c.buf, *p)
	} else if b := c.take(4); b != nil {
		*p = binary.BigEndian.Uint32(b)
	}
}

func (c *coder) longlong(p *uint64) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint64(c.buf, *p)
	} else if b := c.take(8); b != nil {
		*p = binary.BigEndian.Uint64(b)
	}
}

// shortstr truncates texts longer than 255 bytes when writing: only texts for
// people can be that long.
func (c *coder) shortstr(p *string) {
	if !c.reading {
		s := (*p)[:min(len(*p), 255)]
		c.buf = append(append(c.buf, byte(len(s))), s...)
		return
	}
	if n := c.take(1); n != nil {
		*p = string(c.take(int(n[0])))
	}
}

func (c *coder) longstr(p *string) {
	if !c.reading {
		c.buf = append(binary.BigEndian.AppendUint32(c.buf, uint32(len(*p))), *p...)
		return
	}
	*p = string(c.block())
}

// block reads a length of four octets and that many bytes.
func (c *coder) block() []byte {
	n := c.take(4)
	if n == nil {
		return nil
	}
	size := binary.BigEndian.Uint32(n)
	if uint64(size) > uint64(len(c.buf)) {
		c.fail("%d bytes announced where %d are left", size, len(c.buf))
		return nil
	}
	return c.take(int(size))
}

func (c *coder) table(p *Table) {
	if !c.reading {
		c.buf = AppendTable(c.buf, *p)
		return
	}
	t, err := DecodeTable(c.block())
	if c.err == nil {
		c.err = err
	}
	*p = t
}

// flags packs consecutive bits of a method, at most eight, into an octet,
// lowest bit first.
func (c *coder) flags(ps ...*bool) {
	var packed byte
	if c.reading {
		c.octet(&packed)
	}
	for i, p := range ps {
		if c.reading {
			*p = packed&(1<<i) != 0
		} else if *p {
			packed |= 1 << i
		}
	}
	if !c.reading {
		c.octet(&packed)
	}
}

// Fields the standard reserves are written empty and ignored when read.
func (c *coder) reservedShort() { c.short(new(uint16)) }
func (c *coder) reservedStr()   { c.shortstr(new(string)) }
