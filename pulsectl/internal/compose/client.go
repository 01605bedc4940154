// Package compose controls containers through the usual clients: docker for
// single containers, Compose for starting and stopping all of them. Both
// Compose version 2 (the plugin docker compose) and docker-compose 1.29 are
// supported.
package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

const (
	askLimit   = 20 * time.Second // for a command that only reads
	interrupts = 10 * time.Second // for a client to end after an interrupt
	keptOutput = 64 << 10         // of a client, to explain a failure
)

// version1 is the client of version 1 as it is typed.
const version1 = "docker-compose"

// Client is a Compose client on this machine.
type Client struct {
	command []string
}

// Find looks for docker, for a Compose client, and for a daemon that answers.
// It tries first the client that started the running stack, as String returned
// it.
func Find(ctx context.Context, started string) (*Client, error) {
	if err := findDocker(); err != nil {
		return nil, err
	}
	commands := [][]string{{"docker", "compose"}, {version1}}
	if started == version1 {
		slices.Reverse(commands)
	}
	var client *Client
	for _, command := range commands {
		if _, err := run(ctx, call{args: append(command[:len(command):len(command)], "version", "--short"), limit: askLimit}); err == nil {
			client = &Client{command}
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if client == nil {
		return nil, fail.New(fail.General, "install the plugin (Debian, Ubuntu: apt-get install docker-compose-plugin, or docker-compose; "+
			"others: https://docs.docker.com/compose/install)",
			"no Compose client: neither docker compose nor docker-compose runs")
	}
	return client, answering(ctx)
}

func findDocker() error {
	if _, err := exec.LookPath("docker"); err != nil {
		return fail.New(fail.General, "install Docker (https://docs.docker.com/engine/install)",
			"no docker client on the PATH")
	}
	return nil
}

// answering asks the daemon for its version, through docker: docker-compose
// 1.29 answers with a stack trace.
func answering(ctx context.Context) error {
	_, err := run(ctx, call{args: []string{"docker", "version", "--format", "{{.Server.Version}}"}, limit: askLimit})
	return err
}

// String returns the client as it is typed.
func (c *Client) String() string { return strings.Join(c.command, " ") }

// Profiles lists the profiles of p's file.
func (c *Client) Profiles(ctx context.Context, p Project) ([]string, error) {
	out, err := c.run(ctx, p, call{limit: askLimit}, "config", "--profiles")
	return strings.Fields(string(out)), err
}

// Make pulls the missing images and builds the others for the services of p's
// profiles. It starts nothing. output receives the clients' output.
//
// It does not use up --no-start, because version 1 then waits for the
// dependencies of a service.
func (c *Client) Make(ctx context.Context, p Project, output io.Writer) error {
	config, err := c.run(ctx, p, call{limit: askLimit}, "config")
	if err != nil {
		return err
	}
	images, builds, err := imagesIn(config, p)
	if err != nil {
		return err
	}
	for _, image := range images {
		_, err := run(ctx, call{limit: askLimit, args: []string{"docker", "image", "inspect", image}})
		if err == nil {
			continue
		}
		if _, err := run(ctx, call{output: output, args: []string{"docker", "pull", image}}); err != nil {
			return err
		}
	}
	if c.String() != version1 {
		_, err = c.run(ctx, p, call{output: output}, "build")
		return err
	}
	// Version 1 builds the image of each service, also if that of another is the
	// same, which takes seconds even where nothing has changed.
	args := []string{"build"}
	for _, same := range builds {
		args = append(args, same[0])
	}
	if _, err := c.run(ctx, p, call{output: output}, args...); err != nil {
		return err
	}
	for _, same := range builds {
		for _, other := range same[1:] {
			if _, err := run(ctx, call{limit: askLimit, args: []string{"docker", "tag", p.Name + "_" + same[0], p.Name + "_" + other}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// imagesIn returns, from the configuration that a client prints, the images of
// the services that are not built, and the services that are, those of the same
// build together. Version 1 also prints services of other profiles.
func imagesIn(config []byte, p Project) (images []string, builds [][]string, err error) {
	var file struct {
		Services map[string]struct {
			Image    string
			Build    any
			Profiles []string
		}
	}
	if err := yaml.Unmarshal(config, &file); err != nil {
		return nil, nil, fmt.Errorf("parse the configuration printed by the Compose client: %w", err)
	}
	of := make(map[string]int) // builds
	for _, name := range slices.Sorted(maps.Keys(file.Services)) {
		service := file.Services[name]
		switch build := fmt.Sprint(service.Build); {
		case !p.runs(service.Profiles):
		case service.Build != nil && service.Image != "": // its image has another name than those of the others
			builds = append(builds, []string{name})
		case service.Build != nil:
			if _, known := of[build]; !known {
				of[build] = len(builds)
				builds = append(builds, nil)
			}
			builds[of[build]] = append(builds[of[build]], name)
		case service.Image != "":
			images = append(images, service.Image)
		}
	}
	slices.Sort(images)
	return slices.Compact(images), builds, nil
}

// Start starts the services whose images Make has provided, and returns once
// all containers are started. output receives the client's output.
func (c *Client) Start(ctx context.Context, p Project, output io.Writer) error {
	_, err := c.run(ctx, p, call{output: output}, "up", "--detach", "--no-build")
	return err
}

// Once runs a command of a service in a new container and returns its stdout.
func (c *Client) Once(ctx context.Context, p Project, service string, args ...string) ([]byte, error) {
	return c.run(ctx, p, call{}, append([]string{"run", "--rm", "-T", "--no-deps", service}, args...)...)
}

// Down removes the containers and networks of p in every profile, and with
// volumes the data too.
func (c *Client) Down(ctx context.Context, p Project, volumes bool, output io.Writer) error {
	all, err := c.Profiles(ctx, p)
	if err != nil {
		return err
	}
	p.Profiles = strings.Join(all, ",")
	args := []string{"down", "--remove-orphans"}
	if volumes {
		args = append(args, "--volumes")
	}
	_, err = c.run(ctx, p, call{output: output}, args...)
	return err
}

// run runs the Compose client in the directory of the compose file, so that
// both versions find the same .env.
func (c *Client) run(ctx context.Context, p Project, what call, args ...string) ([]byte, error) {
	what.args = append(c.command[:len(c.command):len(c.command)], "--file", p.File, "--project-name", p.Name)
	what.args = append(what.args, args...)
	what.dir = p.Dir()
	if p.Profiles != "" {
		what.env = []string{"COMPOSE_PROFILES=" + p.Profiles}
	}
	return run(ctx, what)
}

// call is one run of a client.
type call struct {
	args   []string
	dir    string
	env    []string
	limit  time.Duration // zero: the context's
	output io.Writer     // nil: the output is kept only for errors
}

// run returns the client's stdout. When ctx ends the client gets an interrupt,
// in its own process group: otherwise the terminal's Ctrl-C would reach it a
// second time, and it would stop without cleaning up.
func run(ctx context.Context, c call) ([]byte, error) {
	if c.limit > 0 {
		limited, cancel := context.WithTimeout(ctx, c.limit)
		defer cancel()
		ctx = limited
	}
	var out bytes.Buffer
	said := &Tail{Limit: keptOutput}
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = &out, said
	if c.output != nil {
		both := io.MultiWriter(said, c.output)
		cmd.Stdout, cmd.Stderr = both, both
	}
	platform.OwnGroup(cmd)
	cmd.Cancel = func() error { return platform.Interrupt(cmd) }
	cmd.WaitDelay = interrupts
	err := cmd.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err()
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", c.shown(), ctx.Err())
	}
	return nil, explain(c.shown(), said.String(), err)
}

// shown returns the command for messages, without the paths of this machine.
func (c call) shown() string {
	words := c.args[:1:1]
	for i := 1; i < len(c.args); i++ {
		switch c.args[i] {
		case "--file", "--project-name", "--format":
			i++
		default:
			words = append(words, c.args[i])
		}
	}
	return strings.Join(words, " ")
}

// Tail keeps the end of what is written to it, up to Limit bytes.
type Tail struct {
	Limit int
	kept  []byte
}

func (t *Tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.Limit; over > 0 {
		t.kept = t.kept[over:]
	}
	return len(p), nil
}

func (t *Tail) String() string { return string(t.kept) }

// LastLine returns the last line that is not empty.
func (t *Tail) LastLine() string { return lastLine(t.String()) }
