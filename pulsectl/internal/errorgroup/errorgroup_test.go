package errorgroup_test

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/asimalizada/pulse-events/pulsectl/internal/errorgroup"
)

func TestNormalise(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"mail server is full":              "mail server is full",
		"order 42 of customer-17: 3 items": "order <n> of customer-<n>: <n> items",
		"event 0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21 failed":                   "event <id> failed",
		"dial tcp 127.0.0.1:5432: connect: connection refused":                "dial tcp <n>: connect: connection refused",
		"dial tcp [::1]:5432: i/o timeout after 1.5s":                         "dial tcp [::<n>]:<n>: i/o timeout after <n>",
		`customer "Bob's" is unknown`:                                         `customer "…" is unknown`,
		"can't reach 'mail-1', don't know why":                                "can't reach '…', don't know why",
		`quoted "with \" inside" and more`:                                    `quoted "…" and more`,
		`an "unfinished quote 7`:                                              `an "unfinished quote <n>`,
		"at 2026-01-02T03:04:05.678Z it stopped":                              "at <n> it stopped",
		"commit 3fa9c1d2e4 and ULID 01HZX5T4B7QZJ0R9M2N3P4Q5R6":               "commit <id> and ULID <id>",
		"GET /orders/17/items: 503 Service Unavailable":                       "GET /orders/<n>/items: <n> Service Unavailable",
		"bob@example.com was refused":                                         "<id> was refused",
		"line 1\n\tcolumn 2":                                                  "line <n> column <n>",
		"ERROR: deadlock detected (SQLSTATE 40P01)":                           "ERROR: deadlock detected (SQLSTATE 40P01)",
		"ERROR: duplicate key value (SQLSTATE 23505)":                         "ERROR: duplicate key value (SQLSTATE 23505)",
		"key (id)=(1,234) exists":                                             "key (id)=(<n>) exists",
		"utf8 and sha256 stay words":                                          "utf<n> and sha<n> stay words",
		"decode OrderCreated: eventId 5 is not the id of the message, \"e1\"": "decode OrderCreated: eventId <n> is not the id of the message, \"…\"",
	} {
		if got := errorgroup.Normalise(text); got != want {
			t.Errorf("%q\n got %q\nwant %q", text, got, want)
		}
	}
}

// Whatever the text, the result is bounded, on one line, and its own group.
func TestNormaliseAnything(t *testing.T) {
	check := func(text string) bool {
		got := errorgroup.Normalise(text)
		return len(got) <= 400 && !strings.ContainsAny(got, "\n\r\t") && !strings.Contains(got, "  ")
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	if got := errorgroup.Normalise(strings.Repeat("word ", 1000)); len(got) > 400 {
		t.Errorf("%d bytes", len(got))
	}
}
