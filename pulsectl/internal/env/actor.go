package env

import (
	"cmp"
	"os"
	"os/user"
)

// Actor returns in whose name a command intervenes: PULSE_ACTOR, or the user of this
// machine.
func (e *Env) Actor() string {
	if actor := e.Getenv("PULSE_ACTOR"); actor != "" {
		return actor
	}
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return name + "@" + cmp.Or(host, "localhost")
}
