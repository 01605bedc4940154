package compose

import (
	"errors"
	"regexp"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// PortError says that the address of a container is in use.
type PortError struct {
	Addr string
	Err  error
}

func (e *PortError) Error() string { return e.Addr + " is in use" }
func (e *PortError) Unwrap() error { return e.Err }

// reason is a failure that is recognised by a line of the clients' output.
type reason struct {
	line    *regexp.Regexp
	kind    fail.Kind
	message string
	hint    string
}

var reasons = []reason{
	{
		line:    regexp.MustCompile(`(?i)permission denied while trying to connect to the docker|PermissionError\(13`),
		kind:    fail.Unreachable,
		message: "the Docker daemon refuses this user",
		hint:    `join its group and log in again: sudo usermod -aG docker "$USER"`,
	},
	{
		line: regexp.MustCompile(`(?i)cannot connect to the docker daemon|is the docker daemon running|failed to connect to the docker API|` +
			`error during connect|Error while fetching server API version`),
		kind:    fail.Unreachable,
		message: "the Docker daemon does not answer",
		hint:    "start it (sudo systemctl start docker, or Docker Desktop), or set its address: DOCKER_HOST",
	},
	{
		// Only errors of a registry: a build may also fail to look up other
		// hosts.
		line: regexp.MustCompile(`(?i)pull access denied|manifest unknown|manifest for \S+ not found|failed to resolve source metadata|` +
			`(?:Get|Head) \\?"?https?://[^" ]+/v2/|toomanyrequests`),
		kind:    fail.General,
		message: "an image cannot be pulled",
		hint:    "set images that this machine has or can pull: PULSE_POSTGRES_IMAGE, PULSE_RABBITMQ_IMAGE, PULSE_BUILD_IMAGE, PULSE_BASE_IMAGE",
	},
	{
		line:    regexp.MustCompile(`(?i)requires buildx`),
		kind:    fail.General,
		message: "Compose cannot build without the plugin buildx",
		hint:    "install it (Debian, Ubuntu: apt-get install docker-buildx-plugin, or docker-buildx)",
	},
	{
		line:    regexp.MustCompile(`(?i)no space left on device`),
		kind:    fail.General,
		message: "the disk is full",
		hint:    "see what uses the space: docker system df",
	},
}

// takenPort matches the daemon's message about an address in use.
var takenPort = regexp.MustCompile(`(?:Bind for |listen tcp4? |failed to bind host port (?:for )?)([\d.]+:\d+)\S* ?.*(?:port is already allocated|address already in use)`)

// explain returns an error for a failed client and its output.
func explain(command, said string, err error) error {
	if m := takenPort.FindStringSubmatch(said); m != nil {
		return &PortError{Addr: m[1], Err: err}
	}
	for _, r := range reasons {
		if line := lineOf(said, r.line); line != "" {
			return &fail.Error{Kind: r.kind, Message: r.message, Cause: errors.New(line), Hint: r.hint}
		}
	}
	if line := lastLine(said); line != "" {
		err = errors.New(line)
	}
	return &fail.Error{Kind: fail.General, Message: command + " failed", Cause: err}
}

func lineOf(text string, re *regexp.Regexp) string {
	for line := range strings.Lines(text) {
		if re.MatchString(line) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
