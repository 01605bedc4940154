// Package seal signs and encrypts messages between services that share keys, so that
// a consumer notices what another has written or changed, and what lies in outbox,
// queues and dead letters cannot be read.
//
//	sealer, err := seal.NewSealer(seal.SealerConfig{Sign: signing, Encrypt: encryption})
//	ob, err := outbox.New(db, outbox.WithSealer(sealer))
//
//	opener, err := seal.NewOpener(seal.OpenerConfig{Verify: signing, Decrypt: encryption})
//	consumer, err := inbox.NewConsumer(source, in, handler, inbox.ConsumerConfig{Opener: opener})
//
// A message is sealed when it is enqueued, and opened before its handler is called.
// All copies of it, replayed ones too, are the same to the byte.
//
// Signatures are HMAC with SHA-256 (RFC 2104) or Ed25519 (RFC 8032), over id, type,
// version, topic, ordering key, content type and payload, encrypted if it is. Payloads are
// encrypted by AES-GCM (NIST SP 800-38D) with a random nonce, and bound to the same
// fields. Keys are JSON Web Keys (RFC 7517) and may be changed while programs run,
// see Ring.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// sealedType is the content type of an encrypted payload: nothing but bytes to who
// has no key.
const sealedType = "application/octet-stream"

// SealerConfig holds the rings of a Sealer. One at least is required.
type SealerConfig struct {
	// Sign is the ring whose first key signs: HMAC, or Ed25519 with its private part.
	Sign *Ring
	// Encrypt is the ring whose first key encrypts: AES.
	Encrypt *Ring
}

// Sealer signs and encrypts messages: a wire.Encoder. It is safe for concurrent use.
type Sealer struct{ cfg SealerConfig }

var _ wire.Encoder = (*Sealer)(nil)

// NewSealer returns a Sealer, or an error if a ring's first key cannot do its work.
func NewSealer(cfg SealerConfig) (*Sealer, error) {
	if cfg.Sign == nil && cfg.Encrypt == nil {
		return nil, errors.New("seal: SealerConfig: Sign or Encrypt is needed")
	}
	s := &Sealer{cfg}
	probe := wire.Message{ID: "probe", Topic: "probe"}
	if err := s.Encode(&probe); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return s, nil
}

// Encode implements wire.Encoder: it replaces the payload and the content type if it
// encrypts, and sets Signature and Encryption.
func (s *Sealer) Encode(m *wire.Message) error {
	if s.cfg.Encrypt != nil {
		key, err := s.cfg.Encrypt.first()
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		gcm, err := key.gcm()
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		sealed := *m
		sealed.Encryption = url.Values{"alg": {key.Algorithm}, "kid": {key.ID}, "type": {m.ContentType}}.Encode()
		sealed.Payload = gcm.Seal(nil, nil, m.Payload, digest(sealed, nil))
		sealed.ContentType = sealedType
		*m = sealed
	}
	if s.cfg.Sign == nil {
		return nil
	}
	key, err := s.cfg.Sign.first()
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	fields := url.Values{"alg": {key.Algorithm}, "kid": {key.ID}}
	signature, err := key.sign(digest(*m, []byte(fields.Encode())))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	fields.Set("sig", base64.RawURLEncoding.EncodeToString(signature))
	m.Signature = fields.Encode()
	return nil
}

// OpenerConfig holds the rings of an Opener. One at least is required.
type OpenerConfig struct {
	// Verify is the ring with the keys of all signatures to accept: HMAC or Ed25519,
	// of which the public part is enough.
	Verify *Ring
	// Decrypt is the ring with the keys of all encrypted messages to read: AES.
	Decrypt *Ring
	// AllowUnsigned accepts messages without a signature, for the time in which not
	// all producers sign. A signature that is there is checked.
	AllowUnsigned bool
	// AllowUnencrypted accepts messages that are not encrypted, likewise.
	AllowUnencrypted bool
}

// Opener checks and decrypts messages: a wire.Decoder whose errors match
// wire.ErrSignature. It is safe for concurrent use.
type Opener struct{ cfg OpenerConfig }

var _ wire.Decoder = (*Opener)(nil)

// NewOpener returns an Opener.
func NewOpener(cfg OpenerConfig) (*Opener, error) {
	if cfg.Verify == nil && cfg.Decrypt == nil {
		return nil, errors.New("seal: OpenerConfig: Verify or Decrypt is needed")
	}
	return &Opener{cfg}, nil
}

// Decode implements wire.Decoder: it checks the signature, then decrypts payload and
// content type. After an error m is as it was. Errors hold no part of the message.
func (o *Opener) Decode(m *wire.Message) error {
	if err := o.verify(*m); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrSignature, err)
	}
	if err := o.decrypt(m); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrSignature, err)
	}
	return nil
}

func (o *Opener) verify(m wire.Message) error {
	if o.cfg.Verify == nil {
		return nil
	}
	if m.Signature == "" {
		if o.cfg.AllowUnsigned {
			return nil
		}
		return errors.New("the message is not signed")
	}
	fields, key, err := o.cfg.Verify.lookup(m.Signature)
	if err != nil {
		return fmt.Errorf("header %s: %w", wire.HeaderSignature, err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(fields.Get("sig"))
	if err != nil {
		return fmt.Errorf("header %s: sig: %w", wire.HeaderSignature, err)
	}
	signed := url.Values{"alg": {key.Algorithm}, "kid": {key.ID}}.Encode()
	if !key.verify(digest(m, []byte(signed)), signature) {
		return fmt.Errorf("the signature with key %q does not fit: id, type, version, topic, key, content type or payload was changed, or the key is another one", key.ID)
	}
	return nil
}

func (o *Opener) decrypt(m *wire.Message) error {
	if o.cfg.Decrypt == nil {
		if m.Encryption != "" {
			return errors.New("the message is encrypted; set OpenerConfig.Decrypt")
		}
		return nil
	}
	if m.Encryption == "" {
		if o.cfg.AllowUnencrypted {
			return nil
		}
		return errors.New("the message is not encrypted")
	}
	fields, key, err := o.cfg.Decrypt.lookup(m.Encryption)
	if err != nil {
		return fmt.Errorf("header %s: %w", wire.HeaderEncryption, err)
	}
	gcm, err := key.gcm()
	if err != nil {
		return fmt.Errorf("header %s: %w", wire.HeaderEncryption, err)
	}
	bound := *m
	bound.ContentType = fields.Get("type")
	payload, err := gcm.Open(nil, nil, m.Payload, digest(bound, nil))
	if err != nil {
		return fmt.Errorf("the payload cannot be decrypted with key %q: it or the fields that it is bound to were changed, or the key is another one", key.ID)
	}
	m.Payload, m.ContentType, m.Encryption = payload, bound.ContentType, ""
	return nil
}

// digest returns what a signature is over: all fields, each behind its length, so
// that nothing can move from one to the next. Without signed it is what an encrypted
// payload is bound to, and leaves out the payload.
func digest(m wire.Message, signed []byte) []byte {
	payload := sha256.Sum256(m.Payload)
	fields := [][]byte{[]byte("pulse-seal-1"), signed, []byte(m.ID), []byte(m.Type), []byte(strconv.Itoa(m.Version)), []byte(m.Topic), []byte(m.Key), []byte(m.ContentType), []byte(m.Encryption), payload[:]}
	if signed == nil {
		fields = fields[:len(fields)-1]
	}
	var b []byte
	for _, field := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
		b = append(b, field...)
	}
	return b
}

func (k Key) sign(data []byte) ([]byte, error) {
	switch {
	case k.Algorithm == HS256:
		mac := hmac.New(sha256.New, k.Secret)
		mac.Write(data)
		return mac.Sum(nil), nil
	case k.Algorithm == EdDSA && len(k.Private) > 0:
		return ed25519.Sign(k.Private, data), nil
	}
	return nil, fmt.Errorf("key %q (%s) cannot sign", k.ID, k.Algorithm)
}

func (k Key) verify(data, signature []byte) bool {
	switch k.Algorithm {
	case HS256:
		mac, err := k.sign(data)
		return err == nil && hmac.Equal(mac, signature)
	case EdDSA:
		return ed25519.Verify(k.Public, data, signature)
	}
	return false
}

func (k Key) gcm() (cipher.AEAD, error) {
	if k.Algorithm != A256GCM {
		return nil, fmt.Errorf("key %q (%s) cannot encrypt", k.ID, k.Algorithm)
	}
	block, err := aes.NewCipher(k.Secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
