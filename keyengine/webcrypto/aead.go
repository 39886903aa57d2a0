//go:build js && wasm

package webcrypto

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/form"
)

// GenerateDeviceKey makes a key that may be exported to a store.
func (e *Engine) GenerateDeviceKey(ctx context.Context) (keyengine.AEADKey, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	handle, err := jsbridge.InvokeAwait(ctx, e.fn.generateKey, e.aes256, false, e.usages.aead)
	if err != nil {
		return nil, fail("generating a device key", err)
	}
	return &aeadKey{handle: handle, device: true}, nil
}

// GenerateSecrets wraps one new secret under each target. The secret is born
// as an extractable AES-256 key, the one kind of key that is 32 bytes and that wrapKey
// gives as such; it never encrypts.
func (e *Engine) GenerateSecrets(ctx context.Context, targets ...keyengine.Target) ([][]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	under, err := targetKeys(targets)
	if err != nil {
		return nil, err
	}
	secret, err := jsbridge.InvokeAwait(ctx, e.fn.generateKey, e.aes256, true, e.usages.encrypt)
	if err != nil {
		return nil, fail("generating a secret", err)
	}
	return e.wrapSecret(ctx, secret, under, targets)
}

func targetKeys(targets []keyengine.Target) ([]*aeadKey, error) {
	keys := make([]*aeadKey, len(targets))
	for i, t := range targets {
		var err error
		if keys[i], err = asAEAD(t.Key); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// wrapSecret wraps an extractable AES-256 key under each target.
func (e *Engine) wrapSecret(ctx context.Context, secret js.Value, under []*aeadKey, targets []keyengine.Target) ([][]byte, error) {
	nonces, promises := make([][]byte, len(targets)), make([]any, len(targets))
	for i, t := range targets {
		var err error
		nonces[i] = newNonce()
		promises[i], err = jsbridge.Invoke(e.fn.wrapKey, e.formats.raw, secret, under[i].handle, e.gcmParams(nonces[i], t.AAD))
		if err != nil {
			return nil, fail("wrapping a secret", err)
		}
	}
	wrapped, err := jsbridge.All(ctx, promises)
	if err != nil {
		return nil, fail("wrapping a secret", err)
	}
	out := make([][]byte, len(targets))
	for i, nonce := range nonces {
		out[i] = sealed(nonce, wrapped.Index(i), keyengine.SecretSize)
	}
	return out, nil
}

// UnwrapSecret makes a handle that can do nothing but derive keys.
func (e *Engine) UnwrapSecret(ctx context.Context, wrapped []byte, under keyengine.Target) (keyengine.SecretKey, error) {
	if err := form.CheckWrappedSecret(wrapped); err != nil {
		return nil, err
	}
	handle, err := e.unwrap(ctx, e.formats.raw, wrapped, under.Key, under.AAD, e.hkdf, false, e.usages.deriveKey)
	if err != nil {
		return nil, fmt.Errorf("wrapped secret: %w", err)
	}
	return &secretKey{handle}, nil
}

// DeriveAEAD derives an AES-256-GCM key.
func (e *Engine) DeriveAEAD(ctx context.Context, secret keyengine.SecretKey, salt, info []byte) (keyengine.AEADKey, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	s, err := asSecret(secret)
	if err != nil {
		return nil, err
	}
	handle, err := jsbridge.InvokeAwait(ctx, e.fn.deriveKey, e.hkdfParams(salt, info), s.handle, e.aes256, false, e.usages.aead)
	if err != nil {
		return nil, fail("deriving a key", err)
	}
	return &aeadKey{handle: handle}, nil
}

// Seal seals all ops in one round trip.
func (e *Engine) Seal(ctx context.Context, ops ...keyengine.SealOp) ([][]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	for i := range ops {
		if _, err := asAEAD(ops[i].Key); err != nil {
			return nil, err
		}
	}
	promises, err := e.encryptAll(ops)
	if err != nil {
		return nil, fail("sealing", err)
	}
	results, err := all(ctx, promises)
	if err != nil {
		return nil, fail("sealing", err)
	}
	out := make([][]byte, len(ops))
	for i := range ops {
		out[i] = sealed(ops[i].Nonce[:], results(i), len(ops[i].Plaintext))
	}
	return out, nil
}

func (e *Engine) encryptAll(ops []keyengine.SealOp) ([]any, error) {
	return e.begin(len(ops), func(i int) (js.Value, error) {
		op := &ops[i]
		return jsbridge.Invoke(e.fn.encrypt, e.hot.gcm(op.Nonce[:], op.AAD), op.Key.(*aeadKey).handle, e.hot.data.Lend(op.Plaintext))
	})
}

// begin makes the requests 0 … n-1, which may use what is hot, and returns their promises.
func (e *Engine) begin(n int, request func(i int) (js.Value, error)) ([]any, error) {
	e.hot.Lock()
	defer e.hot.Unlock()
	promises := make([]any, n)
	for i := range promises {
		p, err := request(i)
		if err != nil {
			return nil, err
		}
		promises[i] = p
	}
	return promises, nil
}

// Open opens all ops in one round trip, all or none.
func (e *Engine) Open(ctx context.Context, ops ...keyengine.OpenOp) ([][]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	for i := range ops {
		if _, err := asAEAD(ops[i].Key); err != nil {
			return nil, err
		}
	}
	for i := range ops {
		if _, _, err := form.Split(ops[i].Sealed); err != nil {
			return nil, &keyengine.OpenError{Index: i}
		}
	}
	promises, err := e.decryptAll(ops)
	if err != nil {
		return nil, fail("opening", err)
	}
	results, err := all(ctx, promises)
	if err != nil {
		return nil, firstToFail(ctx, promises, err)
	}
	out := make([][]byte, len(ops))
	for i := range ops {
		n := len(ops[i].Sealed) - keyengine.NonceSize - keyengine.TagSize
		out[i] = jsbridge.AppendBytes(make([]byte, 0, n), results(i))
	}
	return out, nil
}

func (e *Engine) decryptAll(ops []keyengine.OpenOp) ([]any, error) {
	return e.begin(len(ops), func(i int) (js.Value, error) {
		op := &ops[i]
		nonce, body, _ := form.Split(op.Sealed)
		return jsbridge.Invoke(e.fn.decrypt, e.hot.gcm(nonce, op.AAD), op.Key.(*aeadKey).handle, e.hot.data.Lend(body))
	})
}

// all waits for the promises, and returns their values by index.
func all(ctx context.Context, promises []any) (func(i int) js.Value, error) {
	if len(promises) == 1 {
		value, err := jsbridge.Await(ctx, promises[0].(js.Value))
		return func(int) js.Value { return value }, err
	}
	values, err := jsbridge.All(ctx, promises)
	return values.Index, err
}

// firstToFail finds which of several decryptions failed: Promise.all rejects
// with the first in time and does not say which. err is what it rejected with.
func firstToFail(ctx context.Context, promises []any, err error) error {
	for i, p := range promises {
		if done(ctx) != nil {
			break
		}
		if _, one := jsbridge.Await(ctx, p.(js.Value)); one != nil {
			if errors.Is(failOpen("opening", one), keyengine.ErrOpen) {
				return &keyengine.OpenError{Index: i}
			}
			return fail("opening", one)
		}
	}
	return fail("opening", err)
}
