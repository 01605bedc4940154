package rabbitmq_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

const (
	childURL   = "PULSE_TEST_CHILD_URL"
	childQueue = "PULSE_TEST_CHILD_QUEUE"
)

// runChild turns this program, started again by startChild, into a consumer
// that takes deliveries, prints their ids, and settles nothing.
func runChild() {
	url, queue := os.Getenv(childURL), os.Getenv(childQueue)
	if url == "" {
		return
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{URL: url, Queue: queue, Topology: rabbitmq.None})
	if err != nil {
		panic(err)
	}
	deliveries, err := source.Consume(context.Background(), 10)
	if err != nil {
		panic(err)
	}
	for d := range deliveries {
		fmt.Println(d.Message.ID)
	}
	os.Exit(1)
}

// startChild starts a consumer in a process of its own and returns what it
// prints and the means to kill it.
func startChild(t *testing.T, url, queue string) (ids *bufio.Scanner, kill func()) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childURL+"="+url, childQueue+"="+queue)
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = child.Process.Kill() // it may have ended
		_ = child.Wait()
	}
	t.Cleanup(kill)
	return bufio.NewScanner(out), kill
}
