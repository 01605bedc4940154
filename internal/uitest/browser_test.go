package uitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// patience is how long the test waits for what has to come.
const patience = time.Minute

// site is a running stack, and a browser that looks at its page.
type site struct {
	t   *testing.T
	ctx context.Context // of the tab
	url string
	// stop ends the stack.
	stop func()

	mu       sync.Mutex
	requests []string // URLs
	problems []string // what the console says
}

func newSite(t *testing.T) *site {
	t.Helper()
	chromium := testenv.Chromium(t)
	s := &site{t: t}
	s.url, s.stop = startStack(t)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	s.ctx = ctx
	messages := chromedp.Console(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			s.mu.Lock()
			s.problems = append(s.problems, m.String()+" "+m.URL)
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() { cancel(); reading.Wait() })
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, func(ev any) {
		if sent, ok := ev.(*network.EventRequestWillBeSent); ok {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.requests = append(s.requests, sent.Request.URL)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// startStack builds pulsectl, runs an embedded stack, and returns the address of its
// page, and a function that stops it.
func startStack(t *testing.T) (url string, stop func()) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "pulsectl")
	build := exec.Command("go", "build", "-o", program, "./pulsectl")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	up := exec.Command(program, "up", "--ephemeral", "-o", "json")
	up.Env = append(os.Environ(), "PULSE_STATE_DIR="+filepath.Join(dir, "state"), "PULSE_ORDERS_ADDR=127.0.0.1:0", "PULSE_NOTIFICATIONS_ADDR=127.0.0.1:0",
		"PULSE_BROKER_ADDR=127.0.0.1:0", "PULSE_METRICS_ADDR=off", "PULSE_UI_ADDR=127.0.0.1:0")
	out, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	up.Stderr = &log
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		if err := up.Wait(); err != nil {
			t.Errorf("the stack ended with %v", err)
		}
		if t.Failed() {
			t.Logf("%s", log.Bytes())
		}
	})
	t.Cleanup(stop)
	var state struct{ UIURL string }
	if err := json.NewDecoder(out).Decode(&state); err != nil || state.UIURL == "" {
		t.Fatalf("the stack is not ready: %v\n%s", err, log.Bytes())
	}
	return strings.TrimSuffix(state.UIURL, "/"), stop
}

func (s *site) do(steps ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) open(path string) {
	s.t.Helper()
	s.do(chromedp.Navigate(s.url + path))
}

// click clicks an element once it is visible.
func (s *site) click(selector string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector)))
		if err == nil {
			return
		}
		// The live part of the page may replace the element between the search and the
		// click: the browser then knows the node no more, and nothing was clicked.
		if gone := new(cdproto.Error); !errors.As(err, &gone) || gone.Code != -32000 {
			s.t.Fatalf("click %s: %v", selector, err)
		}
	}
}

// follow clicks a link, or a button that sends a form, and waits for the document
// that it leads to: a click on the one before would be lost.
func (s *site) follow(selector string) {
	s.t.Helper()
	script[bool](s, "window.left = true")
	s.click(selector)
	testenv.Eventually(s.t, patience, "the document behind "+selector, func() bool {
		loaded, err := chromedp.Run(s.ctx, chromedp.Evaluate[bool]("!window.left && document.readyState === 'complete'"))
		return err == nil && loaded
	})
}

// ask presses a button that asks, and confirms.
func (s *site) ask(id string) {
	s.t.Helper()
	s.click(`[popovertarget="` + id + `"]`)
	s.follow("#" + id + ` button[value="yes"]`)
}

// script returns what an expression is in the page.
func script[T any](s *site, expression string) T {
	s.t.Helper()
	value, err := chromedp.Run(s.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// sees waits until an element contains a text, each blank for any number of them.
func (s *site) sees(selector, text string) {
	s.t.Helper()
	quoted, _ := json.Marshal(selector)
	shown := ""
	deadline := time.Now().Add(patience)
	testenv.Eventually(s.t, patience+time.Second, text, func() bool {
		// The page may be between two documents.
		value, err := chromedp.Run(s.ctx, chromedp.Evaluate[string]("document.querySelector("+string(quoted)+")?.innerText ?? ''"))
		if err == nil {
			shown = strings.Join(strings.Fields(value), " ")
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q in %s:\n%s\n%v", text, selector, shown, err)
		}
		return strings.Contains(shown, text)
	})
}

// emulate sets the width of the window and the colours.
func (s *site) emulate(width int64, scheme string) {
	s.t.Helper()
	s.do(chromedp.EmulateViewport(width, 800))
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
	if _, err := chromedp.Call(s.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		s.t.Fatal(err)
	}
}

// shot writes a picture of the window to docs/ui if PULSE_UI_SHOTS is set: make
// ui-shots does.
func (s *site) shot(name string) {
	s.t.Helper()
	if os.Getenv("PULSE_UI_SHOTS") == "" {
		return
	}
	png, err := chromedp.Run(s.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("../../docs/ui", name+".png"), png, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// check fails the test if the page has asked another host for something, or the
// console has said anything.
func (s *site) check() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		s.t.Error("no request was seen")
	}
	own, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, request := range s.requests {
		if u, err := url.Parse(request); err != nil || u.Host != own.Host {
			s.t.Errorf("a request to another host: %s", request)
		}
	}
	for _, problem := range s.problems {
		s.t.Errorf("console: %s", problem)
	}
}
