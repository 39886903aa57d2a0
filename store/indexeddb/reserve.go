//go:build js && wasm

package indexeddb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall/js"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// The reserve is a database of its own that holds nothing but random bytes, which
// mean nothing and which nothing reads. Where the quota is used up, an urgent batch
// (see store.Batch) has it deleted and finds room; from then on nothing else is
// committed until it is in its place again. It is a database of its own because
// deleting one gives space back everywhere: Chromium measures files, and a delete in
// a full database of Firefox's needs room itself.
const (
	reserveSize    = 512 << 10       // bytes; some dozen commits
	reserveTimeout = 5 * time.Second // for looking after it
	reserveAgain   = time.Second     // at most so often, however many tabs are at work
	settleTime     = 2500 * time.Millisecond
)

var reserveName = store.Name{Kind: "reserve", ID: "-"}

// reserve is what a connection knows of it.
type reserve struct {
	name string

	mu      sync.Mutex
	looked  time.Time // when it was last looked for; zero: it has to be
	missing bool      // there was no room for it, or this tab has given it up
}

// KeepReserve has the database keep space back for urgent batches, in a database of
// that name. It must be called before the first commit.
func (db *DB) KeepReserve(name string) { db.reserve = &reserve{name: name} }

// commitWithin commits what leaves the reserve alone, or is urgent.
func (db *DB) commitWithin(ctx context.Context, b *store.Batch) error {
	if !b.Urgent {
		if err := db.reserve.keep(ctx); err != nil {
			return err
		}
	}
	err := db.commit(ctx, b)
	if errors.Is(err, store.ErrConflict) {
		db.reserve.doubt() // another tab is at work, and may have needed it
	}
	for _, makeRoom := range []func(context.Context) error{db.reserve.release, db.settle} {
		if !b.Urgent || !errors.Is(err, store.ErrFull) {
			return err
		}
		if failed := makeRoom(ctx); failed != nil {
			return fmt.Errorf("%w (%w)", err, failed)
		}
		err = db.commit(ctx, b)
	}
	return err
}

// keep sees to it that the reserve is there. store.ErrFull if there is no room for it.
// Whatever else becomes of it holds nobody up.
func (r *reserve) keep(ctx context.Context) error {
	r.mu.Lock()
	missing, look := r.missing, r.looked.IsZero()
	if look {
		r.looked = time.Now()
	}
	r.mu.Unlock()
	if missing {
		if err := r.look(ctx); errors.Is(err, store.ErrFull) {
			return err
		}
		return nil
	}
	if look {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), reserveTimeout)
			defer cancel()
			_ = r.look(ctx) // what it finds counts from the next commit on
		}()
	}
	return nil
}

// look puts the reserve in its place unless it is there.
func (r *reserve) look(ctx context.Context) error {
	err := r.place(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missing = errors.Is(err, store.ErrFull)
	return err
}

func (r *reserve) place(ctx context.Context) error {
	db, err := Open(ctx, r.name)
	if err != nil {
		return err
	}
	defer db.Close()
	// A record of one byte says that it is there, so that looking does not read all of it.
	marker, err := db.Get(ctx, r.name, reserveName)
	if err != nil || marker[0] != nil {
		return err
	}
	// It is kept like a handle, so that its bytes stay outside of Go.
	err = db.Commit(ctx, store.Batch{
		Vault: r.name, Expect: store.Record{Name: reserveName},
		Put:     []store.Record{{Name: reserveName, Value: []byte{1}}},
		Handles: []store.Handle{{Name: reserveName, Value: randomBytes(reserveSize)}},
	})
	if errors.Is(err, store.ErrConflict) {
		return nil // another tab was faster
	}
	return err
}

// randomBytes returns a Uint8Array that no browser can store in less space.
func randomBytes(size int) js.Value {
	const most = 1 << 16 // of one call of getRandomValues
	b := js.Global().Get("Uint8Array").New(size)
	for at := 0; at < size; at += most {
		js.Global().Get("crypto").Call("getRandomValues", b.Call("subarray", at, min(size, at+most)))
	}
	return b
}

// doubt has the reserve looked for again at the next commit.
func (r *reserve) doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) > reserveAgain {
		r.looked = time.Time{}
	}
}

// release gives the reserve up.
func (r *reserve) release(ctx context.Context) error {
	r.mu.Lock()
	r.missing, r.looked = true, time.Now()
	r.mu.Unlock()
	f, err := factory()
	if err != nil {
		return err
	}
	request, err := jsbridge.Call(f, "deleteDatabase", r.name)
	if err != nil {
		return platformError(err)
	}
	o := &opening{request: request, blocked: make(chan struct{}), done: make(chan error, 1)}
	o.listen()
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return o.waitedInVain(context.Cause(ctx))
	}
}

// settle closes the connection and waits for longer than Chromium keeps its files open
// then. It writes each change more than once, and tidies up when it opens them again.
func (db *DB) settle(ctx context.Context) error {
	db.reset()
	select {
	case <-time.After(settleTime):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
