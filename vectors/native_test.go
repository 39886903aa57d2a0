//go:build kmstest && !js

package vectors

import (
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
)

func newEngine(*testing.T) keyengine.Engine { return native.New(nil) }

var (
	importAEAD   = native.ImportAEADForTest
	importSecret = native.ImportSecretForTest
)
