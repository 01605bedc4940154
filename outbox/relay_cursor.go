package outbox

import "github.com/asimalizada/pulse-events/internal/cursor"

// advance moves the cursors past what is dealt with and old enough, and back
// to where a key has become free.
func (l *lane) advance(s stored) progress {
	rows := make(map[int][]cursor.Row, len(s.spans))
	moved := false // something is out of the way: reading again would find other rows
	for i, row := range s.rows {
		if s.fates[i] == tried {
			continue
		}
		noted := s.fates[i] == waiting || s.fates[i] == waitingOn
		done := s.kept[i] || s.outcomes[i].behind || noted
		moved = moved || done && s.fates[i] != waitingOn
		if row.fresh {
			continue // there are rows before it that were not read
		}
		rows[row.bucket] = append(rows[row.bucket], cursor.Row{Seq: row.Seq, Done: done, Old: row.old})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, span := range s.spans {
		if own := l.buckets[n]; own != nil && own.Token == span.Token {
			own.position = own.position.Pass(span.from, rows[n], span.end, s.view)
		}
	}
	rewound := false
	for i, row := range s.rows {
		// Later rows of the key may have been passed while this one held them back. A
		// write-back that had to be repeated may have been carried out the first time.
		own, stored := l.buckets[row.bucket], s.kept[i] || s.tries > 1
		if row.attempts > 0 && row.Key != "" && stored && s.outcomes[i].verdict == published && own != nil {
			own.position = own.position.Rewind(row.Seq)
			rewound = true
		}
	}
	return progress{rows: len(s.rows), again: rewound || (s.full || s.cut) && moved}
}
