//go:build js && wasm

package webcrypto

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/form"
)

func (e *Engine) applicationOf(alg keyengine.Alg) (application, error) {
	a, ok := e.application[alg]
	if !ok {
		return a, fmt.Errorf("algorithm %q: %w", alg, keyengine.ErrUnsupported)
	}
	return a, nil
}

// maxTries bounds how often GenerateKey begins anew. It does so for the keys that
// leadingByte is about, at most 1 in 32, so nine in a row are the work of something else.
const maxTries = 9

// errUnusable means that a generated key did not survive being wrapped, or would not
// in another browser.
var errUnusable = errors.New("generated key does not come back from its wrapped form")

// GenerateKey makes an application key, wraps it under kek, and uses it once
// from its wrapped form: a key that a caller hears of can be unwrapped here, and
// wherever a backup of it is restored.
func (e *Engine) GenerateKey(ctx context.Context, alg keyengine.Alg, kek keyengine.AEADKey, aad func(public []byte) []byte) (keyengine.Generated, error) {
	if err := done(ctx); err != nil {
		return keyengine.Generated{}, err
	}
	under, err := asAEAD(kek)
	if err != nil {
		return keyengine.Generated{}, err
	}
	a, err := e.applicationOf(alg)
	if err != nil {
		return keyengine.Generated{}, err
	}
	for try := 1; ; try++ {
		g, err := e.tryGenerate(ctx, alg, a, under, aad)
		if err == nil {
			return g, nil
		}
		again := errors.Is(err, errUnusable) || jsbridge.ErrorName(err) == "OperationError"
		if !again || try == maxTries {
			return keyengine.Generated{}, err
		}
	}
}

func (e *Engine) tryGenerate(ctx context.Context, alg keyengine.Alg, a application, kek *aeadKey, aad func(public []byte) []byte) (g keyengine.Generated, err error) {
	pair, err := jsbridge.InvokeAwait(ctx, e.fn.generateKey, a.key, true, a.generate)
	if err != nil {
		return g, fail(fmt.Sprintf("generating a key for %s", alg), err)
	}
	public, err := jsbridge.InvokeAwait(ctx, e.fn.exportKey, e.formats.raw, pair.Get("publicKey"))
	if err != nil {
		return g, fail("exporting the public key", err)
	}
	g.Public = jsbridge.GoBytes(public)
	if alg != keyengine.ES256 {
		if first, err := e.leadingByte(ctx, pair.Get("privateKey")); err != nil || first == 0 {
			return g, unusable(err)
		}
	}
	bound := aad(g.Public)
	nonce := newNonce()
	wrapped, err := jsbridge.InvokeAwait(ctx, e.fn.wrapKey,
		e.formats.pkcs8, pair.Get("privateKey"), kek.handle, e.gcmParams(nonce, bound))
	if err != nil {
		return g, fail("wrapping the private key", err)
	}
	g.Wrapped = sealed(nonce, wrapped, form.PKCS8Size(alg))
	return g, e.checkPair(ctx, alg, g, kek, bound)
}

// checkPair unwraps a new key and tries it on its public key: the pairwise
// consistency test of NIST SP 800-56A section 5.6.2.1.4, and for signatures
// of FIPS 140-3 IG 10.3.A.
func (e *Engine) checkPair(ctx context.Context, alg keyengine.Alg, g keyengine.Generated, kek *aeadKey, aad []byte) error {
	key, err := e.UnwrapKey(ctx, alg, g.Wrapped, kek, aad)
	if err != nil {
		return unusable(err)
	}
	if alg == keyengine.X25519 {
		basePoint := append([]byte{9}, make([]byte, 31)...)
		point, err := e.sharedPoint(ctx, key.(*privateKey), basePoint)
		if err != nil || !bytes.Equal(point, g.Public) {
			return unusable(err)
		}
		return nil
	}
	message := []byte("pairwise consistency")
	signature, err := e.Sign(ctx, key, message)
	if err != nil {
		return unusable(err)
	}
	if ok, err := e.Verify(ctx, alg, g.Public, message, signature); err != nil || !ok {
		return unusable(err)
	}
	return nil
}

// unusable adds errUnusable to err, which may be nil. It hides err, because a
// key that does not open has not been tampered with: it was made just now.
// What the end of the context or a missing algorithm caused stays visible.
func unusable(err error) error {
	for _, hidden := range []error{keyengine.ErrOpen, keyengine.ErrPublicKey} {
		if errors.Is(err, hidden) {
			return fmt.Errorf("%w: %v", errUnusable, err)
		}
	}
	if err != nil {
		return err
	}
	return errUnusable
}

// UnwrapKey makes the non-extractable handle of a wrapped application key.
func (e *Engine) UnwrapKey(ctx context.Context, alg keyengine.Alg, wrapped []byte, kek keyengine.AEADKey, aad []byte) (keyengine.PrivateKey, error) {
	a, err := e.applicationOf(alg)
	if err != nil {
		return nil, err
	}
	if err := form.CheckWrappedKey(alg, wrapped); err != nil {
		return nil, err
	}
	handle, err := e.unwrap(ctx, e.formats.pkcs8, wrapped, kek, aad, a.key, false, a.private)
	if err != nil {
		return nil, fmt.Errorf("wrapped %s key: %w", alg, err)
	}
	return &privateKey{alg: alg, handle: handle}, nil
}

// unwrap is unwrapKey. An extractable handle must not outlive the caller's call.
func (e *Engine) unwrap(ctx context.Context, format js.Value, wrapped []byte, kek keyengine.AEADKey, aad []byte, algorithm js.Value, extractable bool, usages js.Value) (js.Value, error) {
	if err := done(ctx); err != nil {
		return js.Undefined(), err
	}
	under, err := asAEAD(kek)
	if err != nil {
		return js.Undefined(), err
	}
	nonce, body, err := form.Split(wrapped)
	if err != nil {
		return js.Undefined(), err
	}
	handle, err := jsbridge.InvokeAwait(ctx, e.fn.unwrapKey,
		format, jsbridge.Bytes(body), under.handle, e.gcmParams(nonce, aad), algorithm, extractable, usages)
	if err != nil {
		return js.Undefined(), failOpen("unwrapping", err)
	}
	return handle, nil
}

// Sign signs in one round trip.
func (e *Engine) Sign(ctx context.Context, key keyengine.PrivateKey, message []byte) ([]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	s, err := e.StartSign(key, message)
	if err != nil {
		return nil, err
	}
	return s.Wait(ctx)
}

// StartSign begins a round trip.
func (e *Engine) StartSign(key keyengine.PrivateKey, message []byte) (keyengine.Signing, error) {
	k, err := asPrivate(key)
	if err != nil {
		return nil, err
	}
	params := e.application[k.alg].sign
	if params.IsUndefined() {
		return nil, fmt.Errorf("private key is for %s, which does not sign: %w", k.alg, keyengine.ErrHandle)
	}
	if err := e.checkMessage(k.alg, message); err != nil {
		return nil, err
	}
	e.hot.Lock()
	p, err := jsbridge.Invoke(e.fn.sign, params, k.handle, e.hot.data.Lend(message))
	e.hot.Unlock()
	if err != nil {
		return nil, fail("signing", err)
	}
	pending, err := jsbridge.Start(p)
	if err != nil {
		return nil, fail("signing", err)
	}
	return signing{pending}, nil
}

type signing struct{ jsbridge.Pending }

func (s signing) Wait(ctx context.Context) ([]byte, error) {
	result, err := s.Pending.Wait(ctx)
	if err != nil {
		return nil, fail("signing", err)
	}
	return jsbridge.AppendBytes(make([]byte, 0, keyengine.SignatureSize), result), nil
}

// Verify verifies: ES256 in two round trips, EdDSA without the browser (see
// form.VerifyEdDSA).
func (e *Engine) Verify(ctx context.Context, alg keyengine.Alg, public, message, signature []byte) (bool, error) {
	if err := done(ctx); err != nil {
		return false, err
	}
	if err := form.CheckPublic(alg, public); err != nil {
		return false, err
	}
	switch alg {
	case keyengine.EdDSA:
		return form.VerifyEdDSA(public, message, signature), nil
	case keyengine.ES256:
		return e.verifyES256(ctx, public, message, signature)
	}
	return false, fmt.Errorf("%s does not sign: %w", alg, keyengine.ErrUnsupported)
}

func (e *Engine) verifyES256(ctx context.Context, public, message, signature []byte) (bool, error) {
	if len(signature) != keyengine.SignatureSize {
		return false, nil
	}
	key, err := e.importPublic(ctx, keyengine.ES256, public, e.usages.verify)
	if err != nil {
		return false, err
	}
	ok, err := jsbridge.InvokeAwait(ctx, e.fn.verify, e.application[keyengine.ES256].sign, key, jsbridge.Bytes(signature), jsbridge.Bytes(message))
	if err != nil {
		return false, fail("verifying", err)
	}
	return ok.Bool(), nil
}

func (e *Engine) importPublic(ctx context.Context, alg keyengine.Alg, public []byte, usages js.Value) (js.Value, error) {
	key, err := jsbridge.InvokeAwait(ctx, e.fn.importKey,
		e.formats.raw, jsbridge.Bytes(public), e.application[alg].key, true, usages)
	if err != nil {
		return js.Undefined(), failPublic(alg, err)
	}
	return key, nil
}

// Agree derives bytes from the shared point, which passes through this
// module's memory (see the package comment).
func (e *Engine) Agree(ctx context.Context, key keyengine.PrivateKey, peer, salt, info []byte, length int) ([]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	k, err := asPrivate(key)
	if err != nil {
		return nil, err
	}
	if k.alg != keyengine.X25519 {
		return nil, fmt.Errorf("private key is for %s, wanted %s: %w", k.alg, keyengine.X25519, keyengine.ErrHandle)
	}
	if err := form.CheckPublic(keyengine.X25519, peer); err != nil {
		return nil, err
	}
	if err := form.CheckOKM(length); err != nil {
		return nil, err
	}
	shared, err := e.sharedPoint(ctx, k, peer)
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	return hkdf.Key(sha256.New, shared, salt, string(info), length)
}

// sharedPoint returns X25519(key, peer). Browsers refuse zero by themselves;
// it is compared again because not all of them always did.
func (e *Engine) sharedPoint(ctx context.Context, k *privateKey, peer []byte) ([]byte, error) {
	public, err := e.importPublic(ctx, keyengine.X25519, form.CanonicalU(peer), e.usages.none)
	if err != nil {
		return nil, err
	}
	params := e.createObject.Invoke(e.x25519)
	params.Set("public", public)
	bits, err := jsbridge.InvokeAwait(ctx, e.fn.deriveBits, params, k.handle, 256)
	if err != nil {
		return nil, failPublic(keyengine.X25519, err)
	}
	shared := jsbridge.AppendBytes(make([]byte, 0, 32), bits)
	if subtle.ConstantTimeCompare(shared, make([]byte, 32)) == 1 {
		return nil, fmt.Errorf("X25519 public key is of small order: %w", keyengine.ErrPublicKey)
	}
	return shared, nil
}
