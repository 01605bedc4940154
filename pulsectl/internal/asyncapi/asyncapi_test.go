package asyncapi_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/pulsectl/internal/asyncapi"
)

// all has each keyword that draft 7 does not have, or means something else by.
const all = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/all", "title": "All", "type": "object",
	"required": ["pair"], "$defs": {"name": {"type": "string", "minLength": 2}},
	"properties": {
		"pair": {"prefixItems": [{"type": "string"}, {"$ref": "#/$defs/name"}], "items": {"type": "number"}},
		"list": {"items": {"$ref": "#/properties/pair/prefixItems/1", "maxLength": 3}},
		"some": {"contains": {"const": 1}, "minContains": 1}, "none": {"contains": {"const": 1}, "minContains": 0},
		"price": {"$ref": "../_shared/money.json"}, "tree": {"$ref": "#/$defs/tree"}, "a": {}, "b": {}, "c": {}, "d": {}
	},
	"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"required": ["c"]}, "d": {"required": ["c"]}},
	"x-owner": "orders", "deprecated": true
}`

func library() fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"order.created/1.json":       strings.Replace(all, `"$defs": {`, `"$defs": {"tree": {"properties": {"left": {"$ref": "#/$defs/tree"}, "value": {"type": "number"}}},`, 1),
		"order.created/2.json":       `{"$ref": "1.json", "required": ["version"]}`,
		"OrderPaid/1.json":           `{"type": "object", "properties": {"price": {"$ref": "../_shared/money.json#/properties/amount"}}}`,
		"com.example/shipped/1.json": `true`,
		"_shared/money.json":         `{"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number", "multipleOf": 0.01}}}`,
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func describe(t *testing.T, o asyncapi.Options) asyncapi.Described {
	t.Helper()
	set, err := contract.Load(library(), contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if o.Layout, err = inboxrabbit.LayoutOf(inboxrabbit.SourceConfig{URL: "amqp://localhost", Queue: "mail", Topics: []string{"order.#"}}, ""); err != nil {
		t.Fatal(err)
	}
	o.Title, o.Version, o.Topics = "Shop", "1.0", map[string]string{"OrderPaid": "order.paid"}
	d, err := asyncapi.Describe(library(), set.All(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// decoded returns the document as a program sees it.
func decoded(t *testing.T, d asyncapi.Document) map[string]any {
	t.Helper()
	text, err := d.JSON()
	var out map[string]any
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDescribe(t *testing.T) {
	d := describe(t, asyncapi.Options{Role: asyncapi.Both})
	if want := []string{"com.example/shipped"}; !slices.Equal(d.Unbound, want) || len(d.Lost) > 0 {
		t.Errorf("not bound %v, want %v; lost %v", d.Unbound, want, d.Lost)
	}
	operations := map[string]string{}
	for name, o := range d.Document.Operations {
		var messages []string
		for _, m := range o.Messages {
			messages = append(messages, m.To)
		}
		operations[name] = o.Action + " " + strings.Join(messages, " ")
	}
	if want := map[string]string{
		"send.order.created":       "send #/channels/order.created/messages/order.created.1 #/channels/order.created/messages/order.created.2",
		"send.order.paid":          "send #/channels/order.paid/messages/OrderPaid.1",
		"send.com.example.shipped": "send #/channels/com.example.shipped/messages/com.example.shipped.1",
		"receive.mail":             "receive #/channels/queue.mail/messages/OrderPaid.1 #/channels/queue.mail/messages/order.created.1 #/channels/queue.mail/messages/order.created.2",
	}; !reflect.DeepEqual(operations, want) {
		t.Errorf("operations %v, want %v", operations, want)
	}
	paid, shipped := d.Document.Components.Messages["OrderPaid.1"], d.Document.Channels["com.example.shipped"]
	if paid.Bindings.AMQP.MessageType != "OrderPaid" || shipped.Address != "com.example/shipped" {
		t.Errorf("message %+v, channel %+v", paid, shipped)
	}
	for role, want := range map[asyncapi.Role]int{asyncapi.Producer: 3, asyncapi.Consumer: 1} {
		if d := describe(t, asyncapi.Options{Role: role}); len(d.Document.Operations) != want || len(d.Document.Channels) != want {
			t.Errorf("%s: %d operations, %d channels, want %d", role, len(d.Document.Operations), len(d.Document.Channels), want)
		}
	}
}

// A program that reads the translated schemas accepts what the contracts accept.
func TestSchemasMeanTheSame(t *testing.T) {
	set, err := contract.Load(library(), contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	document := decoded(t, describe(t, asyncapi.Options{Role: asyncapi.Both}).Document)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource("mem:///document", document); err != nil {
		t.Fatal(err)
	}
	for name, texts := range map[string][]string{
		"order.created.1": {`{}`, `{"pair":[]}`, `{"pair":["a","ab",1]}`, `{"pair":["a","a"]}`, `{"pair":["a","ab","c"]}`, `{"pair":[1]}`,
			`{"pair":[],"list":["abc"]}`, `{"pair":[],"list":["a"]}`, `{"pair":[],"list":["abcd"]}`, `{"pair":[],"some":[]}`, `{"pair":[],"some":[1]}`,
			`{"pair":[],"none":[]}`, `{"pair":[],"price":{"amount":0.01}}`, `{"pair":[],"price":{"amount":0.001}}`, `{"pair":[],"price":{}}`,
			`{"pair":[],"tree":{"left":{"left":{"value":1}}}}`, `{"pair":[],"tree":{"left":{"left":{"value":"1"}}}}`,
			`{"pair":[],"a":1}`, `{"pair":[],"a":1,"b":1}`, `{"pair":[],"a":1,"c":1}`, `{"pair":[],"a":1,"b":1,"c":1}`, `{"pair":[],"d":1}`, `{"pair":[],"d":1,"c":1}`},
		"order.created.2":       {`{}`, `{"version":1}`, `{"pair":[],"version":1}`, `{"pair":[1],"version":1}`},
		"OrderPaid.1":           {`{}`, `[]`, `{"price":1.5}`, `{"price":"1.5"}`},
		"com.example.shipped.1": {`{}`, `1`},
	} {
		schema, err := c.Compile("mem:///document#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		verdicts := map[bool]int{}
		at := strings.LastIndexByte(name, '.')
		file := strings.Replace(name[:at], "com.example.", "com.example/", 1)
		for _, text := range texts {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			m := message(file, int(name[at+1]-'0'), text)
			original, translated := set.Consumer().Check(m), schema.Validate(value)
			if (original == nil) != (translated == nil) {
				t.Errorf("%s: %s: contract %v, AsyncAPI %v", name, text, original, translated)
			}
			verdicts[original == nil]++
		}
		if verdicts[true] == 0 || verdicts[false] == 0 && name != "com.example.shipped.1" {
			t.Errorf("%s: the documents are all valid, or all invalid", name)
		}
	}
}

// What AsyncAPI has no keyword for is named, and never silently left out.
func TestLost(t *testing.T) {
	files := fstest.MapFS{"a/1.json": {Data: []byte(`{"properties": {"x": {"unevaluatedProperties": false, "contains": true, "minContains": 2, "maxContains": 3, "frob": 1}}}`)}}
	set, err := contract.Load(files, contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	layout, err := inboxrabbit.LayoutOf(inboxrabbit.SourceConfig{URL: "amqp://localhost", Queue: "a"}, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := asyncapi.Describe(files, set.All(), asyncapi.Options{Layout: layout})
	want := []string{"a/1.json: #/properties/x/frob", "a/1.json: #/properties/x/maxContains", "a/1.json: #/properties/x/minContains", "a/1.json: #/properties/x/unevaluatedProperties"}
	if err != nil || !slices.Equal(d.Lost, want) {
		t.Errorf("lost %v, %v; want %v", d.Lost, err, want)
	}
}

// The headers are those that docs/wire.md lists for every message.
func TestHeadersAreThoseOfTheWire(t *testing.T) {
	page, err := os.ReadFile("../../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Headers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	headers := describe(t, asyncapi.Options{}).Document.Components.Schemas["headers"].(map[string]any)["properties"].(map[string]any)
	listed := 0
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			name = strings.Trim(name, " `")
			listed++
			if headers[name] == nil {
				t.Errorf("header %s is not in the document", name)
			}
		}
	}
	if listed != len(headers) {
		t.Errorf("docs/wire.md has %d headers, the document %d", listed, len(headers))
	}
}

// The document is valid by the JSON Schema of AsyncAPI 3.0, and its YAML says the
// same as its JSON.
func TestDocumentIsAsyncAPI(t *testing.T) {
	d := describe(t, asyncapi.Options{Role: asyncapi.Both}).Document
	text, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var fromYAML map[string]any
	if err := yaml.Unmarshal(text, &fromYAML); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	var same map[string]any
	if err := json.Unmarshal(encoded, &same); err != nil {
		t.Fatal(err)
	}
	document := decoded(t, d)
	if !reflect.DeepEqual(same, document) {
		t.Errorf("the YAML differs from the JSON:\n%s", text)
	}

	definition, err := os.ReadFile(filepath.Join(testenv.NodeModules(t, "@asyncapi/specs"), "@asyncapi/specs/schemas/3.0.0-without-$id.json"))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(string(definition)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///asyncapi", schema); err != nil {
		t.Fatal(err)
	}
	asyncAPI, err := c.Compile("mem:///asyncapi")
	if err != nil {
		t.Fatal(err)
	}
	if err := asyncAPI.Validate(document); err != nil {
		t.Errorf("%v", err)
	}
	document["channels"].(map[string]any)["order.paid"].(map[string]any)["bindings"].(map[string]any)["amqp"].(map[string]any)["is"] = "topic"
	if asyncAPI.Validate(document) == nil {
		t.Error("a wrong binding is valid: the schema is not applied")
	}
}

// The parser of AsyncAPI also follows references, and checks that operations fit
// their channels. It is too big to be installed for every run: make asyncapi.
func TestParserAcceptsDocument(t *testing.T) {
	modules := os.Getenv("PULSE_ASYNCAPI_MODULES")
	if modules == "" {
		t.Skip("needs @asyncapi/parser, which make asyncapi installs")
	}
	validate := func(d asyncapi.Document) (string, error) {
		text, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "asyncapi.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", "testdata/validate.js", file)
		cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, role := range []asyncapi.Role{asyncapi.Both, asyncapi.Producer, asyncapi.Consumer} {
		out, err := validate(describe(t, asyncapi.Options{Role: role}).Document)
		if err != nil {
			t.Errorf("%s: %v", role, err)
		}
		t.Logf("%s: %s", role, out)
	}
	d := describe(t, asyncapi.Options{Role: asyncapi.Both}).Document
	d.Operations["send.order.paid"].Messages[0].To += "x"
	if out, err := validate(d); err == nil || !strings.Contains(out, "invalid-ref") {
		t.Errorf("a reference that leads nowhere: %v, %s", err, out)
	}
}

func message(name string, version int, payload string) wire.Message {
	return wire.Message{ID: "e1", Type: name, Version: version, ContentType: wire.DefaultContentType, Payload: []byte(payload)}
}
