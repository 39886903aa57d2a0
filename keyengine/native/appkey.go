package native

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/form"
)

// GenerateKey makes an application key and wraps it under kek.
func (e *Engine) GenerateKey(ctx context.Context, alg keyengine.Alg, kek keyengine.AEADKey, aad func(public []byte) []byte) (keyengine.Generated, error) {
	if err := done(ctx); err != nil {
		return keyengine.Generated{}, err
	}
	under, err := asAEAD(kek)
	if err != nil {
		return keyengine.Generated{}, err
	}
	key, err := e.newPrivate(alg)
	if err != nil {
		return keyengine.Generated{}, err
	}
	public, err := key.public()
	if err != nil {
		return keyengine.Generated{}, err
	}
	der, err := key.pkcs8()
	if err != nil {
		return keyengine.Generated{}, err
	}
	nonce, err := e.random.draw(keyengine.NonceSize)
	if err != nil {
		return keyengine.Generated{}, err
	}
	return keyengine.Generated{Public: public, Wrapped: under.seal(nonce, der, aad(public))}, nil
}

// UnwrapKey opens a wrapped application key.
func (e *Engine) UnwrapKey(ctx context.Context, alg keyengine.Alg, wrapped []byte, kek keyengine.AEADKey, aad []byte) (keyengine.PrivateKey, error) {
	if err := form.CheckWrappedKey(alg, wrapped); err != nil {
		return nil, err
	}
	der, err := e.openOne(ctx, kek, aad, wrapped)
	if err != nil {
		return nil, fmt.Errorf("wrapped %s key: %w", alg, err)
	}
	key, err := parsePKCS8(alg, der)
	if err != nil {
		return nil, fmt.Errorf("wrapped %s key: %w: %w", alg, err, keyengine.ErrOpen)
	}
	return key, nil
}

// RewrapKeys opens all, then seals all.
func (e *Engine) RewrapKeys(ctx context.Context, ops ...keyengine.RewrapOp) ([][]byte, error) {
	opens, seals := make([]keyengine.OpenOp, len(ops)), make([]keyengine.SealOp, len(ops))
	for i, op := range ops {
		if _, err := asAEAD(op.To.Key); err != nil {
			return nil, err
		}
		opens[i] = keyengine.OpenOp{Key: op.From.Key, AAD: op.From.AAD, Sealed: op.Wrapped}
	}
	if err := form.CheckRewrap(ops); err != nil {
		return nil, err
	}
	opened, err := e.Open(ctx, opens...)
	if err != nil {
		return nil, err
	}
	for i, op := range ops {
		nonce, err := e.random.draw(keyengine.NonceSize)
		if err != nil {
			return nil, err
		}
		seals[i] = keyengine.SealOp{Key: op.To.Key, Nonce: [keyengine.NonceSize]byte(nonce), AAD: op.To.AAD, Plaintext: opened[i]}
	}
	return e.Seal(ctx, seals...)
}

// Sign signs deterministically.
func (e *Engine) Sign(ctx context.Context, key keyengine.PrivateKey, message []byte) ([]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	s, err := e.StartSign(key, message)
	if err != nil {
		return nil, err
	}
	signature, _ := s.Wait(ctx)
	return signature, done(ctx)
}

// StartSign has nothing to wait for: it signs.
func (e *Engine) StartSign(key keyengine.PrivateKey, message []byte) (keyengine.Signing, error) {
	k, err := asPrivate(key, keyengine.ES256, keyengine.EdDSA)
	if err != nil {
		return nil, err
	}
	if k.alg == keyengine.EdDSA {
		return signed(ed25519.Sign(k.eddsa, message)), nil
	}
	digest := sha256.Sum256(message)
	der, err := k.es256.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	raw, err := fixedSize(der)
	return signed(raw), err
}

type signed []byte

func (s signed) Wait(context.Context) ([]byte, error) { return s, nil }

func (signed) Drop() {}

// fixedSize turns an ECDSA-Sig-Value (RFC 3279 section 2.2.3) into r ‖ s (RFC 7518 section 3.4).
func fixedSize(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, err
	}
	raw := make([]byte, keyengine.SignatureSize)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return raw, nil
}

// Verify verifies.
func (e *Engine) Verify(ctx context.Context, alg keyengine.Alg, public, message, signature []byte) (bool, error) {
	if err := done(ctx); err != nil {
		return false, err
	}
	if err := form.CheckPublic(alg, public); err != nil {
		return false, err
	}
	if alg == keyengine.X25519 {
		return false, fmt.Errorf("%s does not sign: %w", alg, keyengine.ErrUnsupported)
	}
	if alg == keyengine.EdDSA {
		return form.VerifyEdDSA(public, message, signature), nil
	}
	if len(signature) != keyengine.SignatureSize {
		return false, nil
	}
	return verifyES256(public, message, signature)
}

func verifyES256(public, message, signature []byte) (bool, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	if err != nil {
		return false, fmt.Errorf("%s public key is not on its curve: %w", keyengine.ES256, keyengine.ErrPublicKey)
	}
	digest := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, digest[:], r, s), nil
}

// Agree derives bytes from the shared point.
func (e *Engine) Agree(ctx context.Context, key keyengine.PrivateKey, peer, salt, info []byte, length int) ([]byte, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	k, err := asPrivate(key, keyengine.X25519)
	if err != nil {
		return nil, err
	}
	if err := form.CheckPublic(keyengine.X25519, peer); err != nil {
		return nil, err
	}
	if err := form.CheckOKM(length); err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(form.CanonicalU(peer))
	if err != nil {
		return nil, fmt.Errorf("X25519 public key: %w", keyengine.ErrPublicKey)
	}
	shared, err := k.x25519.ECDH(public) // fails if the point is zero (RFC 7748 section 6.1), and only then
	if err != nil {
		return nil, fmt.Errorf("X25519 public key is of small order: %w", keyengine.ErrPublicKey)
	}
	return hkdf.Key(sha256.New, shared, salt, string(info), length)
}
