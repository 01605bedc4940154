package diagnosis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// setting is what a queue has, by argument or policy.
type setting struct {
	value any
	from  string // "argument", or the name of a policy
}

// text formats the value.
func (s setting) text() string {
	if n, ok := s.number(); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(s.value)
}

// number returns a setting that is a number.
func (s setting) number() (float64, bool) {
	n, ok := s.value.(float64)
	return n, ok
}

// settings returns what is in force in a queue: of a limit in both, the lower
// one; of anything else the argument.
func settings(q queues.Described) map[string]setting {
	policy := "policy " + strings.Join(slices.DeleteFunc([]string{q.Policy, q.OperatorPolicy}, func(s string) bool { return s == "" }), ", ")
	all := map[string]setting{}
	for name, value := range q.PolicyDefinition {
		all[name] = setting{value, policy}
	}
	for name, value := range q.Arguments {
		name, isArgument := strings.CutPrefix(name, "x-")
		if !isArgument {
			continue
		}
		if other, both := all[name]; both {
			a, isNumber := value.(float64)
			if b, _ := other.number(); isNumber && b < a && b >= 0 {
				continue
			}
		}
		all[name] = setting{value, "argument"}
	}
	return all
}

// role is what a queue is for.
type role int

const (
	consumed role = iota
	deadLetters
	retry
)

// judgePolicies reports settings that make a queue lose, delay or refuse
// messages. Differences of arguments from what a source declares are reported
// elsewhere.
func (r *Report) judgePolicies(check string, role role, q queues.Described) {
	s := settings(q)
	byPolicy := func(name string) bool { v, set := s[name]; return set && v.from != "argument" }
	hint := func(name string) string {
		if !byPolicy(name) {
			return "it is an argument, which cannot be changed: delete the queue once it is drained, and let the consumer declare it again"
		}
		return "change the policy, or limit its pattern: rabbitmqctl list_policies"
	}
	say := func(state State, name, format string, args ...any) {
		r.add(check, state, hint(name), fmt.Sprintf("queue %s: %s is %s by %s: %s", q.Name, name, s[name].text(), s[name].from, fmt.Sprintf(format, args...)))
	}
	letters := s["dead-letter-exchange"].value != nil
	for _, name := range []string{"max-length", "max-length-bytes"} {
		if _, set := s[name]; !set {
			continue
		}
		switch s["overflow"].value {
		case "reject-publish", "reject-publish-dlx":
			say(Warn, name, "when it is full, it refuses messages, which stay with their publisher")
		default:
			say(Fail, name, "when it is full, the oldest messages are dropped (overflow is not reject-publish)")
		}
	}
	if n, set := s["delivery-limit"].number(); set && n >= 0 && q.Type == "quorum" {
		switch {
		case role == consumed && letters:
			say(Warn, "delivery-limit", "the broker dead-letters messages that come back as often, whatever the inbox decides")
		default:
			say(Fail, "delivery-limit", "messages that come back as often are deleted")
		}
	}
	if byPolicy("message-ttl") || role != retry && s["message-ttl"].value != nil {
		switch {
		case role == retry:
			say(Warn, "message-ttl", "messages may leave before their delay is over")
		case role == consumed && letters:
			say(Warn, "message-ttl", "messages that are not handled in time become dead letters")
		default:
			say(Fail, "message-ttl", "messages are deleted when it is over")
		}
	}
	if s["expires"].value != nil {
		say(Fail, "expires", "the queue is deleted with its messages when nobody uses it for that long")
	}
}
