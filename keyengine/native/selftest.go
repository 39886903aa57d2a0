package native

import (
	"bytes"
	"context"
	"crypto/sha512"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/kat"
)

// SelfTest runs the known-answer tests.
func (e *Engine) SelfTest(ctx context.Context) []keyengine.Check {
	return kat.Run(ctx, e, importer{})
}

// importer takes key bytes in. Nothing outside the self-test, and builds with
// the tag kmstest, reaches it.
type importer struct{}

func (importer) ImportPrivate(_ context.Context, alg keyengine.Alg, pkcs8 []byte) (keyengine.PrivateKey, error) {
	key, err := parsePKCS8(alg, pkcs8)
	if err != nil {
		return nil, err
	}
	return key, nil
}

func (importer) ImportIKM(_ context.Context, raw []byte) (keyengine.SecretKey, error) {
	return &secretKey{bytes.Clone(raw)}, nil
}

func (importer) ImportAEAD(_ context.Context, raw []byte) (keyengine.AEADKey, error) {
	key, err := newAEAD(raw)
	if err != nil {
		return nil, err
	}
	return key, nil
}

func (importer) SHA384(_ context.Context, message []byte) ([]byte, error) {
	digest := sha512.Sum384(message)
	return digest[:], nil
}
