//go:build !js

package enclave_test

import (
	"crypto/rand"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// TestBehaviour runs the suite on the standard library and memory.
func TestBehaviour(t *testing.T) {
	var mu sync.Mutex
	databases := map[string]store.Store{}
	enclavetest.Run(t, enclavetest.Platform{
		Engine: native.New(rand.Reader), Memory: true,
		Open: func(t *testing.T, name string) store.Store {
			mu.Lock()
			defer mu.Unlock()
			if databases[name] == nil {
				databases[name] = memstore.New()
			}
			return tab{databases[name]}
		},
	})
}

// tab is one connection to a shared memory database: closing it leaves the
// database as it is.
type tab struct{ store.Store }

func (tab) Close() {}
