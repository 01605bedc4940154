package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/cursor"
)

const grace = time.Second

// horizons gives numbers to the horizons and snapshots of internal/cursor, so that a
// state can hold them.
type horizons struct {
	tick      time.Duration
	known     []cursor.Horizon
	byText    map[string]int32
	looks     map[look]looked
	snapshots []cursor.Snapshot
	bySeen    map[seen]int32
}

type look struct {
	horizon, snapshot int32
	sent, got         int8
}

type looked struct {
	horizon int32
	view    cursor.View
}

// seen is what a snapshot is made of.
type seen struct {
	ended, next, top int8
	running          uint64 // numbers of transactions below ended
}

func newHorizons(fine bool) *horizons {
	h := &horizons{
		tick: grace * 3 / 2, known: []cursor.Horizon{cursor.NewHorizon(grace)},
		byText: map[string]int32{}, looks: map[look]looked{}, bySeen: map[seen]int32{},
	}
	if fine {
		h.tick = grace / 3
	}
	return h
}

func (h *horizons) time(tick int8) time.Time {
	return time.Unix(0, 0).Add(time.Duration(tick) * h.tick)
}

// old reports whether a row is older than grace.
func (h *horizons) old(created, now int8) bool { return time.Duration(now-created)*h.tick > grace }

func (h *horizons) top(horizon int32) int8 { return int8(h.known[horizon].Top()) }

// snapshot returns the number of what a statement sees, by the text that PostgreSQL
// gives of it.
func (h *horizons) snapshot(s seen) int32 {
	n, known := h.bySeen[s]
	if known {
		return n
	}
	xmax := int(s.ended) + 1
	xmin := xmax
	var running []string
	for id := range xmax {
		if s.running&(1<<id) != 0 {
			xmin = min(xmin, id)
			running = append(running, fmt.Sprint(id))
		}
	}
	const firstOrdinary = 3 // what age('3'::xid) counts from
	parsed, err := cursor.ParseSnapshot(fmt.Sprintf("%d:%d:%s", xmin, xmax, strings.Join(running, ",")),
		int64(s.next)-firstOrdinary, int64(s.top))
	if err != nil {
		panic(err)
	}
	h.snapshots = append(h.snapshots, parsed)
	n = int32(len(h.snapshots) - 1)
	h.bySeen[s] = n
	return n
}

// look is cursor.Horizon.Look.
func (h *horizons) look(at look) looked {
	if done, known := h.looks[at]; known {
		return done
	}
	next, view := h.known[at.horizon].Look(h.snapshots[at.snapshot], h.time(at.sent), h.time(at.got))
	text := fmt.Sprintf("%+v", next)
	n, known := h.byText[text]
	if !known {
		h.known = append(h.known, next)
		n = int32(len(h.known) - 1)
		h.byText[text] = n
	}
	h.looks[at] = looked{n, view}
	return h.looks[at]
}
