package contract_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

const (
	orderV1 = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["orderId","amount"],
		"properties":{"orderId":{"type":"string"},"amount":{"type":"number"}}}`
	orderV2 = `{"type":"object","required":["orderId","total"],
		"properties":{"orderId":{"type":"string"},"total":{"$ref":"../_shared/money.json"}}}`
	money = `{"type":"object","required":["amount","currency"],"properties":{"amount":{"type":"number"},"currency":{"type":"string"}}}`
)

func files(named map[string]string) fstest.MapFS {
	dir := fstest.MapFS{}
	for name, text := range named {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return dir
}

func orders(t testing.TB, cfg contract.Config) *contract.Set {
	t.Helper()
	set, err := contract.Load(files(map[string]string{
		"OrderCreated/1.json": orderV1, "OrderCreated/2.json": orderV2, "_shared/money.json": money,
		"payment.done/1.json": `{"type":"object"}`, "com.example/shipped/3.json": `true`, ".git/1.json": `?`, "OrderCreated/README.md": `?`,
	}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func message(eventType, topic string, version int, payload string) wire.Message {
	return wire.Message{ID: "e1", Type: eventType, Topic: topic, Version: version, Payload: []byte(payload), ContentType: "application/json"}
}

func TestAll(t *testing.T) {
	want := []contract.Contract{
		{Name: "OrderCreated", Version: 1, File: "OrderCreated/1.json"}, {Name: "OrderCreated", Version: 2, File: "OrderCreated/2.json"},
		{Name: "com.example/shipped", Version: 3, File: "com.example/shipped/3.json"}, {Name: "payment.done", Version: 1, File: "payment.done/1.json"},
	}
	if got := orders(t, contract.Config{}).All(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNewest(t *testing.T) {
	for role, contracts := range roles(orders(t, contract.Config{})) {
		for m, want := range map[[2]string]int{
			{"OrderCreated", "order.created"}: 2, {"PaymentDone", "payment.done"}: 1, {"com.example/shipped", ""}: 3, {"Other", "other"}: 0,
		} {
			if got := contracts.Newest(message(m[0], m[1], 0, "")); got != want {
				t.Errorf("%s: newest of %v is %d, want %d", role, m, got, want)
			}
		}
	}
}

func roles(s *contract.Set) map[string]wire.Contracts {
	return map[string]wire.Contracts{"producer": s.Producer(), "consumer": s.Consumer(), "unchecked": s.Unchecked()}
}

func TestCheck(t *testing.T) {
	set := orders(t, contract.Config{MaxBytes: 1000})
	text := message("OrderCreated", "", 1, `{"orderId":"1","amount":1}`)
	text.ContentType = "text/plain"
	zipped := message("OrderCreated", "", 1, `{"orderId":"1","amount":1}`)
	zipped.ContentEncoding = "gzip"
	for _, c := range []struct {
		m                  wire.Message
		producer, consumer string // what the error says; empty: there is none
	}{
		{message("OrderCreated", "order.created", 1, `{"orderId":"1","amount":1}`), "", ""},
		{message("OrderCreated", "order.created", 1, `{"orderId":"1","amount":1,"more":1}`), "$: additional properties 'more' not allowed (contract OrderCreated/1)", ""},
		{message("OrderCreated", "order.created", 1, `{"orderId":"1","amount":"1"}`), "$.amount: got string, want number (contract OrderCreated/1)", "$.amount: got string, want number (contract OrderCreated/1)"},
		{message("OrderCreated", "order.created", 2, `{"orderId":"1","total":{"amount":1,"currency":"EUR"}}`), "", ""},
		{message("OrderCreated", "order.created", 2, `{"orderId":"1","amount":1}`), "missing property 'total'", "missing property 'total'"},
		{message("OrderCreated", "order.created", 2, `{"orderId":"1","total":{"amount":1,"currency":"EUR","x":1}}`), "$.total.x: nothing is allowed here", ""},
		{message("OrderCreated", "order.created", 3, `{}`), "there is no version 3 of contract OrderCreated; the newest is 2", "there is no version 3"},
		{message("OrderCreated", "order.created", 0, `{}`), "there is no version 0", "there is no version 0"},
		{message("Ordercreated", "order.created", 1, `{}`), `there is no contract for type "Ordercreated", topic "order.created"`, "there is no contract"},
		{message("PaymentDone", "payment.done", 1, `[]`), "$: got array, want object (contract payment.done/1)", "got array"},
		{message("OrderCreated", "", 1, `{"orderId"`), "$: no JSON: unexpected EOF", "no JSON"},
		{message("OrderCreated", "", 1, ``), "no JSON", "no JSON"},
		{message("OrderCreated", "", 1, `"`+strings.Repeat("x", 1000)+`"`), "1002 bytes, at most 1000", "at most 1000"},
		{text, `content type is "text/plain"`, "text/plain"},
		{zipped, "encoded (gzip)", "gzip"},
	} {
		for role, want := range map[string]string{"producer": c.producer, "consumer": c.consumer} {
			err := roles(set)[role].Check(c.m)
			if want == "" {
				if err != nil {
					t.Errorf("%s: %s: %v", role, c.m.Payload, err)
				}
				continue
			}
			broken, ok := errors.AsType[*contract.BrokenError](err)
			if errors.Is(err, wire.ErrUndecodable) != strings.Contains(want, "no JSON") {
				t.Errorf("%s: %v: undecodable or not", role, err)
			}
			if !ok || !errors.Is(err, contract.ErrBroken) || !strings.Contains(err.Error(), want) || len(broken.Faults) != 1 {
				t.Errorf("%s: %.100s: %v; want %q", role, c.m.Payload, err, want)
			}
		}
		if err := set.Unchecked().Check(c.m); err != nil {
			t.Errorf("unchecked: %v", err)
		}
	}
}

func TestOptional(t *testing.T) {
	set := orders(t, contract.Config{Optional: true})
	for name, contracts := range roles(set) {
		if err := contracts.Check(message("Other", "other", 0, "?")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := set.Consumer().Check(message("OrderCreated", "", 1, "{}")); err == nil {
		t.Error("a message with a contract is not checked")
	}
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"none":    {nil, []string{"no contract, such as OrderCreated/1.json"}},
		"names":   {map[string]string{"1.json": "{}", "A/one.json": "{}", "A/0.json": "{}", "A/01.json": "{}", "A/+1.json": "{}", "A/.json": "{}"}, []string{"1.json: name it", "A/one.json", "A/0.json", "A/01.json", "A/+1.json"}},
		"schemas": {map[string]string{"A/1.json": "{", "B/1.json": `{"type":"x"}`, "C/1.json": "true"}, []string{"A/1.json: no JSON", "B/1.json: #/type"}},
		"network": {map[string]string{"A/1.json": `{"$ref":"http://127.0.0.1/a"}`}, []string{"A/1.json: #/$ref", "nothing is read from the network"}},
	} {
		set, err := contract.Load(files(c.files), contract.Config{})
		for _, says := range c.says {
			if set != nil || err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v; want %q", name, err, says)
			}
		}
	}
}

func TestManyFaultsMakeAShortText(t *testing.T) {
	err := orders(t, contract.Config{}).Producer().Check(message("OrderCreated", "", 2, `{"orderId":1,"total":{"amount":"1","currency":1,"a":1,"b":2},"x":1}`))
	broken, ok := errors.AsType[*contract.BrokenError](err)
	if !ok || len(broken.Faults) != 3 {
		t.Fatalf("error %v", err)
	}
	broken.Faults = append(broken.Faults, broken.Faults...)
	if text := broken.Error(); !strings.Contains(text, "; and 1 more (contract OrderCreated/2)") {
		t.Errorf("text %s", text)
	}
}

func BenchmarkCheck(b *testing.B) {
	set := orders(b, contract.Config{})
	m := message("OrderCreated", "order.created", 2, `{"orderId":"0198c0de-7a10-7f00-8a44-3e2d1c0b9a87","total":{"amount":77.5,"currency":"EUR"}}`)
	for _, name := range []string{"producer", "consumer", "unchecked"} {
		contracts := roles(set)[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := contracts.Check(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
