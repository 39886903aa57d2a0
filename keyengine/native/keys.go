package native

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// A privateKey holds exactly one of the three keys.
type privateKey struct {
	alg    keyengine.Alg
	es256  *ecdsa.PrivateKey
	eddsa  ed25519.PrivateKey
	x25519 *ecdh.PrivateKey
}

func (k *privateKey) Alg() keyengine.Alg { return k.alg }

// An aeadKey keeps the expanded cipher only.
type aeadKey struct {
	gcm    cipher.AEAD
	device bool // may be exported to a store
}

func (*aeadKey) AEAD() {}

type secretKey struct{ ikm []byte }

func (*secretKey) Secret() {}

// storedKey is what a store holds of a device key.
type storedKey struct{ key *aeadKey }

// Format keeps fmt's verbs from printing the fields of a key.
func (k *privateKey) Format(s fmt.State, _ rune) { redact(s, "private key") }

// Format keeps fmt's verbs from printing the fields of a key.
func (k *aeadKey) Format(s fmt.State, _ rune) { redact(s, "AEAD key") }

// Format keeps fmt's verbs from printing the fields of a key.
func (k *secretKey) Format(s fmt.State, _ rune) { redact(s, "secret key") }

func redact(w io.Writer, what string) { io.WriteString(w, "native."+what) }

func newAEAD(raw []byte) (*aeadKey, error) {
	if len(raw) != 32 {
		return nil, fmt.Errorf("AES key of %d bytes, wanted 32", len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &aeadKey{gcm: gcm}, nil
}

// seal returns nonce ‖ ciphertext ‖ tag.
func (k *aeadKey) seal(nonce, plaintext, aad []byte) []byte {
	sealed := make([]byte, len(nonce), len(nonce)+len(plaintext)+k.gcm.Overhead())
	copy(sealed, nonce)
	return k.gcm.Seal(sealed, nonce, plaintext, aad)
}

func asAEAD(key keyengine.AEADKey) (*aeadKey, error) {
	if k, ok := key.(*aeadKey); ok && k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("AEAD key is a %T: %w", key, keyengine.ErrHandle)
}

func asPrivate(key keyengine.PrivateKey, wanted ...keyengine.Alg) (*privateKey, error) {
	k, ok := key.(*privateKey)
	if !ok || k == nil {
		return nil, fmt.Errorf("private key is a %T: %w", key, keyengine.ErrHandle)
	}
	if slices.Contains(wanted, k.alg) {
		return k, nil
	}
	return nil, fmt.Errorf("private key is for %s, wanted %s: %w", k.alg, wanted, keyengine.ErrHandle)
}

func asSecret(key keyengine.SecretKey) (*secretKey, error) {
	if k, ok := key.(*secretKey); ok && k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("secret key is a %T: %w", key, keyengine.ErrHandle)
}
