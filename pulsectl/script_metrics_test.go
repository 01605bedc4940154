package main

import (
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scrape NAME PATTERN: waits until a line of the metrics at the URL in the
// environment variable matches.
func scrape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: scrape NAME PATTERN")
	}
	line := regexp.MustCompile("(?m)" + args[1])
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var text []byte
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		res, err := client.Get(ts.Getenv(args[0]))
		ts.Check(err)
		text, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		ts.Check(err)
		if line.Match(text) {
			return
		}
	}
	ts.Fatalf("no line matches %s in\n%s", args[1], text)
}
