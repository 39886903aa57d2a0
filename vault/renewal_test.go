//go:build !js

package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/store"
)

// renewals are the changes that take somebody's way in away: what there is to begin
// with, how somebody got in before, and what is changed then.
var renewals = map[string]struct {
	way    func(*profile, *Vault) (*Way, error)
	change func(*profile, *Vault) Change
	denied error // what the old secret is answered afterwards
}{
	"a passkey is removed": {
		func(p *profile, v *Vault) (*Way, error) {
			return v.Passkey(p.t.Context(), []byte("lost"), prfOf("lost"))
		},
		func(p *profile, v *Vault) Change {
			return Change{Remove: v.header.byCredential([]byte("lost")).ID}
		},
		ErrNoSlot,
	},
	"the passphrase is changed": {
		func(p *profile, v *Vault) (*Way, error) { return v.Passphrase(p.t.Context(), "old passphrase") },
		func(p *profile, v *Vault) Change {
			slot := p.passphrase("new passphrase")
			return Change{Add: &slot, Remove: v.header.byKind(KindPassphrase).ID}
		},
		ErrWrongSecret,
	},
	"the passphrase is removed": {
		func(p *profile, v *Vault) (*Way, error) { return v.Passphrase(p.t.Context(), "old passphrase") },
		func(p *profile, v *Vault) Change { return Change{Remove: v.header.byKind(KindPassphrase).ID} },
		ErrNoSlot,
	},
	"the phrase is renewed": {
		func(p *profile, v *Vault) (*Way, error) { return v.Phrase(p.t.Context(), oldPhrase) },
		func(p *profile, v *Vault) Change { return Change{Phrase: p.phrase()} },
		ErrWrongSecret,
	},
	"the device is removed": {
		func(_ *profile, v *Vault) (*Way, error) { return v.Device() },
		func(p *profile, v *Vault) Change { return Change{Remove: v.header.byKind(KindDevice).ID} },
		ErrNoSlot,
	},
}

var oldPhrase *Phrase

// TestOldBlobs: what somebody kept of a way in, and its secret, open nothing that was
// written after it was taken away. The old vault key is in their hands: it opens no
// record, no application key, no copy of the new one.
func TestOldBlobs(t *testing.T) {
	for name, test := range renewals {
		t.Run(name, func(t *testing.T) {
			p := newProfile(t)
			oldPhrase = p.phrase()
			before := p.create(nil, p.device(), p.passphrase("old passphrase"), p.passkey("lost"), p.passkey("kept"))
			before = p.change(Change{Way: must.Get[*Way](t)(before.Device()), Phrase: oldPhrase})
			p.furnish()
			keysBefore, header := keysOf(t, before), before.header
			way := must.Get[*Way](t)(test.way(p, before))
			proof := must.Get[*Way](t)(before.Device())

			change := test.change(p, before)
			change.Way = proof
			after := p.change(change)

			oldRing := must.Get[*keyring](t)(before.ringBy(t.Context(), way)) // the old blob, with its secret
			checkRecords(t, p, oldRing, after)
			checkKeys(t, oldRing, after, keysBefore)
			checkBlobs(t, oldRing, way, header, after)
			checkOldWay(t, p, test.way, test.denied, after)
			checkSpliced(t, p, oldRing, after)

			p.reload()
			if p.vault().Locked() {
				p.unlock(p.byPasskey(p.vault(), "kept"))
			}
			for _, k := range keysOf(t, p.vault()) {
				if k.State == Active {
					works(t, p.vault(), k)
				}
			}
		})
	}
}

// checkRecords: the old vault key opens no record that lies in storage.
func checkRecords(t *testing.T, p *profile, old *keyring, after *Vault) {
	t.Helper()
	kinds := map[string]int{}
	for _, r := range p.sealedByVaultKey() {
		kinds[r.Kind]++
		if opens(t.Context(), old, r) {
			t.Errorf("the old vault key opens the %s record %s", r.Kind, r.ID)
		}
		if !opens(t.Context(), after.ring, r) {
			t.Errorf("the new vault key does not open the %s record %s; the attempt above proves nothing", r.Kind, r.ID)
		}
	}
	marks := 1 // the phrase's
	for _, s := range after.header.Slots {
		if s.Kind != KindDevice {
			marks++
		}
	}
	if kinds[kindKey] != 7 || kinds[kindMeta] != 7 || kinds[kindCounts] != 1 || kinds[kindRecovery] != 1+marks {
		t.Errorf("records %v", kinds)
	}
}

// checkKeys: every application key is the same one, wrapped anew.
func checkKeys(t *testing.T, old *keyring, after *Vault, keysBefore []*Key) {
	t.Helper()
	keys, active := keysOf(t, after), 0
	if len(keys) != len(keysBefore) {
		t.Fatalf("%d keys, %d before", len(keys), len(keysBefore))
	}
	for i, k := range keys {
		was := keysBefore[i]
		if k.KID != was.KID || !bytes.Equal(k.Public, was.Public) || k.KeyMeta != was.KeyMeta || k.KeyUse != was.KeyUse {
			t.Errorf("key %+v, before %+v", k, was)
		}
		if k.State != Active {
			if len(k.Wrapped) != 0 {
				t.Errorf("key %s is %s and has a private half", k.KID, k.State)
			}
			continue
		}
		active++
		aad := must.Get[[]byte](t)(k.aad())
		open := func(wrapped []byte, under keyengine.AEADKey) error {
			_, err := after.cfg.Engine.UnwrapKey(t.Context(), k.Alg, wrapped, under, aad)
			return err
		}
		if bytes.Equal(k.Wrapped, was.Wrapped) || !errors.Is(open(k.Wrapped, old.wrap), keyengine.ErrOpen) {
			t.Errorf("key %s opens under the old vault key", k.KID)
		}
		if err := errors.Join(open(was.Wrapped, old.wrap), open(k.Wrapped, after.ring.wrap)); err != nil {
			t.Errorf("key %s: %v; the attempt above proves nothing", k.KID, err)
		}
	}
	if active != 5 {
		t.Errorf("%d active keys", active)
	}
}

// checkBlobs: nothing that the old vault key, or the old key of the way in, gives opens a
// wrapped key of the new header.
func checkBlobs(t *testing.T, old *keyring, way *Way, was *header, after *Vault) {
	t.Helper()
	e := after.cfg.Engine
	under := map[string]keyengine.AEADKey{"the old way in": way.under.Key, "the old key for application keys": old.wrap}
	for _, what := range append(slices.Clone(vaultKinds), "wrap", "wrap-ledger", infoBackup) {
		under["the old key for "+what] = must.Get[keyengine.AEADKey](t)(old.derive(t.Context(), what))
	}
	blobs, before := wrappedOf(after.header), wrappedOf(was)
	if len(blobs) < 4 {
		t.Fatalf("%d wrapped keys in the new header", len(blobs))
	}
	for what, blob := range blobs {
		for _, other := range before {
			if bytes.Equal(blob, other) {
				t.Errorf("the %s is as it was", what)
			}
		}
		if way.Slot.Kind == KindDevice && what == "slot device" {
			continue
		}
		for name, key := range under {
			for _, aad := range []string{aadVault, aadLedger, aadDevice, aadAudit} {
				if _, err := e.UnwrapSecret(t.Context(), blob, keyengine.Target{Key: key, AAD: label(aad, after.header.Instance)}); !errors.Is(err, keyengine.ErrOpen) {
					t.Errorf("the %s opens under %s (%v)", what, name, err)
				}
			}
		}
	}
}

// wrappedOf returns every copy of the vault key, and what is wrapped under it.
func wrappedOf(h *header) map[string][]byte {
	blobs := map[string][]byte{"ledger key": h.LedgerKey.Vault}
	for _, s := range h.Slots {
		name := "slot " + s.Kind
		if s.Passkey != nil {
			name += " " + string(s.Passkey.Credential)
		}
		blobs[name] = s.VaultKey
	}
	if h.Recovery != nil {
		blobs["recovery"] = h.Recovery.VaultKey
	}
	return blobs
}

// checkOldWay: the old secret is refused as such, also by a tab that begins anew.
func checkOldWay(t *testing.T, p *profile, way func(*profile, *Vault) (*Way, error), denied error, after *Vault) {
	t.Helper()
	if _, err := way(p, after); !errors.Is(err, denied) {
		t.Errorf("the old way in: %v, %v wanted", err, denied)
	}
}

// checkSpliced: with the old vault key in the new vault's place, past every check of the
// header, each key is integrity.
func checkSpliced(t *testing.T, p *profile, old *keyring, after *Vault) {
	t.Helper()
	_, err := after.as(t.Context(), old, after.header, after.encoded)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
		t.Errorf("opened with the old vault key: %v", err)
	}
}

// TestEpochGrows: with everything of which an older backup would bring something back.
func TestEpochGrows(t *testing.T) {
	p := newProfile(t)
	v := p.create(nil, p.device())
	epoch := func() uint64 {
		var n counts
		err := p.vault().Ledger.Read(t.Context(), func(tx *ledger.Tx) (err error) { n, err = readCounts(tx); return err })
		if err != nil {
			t.Fatal(err)
		}
		return n.Epoch
	}
	way := func() *Way { return must.Get[*Way](t)(p.vault().Device()) }
	slot := func(n NewSlot) *NewSlot { return &n }
	expect := func(what string, want uint64) {
		t.Helper()
		if got := epoch(); got != want {
			t.Errorf("%s: epoch %d, %d wanted", what, got, want)
		}
	}
	expect("a new vault", 1)
	p.change(Change{Way: way(), Add: slot(p.passkey("one"))})
	expect("a way in more", 1)
	p.change(Change{Way: way(), Phrase: p.phrase()})
	expect("a first phrase", 1)
	p.furnish()
	expect("a key rotated, another one revoked", 3)
	p.change(Change{Way: way(), Phrase: p.phrase()})
	expect("another phrase", 4)
	p.change(Change{Way: way(), Remove: p.vault().header.byCredential([]byte("one")).ID})
	expect("a way in less", 5)
	if v == p.vault() {
		t.Error("a change leaves the same vault")
	}
}

// TestRaise: a slot whose passphrase is to cost more keeps the vault key, and nothing of
// what it was.
func TestRaise(t *testing.T) {
	p := newProfile(t)
	p.create(nil, p.passphrase("the same passphrase"), p.passkey("kept"))
	p.furnish()
	before, records := p.vault().header, p.sealedByVaultKey()
	way := must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "the same passphrase"))
	stronger := passphrase.Params{MemoryKiB: passphrase.Floor.MemoryKiB, Passes: passphrase.Floor.Passes + 1}
	slot := must.Get[NewSlot](t)(p.cfg.PassphraseSlot("the same passphrase", stronger))
	p.change(Change{Way: way, Add: &slot, Remove: before.byKind(KindPassphrase).ID, Same: true})
	old, now := before.byKind(KindPassphrase), p.reload().header.byKind(KindPassphrase)
	if now.ID != old.ID || now.Label != old.Label || *now.Argon != stronger {
		t.Errorf("slot %+v, before %+v", now, old)
	}
	for what, b := range map[string][]byte{"salt": old.Salt, "vault key": old.VaultKey, "public key": old.Sealed.Public, "encapsulated secret": old.Sealed.Enc} {
		if bytes.Contains(p.vault().encoded, []byte(base64.StdEncoding.EncodeToString(b))) {
			t.Errorf("the old %s is still in the header", what)
		}
	}
	if kept := before.byKind(KindPasskey); !bytes.Equal(kept.VaultKey, p.vault().header.byKind(KindPasskey).VaultKey) {
		t.Error("another way in was touched")
	}
	again := p.sealedByVaultKey()
	for i, r := range records {
		if same := r.Name == again[i].Name && bytes.Equal(r.Value, again[i].Value); same == (r.Name == markName(now.ID)) {
			t.Errorf("the %s record %s: the same is %v", r.Kind, r.ID, same)
		}
	}
	p.unlock(must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "the same passphrase")))
	keysOf(t, p.vault())
}

// TestChangeTakesAWay: without a way in that the user has opened no other one is added.
func TestChangeTakesAWay(t *testing.T) {
	p := newProfile(t)
	v := p.create(nil, p.passkey("one"))
	slot := p.passkey("two")
	for name, c := range map[string]Change{"a slot": {Add: &slot}, "a phrase": {Phrase: p.phrase()}} {
		if _, err := p.m.Change(t.Context(), v, c, entry); !errors.Is(err, ErrWrongSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.m.drop()
	if _, err := p.m.Change(t.Context(), p.vault(), Change{Remove: v.header.Slots[0].ID}, entry); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is locked: %v", err)
	}
}

// once fails one read after the next commit.
type once struct {
	store.Store
	armed, due bool
}

func (o *once) Commit(ctx context.Context, b store.Batch) error {
	err := o.Store.Commit(ctx, b)
	o.due, o.armed = o.armed, false
	return err
}

func (o *once) Get(ctx context.Context, id string, names ...store.Name) ([][]byte, error) {
	if o.due {
		o.due = false
		return nil, store.ErrUnavailable
	}
	return o.Store.Get(ctx, id, names...)
}

// TestChangedButClosed: a change that is stored is not called one that failed, whatever
// comes behind it, and the vault is found again as it is then.
func TestChangedButClosed(t *testing.T) {
	p := newProfile(t)
	s := &once{Store: p.db}
	p.cfg.Device = s
	p.m = NewManager(p.cfg)
	p.create(nil, p.device(), p.passkey("one"))
	slot := p.passkey("two")
	v := p.vault()
	s.armed = true
	_, err := p.m.Change(t.Context(), v, Change{Way: must.Get[*Way](t)(v.Device()), Add: &slot}, entry)
	if !errors.Is(err, ErrChanged) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("changed: %v", err)
	}
	if got := len(p.vault().Slots()); got != 3 {
		t.Errorf("%d ways in, 3 wanted", got)
	}
}
