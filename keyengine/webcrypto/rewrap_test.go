//go:build js && wasm

package webcrypto

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// TestRewrapForeignKeys rewraps keys that another browser may have made, enough of them to
// meet some that WebKitGTK 2.50 cannot import (see maxTries). Each arrives byte
// for byte.
func TestRewrapForeignKeys(t *testing.T) {
	const keys = 2 * 600
	e := newEngine(t)
	from := keyengine.Target{Key: must(e.GenerateDeviceKey(t.Context()))(t), AAD: []byte("from")}
	to := keyengine.Target{Key: must(e.GenerateDeviceKey(t.Context()))(t), AAD: []byte("to")}
	ders, seals := make([][]byte, keys), make([]keyengine.SealOp, keys)
	for i := range ders {
		ders[i] = foreignKey(t, i)
		seals[i] = keyengine.SealOp{Key: from.Key, Nonce: [keyengine.NonceSize]byte(newNonce()), AAD: from.AAD, Plaintext: ders[i]}
	}
	ops := make([]keyengine.RewrapOp, keys)
	for i, wrapped := range must(e.Seal(t.Context(), seals...))(t) {
		ops[i] = keyengine.RewrapOp{Alg: foreignAlgs[i%2], Wrapped: wrapped, From: from, To: to}
	}
	opens, unusable := make([]keyengine.OpenOp, keys), 0
	for i, wrapped := range must(e.RewrapKeys(t.Context(), ops...))(t) {
		opens[i] = keyengine.OpenOp{Key: to.Key, AAD: to.AAD, Sealed: wrapped}
		if _, err := e.UnwrapKey(t.Context(), ops[i].Alg, wrapped, to.Key, to.AAD); err != nil {
			unusable++
		}
	}
	for i, der := range must(e.Open(t.Context(), opens...))(t) {
		if !bytes.Equal(der, ders[i]) {
			t.Errorf("key %d has changed", i)
		}
	}
	t.Logf("%d of %d keys cannot be used in this browser", unusable, keys)
}

var foreignAlgs = [2]keyengine.Alg{keyengine.EdDSA, keyengine.X25519}

// foreignKey makes PKCS #8 by the standard library.
func foreignKey(t *testing.T, i int) []byte {
	if foreignAlgs[i%2] == keyengine.X25519 {
		return must(x509.MarshalPKCS8PrivateKey(must(ecdh.X25519().GenerateKey(rand.Reader))(t)))(t)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return must(x509.MarshalPKCS8PrivateKey(key))(t)
}

// must takes a result apart: must(f())(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
