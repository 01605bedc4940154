package compose

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Container is a container as docker inspect shows it.
type Container struct {
	ID, Name, Service, Image string
	Status                   string // created, running, paused, restarting, exited, dead
	Health                   string // starting, healthy, unhealthy; empty: it has no check
	HealthOutput             string // what the last check said
	ExitCode, Restarts       int
	StartedAt, FinishedAt    time.Time
	addrs                    map[string]string // by the container's own port
}

// Healthy reports whether it runs, and its check, if it has one, says so.
func (c Container) Healthy() bool {
	return c.Status == "running" && (c.Health == "" || c.Health == "healthy")
}

// Condition is the state in one word: the health where there is one to tell.
func (c Container) Condition() string {
	if c.Status == "running" && c.Health != "" {
		return c.Health
	}
	return c.Status
}

// Addr is where a port of the container is reached from this machine; empty
// where it is not published, as with a container that does not run.
func (c Container) Addr(port string) string { return c.addrs[port] }

// Containers lists the containers of a project, also those that have stopped,
// in the order of their services' names. It needs no compose file.
func Containers(ctx context.Context, project string) ([]Container, error) {
	if err := findDocker(); err != nil {
		return nil, err
	}
	ids, err := run(ctx, call{limit: askLimit, args: []string{"docker", "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project=" + project, "--filter", "label=com.docker.compose.oneoff=False"}})
	if err != nil || len(bytes.Fields(ids)) == 0 {
		return nil, err
	}
	raw, err := run(ctx, call{limit: askLimit, args: append([]string{"docker", "inspect"}, strings.Fields(string(ids))...)})
	if err != nil {
		return nil, err
	}
	return parseContainers(raw)
}

func parseContainers(raw []byte) ([]Container, error) {
	var shown []struct {
		ID           string `json:"Id"`
		Name         string
		RestartCount int
		Config       struct {
			Image  string
			Labels map[string]string
		}
		State struct {
			Status                string
			ExitCode              int
			StartedAt, FinishedAt time.Time
			Health                *struct {
				Status string
				Log    []struct{ Output string }
			}
		}
		NetworkSettings struct {
			Ports map[string][]struct{ HostIP, HostPort string }
		}
	}
	if err := json.Unmarshal(raw, &shown); err != nil {
		return nil, fmt.Errorf("docker inspect: %w", err)
	}
	var list []Container
	for _, s := range shown {
		c := Container{
			ID: s.ID, Name: strings.TrimPrefix(s.Name, "/"), Service: s.Config.Labels["com.docker.compose.service"], Image: s.Config.Image,
			Status: s.State.Status, ExitCode: s.State.ExitCode, Restarts: s.RestartCount,
			StartedAt: s.State.StartedAt, FinishedAt: s.State.FinishedAt, addrs: map[string]string{},
		}
		if h := s.State.Health; h != nil && h.Status != "none" {
			c.Health = h.Status
			if n := len(h.Log); n > 0 {
				c.HealthOutput = strings.TrimSpace(h.Log[n-1].Output)
			}
		}
		for port, bindings := range s.NetworkSettings.Ports {
			number, _, _ := strings.Cut(port, "/")
			for _, b := range bindings {
				host := b.HostIP
				if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
					host = "127.0.0.1"
				}
				c.addrs[number] = cmp.Or(c.addrs[number], net.JoinHostPort(host, b.HostPort))
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// StopCommand is the command that stops it, as one types it. A container shuts
// down within the time its compose file gives.
func (c Container) StopCommand() []string { return []string{"docker", "stop", c.Name} }

// StartCommand is the command that starts it again.
func (c Container) StartCommand() []string { return []string{"docker", "start", c.Name} }

// RestartCommand is the command that does both.
func (c Container) RestartCommand() []string { return []string{"docker", "restart", c.Name} }

// Control runs one of those commands.
func Control(ctx context.Context, command []string) error {
	_, err := run(ctx, call{args: command})
	return err
}

// Logs returns the last lines a container has written.
func Logs(ctx context.Context, c Container, lines int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "logs", "--tail", fmt.Sprint(lines), c.Name).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
