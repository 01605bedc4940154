package seal

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

// Algorithms of keys, by their names in JSON Web Algorithms (RFC 7518, RFC 8037).
const (
	HS256   = "HS256"   // HMAC with SHA-256
	EdDSA   = "EdDSA"   // Ed25519
	A256GCM = "A256GCM" // AES-GCM with a key of 32 bytes
)

// minSecret is the shortest secret of an HMAC: what its hash gives.
const minSecret = 32

// Key signs, verifies, or encrypts and decrypts.
type Key struct {
	// ID names the key in messages. It is no secret.
	ID string
	// Algorithm is HS256, EdDSA or A256GCM.
	Algorithm string
	// Secret is that of HS256, 32 bytes at least, or of A256GCM, 32 bytes.
	Secret []byte
	// Private and Public are the parts of an EdDSA key. A ring that only verifies
	// needs no Private; Public is part of Private.
	Private ed25519.PrivateKey
	Public  ed25519.PublicKey
}

// check returns the key with its public part, or what is wrong with it.
func (k Key) check() (Key, error) {
	fault := func(format string, args ...any) (Key, error) {
		return Key{}, fmt.Errorf("key %q: %w", k.ID, fmt.Errorf(format, args...))
	}
	if k.ID == "" {
		return fault("has no id (kid)")
	}
	switch k.Algorithm {
	case HS256:
		if len(k.Secret) < minSecret {
			return fault("its secret has %d bytes, at least %d are needed", len(k.Secret), minSecret)
		}
	case A256GCM:
		if len(k.Secret) != 32 {
			return fault("its secret has %d bytes, 32 are needed", len(k.Secret))
		}
	case EdDSA:
		if len(k.Private) == ed25519.PrivateKeySize {
			k.Public = k.Private.Public().(ed25519.PublicKey)
		} else if len(k.Private) != 0 {
			return fault("its private part has %d bytes, %d are needed", len(k.Private), ed25519.PrivateKeySize)
		}
		if len(k.Public) != ed25519.PublicKeySize {
			return fault("its public part has %d bytes, %d are needed", len(k.Public), ed25519.PublicKeySize)
		}
	default:
		return fault("the algorithm %q is none of HS256, EdDSA and A256GCM", k.Algorithm)
	}
	return k, nil
}

// Ring holds keys. The first one signs or encrypts, all of them verify or decrypt.
// To change keys without a message that cannot be read, add the new key behind the
// old one everywhere, then move it to the front where messages are sealed, and
// remove the old one when no message made with it is left: in queues, among dead
// letters, and in the outbox, from which messages are replayed. It is safe for
// concurrent use.
type Ring struct {
	file string

	mu     sync.Mutex
	keys   []Key
	looked time.Time // when the file was last looked at
	read   fileState
}

// fileState tells one content of a file from another.
type fileState struct {
	modified time.Time
	size     int64
}

// refresh is how often a file is looked at, at most.
const refresh = time.Second

// NewRing returns a ring of keys that stay.
func NewRing(keys ...Key) (*Ring, error) {
	checked, err := checkAll(keys)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return &Ring{keys: checked}, nil
}

// OpenRing returns a ring of the keys in a file, a JSON Web Key Set:
//
//	{"keys": [{"kid": "2026-11", "kty": "oct", "alg": "HS256", "k": "..."}]}
//
// with alg HS256 or A256GCM, or kty OKP, crv Ed25519, x and, to sign, d. The file is
// looked at once a second when it is needed. One that has changed and cannot be read
// is logged, and the keys from before stay.
func OpenRing(file string) (*Ring, error) {
	r := &Ring{file: file}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return r, nil
}

// current returns the keys of now.
func (r *Ring) current() []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.file != "" && now.Sub(r.looked) >= refresh {
		if err := r.load(); err != nil {
			slog.Error("seal: the changed keys cannot be used; going on with those from before", "error", err)
		}
	}
	return r.keys
}

// load reads the file if it has changed.
func (r *Ring) load() error {
	r.looked = time.Now()
	info, err := os.Stat(r.file)
	if err != nil {
		return err
	}
	found := fileState{info.ModTime(), info.Size()}
	if found == r.read {
		return nil
	}
	content, err := os.ReadFile(r.file)
	if err != nil {
		return err
	}
	r.read = found // a file that cannot be used is reported once
	keys, err := ParseKeys(content)
	if err != nil {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	r.keys = keys
	return nil
}

func (r *Ring) first() (Key, error) {
	keys := r.current()
	if len(keys) == 0 {
		return Key{}, errors.New("the ring has no key")
	}
	return keys[0], nil
}

// lookup returns the fields of a header, and the key that they name.
func (r *Ring) lookup(header string) (url.Values, Key, error) {
	fields, err := url.ParseQuery(header)
	if err != nil {
		return nil, Key{}, err
	}
	for _, key := range r.current() {
		// What a key is for is said by the ring, never by the message.
		if key.ID == fields.Get("kid") && key.Algorithm == fields.Get("alg") {
			return fields, key, nil
		}
	}
	return nil, Key{}, fmt.Errorf("the ring has no key %.64q for %.16q", fields.Get("kid"), fields.Get("alg"))
}

func checkAll(keys []Key) ([]Key, error) {
	if len(keys) == 0 {
		return nil, errors.New("there is no key")
	}
	checked := make([]Key, len(keys))
	for i, key := range keys {
		var err error
		if checked[i], err = key.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(checked[:i], func(k Key) bool { return k.ID == key.ID }) {
			return nil, fmt.Errorf("key %q is there twice", key.ID)
		}
	}
	return checked, nil
}

// webKey is a JSON Web Key.
type webKey struct {
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	Algorithm string `json:"alg"`
	Secret    string `json:"k"`
	Curve     string `json:"crv"`
	Public    string `json:"x"`
	Private   string `json:"d"`
}

// ParseKeys reads a JSON Web Key Set. Errors hold no secret.
func ParseKeys(text []byte) ([]Key, error) {
	var set struct {
		Keys []webKey `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("this is no JSON Web Key Set: an object with the array \"keys\"")
	}
	keys := make([]Key, len(set.Keys))
	for i, k := range set.Keys {
		var err error
		if keys[i], err = k.key(); err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
	}
	return checkAll(keys)
}

func (k webKey) key() (Key, error) {
	key := Key{ID: k.ID, Algorithm: k.Algorithm}
	read := func(text string) []byte {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil
		}
		return raw
	}
	switch {
	case k.Type == "oct":
		if key.Secret = read(k.Secret); key.Secret == nil {
			return Key{}, errors.New("k is not base64url without padding")
		}
	case k.Type == "OKP" && k.Curve == "Ed25519":
		key.Algorithm = EdDSA
		if key.Public = read(k.Public); k.Private == "" {
			break
		}
		seed := read(k.Private)
		if len(seed) != ed25519.SeedSize {
			return Key{}, errors.New("d is not base64url of 32 bytes")
		}
		key.Private = ed25519.NewKeyFromSeed(seed)
		if !key.Private.Public().(ed25519.PublicKey).Equal(key.Public) {
			return Key{}, errors.New("x is not the public part of d")
		}
	default:
		return Key{}, fmt.Errorf("kty %q, crv %q: neither oct nor OKP with Ed25519", k.Type, k.Curve)
	}
	return key, nil
}
