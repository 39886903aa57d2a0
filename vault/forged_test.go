//go:build !js

package vault

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// forge rewrites the header with nothing but the ledger key, as whoever has the
// profile and the share can while the vault is locked.
func (p *profile) forge(change func(h *header)) {
	p.t.Helper()
	v := p.reload()
	if !v.Locked() {
		p.t.Fatal("the vault is open by itself")
	}
	h := v.header.clone()
	change(h)
	encoded := must.Get[[]byte](p.t)(h.encode(func([]byte) ([]byte, error) { return v.header.vouch, nil }))
	err := v.Ledger.Submit(p.t.Context(), ledger.Op{
		Renew: &ledger.Renewal{Sealer: v.ring, Anchor: store.Record{Name: headerName, Value: encoded}},
		Apply: func(tx *ledger.Tx) error { tx.Put(headerName, encoded); return nil },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.m.Close()
	p.m = NewManager(p.cfg)
}

// TestForgedHeader: the ledger key opens without the user, and chooses nothing about who
// else can open the vault, or when it locks. Where the header says so, the vault does not open.
func TestForgedHeader(t *testing.T) {
	for name, change := range map[string]func(p *profile, h *header){
		"another phrase": func(p *profile, h *header) {
			evil := p.phrase()
			h.Recovery.Public, h.Recovery.Phrase = evil.private.PublicKey().Bytes(), evil.id
		},
		"a public key in a slot": func(p *profile, h *header) {
			h.byKind(KindPasskey).Sealed.Public = p.phrase().private.PublicKey().Bytes()
		},
		"a slot more":             func(p *profile, h *header) { h.Slots = append(h.Slots, h.Slots[0]) },
		"a slot less":             func(p *profile, h *header) { h.Slots = h.Slots[:1] },
		"another name":            func(p *profile, h *header) { h.Slots[0].Label = "Yours" },
		"no lock":                 func(p *profile, h *header) { h.Lock = LockNone },
		"hardly any idle time":    func(p *profile, h *header) { h.Idle = 1 },
		"a day of idleness":       func(p *profile, h *header) { h.Idle = maxIdle },
		"no phrase id":            func(p *profile, h *header) { h.Recovery.Phrase = nil },
		"another vault's lineage": func(p *profile, h *header) { h.Lineage = make([]byte, 16) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProfile(t)
			p.create(nil, p.passphrase("old passphrase"), p.passkey("mine"))
			p.change(Change{Way: must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "old passphrase")), Phrase: p.phrase()})
			p.forge(func(h *header) { change(p, h) })
			err := p.tryOpen("old passphrase")
			if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// tryOpen unlocks the vault as it is found.
func (p *profile) tryOpen(passphrase string) error {
	v, err := p.m.Current(p.t.Context())
	if err != nil {
		return err
	}
	way, err := v.Passphrase(p.t.Context(), passphrase)
	if err != nil {
		return err
	}
	_, err = p.m.Unlock(p.t.Context(), v, way, entry)
	return err
}

// TestFormat1Locks: a vault of the first release that is given a lock locks by itself.
func TestFormat1Locks(t *testing.T) {
	var f format1
	readJSON(t, "testdata/format1.json", &f)
	p := f.profile(t)
	v := p.vault()
	slot := p.passphrase("one more way in")
	p.change(Change{Way: must.Get[*Way](t)(v.Device()), Add: &slot})
	p.change(Change{Way: must.Get[*Way](t)(p.vault().Device()), Remove: v.header.byKind(KindDevice).ID})
	if v := p.vault(); v.Lock() != KindPassphrase || v.Idle().Seconds() != defaultIdle {
		t.Errorf("lock %q after %v", v.Lock(), v.Idle())
	}
}

// TestDamagedKey: one damaged key keeps nobody from removing a way in, from another
// phrase, or from a backup of all the others.
func TestDamagedKey(t *testing.T) {
	p := newProfile(t)
	p.create(nil, p.device(), p.passkey("stolen"), p.passkey("kept"))
	p.change(Change{Way: must.Get[*Way](t)(p.vault().Device()), Phrase: p.phrase()})
	broken, whole := p.key(Signing, keyengine.EdDSA), p.key(Signing, keyengine.EdDSA)
	stored := must.Get[[][]byte](t)(p.db.Get(t.Context(), p.cfg.ID, headerName, keyName(broken.KID)))
	raw := bytes.Clone(stored[1])
	raw[len(raw)-1] ^= 1
	err := p.db.Commit(t.Context(), store.Batch{
		Vault: p.cfg.ID, Expect: store.Record{Name: headerName, Value: stored[0]}, Put: []store.Record{{Name: keyName(broken.KID), Value: raw}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := p.reload()
	v = p.change(Change{Way: must.Get[*Way](t)(v.Device()), Remove: v.header.byCredential([]byte("stolen")).ID})
	v = p.change(Change{Way: must.Get[*Way](t)(v.Device()), Phrase: p.phrase()})
	saved := must.Get[*Saved](t)(v.Save(t.Context(), must.Get[*Way](t)(v.Device()), testApp, "alice"))
	if saved.Keys != 1 || saved.Damaged != 1 {
		t.Errorf("saved %d keys, %d damaged", saved.Keys, saved.Damaged)
	}
	works(t, v, must.Get[*Key](t)(v.Key(t.Context(), whole.KID)))
	_, err = v.Key(t.Context(), broken.KID)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
		t.Errorf("the damaged key: %v", err)
	}
}

// TestUnusableKey: a key that opens and that this browser does not take is not called
// damaged.
func TestUnusableKey(t *testing.T) {
	p := newProfile(t)
	v := p.create(nil, p.device())
	record := p.key(Signing, keyengine.EdDSA).KeyRecord
	aad := must.Get[[]byte](t)(record.aad())
	op := keyengine.SealOp{Key: v.ring.wrap, AAD: aad, Plaintext: make([]byte, 48)} // no PKCS #8
	record.Wrapped = must.Get[[][]byte](t)(p.cfg.Engine.Seal(t.Context(), op))[0]
	if _, err := v.unwrap(t.Context(), record); !errors.Is(err, ErrUnusable) {
		t.Errorf("a key that is not taken: %v", err)
	}
	record.Wrapped[20] ^= 1
	_, err := v.unwrap(t.Context(), record)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
		t.Errorf("a key that does not open: %v", err)
	}
}
