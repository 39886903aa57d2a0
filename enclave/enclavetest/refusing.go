package enclavetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/faultstore"
	"github.com/kms-enclave/kms-enclave/vault"
)

// Tests of storage that refuses, loses, or does not answer.

// refusing is a store that fails its next commits with an error, before or
// after they land.
type refusing struct {
	store.Store
	mu    sync.Mutex
	err   error
	after bool
}

func (r *refusing) set(err error, after bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.after = err, after
}

func (r *refusing) Commit(ctx context.Context, b store.Batch) error {
	r.mu.Lock()
	err, after := r.err, r.after
	r.mu.Unlock()
	if err == nil {
		return r.Store.Commit(ctx, b)
	}
	if after {
		return errors.Join(r.Store.Commit(ctx, b), err)
	}
	return err
}

func testStorageRefuses(t *testing.T, p Platform) {
	for _, test := range []struct {
		err  error
		code api.Code
	}{
		{store.ErrFull, api.StorageFull},
		{store.ErrUnavailable, api.StorageUnavailable},
		{errors.New("something else"), api.Internal},
	} {
		t.Run(string(test.code), func(t *testing.T) {
			o := NewOrigin(t, p)
			var fault *refusing
			o.Wrap = func(s store.Store) store.Store { fault = &refusing{Store: s}; return fault }
			c := o.Connect()
			fault.set(test.err, false)
			c.Refused(test.code, "vault.create", goodParams()["vault.create"])
			if s := c.Status(); s.State != "absent" {
				t.Errorf("half a vault: %s", s.State)
			}
			fault.set(nil, false)
			c.CreateVault()
			k := c.CreateKey("signing", "")
			sign := map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}
			fault.set(test.err, false)
			c.Refused(test.code, "jwt.sign", sign)
			c.Refused(test.code, "keys.create", map[string]any{"purpose": "vapid"})
			fault.set(nil, false)
			c.Must("jwt.sign", sign, nil)
			if got := get(c, k.KID); got.Uses != 1 {
				t.Errorf("%d uses, 1 wanted", got.Uses)
			}
			if s := c.Status(); s.Counts.Keys != 1 || s.Counts.Entries != 3 {
				t.Errorf("counts %+v", s.Counts)
			}
		})
	}
}

// testHandleLost: a browser that stores a handle and gives nothing back makes no
// vault. One that loses it later leaves a vault that is not taken for absent or
// made anew; it can be destroyed, and if the handle comes back, so does all.
func testHandleLost(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	lose := true
	id := vault.ID(App, "alice")
	o.Wrap = func(s store.Store) store.Store {
		f := faultstore.New(s)
		if lose {
			f.LoseHandle(id, store.Name{Kind: "device", ID: "-"})
		}
		return f
	}
	c := o.Connect()
	c.Refused(api.StorageUnavailable, "vault.create", goodParams()["vault.create"])
	if s := c.Status(); s.State != "absent" || len(dump(t, c.Device, id)) != 0 {
		t.Errorf("half a vault: %s", s.State)
	}
	lose = false
	c = o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	lose = true
	d := o.Connect()
	for _, method := range []string{"vault.status", "vault.create", "keys.list"} {
		d.Refused(api.StorageUnavailable, method, goodParams()[method])
	}
	d.Refused(api.Cancelled, "vault.destroy", nil)
	lose = false
	get(o.Connect(), k.KID)
	o.User.Say(nil)
	d.Must("vault.destroy", nil, nil)
	if s := o.Connect().Status(); s.State != "absent" {
		t.Errorf("after destroy: %s", s.State)
	}
}

// testCommittedButUnanswered: storage did it and then failed to say so. The
// next operation builds on what is really there.
func testCommittedButUnanswered(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	var fault *refusing
	o.Wrap = func(s store.Store) store.Store { fault = &refusing{Store: s}; return fault }
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	sign := map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}
	fault.set(store.ErrUnavailable, true)
	c.Refused(api.StorageUnavailable, "jwt.sign", sign)
	fault.set(nil, false)
	c.Must("jwt.sign", sign, nil)
	if got := get(c, k.KID); got.Uses != 2 {
		t.Errorf("%d uses, 2 wanted", got.Uses)
	}
	var verdict api.AuditVerdict
	c.Must("audit.verify", nil, &verdict)
	if !verdict.Valid || verdict.Size != 4 {
		t.Errorf("verdict %+v", verdict)
	}
}

// fillable has the storage of every tab of a profile filled, or given room again.
func fillable(o *Origin) (fill func(full bool)) {
	var tabs []*faultstore.Store
	full := false
	o.Wrap = func(s store.Store) store.Store {
		tab := faultstore.New(s)
		tab.Fill(full)
		tabs = append(tabs, tab)
		return tab
	}
	return func(now bool) {
		full = now
		for _, tab := range tabs {
			tab.Fill(now)
		}
	}
}

// testFull: where an app has filled the storage, its user opens the vault, ends keys,
// changes the ways in and destroys the vault all the same. The app gets none of the
// space that is kept back for that, neither do refusals.
func testFull(t *testing.T, p Platform) {
	o := willing(t, p)
	fill := fillable(o)
	c := o.Connect()
	c.create("passphrase")
	stays, revoked, replaced := c.CreateKey("signing", ""), c.CreateKey("signing", ""), c.CreateKey("signing", "")
	fill(true)
	before := c.Status().Counts.Entries
	for range 3 {
		c.Refused(api.StorageFull, "jwt.sign", map[string]any{"kid": stays.KID, "audience": "a", "ttlSeconds": 60})
		c.Refused(api.StorageFull, "keys.create", map[string]any{"purpose": "signing"})
	}
	c.Must("vault.lock", nil, nil)
	c = o.Connect()
	c.Must("vault.unlock", nil, nil)
	c.revoke(revoked.KID, "stolen")
	c.rotate(replaced.KID)
	c.Must("slots.change", map[string]any{"id": c.slot("passphrase").ID}, nil)
	if got := c.Status().Counts; got.Entries != before+4 || got.Keys != 4 {
		t.Errorf("counts %+v, %d entries before", got, before)
	}
	c.refusesAll(revoked.KID)
	fill(false)
	c.signs(get(c, stays.KID))
	fill(true)
	c.Must("vault.destroy", nil, nil)
	c.state("absent")
}
