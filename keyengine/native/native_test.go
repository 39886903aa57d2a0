package native

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/enginetest"
)

func TestEngine(t *testing.T) { enginetest.Test(t, New(nil)) }

// counter is a repeatable source of bytes that look random.
type counter struct{ n uint64 }

func (c *counter) Read(p []byte) (int, error) {
	c.n++
	block := sha256.Sum256(fmt.Append(nil, c.n))
	return copy(p, block[:]), nil
}

// TestRepeatable makes everything twice from the same randomness.
func TestRepeatable(t *testing.T) {
	run := func() (all [][]byte) {
		e := New(&counter{})
		kek, err := e.GenerateDeviceKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, alg := range e.Algorithms(t.Context()) {
			g, err := e.GenerateKey(t.Context(), alg, kek, bytes.Clone)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, g.Public, g.Wrapped)
			if alg == keyengine.X25519 {
				continue
			}
			key, err := e.UnwrapKey(t.Context(), alg, g.Wrapped, kek, g.Public)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := e.Sign(t.Context(), key, []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, signature)
		}
		return all
	}
	one, two := run(), run()
	for i := range one {
		if !bytes.Equal(one[i], two[i]) {
			t.Errorf("value %d differs", i)
		}
	}
}

// TestRandomnessFails wants an error, and no key, from a source that ends at
// any byte.
func TestRandomnessFails(t *testing.T) {
	kek, err := New(nil).GenerateDeviceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for size := range 32 + keyengine.NonceSize {
		e := New(io.LimitReader(&counter{}, int64(size)))
		if _, err := e.GenerateKey(t.Context(), keyengine.EdDSA, kek, bytes.Clone); err == nil {
			t.Errorf("key from %d random bytes", size)
		}
		e = New(io.LimitReader(&counter{}, int64(size)))
		if _, err := e.GenerateSecrets(t.Context(), keyengine.Target{Key: kek}); err == nil {
			t.Errorf("secret from %d random bytes", size)
		}
	}
	broken := New(bytes.NewReader(make([]byte, 32*100))) // zero is no ES256 key
	if _, err := broken.GenerateKey(t.Context(), keyengine.ES256, kek, bytes.Clone); err == nil {
		t.Error("ES256 key from zeros")
	}
}

// TestLeadingZero draws a seed that begins with a zero, and wants the next one (see newSeed).
func TestLeadingZero(t *testing.T) {
	next := bytes.Repeat([]byte{1}, 32)
	for _, alg := range []keyengine.Alg{keyengine.EdDSA, keyengine.X25519} {
		key, err := New(bytes.NewReader(append(make([]byte, 32), next...))).newPrivate(alg)
		if err != nil {
			t.Fatal(err)
		}
		der, err := key.pkcs8()
		if err != nil || !bytes.Equal(der[16:], next) {
			t.Errorf("%s key %x (%v)", alg, der, err)
		}
		if _, err := New(bytes.NewReader(make([]byte, 32*100))).newPrivate(alg); err == nil {
			t.Errorf("%s key from zeros", alg)
		}
	}
}

// TestPrinting wants no verb of fmt to show the inside of a key.
func TestPrinting(t *testing.T) {
	private, err := New(nil).newPrivate(keyengine.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := newAEAD(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{private, aead, &secretKey{[]byte("ikm")}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			if got := fmt.Sprintf(verb, key); !strings.HasPrefix(got, "native.") || !strings.HasSuffix(got, " key") {
				t.Errorf("%s prints %q", verb, got)
			}
		}
	}
}
