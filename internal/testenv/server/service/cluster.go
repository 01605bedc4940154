package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// NewCluster starts a RabbitMQ cluster of n nodes, whose files are in directories
// below dir, from the binaries on this machine. The first node must be removed
// last: the others need its port mapper when they start.
func NewCluster(ctx context.Context, dir string, n int) ([]*Instance, error) {
	program, err := findRabbitMQ()
	if err != nil {
		return nil, err
	}
	ports, err := host.FreePorts(2*n + 1)
	if err != nil {
		return nil, err
	}
	if err := program.user.makeDir(dir); err != nil {
		return nil, err
	}
	nodes := make([]*Instance, 0, n)
	cookie := rand.Text()
	for k := range n {
		node, err := program.node(rabbitNode{
			dir: filepath.Join(dir, fmt.Sprint(k)), kind: protocol.RabbitMQ, port: ports[k], distPort: ports[n+k], epmdPort: ports[2*n],
			ownEpmd: k == 0, cluster: ports[:n], cookie: cookie,
		})
		if err != nil {
			return nil, errors.Join(err, removeAll(nodes))
		}
		node.Source = "binaries"
		nodes = append(nodes, node)
	}
	// A node waits for the others before it answers.
	problems := make([]error, n)
	var starting sync.WaitGroup
	for k, node := range nodes {
		starting.Go(func() { problems[k] = node.Start(ctx) })
	}
	starting.Wait()
	if err := errors.Join(problems...); err != nil {
		return nil, errors.Join(err, removeAll(nodes))
	}
	return nodes, nil
}

func removeAll(nodes []*Instance) error {
	var problems []error
	for _, node := range nodes {
		problems = append(problems, node.Remove())
	}
	return errors.Join(problems...)
}
