package enclavetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// empty removes everything of a vault behind its back, and leaves other records.
func empty(t *testing.T, s store.Store, left ...store.Record) {
	t.Helper()
	id := vault.ID(App, "alice")
	header := store.Name{Kind: "vault", ID: "-"}
	if err := s.Commit(ctx, store.Batch{Vault: id, Expect: expectCurrent(t, s, id, header), Clear: true, Put: left}); err != nil {
		t.Fatal(err)
	}
}

// testVanished: storage that is emptied under tabs which have opened the vault, or
// have made it, is a loss for them, too; nothing that somebody without the share
// can leave there makes it look wanted.
func testVanished(t *testing.T, p Platform) {
	stone := func(value []byte) store.Record {
		return store.Record{Kind: "destroyed", ID: "-", Value: value}
	}
	o := NewOrigin(t, p)
	a := o.Connect()
	a.CreateVault()
	o.User.Say(nil)
	a.Must("vault.destroy", nil, nil)
	left := dump(t, a.Device, vault.ID(App, "alice"))
	if len(left) != 1 {
		t.Fatalf("%d records left", len(left))
	}
	for name, records := range map[string][]store.Record{
		"nothing left":                     nil,
		"an empty record":                  {stone(nil)},
		"a made-up record":                 {stone(append([]byte{1}, make([]byte, 32)...))},
		"the record of a vault before it":  left,
		"that record, lengthened":          {stone(append(slices.Clone(left[0].Value), 0))},
		"that record, of a format unknown": {stone(append([]byte{2}, left[0].Value[1:]...))},
	} {
		t.Run(name, func(t *testing.T) {
			maker := o.Connect() // with the share that the first vault had, too
			maker.CreateVault()
			other := o.Connect()
			if s := other.Status(); s.State != "unlocked" {
				t.Fatalf("before: %s", s.State)
			}
			empty(t, maker.Device, records...)
			for who, c := range map[string]*Client{"the tab that made it": maker, "another tab": other, "a new tab": o.Connect()} {
				if s := c.Status(); s.State != "lost" || s.Reason != vault.LostStorage {
					t.Errorf("%s says %s (%s)", who, s.State, s.Reason)
				}
				if f := c.Refused(api.NotFound, "vault.create", goodParams()["vault.create"]); f.Details["state"] != "lost" {
					t.Errorf("%s: vault.create: %v", who, f)
				}
			}
			o.User.Say(nil)
			maker.Must("vault.destroy", nil, nil)
			// Whoever had opened it knows now that the user has seen it.
			for who, c := range map[string]*Client{"the tab that cleared up": maker, "another tab": other} {
				if s := c.Status(); s.State != "absent" {
					t.Errorf("after vault.destroy %s says %s", who, s.State)
				}
			}
		})
	}
}

// testDestroyIsBound: the user's yes is for the vault that the dialog showed.
func testDestroyIsBound(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	a := o.Connect()
	a.CreateVault()
	b := o.Connect()
	b.Must("vault.status", nil, nil)
	var kept api.Key
	o.User.Meanwhile(func() { // a's dialog is open
		o.User.Say(nil)
		b.Must("vault.destroy", nil, nil)
		b.CreateVault()
		kept = b.CreateKey("signing", "")
	})
	o.User.Say(nil)
	a.Refused(api.Conflict, "vault.destroy", nil)
	get(b, kept.KID)
	get(a, kept.KID)
	if seen := o.User.Seen(); len(seen) != 2 {
		t.Errorf("%d dialogs", len(seen))
	}
}

// hooked is a store that says when it is asked for something.
type hooked struct {
	store.Store
	mu   sync.Mutex
	hook func(op string, landed bool)
}

func (h *hooked) set(hook func(op string, landed bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

func (h *hooked) call(op string, landed bool) {
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	if hook != nil {
		hook(op, landed)
	}
}

func (h *hooked) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	h.call("get", false)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return h.Store.Get(ctx, vault, names...)
}

func (h *hooked) Commit(ctx context.Context, b store.Batch) error {
	h.call("commit", false)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := h.Store.Commit(ctx, b)
	h.call("commit", true)
	if ctx.Err() != nil {
		return context.Cause(ctx) // it has landed, and nobody hears of it
	}
	return err
}

// testCreateCancelled calls vault.create off at every step that it takes in
// storage: then there is no vault, or the call has succeeded.
func testCreateCancelled(t *testing.T, p Platform) {
	steps, tried := 0, 0
	for at := 1; steps >= tried; at++ { // until one has ended before its turn to be called off
		o := NewOrigin(t, p)
		var s *hooked
		o.Wrap = func(inner store.Store) store.Store { s = &hooked{Store: inner}; return s }
		c := o.Connect()
		if state := c.Status().State; state != "absent" {
			t.Fatalf("at first: %s", state)
		}
		steps, tried = 0, at
		var mu sync.Mutex
		s.set(func(string, bool) {
			mu.Lock()
			defer mu.Unlock()
			if steps++; steps == at {
				c.Raw(`{"v":1,"id":901,"method":"enclave.cancel","params":{"id":900}}`)
			}
		})
		reply := c.Raw(`{"v":1,"id":900,"method":"vault.create","params":{"persistence":"device","lock":"none"}}`)
		s.set(nil)
		want := map[bool]string{true: "unlocked", false: "absent"}[strings.Contains(reply, `"result"`)]
		for who, c := range map[string]*Client{"this tab": c, "a new tab": o.Connect()} {
			if got := c.Status().State; got != want {
				t.Errorf("called off at step %d: %s says %s after the reply %s", at, who, got, reply)
			}
		}
	}
	if steps < 4 {
		t.Errorf("vault.create takes %d steps in storage; the test does not see them", steps)
	}
}

// blocking is a store whose reads wait until they are let through.
type blocking struct {
	store.Store
	mu      sync.Mutex
	blocked bool
	gate    chan struct{}
}

func (b *blocking) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	b.mu.Lock()
	blocked := b.blocked
	b.mu.Unlock()
	if blocked {
		select {
		case <-b.gate:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return b.Store.Get(ctx, vault, names...)
}

// testFlood sends one request more than the worker takes, while none of them can
// be finished: exactly that one is turned away.
func testFlood(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	var gate *blocking
	o.Wrap = func(s store.Store) store.Store {
		gate = &blocking{Store: s, gate: make(chan struct{})}
		return gate
	}
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	fresh := o.Connect() // has nothing in memory yet
	expectEvent(t, fresh, `"unlocked"`)
	gate.mu.Lock()
	gate.blocked = true
	gate.mu.Unlock()
	replies := make(chan string, api.MaxPending+1)
	for i := range api.MaxPending + 1 {
		fresh.Enclave.Handle([]byte(`{"v":1,"id":`+itoa(i+1)+`,"method":"challenge.sign","params":{"kid":"`+k.KID+`","context":"x","data":""}}`), func(b []byte) { replies <- string(b) })
	}
	if r := <-replies; !strings.Contains(r, `"busy"`) || !strings.HasPrefix(r, `{"id":`+itoa(api.MaxPending+1)+`,`) {
		t.Errorf("the first reply is %s", r)
	}
	select {
	case r := <-replies:
		t.Errorf("while storage answers nothing, a second reply: %s", r)
	case <-time.After(50 * time.Millisecond):
	}
	gate.mu.Lock()
	gate.blocked = false
	gate.mu.Unlock()
	close(gate.gate)
	for range api.MaxPending {
		if r := <-replies; !strings.Contains(r, `"signature"`) {
			t.Errorf("reply %s", r)
		}
	}
	if uses := get(c, k.KID).Uses; uses != api.MaxPending {
		t.Errorf("%d uses counted, %d answered", uses, api.MaxPending)
	}
}

// testDestroyedByAnother: a vault that is destroyed by a tab which could not open it is not
// lost for one that had.
func testDestroyedByAnother(t *testing.T, p Platform) {
	o := willing(t, p)
	b := o.Connect()
	b.CreateVault()
	for _, r := range picked(dump(t, b.Device, aliceID), "root") {
		r.Value[len(r.Value)-1] ^= 1
		overwrite(t, b.Device, []store.Record{r})
	}
	c := o.Connect()
	c.Refused(api.Integrity, "keys.list", nil)
	c.Must("vault.destroy", nil, nil)
	if s := b.Status(); s.State != "absent" {
		t.Errorf("the tab that had it open says %s (%s)", s.State, s.Reason)
	}
}
