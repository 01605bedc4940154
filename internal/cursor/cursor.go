// Package cursor decides how far a relay has read a bucket of the outbox.
//
// A relay reads each bucket onwards from a cursor, because rows published before
// stay in the index as dead entries while an old snapshot is open anywhere. The
// column seq is not in the order of commits, so a cursor is no more than a hint:
// a row can appear behind it. Four things bring such rows back:
//
//   - grace: a cursor passes only what is older than a moment, which covers
//     transactions of ordinary length;
//   - long transactions: those that were open for longer than that when a cursor
//     passed are remembered; when one has ended, the cursor returns to where no
//     transaction open then could write (Position.Safe) before anything else is sent;
//   - interventions: after a retry or discard by hand the cursor starts over;
//   - the sweep, which knows nothing of all this and finds what is left.
//
// The second keeps the order inside a key: the row of a long transaction goes
// out before the rows of its key that were enqueued after its commit.
//
// The package is pure: its values do not change, and time is given to it.
package cursor

// Position is how far one bucket has been read. The zero value is its beginning.
type Position struct {
	Cursor int64 // read onwards from here
	Safe   int64 // no transaction can add a row at or below
	mark   mark  // where Safe will move to; zero: nowhere
}

// mark is a cursor that becomes safe when every transaction below xid has ended.
type mark struct {
	seq int64
	xid uint64
}

// Row is a row of the bucket as one read found it.
type Row struct {
	Seq  int64
	Done bool // it needs not be read again
	Old  bool // older than grace
}

// Pass returns the position after rows, which were read from seq from onwards in
// the order of seq, were dealt with. end: they are all there was. The cursor
// passes what is done and old, and where nothing is left to do also numbers
// without a row, which were given out longer than grace ago.
func (p Position) Pass(from int64, rows []Row, end bool, v View) Position {
	to := int64(0)
	for _, row := range rows {
		switch {
		case row.Seq <= from:
			continue
		case !row.Done || !row.Old:
			return p.advance(max(to, min(v.settledTop, row.Seq-1)), v)
		}
		to = row.Seq
	}
	if end {
		to = max(to, v.settledTop)
	}
	return p.advance(to, v)
}

// advance moves the cursor to seq, by what v saw.
func (p Position) advance(seq int64, v View) Position {
	if seq <= p.Cursor {
		return p
	}
	p.Cursor = seq
	switch {
	case v.xmin >= v.settledXID:
		p.Safe, p.mark = max(p.Safe, seq), mark{}
	case p.mark == mark{}:
		p.mark = mark{seq, v.settledXID}
	}
	return p
}

// Look takes the cursor back where v says that rows may have appeared behind it,
// and reports whether it did. Only then can the mark become safe: what lies
// before it is read once more.
func (p Position) Look(v View) (next Position, back bool) {
	if v.late && p.Cursor > p.Safe {
		p.Cursor, back = p.Safe, true
	}
	if p.mark.xid != 0 && v.xmin >= p.mark.xid {
		p.Safe, p.mark = max(p.Safe, p.mark.seq), mark{}
	}
	return p, back
}

// Rewind takes the cursor back to just before seq.
func (p Position) Rewind(seq int64) Position {
	p.Cursor = min(p.Cursor, seq-1)
	return p
}
