package native

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/form"
)

// GenerateDeviceKey makes a key that may be exported to a store.
func (e *Engine) GenerateDeviceKey(ctx context.Context) (keyengine.AEADKey, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	raw, err := e.random.draw(32)
	if err != nil {
		return nil, err
	}
	key, err := newAEAD(raw)
	if err != nil {
		return nil, err
	}
	key.device = true
	return key, nil
}

// Export returns an opaque value for a store in the memory of this process.
// Keys that DeriveAEAD made are refused.
func (e *Engine) Export(key keyengine.AEADKey) (any, error) {
	k, err := asAEAD(key)
	if err != nil {
		return nil, err
	}
	if !k.device {
		return nil, fmt.Errorf("key is not a device key: %w", keyengine.ErrHandle)
	}
	return storedKey{k}, nil
}

// Import takes back what Export returned.
func (e *Engine) Import(value any) (keyengine.AEADKey, error) {
	stored, ok := value.(storedKey)
	if !ok || stored.key == nil {
		return nil, fmt.Errorf("stored value is a %T: %w", value, keyengine.ErrHandle)
	}
	return stored.key, nil
}

// GenerateSecrets wraps one new secret under each target.
func (e *Engine) GenerateSecrets(ctx context.Context, targets ...keyengine.Target) ([][]byte, error) {
	secret, err := e.random.draw(keyengine.SecretSize)
	if err != nil {
		return nil, err
	}
	return e.wrapSecret(ctx, secret, targets)
}

func (e *Engine) wrapSecret(ctx context.Context, secret []byte, targets []keyengine.Target) ([][]byte, error) {
	ops := make([]keyengine.SealOp, len(targets))
	for i, t := range targets {
		nonce, err := e.random.draw(keyengine.NonceSize)
		if err != nil {
			return nil, err
		}
		ops[i] = keyengine.SealOp{Key: t.Key, Nonce: [keyengine.NonceSize]byte(nonce), AAD: t.AAD, Plaintext: secret}
	}
	return e.Seal(ctx, ops...)
}

// UnwrapSecret opens a wrapped secret.
func (e *Engine) UnwrapSecret(ctx context.Context, wrapped []byte, under keyengine.Target) (keyengine.SecretKey, error) {
	if err := form.CheckWrappedSecret(wrapped); err != nil {
		return nil, err
	}
	ikm, err := e.openOne(ctx, under.Key, under.AAD, wrapped)
	if err != nil {
		return nil, fmt.Errorf("wrapped secret: %w", err)
	}
	return &secretKey{ikm}, nil
}

// RewrapSecret opens a wrapped secret and seals it under each target.
func (e *Engine) RewrapSecret(ctx context.Context, wrapped []byte, from keyengine.Target, to ...keyengine.Target) ([][]byte, error) {
	for _, t := range to {
		if _, err := asAEAD(t.Key); err != nil {
			return nil, err
		}
	}
	secret, err := e.UnwrapSecret(ctx, wrapped, from)
	if err != nil {
		return nil, err
	}
	return e.wrapSecret(ctx, secret.(*secretKey).ikm, to)
}

// ImportSecret copies ikm.
func (e *Engine) ImportSecret(ctx context.Context, ikm []byte) (keyengine.SecretKey, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	if err := form.CheckSecret(ikm); err != nil {
		return nil, err
	}
	return &secretKey{bytes.Clone(ikm)}, nil
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
	raw, err := hkdf.Key(sha256.New, s.ikm, salt, string(info), 32)
	if err != nil {
		return nil, err
	}
	key, err := newAEAD(raw)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// Seal seals each op.
func (e *Engine) Seal(ctx context.Context, ops ...keyengine.SealOp) ([][]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	sealed := make([][]byte, len(ops))
	for i, op := range ops {
		key, err := asAEAD(op.Key)
		if err != nil {
			return nil, err
		}
		sealed[i] = key.seal(op.Nonce[:], op.Plaintext, op.AAD)
	}
	return sealed, nil
}

// Open opens each op, all or none. Handles are looked at before ciphertexts.
func (e *Engine) Open(ctx context.Context, ops ...keyengine.OpenOp) ([][]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	keys := make([]*aeadKey, len(ops))
	for i, op := range ops {
		var err error
		if keys[i], err = asAEAD(op.Key); err != nil {
			return nil, err
		}
	}
	opened := make([][]byte, len(ops))
	for i, op := range ops {
		nonce, body, err := form.Split(op.Sealed)
		if err == nil {
			opened[i], err = keys[i].gcm.Open([]byte{}, nonce, body, op.AAD)
		}
		if err != nil {
			return nil, &keyengine.OpenError{Index: i}
		}
	}
	return opened, nil
}

func (e *Engine) openOne(ctx context.Context, key keyengine.AEADKey, aad, sealed []byte) ([]byte, error) {
	opened, err := e.Open(ctx, keyengine.OpenOp{Key: key, AAD: aad, Sealed: sealed})
	if err != nil {
		return nil, err
	}
	return opened[0], nil
}
