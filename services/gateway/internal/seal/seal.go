// Package seal makes texts that a client keeps for us and cannot read, change or make:
// the ids of tasks, the state of a call that waits for an answer.
//
// It knows no meaning of what it seals, and it keeps nothing but its keys.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	keyBytes = 32
	kidBytes = 4
	// maxText bounds what is opened: a header carries some of it.
	maxText = 64 << 10
	// maxLarge bounds what is opened of records.
	maxLarge = 4 << 20
	maxKeys  = 16
)

// ErrBroken is all that is said of a text that no key of ours has sealed.
var ErrBroken = errors.New("the text was not sealed here, or has been changed")

// Ring seals with its first key and opens with all of them.
type Ring struct{ keys []key }

type key struct {
	id    string
	aead  cipher.AEAD
	nonce []byte // key of the MAC that makes nonces
}

// Load reads a ring from a file: one base64 key of 32 bytes a line, the newest first.
// A file that is not there is made. Replicas share one file.
func Load(path string) (*Ring, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own path
	if errors.Is(err, os.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, err
		}
		text, err = os.ReadFile(path) //nolint:gosec // as above
	}
	if err != nil {
		return nil, fmt.Errorf("read the sealing keys: %w", err)
	}
	var raw [][]byte
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		decoded, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(decoded) != keyBytes {
			return nil, fmt.Errorf("%s: each line must be a base64 key of %d bytes", path, keyBytes)
		}
		raw = append(raw, decoded)
	}
	return New(raw...)
}

// create writes a new key whole or not at all; of two who do, one wins.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make a sealing key: %w", err)
	}
	raw := make([]byte, keyBytes)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	temporary := path + "." + rand.Text()
	if err := os.WriteFile(temporary, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600); err != nil {
		return fmt.Errorf("make a sealing key: %w", err)
	}
	defer os.Remove(temporary) //nolint:errcheck // its other name stays
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make a sealing key: %w", err)
	}
	return nil
}

// New returns a ring of raw keys of 32 bytes, the newest first.
func New(raw ...[]byte) (*Ring, error) {
	if len(raw) == 0 || len(raw) > maxKeys {
		return nil, fmt.Errorf("a ring has one to %d sealing keys, not %d", maxKeys, len(raw))
	}
	r := &Ring{}
	for _, secret := range raw {
		k, err := derive(secret)
		if err != nil {
			return nil, err
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

func derive(secret []byte) (key, error) {
	box, err := hkdf.Key(sha256.New, secret, nil, "agentcloud seal: box", chacha20poly1305.KeySize)
	if err != nil {
		return key{}, err
	}
	nonce, err := hkdf.Key(sha256.New, secret, nil, "agentcloud seal: nonce", sha256.Size)
	if err != nil {
		return key{}, err
	}
	aead, err := chacha20poly1305.NewX(box)
	if err != nil {
		return key{}, err
	}
	id := sha256.Sum256(append([]byte("agentcloud seal: id"), secret...))
	return key{encode(id[:kidBytes]), aead, nonce}, nil
}

// Seal returns "<kind>.<key id>.<sealed>". The same payload for the same purpose gives
// the same text: the nonce is a MAC of both (as in RFC 5297), so none comes twice.
func (r *Ring) Seal(kind, purpose string, payload []byte) string {
	k := r.keys[0]
	mac := hmac.New(sha256.New, k.nonce)
	mac.Write(bound(kind, purpose))
	mac.Write(payload)
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSizeX]
	return kind + "." + k.id + "." + encode(k.aead.Seal(nonce, nonce, payload, bound(kind, purpose)))
}

// Open returns the payload of a text of that kind and purpose, or ErrBroken.
func (r *Ring) Open(kind, purpose, text string) ([]byte, error) {
	return r.open(kind, purpose, text, maxText)
}

// OpenLarge is Open for a record of ours that others keep, and no client.
func (r *Ring) OpenLarge(kind, purpose, text string) ([]byte, error) {
	return r.open(kind, purpose, text, maxLarge)
}

func (r *Ring) open(kind, purpose, text string, most int) ([]byte, error) {
	parts := strings.Split(text, ".")
	if len(text) > most || len(parts) != 3 || parts[0] != kind || strings.ContainsAny(text, "\r\n") { // which base64 would skip
		return nil, ErrBroken
	}
	sealed, err := encoding.DecodeString(parts[2])
	if err != nil || len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, ErrBroken
	}
	for _, k := range r.keys {
		if k.id != parts[1] {
			continue
		}
		nonce, box := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
		if payload, err := k.aead.Open(nil, nonce, box, bound(kind, purpose)); err == nil {
			return payload, nil
		}
	}
	return nil, ErrBroken
}

// bound is what a text is for; no two pairs are the same bytes, as a kind has no dot.
func bound(kind, purpose string) []byte { return []byte(kind + "." + purpose + "\x00") }

// encoding is strict: one text, one reading.
var encoding = base64.RawURLEncoding.Strict()

func encode(b []byte) string { return encoding.EncodeToString(b) }
