//go:build js && wasm && kmstest

package webcrypto

import (
	"context"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// ImportAEADForTest makes a non-extractable AES-256-GCM key of 32 given bytes.
// It exists in builds with the tag kmstest only.
func ImportAEADForTest(raw []byte) (keyengine.AEADKey, error) {
	e, err := New()
	if err != nil {
		return nil, err
	}
	return importer{e}.ImportAEAD(context.Background(), raw)
}

// ImportSecretForTest makes a secret of given bytes, of any length, which
// UnwrapSecret would refuse. It exists in builds with the tag kmstest only.
func ImportSecretForTest(raw []byte) (keyengine.SecretKey, error) {
	e, err := New()
	if err != nil {
		return nil, err
	}
	return importer{e}.ImportIKM(context.Background(), raw)
}
