//go:build !js

package vault

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

const testApp = "https://app.example"

var entry = audit.Entry{Method: "m", Origin: testApp, Outcome: "ok"}

// profile is a browser profile with one vault, seen from inside this package.
type profile struct {
	t   *testing.T
	db  *memstore.Store
	cfg ManagerConfig
	m   *Manager
}

func newProfile(t *testing.T) *profile {
	return profileOf(t, memstore.New(), native.New(rand.Reader), Share{1, 2, 3})
}

func profileOf(t *testing.T, db *memstore.Store, e keyengine.Engine, share Share) *profile {
	p := &profile{t: t, db: db, cfg: ManagerConfig{
		Engine: e, Rand: rand.Reader, Now: time.Now,
		Device: db, Session: memstore.New(), ID: ID(testApp, "alice"), Share: share,
	}}
	p.m = NewManager(p.cfg)
	t.Cleanup(func() { p.m.Close() })
	return p
}

// reload is what a new tab does.
func (p *profile) reload() *Vault {
	p.t.Helper()
	p.m.Close()
	p.m = NewManager(p.cfg)
	return p.vault()
}

func (p *profile) create(from *Backup, slots ...NewSlot) *Vault {
	p.t.Helper()
	must.Get[Report](p.t)(p.m.Create(p.t.Context(), Creation{Persistence: PersistDevice, Idle: 900, Slots: slots, From: from}, entry))
	return p.vault()
}

func (p *profile) vault() *Vault {
	p.t.Helper()
	return must.Get[*Vault](p.t)(p.m.Current(p.t.Context()))
}

func (p *profile) change(c Change) *Vault {
	p.t.Helper()
	if _, err := p.m.Change(p.t.Context(), p.vault(), c, entry); err != nil {
		p.t.Fatal(err)
	}
	return p.vault()
}

func (p *profile) unlock(way *Way) *Vault {
	p.t.Helper()
	if _, err := p.m.Unlock(p.t.Context(), p.vault(), way, entry); err != nil {
		p.t.Fatal(err)
	}
	return p.vault()
}

func (p *profile) device() NewSlot {
	return must.Get[NewSlot](p.t)(p.cfg.DeviceSlot())
}

func (p *profile) passphrase(text string) NewSlot {
	return must.Get[NewSlot](p.t)(p.cfg.PassphraseSlot(text, passphrase.Floor))
}

// passkey returns a way in whose credential and secret are its name, padded.
func (p *profile) passkey(name string) NewSlot {
	key := Passkey{Credential: []byte(name), Algorithm: -7, Public: make([]byte, 65)}
	return must.Get[NewSlot](p.t)(p.cfg.PasskeySlot(name, key, make([]byte, 32), prfOf(name)))
}

func prfOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func (p *profile) byPasskey(v *Vault, name string) *Way {
	p.t.Helper()
	return must.Get[*Way](p.t)(v.Passkey(p.t.Context(), []byte(name), prfOf(name)))
}

func (p *profile) phrase() *Phrase {
	return must.Get[*Phrase](p.t)(OpenPhrase(must.Get[bip39.Phrase](p.t)(bip39.New(rand.Reader))))
}

func (p *profile) key(purpose Purpose, alg keyengine.Alg) *Key {
	p.t.Helper()
	key, apply, err := p.vault().NewKey(p.t.Context(), purpose, alg, string(purpose), 1000)
	if err == nil {
		err = p.vault().Ledger.Submit(p.t.Context(), ledger.Op{Apply: apply, Entry: entry})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

// furnish makes a key of each kind, one that was rotated, one that was revoked, and uses one.
func (p *profile) furnish() {
	p.t.Helper()
	for _, alg := range []keyengine.Alg{keyengine.ES256, keyengine.EdDSA} {
		p.key(Signing, alg)
	}
	p.key(Agreement, keyengine.X25519)
	rotated, revoked, used := p.key(Identity, keyengine.EdDSA), p.key(VAPID, keyengine.ES256), p.key(Signing, keyengine.EdDSA)
	_, _, apply, err := p.vault().Rotate(p.t.Context(), rotated.KID, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, apply := range []func(*ledger.Tx) error{apply, Revoke(revoked.KID, "stolen", new(Key)), Use(used.KID), Use(used.KID)} {
		if err := p.vault().Ledger.Submit(p.t.Context(), ledger.Op{Apply: apply, Entry: entry}); err != nil {
			p.t.Fatal(err)
		}
	}
}

// keys returns every key of a vault.
func keysOf(t *testing.T, v *Vault) (keys []*Key) {
	t.Helper()
	err := v.Ledger.Read(t.Context(), func(tx *ledger.Tx) (err error) {
		keys, _, err = ListKeys(tx, "", 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// works uses a key that ought to be active, and checks with nothing but its public half.
func works(t *testing.T, v *Vault, k *Key) {
	t.Helper()
	s := must.Get[*Signer](t)(v.Signer(t.Context(), k.KID))
	message := []byte("message")
	if k.Alg == keyengine.X25519 {
		peer := append([]byte{9}, make([]byte, 31)...) // the base point
		salt, info := AgreeParams(k.Public, peer, "x")
		if secret, err := v.cfg.Engine.Agree(t.Context(), s.Private, peer, salt, info, 32); err != nil || len(secret) != 32 {
			t.Errorf("key %s agrees: %v", k.KID, err)
		}
		return
	}
	signature := must.Get[[]byte](t)(v.cfg.Engine.Sign(t.Context(), s.Private, message))
	valid := k.Alg == keyengine.EdDSA && ed25519.Verify(k.Public, message, signature)
	if k.Alg == keyengine.ES256 {
		public := must.Get[*ecdsa.PublicKey](t)(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k.Public))
		digest := sha256.Sum256(message)
		valid = ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	if !valid {
		t.Errorf("key %s (%s): the signature does not verify", k.KID, k.Alg)
	}
}

// stored returns every record of the vault, as it is stored.
func (p *profile) stored() (records []store.Record) {
	p.t.Helper()
	for _, name := range p.db.Names(p.cfg.ID) {
		values := must.Get[[][]byte](p.t)(p.db.Get(p.t.Context(), p.cfg.ID, name))
		records = append(records, store.Record{Name: name, Value: values[0]})
	}
	return records
}

// sealedByVaultKey returns the records that take the vault key.
func (p *profile) sealedByVaultKey() (records []store.Record) {
	for _, r := range p.stored() {
		if slices.Contains(vaultKinds, r.Kind) {
			records = append(records, r)
		}
	}
	return records
}

// opens reports whether a keyring opens a stored record.
func opens(ctx context.Context, ring *keyring, r store.Record) bool {
	aad := bytes.Join([][]byte{[]byte("kms-enclave/record/v1"), []byte(r.Kind), []byte(r.ID)}, []byte{0})
	_, err := ring.Open(ctx, []ledger.Item{{Name: r.Name, AAD: aad, Data: r.Value[1:]}})
	return err == nil
}
