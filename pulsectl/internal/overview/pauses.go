package overview

import (
	"fmt"
	"strings"

	"github.com/asimalizada/pulse-events/outbox"
)

// AllTopics is what the pause of everything is called.
const AllTopics = "*"

// PausedName is how a pause's topic is shown.
func PausedName(topic string) string {
	if topic == "" {
		return AllTopics
	}
	return topic
}

// PausedTopics returns what is paused, by name.
func PausedTopics(pauses []outbox.Pause) []string {
	names := make([]string, len(pauses))
	for i, p := range pauses {
		names[i] = PausedName(p.Topic)
	}
	return names
}

// PausedReasons says of each pause who made it, and how to end it; of many, of the first.
func PausedReasons(pauses []outbox.Pause) (reasons []string) {
	const most = 3
	for _, p := range pauses[:min(len(pauses), most)] {
		what, end := "publishing", "pulsectl outbox resume"
		if p.Topic != "" {
			what, end = "topic "+p.Topic, "pulsectl outbox resume --topic "+p.Topic
		}
		reasons = append(reasons, fmt.Sprintf("%s is paused since %s by %s: %s (to go on: %s)",
			what, p.Since.Format("2006-01-02 15:04:05Z"), p.Actor, strings.Join(strings.Fields(p.Reason), " "), end))
	}
	if more := len(pauses) - most; more > 0 {
		reasons = append(reasons, fmt.Sprintf("and %s more, see pulsectl outbox pauses", Many(more, "pause")))
	}
	return reasons
}
