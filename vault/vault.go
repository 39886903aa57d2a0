// Package vault is one user's keys for one (app origin, account).
//
// A [Vault] is unlocked: it holds handles, a ledger, and application keys
// unwrapped on first use. A [Manager] knows whether there is one at all, makes
// it, finds it lost, and destroys it. See keyring.go for the key hierarchy,
// header.go and key.go for what is stored, and package ledger for how.
//
// This package must not know methods, requests, or a browser.
package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// Config is what a vault works with.
type Config struct {
	Engine keyengine.Engine
	Rand   io.Reader
	Now    func() time.Time
}

// Vault is an unlocked vault.
type Vault struct {
	cfg    Config
	store  store.Store
	header *header
	ring   *keyring
	Ledger *ledger.Ledger

	mu      sync.Mutex
	signers map[string]*Signer // by kid
	audit   keyengine.PrivateKey
}

// Signer is a key ready for use: its immutable record and its handle. That it
// is still active is decided when the operation is committed (see Use).
type Signer struct {
	KeyRecord
	Private keyengine.PrivateKey
}

// maxSigners bounds how many unwrapped handles are kept.
const maxSigners = 256

// Signer returns a key for use, unwrapping it the first time. ErrNoKey if
// there is none.
func (v *Vault) Signer(ctx context.Context, kid string) (*Signer, error) {
	v.mu.Lock()
	s := v.signers[kid]
	v.mu.Unlock()
	if s != nil {
		return s, nil
	}
	var key *Key
	err := v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		key, err = ReadKey(tx, kid)
		return err
	})
	if err != nil {
		return nil, err
	}
	if s, err = v.unwrap(ctx, key.KeyRecord); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for other := range v.signers {
		if len(v.signers) < maxSigners {
			break
		}
		delete(v.signers, other)
	}
	v.signers[kid] = s
	return s, nil
}

func (v *Vault) unwrap(ctx context.Context, record KeyRecord) (*Signer, error) {
	aad, err := record.aad()
	if err != nil {
		return nil, err
	}
	private, err := v.cfg.Engine.UnwrapKey(ctx, record.Alg, record.Wrapped, v.ring.wrap, aad)
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, &ledger.IntegrityError{What: "key record " + record.KID}
	}
	return &Signer{record, private}, err
}

// Checkpoint signs a tree head (C2SP tlog-checkpoint).
func (v *Vault) Checkpoint(ctx context.Context, size uint64, root [32]byte) (string, error) {
	key, err := v.auditKey(ctx)
	if err != nil {
		return "", err
	}
	signer, err := audit.NewSigner(v.header.AuditKey.Public, func(message []byte) ([]byte, error) {
		return v.cfg.Engine.Sign(ctx, key, message)
	})
	if err != nil {
		return "", err
	}
	return audit.SignCheckpoint(signer, size, root)
}

// AuditVerifier returns the public half of the audit key as a note verifier key.
func (v *Vault) AuditVerifier() (string, error) { return audit.VerifierKey(v.header.AuditKey.Public) }

func (v *Vault) auditKey(ctx context.Context) (keyengine.PrivateKey, error) {
	v.mu.Lock()
	key := v.audit
	v.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := v.cfg.Engine.UnwrapKey(ctx, keyengine.EdDSA, v.header.AuditKey.Wrapped, v.ring.wrapAud, label(aadAudit, v.header.Instance))
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, &ledger.IntegrityError{What: "audit key"}
	}
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.audit = key
	v.mu.Unlock()
	return key, nil
}

// close drops every handle.
func (v *Vault) close() {
	v.Ledger.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.signers)
	v.audit = nil
}

// newVault is a vault before it is stored.
type newVault struct {
	encoded []byte // the header
	ring    *keyring
	handle  any
}

// build makes the keys of a new vault. Nothing is stored.
func build(ctx context.Context, cfg Config, share Share, persistence string) (*newVault, error) {
	b := &builder{ctx: ctx, cfg: cfg, share: share}
	h, ring, handle := b.build(persistence)
	encoded := do(b, h.encode)
	return &newVault{encoded, ring, handle}, b.err
}

// commit stores the first state, in place of the tombstone of an earlier vault.
func (n *newVault) commit(ctx context.Context, cfg Config, s store.Store, id string, first audit.Entry) error {
	anchor := store.Record{Name: headerName, Value: n.encoded}
	l, err := ledger.Create(ctx, ledger.Config{
		Store: s, Sealer: n.ring, Vault: id, Rand: cfg.Rand, Now: cfg.Now, Anchor: anchor,
	}, []store.Record{anchor, {Name: tombstoneName}}, []store.Handle{{Name: deviceName, Value: n.handle}}, first)
	if err != nil {
		return err
	}
	l.Close()
	return nil
}

// builder makes a new vault's keys; the first error stops it.
type builder struct {
	ctx   context.Context
	cfg   Config
	share Share
	err   error
}

func (b *builder) build(persistence string) (h *header, ring *keyring, handle any) {
	e := b.cfg.Engine
	now := b.cfg.Now().Unix()
	h = &header{Format: headerFormat, Instance: b.random(16), CreatedAt: now, Persistence: persistence, Lock: LockNone}
	h.ShareID = do(b, func() ([]byte, error) { return shareID(b.share) })
	device := do(b, func() (keyengine.AEADKey, error) { return e.GenerateDeviceKey(b.ctx) })
	handle = do(b, func() (any, error) { return e.Export(device) })

	h.Device = b.secret(keyengine.Target{Key: device, AAD: label(aadDevice, h.Instance)})[0]
	secret := b.unwrapSecret(h.Device, keyengine.Target{Key: device, AAD: label(aadDevice, h.Instance)})
	keks := do(b, func() (kek, error) { return deriveKEK(b.ctx, e, secret, b.share) })

	vaultTarget := keyengine.Target{Key: keks.device, AAD: label(aadVault, h.Instance)}
	h.Slots = []slot{{ID: encodeID(b.random(16)), Kind: "device", Label: "This browser", CreatedAt: now, VaultKey: b.secret(vaultTarget)[0]}}
	vaultKey := b.unwrapSecret(h.Slots[0].VaultKey, vaultTarget)

	ledgerWrap := do(b, func() (keyengine.AEADKey, error) { return deriveLedgerWrap(b.ctx, e, vaultKey) })
	ledgerTarget := keyengine.Target{Key: keks.ledger, AAD: label(aadLedger, h.Instance)}
	wrapped := b.secret(ledgerTarget, keyengine.Target{Key: ledgerWrap, AAD: label(aadLedger, h.Instance)})
	h.LedgerKey = ledgerKey{Device: wrapped[0], Vault: wrapped[1]}
	ledgerSecret := b.unwrapSecret(wrapped[0], ledgerTarget)

	ring = do(b, func() (*keyring, error) { return newKeyring(b.ctx, e, vaultKey, ledgerSecret) })
	generated := do(b, func() (keyengine.Generated, error) {
		return e.GenerateKey(b.ctx, keyengine.EdDSA, ring.wrapAud, func([]byte) []byte { return label(aadAudit, h.Instance) })
	})
	h.AuditKey = auditKey{Public: generated.Public, Wrapped: generated.Wrapped}
	return h, ring, handle
}

// do runs f unless an earlier step failed.
func do[T any](b *builder, f func() (T, error)) (v T) {
	if b.err == nil {
		v, b.err = f()
	}
	return v
}

func (b *builder) random(n int) []byte {
	return do(b, func() ([]byte, error) {
		r := make([]byte, n)
		_, err := io.ReadFull(b.cfg.Rand, r)
		return r, err
	})
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

// open opens a vault with lock "none": device handle, share, slot, ledger.
func open(ctx context.Context, cfg Config, s store.Store, id string, share Share, h *header, encoded []byte) (*Vault, error) {
	stored, err := s.Handle(ctx, id, deviceName)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, &ledger.IntegrityError{What: "device handle: missing"}
	}
	device, err := cfg.Engine.Import(stored)
	if err != nil {
		return nil, &ledger.IntegrityError{What: "device handle (" + err.Error() + ")"}
	}
	vaultKey, ledgerSecret, err := openSlot(ctx, cfg.Engine, device, share, h)
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, &ledger.IntegrityError{What: "device slot"}
	}
	if err != nil {
		return nil, err
	}
	ring, err := newKeyring(ctx, cfg.Engine, vaultKey, ledgerSecret)
	if err != nil {
		return nil, err
	}
	l, err := ledger.Open(ctx, ledger.Config{
		Store: s, Sealer: ring, Vault: id, Rand: cfg.Rand, Now: cfg.Now,
		Anchor: store.Record{Name: headerName, Value: encoded},
	})
	if err != nil {
		return nil, err
	}
	return &Vault{cfg: cfg, store: s, header: h, ring: ring, Ledger: l, signers: map[string]*Signer{}}, nil
}

func openSlot(ctx context.Context, e keyengine.Engine, device keyengine.AEADKey, share Share, h *header) (vaultKey, ledgerKey keyengine.SecretKey, err error) {
	secret, err := e.UnwrapSecret(ctx, h.Device, keyengine.Target{Key: device, AAD: label(aadDevice, h.Instance)})
	if err != nil {
		return nil, nil, err
	}
	keks, err := deriveKEK(ctx, e, secret, share)
	if err != nil {
		return nil, nil, err
	}
	vaultKey, err = e.UnwrapSecret(ctx, h.Slots[0].VaultKey, keyengine.Target{Key: keks.device, AAD: label(aadVault, h.Instance)})
	if err != nil {
		return nil, nil, err
	}
	ledgerKey, err = e.UnwrapSecret(ctx, h.LedgerKey.Device, keyengine.Target{Key: keks.ledger, AAD: label(aadLedger, h.Instance)})
	return vaultKey, ledgerKey, err
}

func encodeID(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
