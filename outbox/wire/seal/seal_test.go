package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/seal"
)

func hs(id string) seal.Key {
	return seal.Key{ID: id, Algorithm: seal.HS256, Secret: bytes.Repeat([]byte(id[:1]), 32)}
}

func aes(id string) seal.Key {
	return seal.Key{ID: id, Algorithm: seal.A256GCM, Secret: bytes.Repeat([]byte(id[:1]), 32)}
}

func ed(id string) seal.Key {
	return seal.Key{ID: id, Algorithm: seal.EdDSA, Private: ed25519.NewKeyFromSeed(bytes.Repeat([]byte(id[:1]), 32))}
}

func public(key seal.Key) seal.Key {
	return seal.Key{ID: key.ID, Algorithm: key.Algorithm, Public: key.Private.Public().(ed25519.PublicKey)}
}

func ring(t *testing.T, keys ...seal.Key) *seal.Ring {
	t.Helper()
	r, err := seal.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sealer(t *testing.T, cfg seal.SealerConfig) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opener(t *testing.T, cfg seal.OpenerConfig) *seal.Opener {
	t.Helper()
	o, err := seal.NewOpener(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func order() wire.Message {
	return wire.Message{
		ID: "e1", Topic: "order.created", Type: "OrderCreated", Key: "order-7", ContentType: "application/json", Payload: []byte(`{"total":1}`),
		CorrelationID: "c1", Headers: map[string]string{"tenant": "acme"},
	}
}

func TestSealAndOpen(t *testing.T) {
	for about, c := range map[string]struct {
		seal seal.SealerConfig
		open seal.OpenerConfig
	}{
		"HMAC":               {seal.SealerConfig{Sign: ring(t, hs("a"))}, seal.OpenerConfig{Verify: ring(t, hs("b"), hs("a"))}},
		"Ed25519":            {seal.SealerConfig{Sign: ring(t, ed("a"))}, seal.OpenerConfig{Verify: ring(t, public(ed("a")))}},
		"AES":                {seal.SealerConfig{Encrypt: ring(t, aes("a"))}, seal.OpenerConfig{Decrypt: ring(t, aes("b"), aes("a"))}},
		"signed AES":         {seal.SealerConfig{Sign: ring(t, ed("a")), Encrypt: ring(t, aes("b"))}, seal.OpenerConfig{Verify: ring(t, ed("a")), Decrypt: ring(t, aes("b"))}},
		"unsigned, allowed":  {seal.SealerConfig{Encrypt: ring(t, aes("a"))}, seal.OpenerConfig{Verify: ring(t, hs("a")), Decrypt: ring(t, aes("a")), AllowUnsigned: true}},
		"plain, allowed":     {seal.SealerConfig{Sign: ring(t, hs("a"))}, seal.OpenerConfig{Verify: ring(t, hs("a")), Decrypt: ring(t, aes("a")), AllowUnencrypted: true}},
		"signature ignored":  {seal.SealerConfig{Sign: ring(t, hs("a")), Encrypt: ring(t, aes("a"))}, seal.OpenerConfig{Decrypt: ring(t, aes("a"))}},
		"the first key acts": {seal.SealerConfig{Sign: ring(t, hs("b"), hs("a"))}, seal.OpenerConfig{Verify: ring(t, hs("b"))}},
	} {
		m := order()
		if err := sealer(t, c.seal).Encode(&m); err != nil {
			t.Fatalf("%s: %v", about, err)
		}
		if encrypts := c.seal.Encrypt != nil; encrypts == bytes.Contains(m.Payload, []byte("total")) || encrypts != (m.ContentType == "application/octet-stream") {
			t.Errorf("%s: %s %q", about, m.ContentType, m.Payload)
		}
		if err := opener(t, c.open).Decode(&m); err != nil {
			t.Errorf("%s: %v", about, err)
		}
		if want := order(); !bytes.Equal(m.Payload, want.Payload) || m.ContentType != want.ContentType || m.Encryption != "" {
			t.Errorf("%s: opened %+v", about, m)
		}
	}
}

// Whatever is changed, an opener notices, and leaves the message as it is.
func TestChanges(t *testing.T) {
	changes := map[string]func(*wire.Message){
		"id":               func(m *wire.Message) { m.ID = "e2" },
		"topic":            func(m *wire.Message) { m.Topic = "order.deleted" },
		"type":             func(m *wire.Message) { m.Type = "OrderDeleted" },
		"key":              func(m *wire.Message) { m.Key = "order-8" },
		"version":          func(m *wire.Message) { m.Version = 2 },
		"moved to the key": func(m *wire.Message) { m.Topic, m.Key = m.Topic+m.Key[:1], m.Key[1:] },
		"payload": func(m *wire.Message) {
			m.Payload = append(bytes.Clone(m.Payload[:len(m.Payload)-1]), m.Payload[len(m.Payload)-1]^1)
		},
		"shorter payload":    func(m *wire.Message) { m.Payload = m.Payload[1:] },
		"no payload":         func(m *wire.Message) { m.Payload = nil },
		"no signature":       func(m *wire.Message) { m.Signature = "" },
		"odd signature":      func(m *wire.Message) { m.Signature = "%" },
		"odd base64":         func(m *wire.Message) { m.Signature += "=" },
		"empty signature":    func(m *wire.Message) { m.Signature, _, _ = strings.Cut(m.Signature, "&sig=") },
		"another key":        func(m *wire.Message) { m.Signature = strings.Replace(m.Signature, "kid=a", "kid=b", 1) },
		"another algorithm":  func(m *wire.Message) { m.Signature = strings.Replace(m.Signature, "alg=", "alg=none&was=", 1) },
		"unknown key":        func(m *wire.Message) { m.Signature = strings.Replace(m.Signature, "kid=a", "kid=z", 1) },
		"another encryption": func(m *wire.Message) { m.Encryption = strings.Replace(m.Encryption, "json", "xml", 1) },
		"no encryption":      func(m *wire.Message) { m.Encryption = "" },
	}
	encrypting := seal.SealerConfig{Encrypt: ring(t, aes("a"))}
	for about, c := range map[string]struct {
		seal seal.SealerConfig
		open seal.OpenerConfig
	}{
		"HMAC":    {seal.SealerConfig{Sign: ring(t, hs("a"))}, seal.OpenerConfig{Verify: ring(t, hs("a"), hs("b"), ed("c"))}},
		"Ed25519": {seal.SealerConfig{Sign: ring(t, ed("a"))}, seal.OpenerConfig{Verify: ring(t, public(ed("a")), hs("b"))}},
		"AES":     {encrypting, seal.OpenerConfig{Decrypt: ring(t, aes("a"), aes("b"))}},
	} {
		for change, apply := range changes {
			m := order()
			if err := sealer(t, c.seal).Encode(&m); err != nil {
				t.Fatal(err)
			}
			before := m
			apply(&m)
			if before.Signature == "" && m.Signature != "" {
				continue
			}
			if m.Signature == before.Signature && m.Encryption == before.Encryption && m.ID == before.ID && m.Topic == before.Topic && m.Type == before.Type && m.Version == before.Version && m.Key == before.Key && bytes.Equal(m.Payload, before.Payload) {
				continue // it has no such part
			}
			changed := m
			err := opener(t, c.open).Decode(&m)
			if !errors.Is(err, wire.ErrSignature) {
				t.Errorf("%s, %s: %v", about, change, err)
			}
			if fmt.Sprint(m) != fmt.Sprint(changed) {
				t.Errorf("%s, %s: refused and changed", about, change)
			}
			if err != nil && (strings.Contains(err.Error(), "total") || strings.Contains(err.Error(), "aaaa")) {
				t.Errorf("%s, %s: the error holds the payload or a key: %v", about, change, err)
			}
		}
	}
	sealed := order()
	if err := sealer(t, encrypting).Encode(&sealed); err != nil {
		t.Fatal(err)
	}
	if err := opener(t, seal.OpenerConfig{Verify: ring(t, hs("a")), AllowUnsigned: true}).Decode(&sealed); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("an encrypted message without a key to decrypt it: %v", err)
	}
	again := order()
	if err := sealer(t, encrypting).Encode(&again); err != nil || bytes.Equal(again.Payload, sealed.Payload) {
		t.Errorf("two messages are encrypted with the same nonce: %v", err)
	}
}

func TestKeys(t *testing.T) {
	secret := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("s"), 32))
	key := ed("a")
	x, d := base64.RawURLEncoding.EncodeToString(key.Private[32:]), base64.RawURLEncoding.EncodeToString(key.Private.Seed())
	for text, fault := range map[string]string{
		`{"keys":[{"kid":"1","kty":"oct","alg":"HS256","k":"` + secret + `"}]}`:                                                                           "",
		`{"keys":[{"kid":"1","kty":"oct","alg":"A256GCM","k":"` + secret + `"},{"kid":"2","kty":"OKP","crv":"Ed25519","x":"` + x + `","d":"` + d + `"}]}`: "",
		`{"keys":[{"kid":"2","kty":"OKP","crv":"Ed25519","x":"` + x + `"}]}`:                                                                              "",
		`{"keys":[{"kid":"2","kty":"OKP","crv":"Ed25519","x":"` + secret + `","d":"` + d + `"}]}`:                                                         "x is not the public part",
		`{"keys":[{"kid":"2","kty":"OKP","crv":"Ed25519","x":"` + x + `","d":"AAAA"}]}`:                                                                   "d is not",
		`{"keys":[{"kid":"1","kty":"oct","alg":"HS256","k":"c2hvcnQ"}]}`:                                                                                  "at least 32",
		`{"keys":[{"kid":"1","kty":"oct","alg":"A256GCM","k":"` + secret[:40] + `"}]}`:                                                                    "32 are needed",
		`{"keys":[{"kid":"1","kty":"oct","alg":"HS256","k":"` + secret + `="}]}`:                                                                          "base64url",
		`{"keys":[{"kid":"1","kty":"oct","alg":"none","k":"` + secret + `"}]}`:                                                                            "none of HS256",
		`{"keys":[{"kty":"oct","alg":"HS256","k":"` + secret + `"}]}`:                                                                                     "no id",
		`{"keys":[{"kid":"1","kty":"RSA"}]}`:                                                                                                              "neither oct nor OKP",
		`{"keys":[]}`:                                                                                                                                     "no key",
		`{"keys":[{"kid":"1","kty":"oct","alg":"HS256","k":"` + secret + `"},{"kid":"1","kty":"oct","alg":"A256GCM","k":"` + secret + `"}]}`:              "twice",
		secret: "no JSON Web Key Set",
	} {
		_, err := seal.ParseKeys([]byte(text))
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %v, want %q", text, err, fault)
		}
	}
	if _, err := seal.NewSealer(seal.SealerConfig{Sign: ring(t, public(ed("a")))}); err == nil || !strings.Contains(err.Error(), "cannot sign") {
		t.Errorf("signing with the public part: %v", err)
	}
	if _, err := seal.NewSealer(seal.SealerConfig{Encrypt: ring(t, hs("a"))}); err == nil || !strings.Contains(err.Error(), "cannot encrypt") {
		t.Errorf("encrypting with HS256: %v", err)
	}
	_, err1 := seal.NewSealer(seal.SealerConfig{})
	_, err2 := seal.NewOpener(seal.OpenerConfig{})
	_, err3 := seal.OpenRing(filepath.Join(t.TempDir(), "none"))
	if err1 == nil || err2 == nil || err3 == nil {
		t.Errorf("%v, %v, %v", err1, err2, err3)
	}
}

// Keys change while programs run.
func TestRotation(t *testing.T) {
	set := func(ids ...string) string {
		var keys []string
		for _, id := range ids {
			keys = append(keys, fmt.Sprintf(`{"kid":%q,"kty":"oct","alg":"HS256","k":%q}`, id, base64.RawURLEncoding.EncodeToString(hs(id).Secret)))
		}
		return `{"keys":[` + strings.Join(keys, ",") + `]}`
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	age := 0
	put := func(text string) {
		t.Helper()
		age++
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(age) * time.Minute) // whatever the file system's resolution
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(set("a"))
	shared, err := seal.OpenRing(file)
	if err != nil {
		t.Fatal(err)
	}
	s := sealer(t, seal.SealerConfig{Sign: shared})
	signedBy := func(id string) {
		t.Helper()
		testenv.Eventually(t, time.Minute, "a signature with "+id, func() bool {
			m := order()
			return s.Encode(&m) == nil && strings.Contains(m.Signature, "kid="+id+"&")
		})
	}
	signedBy("a")
	old := order()
	if err := s.Encode(&old); err != nil {
		t.Fatal(err)
	}
	put(set("b", "a"))
	signedBy("b")
	o := opener(t, seal.OpenerConfig{Verify: shared})
	if err := o.Decode(&old); err != nil {
		t.Errorf("the old key is still there: %v", err)
	}
	put("broken")
	signedBy("b")
	put(set("b"))
	testenv.Eventually(t, time.Minute, "the end of the old key", func() bool { return o.Decode(&old) != nil })
}

func BenchmarkSeal(b *testing.B) {
	for about, key := range map[string]seal.Key{"HS256": hs("a"), "EdDSA": ed("a"), "A256GCM": aes("a")} {
		r, err := seal.NewRing(key)
		if err != nil {
			b.Fatal(err)
		}
		s, o := seal.SealerConfig{Sign: r}, seal.OpenerConfig{Verify: r}
		if about == "A256GCM" {
			s, o = seal.SealerConfig{Encrypt: r}, seal.OpenerConfig{Decrypt: r}
		}
		sealer, err1 := seal.NewSealer(s)
		opener, err2 := seal.NewOpener(o)
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		payload := bytes.Repeat([]byte("x"), 512)
		b.Run(about, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := order()
				m.Payload = payload
				if err := errors.Join(sealer.Encode(&m), opener.Decode(&m)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
