//go:build kmstest

package native

import (
	"context"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// ImportAEADForTest makes an AES-256-GCM key of 32 given bytes. It exists in
// builds with the tag kmstest only.
func ImportAEADForTest(raw []byte) (keyengine.AEADKey, error) {
	return importer{}.ImportAEAD(context.Background(), raw)
}

// ImportSecretForTest makes a secret of given bytes, of any length, which
// UnwrapSecret would refuse. It exists in builds with the tag kmstest only.
func ImportSecretForTest(raw []byte) (keyengine.SecretKey, error) {
	return importer{}.ImportIKM(context.Background(), raw)
}
