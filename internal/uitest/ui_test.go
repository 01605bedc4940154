package uitest

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

var screens = map[string]string{
	"/": "Overview", "/outbox": "Outbox", "/blocked": "Errors and blocked keys", "/deadletters": "Dead letters", "/inbox": "Inbox", "/trace": "Journey",
	"/workers": "Relays and consumers", "/audit": "Audit",
}

// A newcomer places orders, breaks the broker and then the handler, and sees each
// outage begin and heal.
func TestPage(t *testing.T) {
	s := newSite(t)
	s.emulate(1200, "light")
	s.open("/")
	s.sees("#live", "Nothing is wrong.")
	s.follow(".order button")
	s.sees(".notice", "The order was placed")
	s.sees("#live", "1 published")

	// The picture is live, and leaves the focus where it is.
	s.do(chromedp.Focus(chromedp.CSS(`.station a[href="/outbox"]`)))
	s.sees("#live", "1 applied")
	if got := script[string](s, "document.activeElement.getAttribute('href')"); got != "/outbox" {
		t.Errorf("the focus is on %q", got)
	}

	// An outage of the broker.
	s.ask("begin-broker-down")
	s.sees("#live", "broker down")
	s.sees("#live", "since")
	s.sees("#live", "broker-down")
	s.follow(".order button")
	s.sees("#live", "the oldest waits for")
	s.shot("outage-light")
	s.ask("end-broker-down")
	s.sees("#live", "Nothing is wrong.")
	s.sees("#live", "2 published")

	// A handler with a bug.
	s.ask("begin-poison")
	s.follow(".order button")
	s.sees("#live", "1 dead letter in order.created.dlq")
	s.emulate(1200, "dark")
	s.shot("overview-dark")
	s.follow(`.trouble a[href="/deadletters"]`)
	s.sees("tbody", "cannot render the notification")
	s.shot("deadletters-dark")
	s.follow("tbody .error a")
	s.sees("h1", "1 of 1")
	s.follow("tbody a.id")
	s.sees("main", "pulsectl chaos poison is active")
	s.emulate(1200, "light")
	s.follow(`a[href^="/trace?id="]`)
	s.sees(".journey", "dead-lettered")
	s.open("/")
	s.ask("end-poison")
	s.sees(".notice", "Ended.")
	s.open("/deadletters")
	s.ask("heal")
	s.sees(".outcome", "1 letter sent, 1 applied, 0 left.")
	s.open("/")
	s.sees("#live", "Nothing is wrong.")
	s.sees("#live", "3 applied")
	s.open("/audit")
	s.sees("tbody", "dlq heal")
	s.open("/")
	if text := script[string](s, "document.querySelector('.stale').innerText"); text != "" {
		t.Errorf("connected, and it says %q", text)
	}
	s.check()

	// What is shown is not taken for the present when the server is gone.
	s.stop()
	s.sees(".stale", "No news since")
}

// Each screen fits a window of 360 pixels, is reached by keyboard, and says nothing
// on the console.
func TestScreens(t *testing.T) {
	s := newSite(t)
	s.emulate(360, "dark")
	s.open("/")
	s.follow(".order button")
	s.sees("#live", "1 applied")
	s.open("/outbox")
	message := script[string](s, "document.querySelector('tbody a.id').getAttribute('href')")
	for path, title := range screens {
		s.open(path)
		s.sees("h1", title)
		s.narrow(path)
		if current := script[string](s, "document.querySelector('nav [aria-current]').innerText"); current != title {
			t.Errorf("%s: the menu is at %q", path, current)
		}
	}
	s.open("/")
	s.sees("#live", "1 applied")
	s.shot("overview-narrow")
	s.open("/outbox")
	s.open(message)
	s.sees("pre", "customer-123")
	s.narrow(message)
	s.open("/workers")

	s.do(chromedp.KeyEvent("\t"))
	if got := script[string](s, "document.activeElement.className"); got != "skip" {
		t.Errorf("the first stop of the keyboard is %q", got)
	}
	s.check()

	// Without JavaScript there are the same tables, filters and questions.
	if _, err := chromedp.Call(s.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	s.open("/")
	s.ask("begin-broker-down")
	s.do(chromedp.WaitVisible(chromedp.CSS(".notice")))
	s.open("/outbox")
	s.do(chromedp.SetValue(chromedp.CSS(`[name="topic"]`), "order.created"))
	s.follow(".filter button")
	s.do(chromedp.WaitVisible(chromedp.CSS("tbody a.id")))
	at, err := chromedp.Run(s.ctx, chromedp.Location())
	if err != nil || !strings.Contains(at, "topic=order.created") {
		t.Errorf("filtered: %s, %v", at, err)
	}
}

// narrow fails the test if the page has to be scrolled to the side.
func (s *site) narrow(path string) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, "the layout of "+path, func() bool {
		return script[float64](s, "document.documentElement.clientWidth") == 360
	})
	if width := script[float64](s, "document.documentElement.scrollWidth"); width > 360 {
		s.t.Errorf("%s is %v wide", path, width)
	}
}
