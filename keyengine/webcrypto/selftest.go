//go:build js && wasm

package webcrypto

import (
	"context"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/kat"
)

// SelfTest runs the known-answer tests, about twenty round trips.
func (e *Engine) SelfTest(ctx context.Context) []keyengine.Check {
	return kat.Run(ctx, e, importer{e})
}

// importer takes key bytes in, as non-extractable handles. Nothing outside the
// self-test, and builds with the tag kmstest, reaches it.
type importer struct{ e *Engine }

func (i importer) ImportPrivate(ctx context.Context, alg keyengine.Alg, pkcs8 []byte) (keyengine.PrivateKey, error) {
	a, err := i.e.applicationOf(alg)
	if err != nil {
		return nil, err
	}
	handle, err := i.importKey(ctx, i.e.formats.pkcs8, pkcs8, a.key, a.private)
	if err != nil {
		return nil, err
	}
	return &privateKey{alg: alg, handle: handle}, nil
}

func (i importer) ImportIKM(ctx context.Context, raw []byte) (keyengine.SecretKey, error) {
	handle, err := i.importKey(ctx, i.e.formats.raw, raw, i.e.hkdf, i.e.usages.deriveKey)
	if err != nil {
		return nil, err
	}
	return &secretKey{handle}, nil
}

func (i importer) ImportAEAD(ctx context.Context, raw []byte) (keyengine.AEADKey, error) {
	handle, err := i.importKey(ctx, i.e.formats.raw, raw, i.e.aes256, i.e.usages.aead)
	if err != nil {
		return nil, err
	}
	return &aeadKey{handle: handle}, nil
}

func (i importer) importKey(ctx context.Context, format js.Value, key []byte, algorithm, usages js.Value) (js.Value, error) {
	handle, err := jsbridge.InvokeAwait(ctx, i.e.fn.importKey, format, jsbridge.Bytes(key), algorithm, false, usages)
	if err != nil {
		return js.Undefined(), fail("importing a test key", err)
	}
	return handle, nil
}

func (i importer) SHA384(ctx context.Context, message []byte) ([]byte, error) {
	digest, err := jsbridge.InvokeAwait(ctx, i.e.fn.digest, "SHA-384", jsbridge.Bytes(message))
	if err != nil {
		return nil, fail("hashing", err)
	}
	return jsbridge.GoBytes(digest), nil
}
