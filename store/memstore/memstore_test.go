package memstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/faultstore"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/store/storetest"
)

func TestStore(t *testing.T) { storetest.Test(t, new(browser).platform()) }

// A store without faults in front of it behaves as the store itself.
func TestStoreThroughFaultstore(t *testing.T) {
	p := new(browser).platform()
	open := p.Open
	p.Open = func(ctx context.Context, database string) (store.Store, error) {
		opened, err := open(ctx, database)
		if err != nil {
			return nil, err
		}
		return faultstore.New(opened), nil
	}
	storetest.Test(t, p)
}

// browser keeps databases by name, and the connections to them, as a browser
// does for a site.
type browser struct {
	mu        sync.Mutex
	databases map[string]*database
}

type database struct {
	store *memstore.Store
	tabs  []*memstore.Store
	newer bool
}

func (b *browser) platform() storetest.Platform {
	return storetest.Platform{
		Open:      b.open,
		NewHandle: func(*testing.T) any { return new(int) },
		Same:      func(_ *testing.T, stored, made any) bool { return stored == made },
		Destroy: func(_ *testing.T, name string) {
			b.disconnect(name, fmt.Errorf("%w: deleted", store.ErrUnavailable))
			delete(b.databases, name)
		},
		Upgrade: func(_ *testing.T, name string) {
			b.disconnect(name, store.ErrNewer)
			b.databases[name].newer = true
		},
	}
}

func (b *browser) open(_ context.Context, name string) (store.Store, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.databases == nil {
		b.databases = map[string]*database{}
	}
	d := b.databases[name]
	if d == nil {
		d = &database{store: memstore.New()}
		b.databases[name] = d
	}
	if d.newer {
		return nil, store.ErrNewer
	}
	tab := d.store.Tab()
	d.tabs = append(d.tabs, tab)
	return tab, nil
}

func (b *browser) disconnect(name string, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, tab := range b.databases[name].tabs {
		tab.Disconnect(cause)
	}
}
