//go:build kmstest && js && wasm

package vectors

import (
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/webcrypto"
)

func newEngine(t *testing.T) keyengine.Engine {
	e, err := webcrypto.New()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var (
	importAEAD   = webcrypto.ImportAEADForTest
	importSecret = webcrypto.ImportSecretForTest
)
