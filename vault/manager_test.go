//go:build !js

package vault

import (
	"crypto/rand"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// TestShortReads: a source of randomness that gives less at once than it was
// asked for makes no weaker vault.
func TestShortReads(t *testing.T) {
	taken := func(source io.Reader) int {
		c := &counted{Reader: source}
		m := NewManager(ManagerConfig{
			Engine: native.New(rand.Reader), Rand: c, Now: time.Now,
			Device: memstore.New(), Session: memstore.New(), ID: ID("https://app.example", "alice"),
		})
		defer m.Close()
		cfg := Config{Engine: native.New(rand.Reader), Rand: c, Now: time.Now}
		slot, err := cfg.DeviceSlot()
		if err != nil {
			t.Fatal(err)
		}
		creation := Creation{Persistence: PersistSession, Slots: []NewSlot{slot}}
		if _, err := m.Create(t.Context(), creation, audit.Entry{Method: "m", Origin: "https://app.example", Outcome: "ok"}); err != nil {
			t.Fatal(err)
		}
		return c.n
	}
	if whole, short := taken(rand.Reader), taken(iotest.OneByteReader(rand.Reader)); whole != short || whole < ShareSize {
		t.Errorf("%d bytes of randomness taken, %d one by one", whole, short)
	}
}
