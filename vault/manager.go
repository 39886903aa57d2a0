package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// Errors about vaults.
var (
	ErrAbsent      = errors.New("vault: there is none")
	ErrLost        = errors.New("vault: lost")
	ErrExists      = errors.New("vault: there is one already")
	ErrUnsupported = errors.New("vault: not supported")
)

// Where a vault lives.
const (
	PersistDevice  = "device"  // in the browser's storage
	PersistSession = "session" // in this worker's memory
)

// Why a vault is lost.
const (
	LostStorage = "marker-without-vault" // the app remembers a vault, the storage is empty
	LostShare   = "share-missing"        // the vault is there, but not for this share
)

// Manager finds, makes and destroys the vault of one (app origin, account).
type Manager struct {
	Config
	Device  store.Store
	Session store.Store
	ID      string // see ID
	Share   Share  // for device vaults; a session vault draws its own
	Marker  bool   // the app remembers that a device vault was made

	mu   sync.Mutex
	open *Vault
}

// Report is what can be said about a vault without using it.
type Report struct {
	State       string // absent, unlocked or lost
	Reason      string // of lost
	Persistence string
	Lock        string
	CreatedAt   int64
	Durability  store.Durability
	Slots       []Slot
	Keys        int
	Entries     uint64
}

// Slot is one way in, without its secrets.
type Slot struct {
	ID, Kind, Label string
	CreatedAt       int64
}

// Current returns the unlocked vault. ErrAbsent or a *LostError if there is
// none, and what storage says if that fails.
func (m *Manager) Current(ctx context.Context) (*Vault, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current(ctx)
}

// LostError says why a vault is lost. It matches ErrLost.
type LostError struct{ Reason string }

func (e *LostError) Error() string { return "vault: lost: " + e.Reason }

// Is makes errors.Is(err, ErrLost) true.
func (e *LostError) Is(target error) bool { return target == ErrLost }

func (m *Manager) current(ctx context.Context) (*Vault, error) {
	if m.open != nil {
		return m.open, nil
	}
	h, encoded, err := m.find(ctx)
	if err != nil {
		return nil, err
	}
	v, err := open(ctx, m.Config, m.Device, m.ID, m.Share, h, encoded)
	if err != nil {
		return nil, err
	}
	m.open = v
	return v, nil
}

// find reads the header of a device vault and decides between there, absent
// and lost.
func (m *Manager) find(ctx context.Context) (*header, []byte, error) {
	root := store.Name{Kind: ledger.KindRoot, ID: "-"}
	values, err := m.Device.Get(ctx, m.ID, headerName, root)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case values[0] == nil && values[1] == nil && m.Marker:
		return nil, nil, &LostError{LostStorage}
	case values[0] == nil && values[1] == nil:
		return nil, nil, ErrAbsent
	case values[0] == nil:
		return nil, nil, &ledger.IntegrityError{What: "vault header: missing"}
	}
	return m.readHeader(values[0])
}

func (m *Manager) readHeader(stored []byte) (*header, []byte, error) {
	encoded, err := ledger.DecodePlain(stored)
	if err != nil {
		return nil, nil, &ledger.IntegrityError{What: fmt.Sprintf("vault header (%v)", err)}
	}
	h, err := parseHeader(encoded)
	if errors.Is(err, store.ErrNewer) {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, &ledger.IntegrityError{What: err.Error()}
	}
	ours, err := shareID(m.Share)
	if err != nil {
		return nil, nil, err
	}
	if subtle.ConstantTimeCompare(ours, h.ShareID) != 1 {
		return nil, nil, &LostError{LostShare}
	}
	return h, encoded, nil
}

// Create makes a vault with lock "none", and opens it from what was stored:
// a nil error means that it was read back. first is its first log entry.
func (m *Manager) Create(ctx context.Context, persistence, lock string, first audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if lock != "none" {
		return fmt.Errorf("%w: lock %q; this release has none", ErrUnsupported, lock)
	}
	switch _, err := m.current(ctx); {
	case err == nil:
		return ErrExists
	case errors.Is(err, ErrLost):
		return err
	case persistence == PersistSession && errors.Is(err, store.ErrUnavailable) && !m.Marker:
		// A browser that stores nothing can still hold a vault in memory.
	case !errors.Is(err, ErrAbsent):
		return err
	}
	s, share := m.Device, m.Share
	if persistence == PersistSession {
		s = m.Session
		if _, err := m.Rand.Read(share[:]); err != nil {
			return err
		}
	}
	err := create(ctx, m.Config, s, m.ID, share, persistence, first)
	if errors.Is(err, store.ErrConflict) {
		return ErrExists // another tab was first
	}
	if err != nil {
		return err
	}
	v, err := m.reopen(ctx, s, share)
	if err != nil {
		// What cannot be read back must not look like a vault.
		return errors.Join(err, ledger.Wipe(ctx, s, m.ID, headerName))
	}
	m.open = v
	return nil
}

// reopen opens what create has just stored, from the store alone.
func (m *Manager) reopen(ctx context.Context, s store.Store, share Share) (*Vault, error) {
	values, err := s.Get(ctx, m.ID, headerName)
	if err != nil {
		return nil, err
	}
	encoded, err := ledger.DecodePlain(values[0])
	if err != nil {
		return nil, fmt.Errorf("%w: the new vault does not read back", store.ErrUnavailable)
	}
	h, err := parseHeader(encoded)
	if err != nil {
		return nil, err
	}
	return open(ctx, m.Config, s, m.ID, share, h, encoded)
}

// Destroy removes the vault and everything of it, whatever state it is in.
// ErrAbsent if there is nothing to remove. Whoever calls it has asked the user.
func (m *Manager) Destroy(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.Device
	if m.open != nil {
		s = m.open.store
	} else if _, _, err := m.find(ctx); errors.Is(err, ErrAbsent) {
		return err
	}
	if err := ledger.Wipe(ctx, s, m.ID, headerName); err != nil {
		return err
	}
	m.drop()
	m.Marker = false
	return nil
}

// Forget drops v if it is the open vault: it has turned out to be gone or
// replaced. The next Current looks again.
func (m *Manager) Forget(v *Vault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == v {
		m.drop()
	}
}

// Close drops the open vault's handles. A session vault is gone with it.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
}

func (m *Manager) drop() {
	if m.open != nil {
		m.open.close()
		m.open = nil
	}
}

// Report describes the vault. It fails only if storage does, or if what is
// stored is not what was written.
func (m *Manager) Report(ctx context.Context) (Report, error) {
	v, err := m.Current(ctx)
	if lost, ok := errors.AsType[*LostError](err); ok {
		return Report{State: "lost", Reason: lost.Reason, Durability: m.Device.Durability(ctx)}, nil
	}
	if errors.Is(err, ErrAbsent) {
		return Report{State: "absent", Durability: m.Device.Durability(ctx)}, nil
	}
	if err != nil {
		return Report{}, err
	}
	return v.report(ctx)
}

func (v *Vault) report(ctx context.Context) (Report, error) {
	r := Report{
		State: "unlocked", Persistence: v.header.Persistence, Lock: v.header.Lock,
		CreatedAt: v.header.CreatedAt, Durability: v.store.Durability(ctx),
	}
	for _, s := range v.header.Slots {
		r.Slots = append(r.Slots, Slot{s.ID, s.Kind, s.Label, s.CreatedAt})
	}
	return r, v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		r.Entries = tx.Size()
		r.Keys, err = CountKeys(tx)
		return err
	})
}
