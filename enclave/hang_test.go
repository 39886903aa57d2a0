//go:build !js

package enclave_test

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/enclave"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// silent is a store that answers no read before the context is done.
type silent struct{ store.Store }

func (silent) Get(ctx context.Context, _ string, _ ...store.Name) ([][]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestSilentStorage: storage that answers nothing makes every call end in time,
// those that wait for another one's answer included.
func TestSilentStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := enclave.New(t.Context(), enclave.Config{
			Engine: native.New(rand.Reader), Device: silent{memstore.New()}, Session: memstore.New(),
			Prompter: &prompttest.User{}, Strength: passphrase.Fixed(passphrase.Floor), Now: time.Now, Rand: rand.Reader,
			Origin: "https://app.example", Account: "alice", Notify: func([]byte) {},
		})
		start := time.Now()
		methods := []string{"vault.status", "keys.list", "vault.destroy", "audit.head", "keys.list", "vault.status"}
		replies := make(chan string, len(methods)+1)
		for i, method := range methods {
			e.Handle([]byte(`{"v":1,"id":`+strconv.Itoa(i+1)+`,"method":"`+method+`"}`), func(b []byte) { replies <- string(b) })
		}
		// One that only waits for its turn can be called off.
		time.Sleep(time.Second)
		e.Handle([]byte(`{"v":1,"id":99,"method":"enclave.cancel","params":{"id":2}}`), func([]byte) {})
		if reply := <-replies; !strings.HasPrefix(reply, `{"id":2,"error":{"code":"cancelled"`) || time.Since(start) > 2*time.Second {
			t.Errorf("called off while it waited, after %v: %s", time.Since(start), reply)
		}
		for range methods[1:] {
			reply := <-replies
			if took := time.Since(start); !strings.Contains(reply, `"timeout"`) || took > 32*time.Second {
				t.Errorf("after %v: %s", took, reply)
			}
		}
		e.Close()
	})
}
