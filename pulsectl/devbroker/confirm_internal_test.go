package devbroker

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// TestConfirmsMatchMessages sends confirms in random order and batches, and reads them as a client does, for which
// "multiple" covers every tag that is not confirmed yet.
func TestConfirmsMatchMessages(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		out := newOutbound()
		ch := &channel{id: 1, conn: &conn{out: out}}
		const tags = 60
		want := map[uint64]bool{}
		waiting := []confirmation{}
		for tag := uint64(1); tag <= tags; tag++ {
			v := confirmation{tag: tag, nack: rng.IntN(6) == 0}
			if waiting = append(waiting, v); rng.IntN(10) == 0 {
				rng.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
			}
			if rng.IntN(3) == 0 {
				n := rng.IntN(len(waiting) + 1)
				ch.sendConfirmations(waiting[:n])
				waiting = waiting[n:]
			}
			want[tag] = !v.nack
		}
		ch.sendConfirmations(waiting)
		got := confirmationsIn(t, out.buf)
		for tag, ack := range want {
			if have, answered := got[tag]; !answered || have != ack {
				t.Fatalf("seed %d: tag %d got %v (answered %v), want %v", seed, tag, have, answered, ack)
			}
		}
		if len(ch.confirms.ahead) != 0 || ch.confirms.settled != tags {
			t.Fatalf("seed %d: settled up to %d, %d ahead", seed, ch.confirms.settled, len(ch.confirms.ahead))
		}
	}
}

func confirmationsIn(t *testing.T, stream []byte) map[uint64]bool {
	t.Helper()
	got := map[uint64]bool{}
	settle := func(tag uint64, multiple, ack bool) {
		first := tag
		if multiple {
			first = 1
		}
		for ; first <= tag; first++ {
			if _, settled := got[first]; !settled {
				got[first] = ack
			}
		}
	}
	r := wire.NewReader(bytes.NewReader(stream))
	for {
		f, err := r.Next()
		if err != nil {
			return got
		}
		m, err := wire.ParseMethod(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *wire.BasicAck:
			settle(m.DeliveryTag, m.Multiple, true)
		case *wire.BasicNack:
			settle(m.DeliveryTag, m.Multiple, false)
		}
	}
}
