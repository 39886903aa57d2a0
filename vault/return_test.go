//go:build !js

package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json/v2"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// mirrored is everything that the app gets of a vault.
func (p *profile) mirrored() []store.Record {
	_, page, more, err := p.m.Records(p.t.Context(), store.Name{}, 8<<20)
	if err != nil || more || len(page) == 0 {
		p.t.Fatalf("%d records, more: %v, %v", len(page), more, err)
	}
	return page
}

// lose empties the storage, and begins anew.
func (p *profile) lose() {
	p.m.Close()
	if err := p.db.Commit(p.t.Context(), store.Batch{Vault: p.cfg.ID, Expect: unrelated, Clear: true}); err != nil {
		p.t.Fatal(err)
	}
	p.m = NewManager(p.cfg)
}

// comesBack hands a mirror in and opens it.
func (p *profile) comesBack(records []store.Record, by func(*Return) (*Way, error)) (*Return, Returned, error) {
	ctx := p.t.Context()
	if err := p.m.Offer(ctx, true, records); err != nil {
		p.t.Fatal(err)
	}
	r, err := p.m.OpenReturn(ctx)
	if err != nil {
		return nil, Returned{}, err
	}
	p.t.Cleanup(func() { r.Close(context.Background()) })
	way, err := by(r)
	if err != nil {
		return r, Returned{}, err
	}
	found, err := r.Open(ctx, way)
	return r, found, err
}

// forge makes a whole vault from nothing but a header that the app was given, and the share: a
// vault key of its own, wrapped for the victim's ways in.
func forge(t *testing.T, genuine *header, share Share, home string, device bool) (records []store.Record) {
	ctx := t.Context()
	e := native.New(rand.Reader)
	cfg := Config{Engine: e, Rand: rand.Reader, Now: time.Now}
	b := &builder{ctx: ctx, cfg: cfg, share: share}
	h := genuine.clone() // public keys, salts, labels, lineage, instance: all in plain
	if device {
		h.Slots = append(h.Slots, slot{ID: "x", Kind: KindDevice})
	}
	h.relock()
	keks, handle := b.device(h)
	vaultKey := b.vaultKey(h, keks)
	target := keyengine.Target{Key: keks.ledger, AAD: label(aadLedger, h.Instance)}
	wrapped := b.secret(target, b.ledgerWrap(h, vaultKey))
	h.LedgerKey = ledgerKey{wrapped[0], wrapped[1]}
	base := do(b, func() (*keyring, error) { return newKeyring(ctx, e, b.unwrapSecret(wrapped[0], target)) })
	ring := do(b, func() (*keyring, error) { return base.with(ctx, vaultKey) })
	generated := do(b, func() (keyengine.Generated, error) {
		return e.GenerateKey(ctx, keyengine.EdDSA, ring.wrapAud, func([]byte) []byte { return label(aadAudit, h.Instance) })
	})
	h.AuditKey = auditKey{generated.Public, generated.Wrapped}
	n := &newVault{ring: ring, handle: handle, encoded: b.encoded(h, ring)}
	n.records, _ = startRecords()
	// The marks cannot be made without the secrets; the app's best guess is what it knows.
	for _, s := range h.Slots {
		mark, _ := markOf(share[:], share, home)
		value, _ := json.Marshal(markRecord{Mark: mark}, json.Deterministic(true))
		n.records = append(n.records, store.Record{Name: markName(s.ID), Value: value})
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	db := memstore.New()
	if err := n.commit(ctx, cfg, db, "forged", entry); err != nil {
		t.Fatal(err)
	}
	for _, kind := range mirrorKinds {
		r, err := scanAll(ctx, db, "forged", kind)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r...)
	}
	return records
}

// TestForgedMirror: a vault that an app has made of the header and the share does not come back,
// though every way in of the victim opens it.
func TestForgedMirror(t *testing.T) {
	for _, device := range []bool{false, true} {
		p := newProfile(t)
		phrase := p.phrase()
		p.create(nil, p.passphrase("the victim's own"), p.passkey("mine"))
		p.change(Change{Way: must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "the victim's own")), Phrase: phrase})
		genuine, header := p.mirrored(), p.vault().header
		p.lose()
		for name, by := range map[string]func(*Return) (*Way, error){
			"passphrase": func(r *Return) (*Way, error) { return r.Passphrase(t.Context(), "the victim's own") },
			"passkey":    func(r *Return) (*Way, error) { return r.Passkey(t.Context(), []byte("mine"), prfOf("mine")) },
			"phrase":     func(r *Return) (*Way, error) { return r.Phrase(t.Context(), phrase) },
		} {
			_, _, err := p.comesBack(forge(t, header, p.cfg.Share, p.cfg.ID, device), by)
			if damaged, is := errors.AsType[*ledger.IntegrityError](err); !is || damaged.What != "mark of the way in" {
				t.Errorf("forged, by %s: %v", name, err)
			}
			if _, _, err := p.comesBack(genuine, by); err != nil {
				t.Errorf("genuine, by %s: %v", name, err)
			}
		}
	}
}

// TestMirrorStaysAtHome: a mirror comes back for no other app and no other account.
func TestMirrorStaysAtHome(t *testing.T) {
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	genuine := p.mirrored()
	p.m.Close()
	for _, home := range []string{ID("https://evil.example", "alice"), ID(testApp, "another account")} {
		cfg := p.cfg
		cfg.ID = home
		other := &profile{t: t, db: p.db, cfg: cfg, m: NewManager(cfg)}
		_, _, err := other.comesBack(genuine, func(r *Return) (*Way, error) { return r.Passphrase(t.Context(), "one") })
		if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
			t.Errorf("elsewhere: %v", err)
		}
	}
}

// TestMarkFollowsChange: the mark of a changed, added or renewed way in is its own, and the marks of
// the others stay.
func TestMarkFollowsChange(t *testing.T) {
	ctx := t.Context()
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	way := func() *Way { return must.Get[*Way](t)(p.vault().Passphrase(ctx, "one")) }
	added := p.passkey("key")
	p.change(Change{Way: way(), Add: &added})
	first, second := p.phrase(), p.phrase()
	p.change(Change{Way: way(), Phrase: first})
	p.change(Change{Way: way(), Phrase: second}) // everything is wrapped anew
	changed := p.passphrase("two")
	p.change(Change{Way: way(), Add: &changed, Remove: p.vault().header.byKind(KindPassphrase).ID})
	genuine := p.mirrored()
	p.lose()
	for name, by := range map[string]func(*Return) (*Way, error){
		"passphrase": func(r *Return) (*Way, error) { return r.Passphrase(ctx, "two") },
		"passkey":    func(r *Return) (*Way, error) { return r.Passkey(ctx, []byte("key"), prfOf("key")) },
		"phrase":     func(r *Return) (*Way, error) { return r.Phrase(ctx, second) },
	} {
		if _, _, err := p.comesBack(genuine, by); err != nil {
			t.Errorf("by %s: %v", name, err)
		}
	}
	if _, _, err := p.comesBack(genuine, func(r *Return) (*Way, error) { return r.Phrase(ctx, first) }); !errors.Is(err, ErrWrongSecret) {
		t.Errorf("by the phrase before: %v", err)
	}
}

// TestMarkHeals: a mark that is damaged keeps nobody out, and is made anew by the way in that it is of.
func TestMarkHeals(t *testing.T) {
	ctx := t.Context()
	p := newProfile(t)
	n := p.passphrase("one")
	p.create(nil, n)
	phrase := p.phrase()
	p.change(Change{Way: must.Get[*Way](t)(p.vault().Passphrase(ctx, "one")), Phrase: phrase})
	whole := p.mirrored()
	ways := map[string]func() *Way{
		n.slot.ID: func() *Way { return must.Get[*Way](t)(p.vault().Passphrase(ctx, "one")) },
		"":        func() *Way { return must.Get[*Way](t)(p.vault().Phrase(ctx, phrase)) },
	}
	for id, way := range ways {
		name := markName(id)
		at := slices.IndexFunc(whole, func(r store.Record) bool { return r.Name == name })
		damaged := bytes.Clone(whole[at].Value)
		damaged[len(damaged)-1] ^= 1
		if err := p.db.Commit(ctx, store.Batch{Vault: p.cfg.ID, Expect: unrelated, Put: []store.Record{{Name: name, Value: damaged}}}); err != nil {
			t.Fatal(err)
		}
		p.m.Close()
		p.m = NewManager(p.cfg)
		p.unlock(way())
	}
	genuine := p.mirrored()
	p.lose()
	for name, by := range map[string]func(*Return) (*Way, error){
		"passphrase": func(r *Return) (*Way, error) { return r.Passphrase(ctx, "one") },
		"phrase":     func(r *Return) (*Way, error) { return r.Phrase(ctx, phrase) },
	} {
		if _, _, err := p.comesBack(genuine, by); err != nil {
			t.Errorf("by %s: %v", name, err)
		}
	}
}

// TestMirrorWithoutAKey: a mirror that lacks a key altogether does not come back: nobody could remove a
// way in from it any more.
func TestMirrorWithoutAKey(t *testing.T) {
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	kid := p.key(Signing, keyengine.EdDSA).KID
	p.key(Signing, keyengine.EdDSA)
	var less []store.Record
	for _, r := range p.mirrored() {
		if r.ID != kid {
			less = append(less, r)
		}
	}
	p.lose()
	_, _, err := p.comesBack(less, func(r *Return) (*Way, error) { return r.Passphrase(t.Context(), "one") })
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
		t.Errorf("%v", err)
	}
}

// TestRecorderKnowsOneVault: what was done in a vault that is gone is not told of its successor, nor what
// was lost of the vault that came back.
func TestRecorderKnowsOneVault(t *testing.T) {
	ctx := t.Context()
	untold := func(p *profile) {
		t.Helper()
		now, changes, _, err := p.m.Changes(ctx, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.To > now.Commit {
				t.Errorf("a vault at commit %d is told a change to %d", now.Commit, c.To)
			}
		}
		if len(changes) > 0 {
			t.Errorf("%d changes of another time", len(changes))
		}
	}
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	before := p.mirrored()
	for range 3 {
		p.key(Signing, keyengine.EdDSA)
	}
	if err := p.db.Commit(ctx, store.Batch{Vault: p.cfg.ID, Expect: unrelated, Clear: true}); err != nil {
		t.Fatal(err)
	}
	must.Get[Report](t)(p.m.Report(ctx))
	r, _, err := p.comesBack(before, func(r *Return) (*Way, error) { return r.Passphrase(ctx, "one") })
	if err != nil {
		t.Fatal(err)
	}
	must.Get[Report](t)(p.m.Return(ctx, r, entry))
	untold(p)
	p.key(Signing, keyengine.EdDSA)
	if err := p.m.Destroy(ctx, must.Get[[]byte](t)(p.m.Anchor(ctx))); err != nil {
		t.Fatal(err)
	}
	p.create(nil, p.passphrase("two"))
	untold(p)
}

// TestTwoLives: a vault that comes back from an older mirror counts its commits on from there. What another tab
// has still to tell of the commits that were lost is not told of the vault that came back, which has another name.
func TestTwoLives(t *testing.T) {
	ctx := t.Context()
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	other := NewManager(p.cfg)
	defer other.Close()
	was, _, _, err := other.Changes(ctx, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	older := p.mirrored()
	otherVault := must.Get[*Vault](t)(other.Current(ctx))
	way := must.Get[*Way](t)(otherVault.Passphrase(ctx, "one"))
	must.Get[*Vault](t)(other.Unlock(ctx, otherVault, way, entry)) // commits that it does not tell
	p.lose()
	r, _, err := p.comesBack(older, func(r *Return) (*Way, error) { return r.Passphrase(ctx, "one") })
	if err != nil {
		t.Fatal(err)
	}
	must.Get[Report](t)(p.m.Return(ctx, r, entry))
	now, changes, _, err := other.Changes(ctx, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if now.Instance == was.Instance || len(changes) > 0 {
		t.Errorf("told %d changes of the vault that was lost, under the name %s, which was %s", len(changes), now.Instance, was.Instance)
	}
	if mine, _, _, err := p.m.Changes(ctx, 1<<20); err != nil || mine.Instance != now.Instance {
		t.Errorf("two tabs know it as %s and %s: %v", now.Instance, mine.Instance, err)
	}
}

// TestUnknownUses: where it is damaged how often a key was used, the key comes back whole, and is in backups.
func TestUnknownUses(t *testing.T) {
	ctx := t.Context()
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	p.change(Change{Way: must.Get[*Way](t)(p.vault().Passphrase(ctx, "one")), Phrase: p.phrase()})
	const keys = 20 // so many that the root does not hold all that is known of their uses
	for range keys {
		kid := p.key(Signing, keyengine.EdDSA).KID
		if err := p.vault().Ledger.Submit(ctx, ledger.Op{Apply: Use(kid), Entry: entry}); err != nil {
			t.Fatal(err)
		}
	}
	damaged := 0
	for _, r := range p.stored() {
		if r.Kind == kindUse {
			damaged++
			r.Value[len(r.Value)-1] ^= 1
			if err := p.db.Commit(ctx, store.Batch{Vault: p.cfg.ID, Expect: unrelated, Put: []store.Record{r}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if damaged == 0 {
		t.Fatal("no record of uses is stored")
	}
	saved := must.Get[*Saved](t)(p.vault().Save(ctx, must.Get[*Way](t)(p.vault().Passphrase(ctx, "one")), "https://app.example", "alice"))
	if saved.Keys != keys || saved.Damaged != 0 {
		t.Errorf("saved %+v", saved)
	}
	mirror := p.mirrored()
	p.lose()
	_, found, err := p.comesBack(mirror, func(r *Return) (*Way, error) { return r.Passphrase(ctx, "one") })
	if err != nil || found.Keys != keys || found.Damaged != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestForeignMark: a record that nobody wrote, of the kind that marks have, keeps no way in from being removed.
func TestForeignMark(t *testing.T) {
	ctx := t.Context()
	p := newProfile(t)
	stolen := p.passphrase("stolen")
	p.create(nil, stolen, p.passkey("kept"))
	foreign := store.Record{Kind: kindRecovery, ID: "zzz", Value: []byte("whatever it is, it was never written by us, and is long enough")}
	if err := p.db.Commit(ctx, store.Batch{Vault: p.cfg.ID, Expect: unrelated, Put: []store.Record{foreign}}); err != nil {
		t.Fatal(err)
	}
	p.change(Change{Way: p.byPasskey(p.vault(), "kept"), Remove: stolen.slot.ID})
	if p.vault().header.byKind(KindPassphrase) != nil {
		t.Error("it is still there")
	}
	genuine := p.mirrored() // with what is foreign
	at := slices.IndexFunc(genuine, func(r store.Record) bool { return r.Name == foreign.Name })
	p.lose()
	by := func(r *Return) (*Way, error) { return r.Passkey(ctx, []byte("kept"), prfOf("kept")) }
	if _, _, err := p.comesBack(slices.Delete(genuine, at, at+1), by); err != nil {
		t.Errorf("the mark of what stays: %v", err)
	}
}

// TestForeignRecords: a mirror with records that nobody wrote does not come back. Later ones would
// stand among them.
func TestForeignRecords(t *testing.T) {
	ctx := t.Context()
	p := newProfile(t)
	p.create(nil, p.passphrase("one"))
	kid := p.key(Signing, keyengine.EdDSA).KID
	whole := p.mirrored()
	p.lose()
	of := func(kind string) []byte {
		return whole[slices.IndexFunc(whole, func(r store.Record) bool { return r.Kind == kind })].Value
	}
	by := func(r *Return) (*Way, error) { return r.Passphrase(ctx, "one") }
	for _, name := range []store.Name{
		{Kind: kindRecovery, ID: "zzz"},
		{Kind: kindKey, ID: kid[1:] + "A"},
		{Kind: kindMeta, ID: "A"},
		{Kind: kindUse, ID: "A"},
		{Kind: kindLeases, ID: "A"},
		{Kind: kindLeaseKey, ID: "A"},
		{Kind: ledger.KindLog, ID: "0000000000001000"},
		{Kind: ledger.KindLog, ID: "zzz"},
	} {
		_, _, err := p.comesBack(append(slices.Clone(whole), store.Record{Name: name, Value: of(kindMeta)}), by)
		if _, foreign := errors.AsType[*ledger.IntegrityError](err); !foreign {
			t.Errorf("%v: %v", name, err)
		}
	}
	for _, kind := range single {
		if err := p.m.Offer(ctx, true, []store.Record{{Kind: kind, ID: "x", Value: of(kind)}}); !errors.Is(err, ErrNotMirrored) {
			t.Errorf("another %s: %v", kind, err)
		}
	}
	if _, _, err := p.comesBack(whole, by); err != nil {
		t.Errorf("without them: %v", err)
	}
}
