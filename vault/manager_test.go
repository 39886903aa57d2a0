//go:build !js

package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
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

// beside has another tab do something between the read of a header and that of the
// device's handle.
type beside struct {
	store.Store
	do func()
}

func (b *beside) Handle(ctx context.Context, id string, name store.Name) (any, error) {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return b.Store.Handle(ctx, id, name)
}

// TestOpenBesideAnotherTab: a vault that another tab destroys, replaces or changes while
// this one opens it is looked for once more, and not taken for a damaged one.
func TestOpenBesideAnotherTab(t *testing.T) {
	destroy := func(t *testing.T, other *profile) {
		v := other.vault()
		if err := other.m.Destroy(t.Context(), ledger.EncodePlain(v.encoded)); err != nil {
			t.Error(err)
		}
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, other *profile)
		want error
	}{
		{"destroyed", destroy, ErrAbsent},
		{"replaced", func(t *testing.T, other *profile) {
			destroy(t, other)
			other.create(nil, other.device())
		}, nil},
		{"changed", func(t *testing.T, other *profile) {
			slot := other.passkey("two")
			v := other.vault()
			must.Get[*Vault](t)(other.m.Change(t.Context(), v, Change{Way: must.Get[*Way](t)(v.Device()), Add: &slot}, entry))
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := newProfile(t)
			other.create(nil, other.device(), other.passkey("one"))
			cfg := other.cfg
			b := &beside{Store: other.db.Tab()}
			b.do = func() { test.do(t, other) }
			cfg.Device = b
			m := NewManager(cfg)
			defer m.Close()
			if _, err := m.Current(t.Context()); !errors.Is(err, test.want) || b.do != nil {
				t.Errorf("%v, %v wanted", err, test.want)
			}
		})
	}
}
