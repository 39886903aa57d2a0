// Package vault is one user's keys for one (app origin, account).
//
// A [Vault] is one that lies in a store, locked or unlocked: locked it holds the
// ledger's handles, unlocked the vault key's too, and application keys unwrapped on
// first use. It is never changed from one to the other; whoever brings a way in
// gets another Vault. A [Manager] knows whether there is one at all, makes it, opens
// and locks it, finds it lost, and destroys it.
//
// See keyring.go and seal.go for the key hierarchy, slots.go for the ways in,
// header.go and key.go for what is stored, backup.go for what leaves in a backup, and
// package ledger for how it is stored.
//
// This package must not know methods, requests, dialogs, or a browser.
package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
)

// Config is what a vault works with.
type Config struct {
	Engine keyengine.Engine
	Rand   io.Reader
	Now    func() time.Time
}

// Vault is a vault that lies in a store, locked or unlocked.
type Vault struct {
	opening
	header  *header
	encoded []byte // the header as it is stored
	keks    kek
	ring    *keyring
	Ledger  *ledger.Ledger

	mu      sync.Mutex
	signers map[string]*Signer // by kid
	leased  map[string]*Signer // by lease
	audit   keyengine.PrivateKey
}

// Locked reports whether it takes a way in first.
func (v *Vault) Locked() bool { return v.ring.locked() }

// Lock returns how the vault is locked: LockNone, KindPassphrase or KindPasskey.
func (v *Vault) Lock() string { return v.header.Lock }

// Idle returns after how long without use the vault ought to be locked.
func (v *Vault) Idle() time.Duration { return time.Duration(v.header.Idle) * time.Second }

// Slots returns the ways in.
func (v *Vault) Slots() []Slot {
	var slots []Slot
	for i := range v.header.Slots {
		slots = append(slots, v.header.Slots[i].show())
	}
	return slots
}

// Recovery reports whether there is a recovery phrase, and since when, in seconds.
func (v *Vault) Recovery() (enabled bool, createdAt int64) {
	if r := v.header.Recovery; r != nil {
		return true, r.CreatedAt
	}
	return false, 0
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
	key, err := v.Key(ctx, kid)
	if err != nil {
		return nil, err
	}
	if len(key.Wrapped) == 0 {
		return nil, ErrInactive
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

// Drop forgets a key's handles: it has ended.
func (v *Vault) Drop(kid string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.signers, kid)
	maps.DeleteFunc(v.leased, func(_ string, s *Signer) bool { return s.KID == kid })
}

func (v *Vault) unwrap(ctx context.Context, record KeyRecord) (*Signer, error) {
	aad, err := record.aad()
	if err != nil {
		return nil, err
	}
	private, err := v.cfg.Engine.UnwrapKey(ctx, record.Alg, record.Wrapped, v.ring.wrap, aad)
	if errors.Is(err, keyengine.ErrOpen) {
		// Whether it is what was written, or this browser does not take it: whoever
		// carries it from one ciphertext to the next does not look into it.
		same := keyengine.Target{Key: v.ring.wrap, AAD: aad}
		_, err = v.cfg.Engine.RewrapKeys(ctx, keyengine.RewrapOp{Alg: record.Alg, Wrapped: record.Wrapped, From: same, To: same})
		switch {
		case err == nil:
			return nil, ErrUnusable
		case errors.Is(err, keyengine.ErrOpen):
			return nil, &ledger.IntegrityError{What: "key record " + record.KID}
		}
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
	clear(v.leased)
	v.audit = nil
}

func encodeID(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
