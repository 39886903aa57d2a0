package vault

import (
	"context"
	"encoding/json/v2"
	"errors"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// Creation says what vault to make.
type Creation struct {
	Persistence string
	Idle        int64     // seconds until it locks by itself
	Slots       []NewSlot // the ways in, one at least
	From        *Backup   // what to fill it with; nil for an empty one
}

// newVault is a vault before it is stored.
type newVault struct {
	encoded []byte // the header
	ring    *keyring
	handle  any
	records []store.Record // sealed ones that it starts with
}

// build makes the keys of a new vault. Nothing is stored.
func build(ctx context.Context, o opening, c Creation) (*newVault, error) {
	b := &builder{ctx: ctx, cfg: o.cfg, share: o.share}
	h, ring, handle := b.build(c)
	n := &newVault{ring: ring, handle: handle}
	n.encoded = b.encoded(h, ring)
	marks := b.marks(o.home, c)
	if b.err != nil {
		return nil, b.err
	}
	var err error
	if c.From != nil {
		n.records, err = c.From.records(ctx, ring)
	} else {
		n.records, err = startRecords()
	}
	n.records = append(n.records, marks...)
	return n, err
}

// encoded returns the header as it is stored, with a vouch of the vault key.
func (b *builder) encoded(h *header, ring *keyring) []byte {
	return do(b, func() ([]byte, error) {
		return h.encode(func(text []byte) ([]byte, error) {
			nonce := b.random(keyengine.NonceSize)
			if b.err != nil {
				return nil, b.err
			}
			sealed, err := b.cfg.Engine.Seal(b.ctx, keyengine.SealOp{Key: ring.vouch, Nonce: [keyengine.NonceSize]byte(nonce), AAD: text})
			if err != nil {
				return nil, err
			}
			return sealed[0], nil
		})
	})
}

// commit stores the first state, in place of the tombstone of an earlier vault.
func (n *newVault) commit(ctx context.Context, cfg Config, s store.Store, id string, first audit.Entry) error {
	anchor := store.Record{Name: headerName, Value: n.encoded}
	records := append([]store.Record{anchor, {Name: tombstoneName}}, n.records...)
	l, err := ledger.Create(ctx, ledger.Config{
		Store: s, Sealer: n.ring, Vault: id, Rand: cfg.Rand, Now: cfg.Now, Anchor: anchor,
	}, records, []store.Handle{{Name: deviceName, Value: n.handle}}, first)
	if err != nil {
		return err
	}
	l.Close()
	return nil
}

// builder makes a vault's keys; the first error stops it.
type builder struct {
	ctx   context.Context
	cfg   Config
	share Share
	err   error
}

func (b *builder) build(c Creation) (h *header, ring *keyring, handle any) {
	e := b.cfg.Engine
	now := b.cfg.Now().Unix()
	h = &header{Instance: b.random(16), CreatedAt: now, Persistence: c.Persistence, Idle: c.Idle}
	h.Lineage = h.Instance
	if c.From != nil {
		h.Lineage, h.Recovery = c.From.file.Vault[:], c.From.phrase.seal(now)
	}
	h.ShareID = do(b, func() ([]byte, error) { return shareID(b.share) })
	keks, handle := b.device(h)

	for _, n := range c.Slots {
		h.Slots = append(h.Slots, b.addressed(n))
	}
	h.relock()
	vaultKey := b.vaultKey(h, keks)

	ledgerTarget := keyengine.Target{Key: keks.ledger, AAD: label(aadLedger, h.Instance)}
	wrapped := b.secret(ledgerTarget, b.ledgerWrap(h, vaultKey))
	h.LedgerKey = ledgerKey{Device: wrapped[0], Vault: wrapped[1]}
	ledgerSecret := b.unwrapSecret(wrapped[0], ledgerTarget)

	base := do(b, func() (*keyring, error) { return newKeyring(b.ctx, e, ledgerSecret) })
	ring = do(b, func() (*keyring, error) { return base.with(b.ctx, vaultKey) })
	generated := do(b, func() (keyengine.Generated, error) {
		return e.GenerateKey(b.ctx, keyengine.EdDSA, ring.wrapAud, func([]byte) []byte { return label(aadAudit, h.Instance) })
	})
	h.AuditKey = auditKey{Public: generated.Public, Wrapped: generated.Wrapped}
	return h, ring, handle
}

// device makes the AES handle and the device secret, and returns what opens what only
// this device has.
func (b *builder) device(h *header) (keks kek, handle any) {
	e := b.cfg.Engine
	key := do(b, func() (keyengine.AEADKey, error) { return e.GenerateDeviceKey(b.ctx) })
	handle = do(b, func() (any, error) { return e.Export(key) })
	under := keyengine.Target{Key: key, AAD: label(aadDevice, h.Instance)}
	h.Device = b.secret(under)[0]
	secret := b.unwrapSecret(h.Device, under)
	return do(b, func() (kek, error) { return deriveKEK(b.ctx, e, secret, b.share) }), handle
}

// addressed returns a new slot with the public key that the vault key is wrapped for.
func (b *builder) addressed(n NewSlot) slot {
	return do(b, func() (slot, error) {
		err := n.recipientFor(b.share)
		return n.slot, err
	})
}

// vaultKey makes a vault key, wraps it for every way in, and returns it.
func (b *builder) vaultKey(h *header, keks kek) keyengine.SecretKey {
	var targets []keyengine.Target
	var places []*[]byte
	for i := range h.Slots {
		targets = append(targets, b.target(h, &h.Slots[i], keks))
		places = append(places, &h.Slots[i].VaultKey)
	}
	if h.Recovery != nil {
		targets = append(targets, b.sealTo(h, &h.Recovery.recipient))
		places = append(places, &h.Recovery.VaultKey)
	}
	for i, wrapped := range b.secret(targets...) {
		*places[i] = wrapped
	}
	return b.unwrapSecret(*places[0], targets[0])
}

// target returns what to wrap a slot's copy of the vault key under.
func (b *builder) target(h *header, s *slot, keks kek) keyengine.Target {
	if s.Kind == KindDevice {
		return keyengine.Target{Key: keks.device, AAD: label(aadVault, h.Instance)}
	}
	if s.Sealed == nil { // an earlier step has failed
		return keyengine.Target{}
	}
	r := *s.Sealed // it is shared with the header before
	s.Sealed = &r
	return b.sealTo(h, &r)
}

func (b *builder) sealTo(h *header, r *recipient) keyengine.Target {
	aad := label(aadVault, h.Instance)
	key := do(b, func() (keyengine.AEADKey, error) { return r.encapsulate(b.ctx, b.cfg.Engine, aad) })
	return keyengine.Target{Key: key, AAD: aad}
}

// ledgerWrap returns what the vault key holds the ledger key under.
func (b *builder) ledgerWrap(h *header, vaultKey keyengine.SecretKey) keyengine.Target {
	key := do(b, func() (keyengine.AEADKey, error) {
		return b.cfg.Engine.DeriveAEAD(b.ctx, vaultKey, nil, []byte(infoVaultKey+"wrap-ledger"))
	})
	return keyengine.Target{Key: key, AAD: label(aadLedger, h.Instance)}
}

// do runs f unless an earlier step failed.
func do[T any](b *builder, f func() (T, error)) (v T) {
	if b.err == nil {
		v, b.err = f()
	}
	return v
}

func (b *builder) random(n int) []byte {
	return do(b, func() ([]byte, error) { return b.cfg.random(n) })
}

// secret returns a new secret wrapped under each target.
func (b *builder) secret(targets ...keyengine.Target) [][]byte {
	wrapped := do(b, func() ([][]byte, error) { return b.cfg.Engine.GenerateSecrets(b.ctx, targets...) })
	if b.err != nil {
		return make([][]byte, len(targets))
	}
	return wrapped
}

func (b *builder) unwrapSecret(wrapped []byte, under keyengine.Target) keyengine.SecretKey {
	return do(b, func() (keyengine.SecretKey, error) { return b.cfg.Engine.UnwrapSecret(b.ctx, wrapped, under) })
}

// opening is what it takes to open a vault that lies in a store.
type opening struct {
	cfg   Config
	store store.Store
	id    string // under which it lies there
	home  string // the vault id of its app and account
	share Share

	committed func(store.Batch) // told of every commit; may be nil
}

// open opens a vault as far as it goes without the user: whole if it has a device
// slot, else locked.
func (o opening) open(ctx context.Context, h *header, encoded []byte) (*Vault, error) {
	stored, err := o.store.Handle(ctx, o.id, deviceName)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, &ledger.IntegrityError{What: "device handle: missing"}
	}
	device, err := o.cfg.Engine.Import(stored)
	if err != nil {
		return nil, &ledger.IntegrityError{What: "device handle (" + err.Error() + ")"}
	}
	v := &Vault{opening: o, header: h, encoded: encoded, signers: map[string]*Signer{}, leased: map[string]*Signer{}}
	err = v.openDevice(ctx, device)
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, &ledger.IntegrityError{What: "device slot"}
	}
	if err != nil {
		return nil, err
	}
	return v, v.openLedger(ctx)
}

// openDevice opens the ledger key, and the vault key if the device has it.
func (v *Vault) openDevice(ctx context.Context, device keyengine.AEADKey) error {
	e, h := v.cfg.Engine, v.header
	secret, err := e.UnwrapSecret(ctx, h.Device, keyengine.Target{Key: device, AAD: label(aadDevice, h.Instance)})
	if err != nil {
		return err
	}
	if v.keks, err = deriveKEK(ctx, e, secret, v.share); err != nil {
		return err
	}
	ledgerKey, err := e.UnwrapSecret(ctx, h.LedgerKey.Device, v.ledgerTarget())
	if err != nil {
		return err
	}
	if v.ring, err = newKeyring(ctx, e, ledgerKey); err != nil {
		return err
	}
	way, err := v.Device()
	if errors.Is(err, ErrNoSlot) {
		return nil
	}
	v.ring, err = v.ringBy(ctx, way)
	return err
}

// ringBy returns the keyring that a way in gives.
func (v *Vault) ringBy(ctx context.Context, way *Way) (*keyring, error) {
	vaultKey, err := v.cfg.Engine.UnwrapSecret(ctx, way.sealed, way.under)
	if err != nil {
		return nil, err
	}
	return v.ring.with(ctx, vaultKey)
}

func (v *Vault) ledgerTarget() keyengine.Target {
	return keyengine.Target{Key: v.keks.ledger, AAD: label(aadLedger, v.header.Instance)}
}

func (v *Vault) openLedger(ctx context.Context) (err error) {
	v.Ledger, err = ledger.Open(ctx, ledger.Config{
		Store: v.store, Sealer: v.ring, Vault: v.id, Rand: v.cfg.Rand, Now: v.cfg.Now,
		Anchor: store.Record{Name: headerName, Value: v.encoded}, Committed: v.committed,
	})
	if err != nil || v.Locked() {
		return err
	}
	if err = v.checkVouch(ctx); err != nil {
		v.Ledger.Close()
	}
	return err
}

// checkVouch makes sure that the header was written by somebody who could open the
// vault: whoever holds the ledger key could have put another way in there, for which
// the next vault key would be wrapped. Format 1 has no vouch, and no way in but the
// device's.
func (v *Vault) checkVouch(ctx context.Context) error {
	if v.header.Format == 1 {
		return nil
	}
	_, err := v.cfg.Engine.Open(ctx, keyengine.OpenOp{Key: v.ring.vouch, AAD: v.header.text, Sealed: v.header.vouch})
	if errors.Is(err, keyengine.ErrOpen) {
		return &ledger.IntegrityError{What: "vault header"}
	}
	return err
}

// startRecords are what an empty vault starts with.
func startRecords() ([]store.Record, error) {
	value, err := json.Marshal(counts{Epoch: 1}, json.Deterministic(true))
	return []store.Record{{Name: countsName, Value: value}}, err
}

// as returns the same vault with another keyring and header, opened anew.
func (v *Vault) as(ctx context.Context, ring *keyring, h *header, encoded []byte) (*Vault, error) {
	again := &Vault{opening: v.opening, keks: v.keks, header: h, encoded: encoded, ring: ring, signers: map[string]*Signer{}, leased: map[string]*Signer{}}
	return again, again.openLedger(ctx)
}
