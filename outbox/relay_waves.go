package outbox

import "time"

// waves splits rows, by their places: the first rows of each key go into the first wave,
// up to window of one topic, the next into the second, and so on.
func waves(rows []*outgoing, window int) (waves [][]int) {
	type last struct {
		wave, n int
		topic   string
	}
	keys := make(map[string]last)
	for place, row := range rows {
		at, known := keys[row.Key]
		switch {
		case row.Key == "":
			at = last{}
		case known && (at.n == window || at.topic != row.Topic):
			at = last{at.wave + 1, 1, row.Topic}
		default:
			at.n, at.topic = at.n+1, row.Topic
		}
		if keys[row.Key] = at; at.wave == len(waves) {
			waves = append(waves, nil)
		}
		waves[at.wave] = append(waves[at.wave], place)
	}
	return waves
}

// keyWindow returns how many messages of a key may be sent at once. It is one while
// messages of the lane may be on their way whose verdicts were given up: what is sent after
// them could arrive before.
func (l *lane) keyWindow() int {
	if time.Since(l.unheard) < l.relay.cfg.PublishTimeout || len(l.suspects)+len(l.failedAt) > 0 || l.probe != nil {
		return 1
	}
	return l.relay.cfg.KeyWindow
}
