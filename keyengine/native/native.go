// Package native implements [keyengine.Engine] over the standard library.
//
// It runs the packages above keyengine in ordinary tests and in tools, and it is the
// other half of the differential tests of package webcrypto. Its keys lie in
// Go memory, opaque to Go code outside this package but not to a debugger: a
// browser must use webcrypto instead.
//
// The private half of an application key is wrapped in the form that a browser
// gives it, so that each engine opens what the other wrapped:
//
//	ES256   PKCS #8 (RFC 5958) with an ECPrivateKey (RFC 5915) that has the public key and no parameters, 138 bytes
//	EdDSA   PKCS #8 as in RFC 8410 section 7, without public key, 48 bytes
//	X25519  the same with the OID of X25519, 48 bytes
//
// Exactly these forms are accepted when a key is unwrapped.
package native

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Engine implements [keyengine.Engine].
type Engine struct{ random reader }

var _ keyengine.Engine = (*Engine)(nil)

// New returns an engine that takes every key and nonce from random, or from
// crypto/rand if random is nil. With a repeatable random all that the engine
// makes is repeatable, signatures included: they are deterministic (RFC 6979, RFC 8032).
func New(random io.Reader) *Engine {
	if random == nil {
		random = rand.Reader
	}
	return &Engine{random: reader{from: random}}
}

// reader lets several goroutines draw from one source of randomness.
type reader struct {
	mu   sync.Mutex
	from io.Reader
}

func (r *reader) draw(n int) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := make([]byte, n)
	if _, err := io.ReadFull(r.from, b); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	return b, nil
}

// Algorithms returns all of them.
func (e *Engine) Algorithms(context.Context) []keyengine.Alg {
	return []keyengine.Alg{keyengine.ES256, keyengine.EdDSA, keyengine.X25519}
}

// done returns the cause if ctx is done: each method asks once, before it
// begins, because nothing here takes long.
func done(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
