// Package enginetest is the conformance suite of [keyengine.Engine]: whatever
// the contract promises, for every engine, in ordinary tests and in browsers.
//
// It needs no file and no second process, so that a test binary for js/wasm
// can run it in a page.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Test runs the suite on e, which must offer every algorithm.
func Test(t *testing.T, e keyengine.Engine) {
	s := &suite{e}
	t.Run("algorithms", s.algorithms)
	t.Run("self-test", s.selfTest)
	t.Run("application keys", func(t *testing.T) {
		for _, alg := range allAlgorithms {
			t.Run(string(alg), func(t *testing.T) { s.applicationKey(t, alg) })
		}
	})
	t.Run("wrapped form", s.wrappedForm)
	t.Run("fixtures", s.fixtures)
	t.Run("verify", s.verify)
	t.Run("agree", s.agree)
	t.Run("device key", s.deviceKey)
	t.Run("secrets", s.secrets)
	t.Run("imported secret", s.importSecret)
	t.Run("rewrapped secret", s.rewrapSecret)
	t.Run("rewrapped keys", s.rewrapKeys)
	t.Run("many rewrapped keys", s.rewrapMany)
	t.Run("seal and open", s.sealOpen)
	t.Run("foreign handles", s.foreignHandles)
	t.Run("context", s.contextDone)
	t.Run("concurrency", s.concurrency)
}

var allAlgorithms = []keyengine.Alg{keyengine.ES256, keyengine.EdDSA, keyengine.X25519}

type suite struct{ e keyengine.Engine }

func (s *suite) algorithms(t *testing.T) {
	for range 2 { // the second answer may come from a cache
		if got := s.e.Algorithms(t.Context()); !slices.Equal(got, allAlgorithms) {
			t.Fatalf("algorithms %v, wanted %v", got, allAlgorithms)
		}
	}
}

func (s *suite) selfTest(t *testing.T) {
	checks := s.e.SelfTest(t.Context())
	for _, c := range checks {
		if c.Err != nil {
			t.Errorf("%s: %v", c.Name, c.Err)
		}
	}
	if len(checks) < 9 {
		t.Errorf("%d checks, wanted 9", len(checks))
	}
}

// The helpers below fail the test instead of returning an error.

func (s *suite) deviceHandle(t *testing.T) keyengine.AEADKey {
	t.Helper()
	return must(s.e.GenerateDeviceKey(t.Context()))(t)
}

func (s *suite) generate(t *testing.T, alg keyengine.Alg, kek keyengine.AEADKey, aad []byte) keyengine.Generated {
	t.Helper()
	return must(s.e.GenerateKey(t.Context(), alg, kek, func([]byte) []byte { return aad }))(t)
}

// newKey makes a key and its handle.
func (s *suite) newKey(t *testing.T, alg keyengine.Alg) (public []byte, key keyengine.PrivateKey) {
	t.Helper()
	kek := s.deviceHandle(t)
	g := s.generate(t, alg, kek, []byte("aad"))
	return g.Public, must(s.e.UnwrapKey(t.Context(), alg, g.Wrapped, kek, []byte("aad")))(t)
}

func (s *suite) newSecret(t *testing.T) keyengine.SecretKey {
	t.Helper()
	under := keyengine.Target{Key: s.deviceHandle(t), AAD: []byte("aad")}
	wrapped := must(s.e.GenerateSecrets(t.Context(), under))(t)
	return must(s.e.UnwrapSecret(t.Context(), wrapped[0], under))(t)
}

func (s *suite) sealOne(t *testing.T, key keyengine.AEADKey, aad, plaintext []byte) []byte {
	t.Helper()
	op := keyengine.SealOp{Key: key, Nonce: nonce(1), AAD: aad, Plaintext: plaintext}
	return must(s.e.Seal(t.Context(), op))(t)[0]
}

func (s *suite) openOne(ctx context.Context, key keyengine.AEADKey, aad, sealed []byte) ([]byte, error) {
	opened, err := s.e.Open(ctx, keyengine.OpenOp{Key: key, AAD: aad, Sealed: sealed})
	if err != nil {
		return nil, err
	}
	return opened[0], nil
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

func wantErr(t *testing.T, what string, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Errorf("%s: error %v, wanted %v", what, err, wanted)
	}
}

// nonce returns a nonce that differs for different i; keys in this suite are
// used for one test.
func nonce(i byte) (n [keyengine.NonceSize]byte) {
	n[0] = i
	return n
}

// flipped returns b with one bit of byte i changed; a negative i counts from the end.
func flipped(b []byte, i int) []byte {
	c := bytes.Clone(b)
	if i < 0 {
		i += len(c)
	}
	c[i] ^= 1
	return c
}
