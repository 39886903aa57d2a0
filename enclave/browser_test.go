//go:build js && wasm

package enclave_test

import (
	"strings"
	"syscall/js"
	"testing"

	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/keyengine/webcrypto"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/indexeddb"
)

// isWebKitGTK is what the suite expects of the engine, found in another way.
func isWebKitGTK() bool {
	agent := js.Global().Get("navigator").Get("userAgent").String()
	return strings.Contains(agent, "Linux") && strings.Contains(agent, "Version/") && strings.Contains(agent, "Safari/")
}

// TestBehaviour runs the suite on what a browser has.
func TestBehaviour(t *testing.T) { enclavetest.Run(t, browser(t)) }

// browser is what a browser has: WebCrypto and IndexedDB.
func browser(t *testing.T) enclavetest.Platform {
	engine, err := webcrypto.New()
	if err != nil {
		t.Fatal(err)
	}
	return enclavetest.Platform{
		Engine: engine,
		Open: func(t *testing.T, name string) store.Store {
			db, err := indexeddb.Open(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			return db
		},
		ShortEdDSA: isWebKitGTK(),
	}
}
