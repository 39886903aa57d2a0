//go:build !js

package vault

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

func (p *profile) submit(apply func(*ledger.Tx) error) error {
	return p.vault().Ledger.Submit(p.t.Context(), ledger.Op{Apply: apply, Entry: entry})
}

// lease gives a new key's lease.
func (p *profile) lease(relay string) (k *Key, id string) {
	p.t.Helper()
	k = p.key(VAPID, keyengine.ES256)
	id, apply, err := p.vault().GrantLease(p.t.Context(), lease.Terms{
		KID: k.KID, Relay: relay, Service: "https://push.example", Token: 900, PerHour: 60, PerDay: 500,
	}, lease.DefaultLife, new(lease.Lease))
	if err = errors.Join(err, p.submit(apply)); err != nil {
		p.t.Fatal(err)
	}
	return k, id
}

// leaseState is all that is stored of leases, handles included.
type leaseState struct {
	records []store.Record
	handles []store.Handle
}

func (p *profile) leaseState() (s leaseState) {
	p.t.Helper()
	for _, kind := range []string{kindLeases, kindLeaseKey} {
		s.records = append(s.records, must.Get[[]store.Record](p.t)(p.db.Scan(p.t.Context(), p.cfg.ID, store.Range{Kind: kind}))...)
	}
	for _, name := range p.db.Names(p.cfg.ID) { // those of handles are among them
		if name.Kind != kindLeaseKey || slices.ContainsFunc(s.handles, func(h store.Handle) bool { return h.Name == name }) {
			continue
		}
		if value := must.Get[any](p.t)(p.db.Handle(p.t.Context(), p.cfg.ID, name)); value != nil {
			s.handles = append(s.handles, store.Handle{Name: name, Value: value})
		}
	}
	return s
}

// put writes to storage as whoever has the profile can.
func (p *profile) put(b store.Batch) {
	p.t.Helper()
	commit := store.Name{Kind: ledger.KindCommit, ID: "-"}
	b.Vault, b.Expect = p.cfg.ID, store.Record{Name: commit, Value: must.Get[[][]byte](p.t)(p.db.Get(p.t.Context(), p.cfg.ID, commit))[0]}
	if err := p.db.Commit(p.t.Context(), b); err != nil {
		p.t.Fatal(err)
	}
}

func (s leaseState) names() (names []store.Name) {
	for _, r := range s.records {
		names = append(names, r.Name)
	}
	return names
}

// TestLeaseCopy: the copy opens while the vault is locked, with handle and share, and without one of them it does not.
func TestLeaseCopy(t *testing.T) {
	p := newProfile(t)
	p.create(nil, p.passphrase("old passphrase"))
	k, id := p.lease("https://relay.example")
	p.m.Close()
	p.m = NewManager(p.cfg)
	v := p.vault()
	if !v.Locked() {
		t.Fatal("the vault is open by itself")
	}
	l, s, _, err := v.LeaseSigner(t.Context(), id)
	if err != nil || l.KID != k.KID || s.KID != k.KID || !bytes.Equal(s.Public, k.Public) {
		t.Fatalf("%+v, %v", l, err)
	}
	signature := must.Get[[]byte](t)(v.cfg.Engine.Sign(t.Context(), s.Private, []byte("message")))
	if valid, err := v.cfg.Engine.Verify(t.Context(), keyengine.ES256, k.Public, []byte("message"), signature); !valid || err != nil {
		t.Error("the copy is of another key")
	}
	var copied leaseKey
	err = v.Ledger.Read(t.Context(), func(tx *ledger.Tx) error {
		raw, err := tx.Get(leaseName(id))
		return errors.Join(err, unmarshal(raw, leaseName(id), &copied))
	})
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(what string, err error) {
		t.Helper()
		if _, is := errors.AsType[*ledger.IntegrityError](err); !is {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = v.openLease(t.Context(), id, &copied)
	if err != nil {
		t.Fatal(err)
	}
	v.share[0] ^= 1
	_, err = v.openLease(t.Context(), id, &copied)
	v.share[0] ^= 1
	damaged("with another share", err)
	for name, change := range map[string]func(*leaseKey){
		"another kid":     func(c *leaseKey) { c.Key.KID = "x" },
		"another purpose": func(c *leaseKey) { c.Key.Purpose = Signing },
	} {
		changed := copied
		change(&changed)
		_, err = v.openLease(t.Context(), id, &changed)
		damaged(name, err)
	}
	_, err = v.openLease(t.Context(), id+"x", &copied)
	damaged("without a handle", err)
	p.put(store.Batch{Handles: []store.Handle{{Name: leaseName("other"), Value: must.Get[any](t)(p.db.Handle(t.Context(), p.cfg.ID, leaseName(id)))}}})
	_, err = v.openLease(t.Context(), "other", &copied)
	damaged("as another lease", err)
}

// TestPutBack: what was taken out of storage while a key was revoked opens nothing when it is put back, and
// nothing of it is left otherwise.
func TestPutBack(t *testing.T) {
	for _, taken := range []bool{false, true} {
		p := newProfile(t)
		p.create(nil, p.passphrase("old passphrase"))
		p.unlock(must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "old passphrase")))
		k, id := p.lease("https://relay.example")
		before := p.leaseState()
		if len(before.records) != 2 || len(before.handles) != 1 {
			t.Fatalf("%d records, %d handles", len(before.records), len(before.handles))
		}
		if taken {
			p.put(store.Batch{Delete: []store.Name{leaseName(id)}})
			p.reload()
			p.unlock(must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "old passphrase")))
		}
		if err := p.submit(Revoke(k.KID, "stolen", new(Key))); err != nil {
			t.Fatal(err)
		}
		if after := p.leaseState(); len(after.records) != 1 || len(after.handles) != 0 {
			t.Errorf("left are %v, and %d handles", after.names(), len(after.handles))
		}
		if handle, err := p.db.Handle(t.Context(), p.cfg.ID, leaseName(id)); handle != nil || err != nil {
			t.Errorf("left is its handle: %v", err)
		}
		copies := store.Batch{Handles: before.handles}
		for _, r := range before.records {
			if r.Kind == kindLeaseKey {
				copies.Put = append(copies.Put, r)
			}
		}
		p.put(copies)
		if _, _, _, err := p.reload().LeaseSigner(t.Context(), id); !errors.Is(err, lease.ErrEnded) {
			t.Errorf("the copy was put back: %v", err)
		}
		p.put(store.Batch{Put: before.records, Handles: before.handles})
		_, _, _, err := p.reload().LeaseSigner(t.Context(), id)
		if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
			t.Errorf("the book was put back, too: %v", err)
		}
	}
}

// TestDamagedBook: a book that is not what was written keeps no key from being revoked, and comes back with no lease.
func TestDamagedBook(t *testing.T) {
	for name, damage := range map[string]func(store.Record) store.Batch{
		"changed": func(book store.Record) store.Batch {
			value := bytes.Clone(book.Value)
			value[len(value)-1] ^= 1
			return store.Batch{Put: []store.Record{{Name: book.Name, Value: value}}}
		},
		"taken out": func(book store.Record) store.Batch { return store.Batch{Delete: []store.Name{book.Name}} },
		"taken out, with a copy that nobody wrote": func(book store.Record) store.Batch {
			return store.Batch{Delete: []store.Name{book.Name}, Put: []store.Record{{Name: leaseName("zzz"), Value: bytes.Repeat([]byte{1}, 60)}}}
		},
	} {
		p := newProfile(t)
		p.create(nil, p.device())
		k, id := p.lease("https://relay.example")
		_, other := p.lease("https://other.example")
		before := p.leaseState()
		var book store.Record
		for _, r := range before.records {
			if r.Kind == kindLeases {
				book = r
			}
		}
		p.put(damage(book))
		v := p.reload()
		_, _, _, err := v.LeaseSigner(t.Context(), id)
		if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.submit(Revoke(k.KID, "stolen", new(Key))); err != nil {
			t.Fatalf("%s: the key is not revoked: %v", name, err)
		}
		if after := p.leaseState(); len(after.records) != 1 || len(after.handles) != 0 {
			t.Errorf("%s: left are %v, and %d handles", name, after.names(), len(after.handles))
		}
		for _, lost := range []string{id, other} {
			if _, _, _, err := p.reload().LeaseSigner(t.Context(), lost); !errors.Is(err, lease.ErrNone) {
				t.Errorf("%s: %v", name, err)
			}
		}
		p.put(store.Batch{Put: before.records, Handles: before.handles})
		if _, _, _, err := p.reload().LeaseSigner(t.Context(), id); err == nil {
			t.Errorf("%s: the book that was there before is believed", name)
		}
	}
}

// TestSweep: what expired leases have left goes, and what runs stays.
func TestSweep(t *testing.T) {
	p := newProfile(t)
	p.create(nil, p.device())
	_, first := p.lease("https://relay.example")
	_, second := p.lease("https://other.example")
	err := p.submit(ChangeLeases(func(b *lease.Book, _ int64) error {
		l, err := b.Find(first)
		if err == nil {
			l.ExpiresAt = l.GrantedAt
		}
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	p.put(store.Batch{Put: []store.Record{{Name: leaseName("zzz"), Value: bytes.Repeat([]byte{1}, 60)}}})
	if err := p.reload().SweepLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := p.leaseState(); len(s.records) != 2 {
		t.Errorf("left are %v", s.names())
	}
	if s := p.leaseState(); len(s.handles) != 1 || s.handles[0].ID != second {
		t.Errorf("left are %v", s.names())
	}
	if _, _, _, err := p.vault().LeaseSigner(t.Context(), second); err != nil {
		t.Error(err)
	}
}

// TestDamagedIndex: a damaged page of the index that knows the leases keeps no other key from being revoked, and once it is
// put back the lease of that key gives nothing.
func TestDamagedIndex(t *testing.T) {
	for tried := 0; tried == 0; { // until the key's own records are on other pages than the leases
		p := newProfile(t)
		p.create(nil, p.device())
		for range 40 { // so that the index has pages
			p.key(VAPID, keyengine.ES256)
		}
		k, id := p.lease("https://relay.example")
		for _, page := range must.Get[[]store.Record](t)(p.db.Scan(t.Context(), p.cfg.ID, store.Range{Kind: ledger.KindIndex})) {
			broken := bytes.Clone(page.Value)
			broken[len(broken)-1] ^= 1
			p.put(store.Batch{Put: []store.Record{{Name: page.Name, Value: broken}}})
			p.m.Close()
			p.m = NewManager(p.cfg)
			v, err := p.m.Current(t.Context())
			if err == nil {
				_, _, err = v.Leases(t.Context())
			}
			if v == nil || err == nil { // of other records
				p.put(store.Batch{Put: []store.Record{page}})
				continue
			}
			if p.submit(Revoke(k.KID, "stolen", new(Key))) == nil {
				tried++
				p.put(store.Batch{Put: []store.Record{page}})
				if _, _, _, err := p.reload().LeaseSigner(t.Context(), id); !errors.Is(err, lease.ErrEnded) {
					t.Errorf("page %s was put back: %v", page.ID, err)
				}
			}
			break
		}
	}
}
