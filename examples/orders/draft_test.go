package orders_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/asimalizada/pulse-events/examples/orders"
)

func load[T any](t *testing.T, path string) (v T) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func TestParseDraft(t *testing.T) {
	type sample struct {
		About string
		Body  json.RawMessage
		Cents int64
	}
	for _, s := range load[[]sample](t, "../../testdata/orders/valid.json") {
		draft, err := orders.ParseDraft(s.Body)
		if err != nil || int64(draft.Amount) != s.Cents || draft.CustomerID == "" {
			t.Errorf("%s: %+v, %v; want %d cents", s.About, draft, err, s.Cents)
		}
	}
}

func TestParseDraftNamesEveryBadField(t *testing.T) {
	type sample struct {
		About, Body string
		Fields      []string
	}
	for _, s := range load[[]sample](t, "../../testdata/orders/invalid.json") {
		_, err := orders.ParseDraft([]byte(s.Body))
		if s.Fields == nil {
			if !errors.Is(err, orders.ErrMalformed) {
				t.Errorf("%s: %v, want ErrMalformed", s.About, err)
			}
			continue
		}
		invalid, ok := errors.AsType[*orders.InvalidError](err)
		if !ok {
			t.Errorf("%s: %v, want an InvalidError", s.About, err)
			continue
		}
		var fields []string
		for _, f := range invalid.Fields {
			fields = append(fields, f.Field)
			if f.Message == "" {
				t.Errorf("%s: field %s has no message", s.About, f.Field)
			}
		}
		slices.Sort(fields)
		if !slices.Equal(fields, s.Fields) {
			t.Errorf("%s: fields %q, want %q (%v)", s.About, fields, s.Fields, err)
		}
	}
}

func TestParseDraftRefusesBrokenText(t *testing.T) {
	body := []byte("{\"customerId\": \"a\xffb\", \"amount\": 1}")
	if _, err := orders.ParseDraft(body); !errors.Is(err, orders.ErrMalformed) {
		t.Errorf("invalid UTF-8: %v, want ErrMalformed", err)
	}
}

func FuzzParseDraft(f *testing.F) {
	f.Add([]byte(`{"customerId":"c","amount":77.5}`))
	f.Add([]byte(`{"customerId":" ","amount":1e9,"x":[{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		draft, err := orders.ParseDraft(body)
		if err != nil {
			return
		}
		again, err := json.Marshal(map[string]any{"customerId": draft.CustomerID, "amount": draft.Amount})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := orders.ParseDraft(again); err != nil || back != draft {
			t.Fatalf("%s: %+v came back as %+v, %v", body, draft, back, err)
		}
	})
}
