// Package kat runs the known-answer tests of an engine: answers printed in
// standards, which no two independent implementations get wrong in the same way.
//
//	ES256         RFC 6979 appendix A.2.5, SHA-256, message "sample"
//	EdDSA         RFC 8032 section 7.1, test 2
//	X25519        RFC 7748 section 6.1
//	HKDF-SHA-256  RFC 5869 appendix A.1
//	AES-256-GCM   McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16
//	SHA-384       FIPS 180-4, the example "abc"
//
// The keys are the standards' own, printed for all to see. But for an [Importer],
// nothing takes key bytes into an engine except what users bring
// ([keyengine.Engine.ImportSecret]), and no engine exports one.
package kat

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Importer is what an engine lends to the tests.
type Importer interface {
	ImportPrivate(ctx context.Context, alg keyengine.Alg, pkcs8 []byte) (keyengine.PrivateKey, error)
	ImportIKM(ctx context.Context, raw []byte) (keyengine.SecretKey, error) // of any length
	ImportAEAD(ctx context.Context, raw []byte) (keyengine.AEADKey, error)
	SHA384(ctx context.Context, message []byte) ([]byte, error)
}

var errAnswer = errors.New("answer is not the known one")

type tester struct {
	keyengine.Engine
	Importer
}

// Run runs every test. A test of an algorithm that is absent here reports
// ErrUnsupported.
func Run(ctx context.Context, e keyengine.Engine, imp Importer) []keyengine.Check {
	t := tester{e, imp}
	tests := []struct {
		name string
		run  func(context.Context) error
	}{
		{"ES256 verify", t.verifyES256},
		{"ES256 sign", t.signES256},
		{"EdDSA verify", t.verifyEdDSA},
		{"EdDSA sign", t.signEdDSA},
		{"X25519", t.x25519},
		{"HKDF-SHA-256", t.hkdf},
		{"AES-256-GCM seal", t.seal},
		{"AES-256-GCM open", t.open},
		{"SHA-384", t.sha384},
	}
	// At the same time: in a browser each test is a handful of round trips to
	// another thread, and waiting for them one by one is most of the time.
	checks := make([]keyengine.Check, len(tests))
	var all sync.WaitGroup
	for i, test := range tests {
		all.Go(func() {
			checks[i] = keyengine.Check{Name: test.name, Err: test.run(ctx)}
		})
	}
	all.Wait()
	return checks
}

// same compares an answer with the known one. It reports neither: an answer
// that is wrong may be anything.
func same(got, wanted []byte) error {
	if !bytes.Equal(got, wanted) {
		return errAnswer
	}
	return nil
}

// verify wants the known signature accepted and a changed one refused: a
// platform that accepts everything must not pass.
func (t tester) verify(ctx context.Context, alg keyengine.Alg, public, message, signature []byte) error {
	ok, err := t.Verify(ctx, alg, public, message, signature)
	if err != nil {
		return err
	}
	changed := bytes.Clone(signature)
	changed[len(changed)-33] ^= 1
	bad, err := t.Verify(ctx, alg, public, message, changed)
	if err != nil {
		return err
	}
	if !ok || bad {
		return errAnswer
	}
	return nil
}

func (t tester) verifyES256(ctx context.Context) error {
	return t.verify(ctx, keyengine.ES256, es256Public, es256Message, es256Signature)
}

func (t tester) signES256(ctx context.Context) error {
	key, err := t.ImportPrivate(ctx, keyengine.ES256, es256PKCS8)
	if err != nil {
		return err
	}
	signature, err := t.Sign(ctx, key, es256Message)
	if err != nil {
		return err
	}
	return t.verify(ctx, keyengine.ES256, es256Public, es256Message, signature)
}

func (t tester) verifyEdDSA(ctx context.Context) error {
	return t.verify(ctx, keyengine.EdDSA, eddsaPublic, eddsaMessage, eddsaSignature)
}

func (t tester) signEdDSA(ctx context.Context) error {
	key, err := t.ImportPrivate(ctx, keyengine.EdDSA, eddsaPKCS8)
	if err != nil {
		return err
	}
	signature, err := t.Sign(ctx, key, eddsaMessage)
	if err != nil {
		return err
	}
	return same(signature, eddsaSignature)
}

func (t tester) x25519(ctx context.Context) error {
	key, err := t.ImportPrivate(ctx, keyengine.X25519, x25519PKCS8)
	if err != nil {
		return err
	}
	got, err := t.Agree(ctx, key, x25519Peer, hkdfSalt, hkdfInfo, 32)
	if err != nil {
		return err
	}
	wanted, err := hkdf.Key(sha256.New, x25519Shared, hkdfSalt, string(hkdfInfo), 32)
	if err != nil {
		return err
	}
	return same(got, wanted)
}

// hkdf cannot see the derived key, so it lets it open what the known key sealed.
func (t tester) hkdf(ctx context.Context) error {
	secret, err := t.ImportIKM(ctx, hkdfIKM)
	if err != nil {
		return err
	}
	derived, err := t.DeriveAEAD(ctx, secret, hkdfSalt, hkdfInfo)
	if err != nil {
		return err
	}
	known, err := t.ImportAEAD(ctx, hkdfOKM)
	if err != nil {
		return err
	}
	sealed, err := t.Seal(ctx, keyengine.SealOp{Key: known, Nonce: [keyengine.NonceSize]byte(gcmNonce), Plaintext: gcmPlaintext})
	if err != nil {
		return err
	}
	opened, err := t.Open(ctx, keyengine.OpenOp{Key: derived, Sealed: sealed[0]})
	if err != nil {
		return fmt.Errorf("derived key: %w", err)
	}
	return same(opened[0], gcmPlaintext)
}

func (t tester) seal(ctx context.Context) error {
	key, err := t.ImportAEAD(ctx, gcmKey)
	if err != nil {
		return err
	}
	sealed, err := t.Seal(ctx, keyengine.SealOp{Key: key, Nonce: [keyengine.NonceSize]byte(gcmNonce), AAD: gcmAAD, Plaintext: gcmPlaintext})
	if err != nil {
		return err
	}
	return same(sealed[0], gcmSealed())
}

func (t tester) open(ctx context.Context) error {
	key, err := t.ImportAEAD(ctx, gcmKey)
	if err != nil {
		return err
	}
	opened, err := t.Open(ctx, keyengine.OpenOp{Key: key, AAD: gcmAAD, Sealed: gcmSealed()})
	if err != nil {
		return err
	}
	changed := gcmSealed()
	changed[len(changed)-1] ^= 1
	if _, err := t.Open(ctx, keyengine.OpenOp{Key: key, AAD: gcmAAD, Sealed: changed}); !errors.Is(err, keyengine.ErrOpen) {
		return errAnswer
	}
	return same(opened[0], gcmPlaintext)
}

func (t tester) sha384(ctx context.Context) error {
	digest, err := t.SHA384(ctx, []byte("abc"))
	if err != nil {
		return err
	}
	return same(digest, abcSHA384)
}
