//go:build !js

package enclave_test

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/enclave"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/ledger/ledgertest"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/vault"
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

// slow is a store that takes its time for each look.
type slow struct {
	store.Store
	takes *atomic.Int64
}

func (s slow) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	time.Sleep(time.Duration(s.takes.Load()))
	return s.Store.Scan(ctx, vault, r)
}

// TestVerifyTakesItsTime: a log that takes longer to read than other calls may take is verified, and can be called off.
func TestVerifyTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := slow{memstore.New(), new(atomic.Int64)}
		e := enclave.New(t.Context(), enclave.Config{
			Engine: native.New(rand.Reader), Device: device, Session: memstore.New(),
			Prompter: &prompttest.User{}, Strength: passphrase.Fixed(passphrase.Floor), Now: time.Now, Rand: rand.Reader,
			Origin: "https://app.example", Account: "alice", Notify: func([]byte) {},
		})
		replies := make(chan string, 1)
		id := 0
		ask := func(method, params string) string {
			id++
			e.Handle([]byte(`{"v":1,"id":`+strconv.Itoa(id)+`,"method":"`+method+`"`+params+`}`), func(b []byte) { replies <- string(b) })
			return <-replies
		}
		ask("vault.create", `,"params":{"persistence":"device","lock":"none"}`)
		m := vault.NewManager(vault.ManagerConfig{
			Engine: native.New(rand.Reader), Rand: rand.Reader, Now: time.Now,
			Device: device, ID: vault.ID("https://app.example", "alice"), Marker: true,
		})
		defer m.Close()
		v, err := m.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ledgertest.Grow(t, v.Ledger, ledger.Op{Reserved: true, Entry: audit.Entry{Method: "jwt.sign", Origin: "https://app.example", Outcome: "ok"}}, 10*ledger.PageSize)
		device.takes.Store(int64(3 * time.Second))
		began := time.Now()
		if reply := ask("audit.verify", ""); !strings.Contains(reply, `"valid":true`) || time.Since(began) < 40*time.Second {
			t.Errorf("after %v: %s", time.Since(began), reply)
		}
		go func() {
			time.Sleep(time.Second)
			e.Handle([]byte(`{"v":1,"id":99,"method":"enclave.cancel","params":{"id":`+strconv.Itoa(id)+`}}`), func([]byte) {})
		}()
		began = time.Now()
		if reply := ask("audit.verify", ""); !strings.Contains(reply, `"cancelled"`) || time.Since(began) > 2*time.Second {
			t.Errorf("called off, after %v: %s", time.Since(began), reply)
		}
		e.Close()
	})
}
