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

// ImportSecret makes a handle that can do nothing but derive keys.
func (e *Engine) ImportSecret(ctx context.Context, ikm []byte) (keyengine.SecretKey, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	if err := form.CheckSecret(ikm); err != nil {
		return nil, err
	}
	raw := jsbridge.Bytes(ikm)
	// importKey gets a copy of the bytes before it returns.
	p, err := jsbridge.Invoke(e.fn.importKey, e.formats.raw, raw, e.hkdf, false, e.usages.deriveKey)
	js.CopyBytesToJS(raw, make([]byte, len(ikm)))
	if err != nil {
		return nil, fail("importing a secret", err)
	}
	handle, err := jsbridge.Await(ctx, p)
	if err != nil {
		return nil, fail("importing a secret", err)
	}
	return &secretKey{handle}, nil
}

// RewrapSecret unwraps a secret as GenerateSecrets had it: as an extractable
// AES-256 key, which never encrypts and is dropped when the call returns.
func (e *Engine) RewrapSecret(ctx context.Context, wrapped []byte, from keyengine.Target, to ...keyengine.Target) ([][]byte, error) {
	under, err := targetKeys(to)
	if err != nil {
		return nil, err
	}
	if err := form.CheckWrappedSecret(wrapped); err != nil {
		return nil, err
	}
	secret, err := e.unwrap(ctx, e.formats.raw, wrapped, from.Key, from.AAD, e.aes256, true, e.usages.encrypt)
	if err != nil {
		return nil, fmt.Errorf("wrapped secret: %w", err)
	}
	return e.wrapSecret(ctx, secret, under, to)
}

// rewrapChunk bounds how many extractable handles RewrapKeys has at once. Each
// chunk is two awaits.
const rewrapChunk = 250

// RewrapKeys carries keys from one ciphertext to another as what unwrapKey
// calls an HMAC key in the format "raw": a string of bytes of any length. It is
// extractable, computes nothing, and is dropped with its chunk.
//
// Taken as PKCS #8, keys that this browser cannot import would stop it: those of
// an algorithm that it lacks, and in WebKitGTK 2.50 about one in 200 on
// Curve25519 that were made elsewhere (see leadingByte), as if they had been tampered with. A vault
// from another browser could then not change its passphrase. It would also
// take twice as long for ES256, in WebKitGTK twelve times, and each browser would decide
// whether to write a key back as it was read.
func (e *Engine) RewrapKeys(ctx context.Context, ops ...keyengine.RewrapOp) ([][]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	for i := range ops {
		for _, key := range []keyengine.AEADKey{ops[i].From.Key, ops[i].To.Key} {
			if _, err := asAEAD(key); err != nil {
				return nil, err
			}
		}
	}
	if err := form.CheckRewrap(ops); err != nil {
		return nil, err
	}
	out := make([][]byte, 0, len(ops))
	for start := 0; start < len(ops); start += rewrapChunk {
		chunk := ops[start:min(start+rewrapChunk, len(ops))]
		wrapped, err := e.rewrapChunk(ctx, chunk)
		if at, ok := errors.AsType[*keyengine.OpenError](err); ok {
			return nil, &keyengine.OpenError{Index: start + at.Index}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, wrapped...)
	}
	return out, nil
}

func (e *Engine) rewrapChunk(ctx context.Context, ops []keyengine.RewrapOp) ([][]byte, error) {
	promises, err := e.unwrapAll(ops)
	if err != nil {
		return nil, fail("unwrapping", err)
	}
	handles, err := all(ctx, promises)
	if err != nil {
		return nil, firstToFail(ctx, promises, err)
	}
	nonces := make([][]byte, len(ops))
	if promises, err = e.wrapAll(ops, handles, nonces); err != nil {
		return nil, fail("wrapping", err)
	}
	results, err := all(ctx, promises)
	if err != nil {
		return nil, fail("wrapping", err)
	}
	out := make([][]byte, len(ops))
	for i, op := range ops {
		out[i] = sealed(nonces[i], results(i), form.PKCS8Size(op.Alg))
	}
	return out, nil
}

func (e *Engine) unwrapAll(ops []keyengine.RewrapOp) ([]any, error) {
	return e.begin(len(ops), func(i int) (js.Value, error) {
		op := &ops[i]
		nonce, body, _ := form.Split(op.Wrapped)
		return jsbridge.Invoke(e.fn.unwrapKey, e.formats.raw, e.hot.data.Lend(body), op.From.Key.(*aeadKey).handle,
			e.hot.gcm(nonce, op.From.AAD), e.hmac, true, e.usages.sign)
	})
}

func (e *Engine) wrapAll(ops []keyengine.RewrapOp, handles func(i int) js.Value, nonces [][]byte) ([]any, error) {
	return e.begin(len(ops), func(i int) (js.Value, error) {
		op := &ops[i]
		nonces[i] = newNonce()
		return jsbridge.Invoke(e.fn.wrapKey, e.formats.raw, handles(i), op.To.Key.(*aeadKey).handle, e.hot.gcm(nonces[i], op.To.AAD))
	})
}
