package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// Errors about vaults.
var (
	ErrAbsent = errors.New("vault: there is none")
	ErrLost   = errors.New("vault: lost")
	ErrExists = errors.New("vault: there is one already")
)

// Where a vault lives.
const (
	PersistDevice  = "device"  // in the browser's storage
	PersistSession = "session" // in this worker's memory
)

// LockNone is the only lock of this release: the vault is open whenever it exists.
const LockNone = "none"

// States of a vault.
const (
	Absent   = "absent"
	Unlocked = "unlocked"
	Lost     = "lost"
)

// Why a vault is lost.
const (
	LostStorage = "marker-without-vault" // one is remembered, by the app or by this tab, and the storage is empty
	LostShare   = "share-missing"        // the vault is there, but not for this share
)

// writeTime bounds how long a vault takes to be written and read back, and how
// long to be cleared away if that fails.
const writeTime = 10 * time.Second

// ManagerConfig is what a Manager works with.
type ManagerConfig struct {
	Config
	Device  store.Store
	Session store.Store
	ID      string // see ID
	Share   Share  // for device vaults; a session vault draws its own
	Marker  bool   // the app remembers that a device vault was made
}

// Manager finds, makes and destroys the vault of one (app origin, account).
type Manager struct {
	cfg  ManagerConfig
	turn chan struct{} // of capacity 1; full while somebody is at work on what follows

	open     *Vault
	expected bool   // a device vault ought to be there: the app's marker, or this tab has seen it
	seen     []byte // the instance of the device vault that this tab opened last
}

// NewManager returns a Manager that has not looked at anything yet.
func NewManager(cfg ManagerConfig) *Manager {
	return &Manager{cfg: cfg, turn: make(chan struct{}, 1), expected: cfg.Marker}
}

// lock waits for its turn. What is done then may take as long as the browser
// likes, so whoever waits has a context.
func (m *Manager) lock(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *Manager) unlock() { <-m.turn }

// Report is what can be said about a vault without using it.
type Report struct {
	State       string // Absent, Unlocked or Lost
	Reason      string // of Lost
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
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
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
	v, err := open(ctx, m.cfg.Config, m.cfg.Device, m.cfg.ID, m.cfg.Share, h, encoded)
	if err != nil {
		return nil, err
	}
	m.keep(v)
	return v, nil
}

// keep remembers an opened vault. A device vault is not forgotten when it is
// gone: until it has been destroyed, its absence is a loss.
func (m *Manager) keep(v *Vault) {
	m.open = v
	if v.header.Persistence == PersistDevice {
		m.expected, m.seen = true, v.header.Instance
	}
}

// find reads the header of a device vault and decides between there, absent
// and lost.
func (m *Manager) find(ctx context.Context) (*header, []byte, error) {
	root := store.Name{Kind: ledger.KindRoot, ID: "-"}
	values, err := m.cfg.Device.Get(ctx, m.cfg.ID, headerName, root, tombstoneName)
	switch {
	case err != nil:
		return nil, nil, err
	case values[0] != nil:
		return m.readHeader(values[0])
	case values[1] != nil:
		return nil, nil, &ledger.IntegrityError{What: "vault header: missing"}
	case !m.expected:
		return nil, nil, ErrAbsent
	}
	if destroyed, err := m.isTombstone(values[2]); err != nil {
		return nil, nil, err
	} else if !destroyed {
		return nil, nil, &LostError{LostStorage}
	}
	m.expected, m.seen = false, nil
	return nil, nil, ErrAbsent
}

// isTombstone reports whether a stored record says that the vault which this tab
// has opened was destroyed. A tab that has not opened one takes nobody's word.
func (m *Manager) isTombstone(stored []byte) (bool, error) {
	if m.seen == nil || stored == nil {
		return false, nil
	}
	want, err := tombstone(m.cfg.Share, m.seen)
	return subtle.ConstantTimeCompare(want, stored) == 1, err
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
	ours, err := shareID(m.cfg.Share)
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
//
// Once it is being written, ctx no longer matters: there is a vault and a report
// of it, or an error and no vault. Only storage that does not answer at all leaves
// that open.
func (m *Manager) Create(ctx context.Context, persistence string, first audit.Entry) (Report, error) {
	if err := m.lock(ctx); err != nil {
		return Report{}, err
	}
	defer m.unlock()
	switch _, err := m.current(ctx); {
	case err == nil:
		return Report{}, ErrExists
	case persistence == PersistSession && errors.Is(err, store.ErrUnavailable) && !m.expected:
		// A browser that stores nothing can still hold a vault in memory.
	case !errors.Is(err, ErrAbsent):
		return Report{}, err
	}
	s, share := m.cfg.Device, m.cfg.Share
	if persistence == PersistSession {
		s = m.cfg.Session
		if _, err := io.ReadFull(m.cfg.Rand, share[:]); err != nil {
			return Report{}, err
		}
	}
	n, err := build(ctx, m.cfg.Config, share, persistence)
	if err != nil {
		return Report{}, err
	}
	r, err := m.write(context.WithoutCancel(ctx), s, share, n, first)
	if errors.Is(err, store.ErrConflict) {
		return Report{}, ErrExists // another tab was first
	}
	if err != nil {
		// What was not answered with success must not look like a vault.
		err = errors.Join(err, m.clear(context.WithoutCancel(ctx), s, n))
	}
	return r, err
}

// write stores a new vault and opens it from the store alone.
func (m *Manager) write(ctx context.Context, s store.Store, share Share, n *newVault, first audit.Entry) (r Report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, writeTime, ledger.ErrTimeout)
	defer cancel()
	if err := n.commit(ctx, m.cfg.Config, s, m.cfg.ID, first); err != nil {
		return r, err
	}
	values, err := s.Get(ctx, m.cfg.ID, headerName)
	if err != nil {
		return r, err
	}
	encoded, err := ledger.DecodePlain(values[0])
	if err != nil {
		return r, fmt.Errorf("%w: the new vault does not read back", store.ErrUnavailable)
	}
	h, err := parseHeader(encoded)
	if err != nil {
		return r, err
	}
	v, err := open(ctx, m.cfg.Config, s, m.cfg.ID, share, h, encoded)
	if err != nil {
		return r, err
	}
	if r, err = v.report(ctx); err != nil {
		v.close()
		return r, err
	}
	m.keep(v)
	return r, nil
}

// clear removes what write may have stored, if it is still the vault there.
func (m *Manager) clear(ctx context.Context, s store.Store, n *newVault) error {
	ctx, cancel := context.WithTimeoutCause(ctx, writeTime, ledger.ErrTimeout)
	defer cancel()
	err := ledger.Wipe(ctx, s, m.cfg.ID, store.Record{Name: headerName, Value: ledger.EncodePlain(n.encoded)})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// Anchor returns what tells the vault that is there now from any other: its
// header as it is stored, nil if there is none.
func (m *Manager) Anchor(ctx context.Context) ([]byte, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
	s, _ := m.where()
	values, err := s.Get(ctx, m.cfg.ID, headerName)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// where returns the store of the vault that is meant now.
func (m *Manager) where() (s store.Store, device bool) {
	if m.open != nil && m.open.header.Persistence == PersistSession {
		return m.cfg.Session, false
	}
	return m.cfg.Device, true
}

// Destroy removes the vault with this anchor and everything of it, whatever
// state it is in; store.ErrConflict if another one is there. Whoever calls it has
// asked the user about that vault.
//
// What stays is a tombstone, so that other tabs which have opened the vault know
// that it is not lost.
func (m *Manager) Destroy(ctx context.Context, anchor []byte) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	s, device := m.where()
	var left []store.Record
	if device && m.seen != nil {
		stone, err := tombstone(m.cfg.Share, m.seen)
		if err != nil {
			return err
		}
		left = append(left, store.Record{Name: tombstoneName, Value: stone})
	}
	if err := ledger.Wipe(ctx, s, m.cfg.ID, store.Record{Name: headerName, Value: anchor}, left...); err != nil {
		if errors.Is(err, store.ErrConflict) {
			m.drop() // another vault is there: whoever asks next is to see that one
		}
		return err
	}
	m.drop()
	if device {
		m.expected, m.seen = false, nil
	}
	return nil
}

// Forget drops v if it is the open vault: it has turned out to be gone or
// replaced. The next Current looks again.
func (m *Manager) Forget(ctx context.Context, v *Vault) {
	if m.lock(ctx) != nil {
		return // the next one who finds it gone will do it
	}
	defer m.unlock()
	if m.open == v {
		m.drop()
	}
}

// Close drops the open vault's handles. A session vault is gone with it.
func (m *Manager) Close() {
	m.turn <- struct{}{}
	defer m.unlock()
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
	for first := true; ; first = false {
		v, err := m.Current(ctx)
		if lost, ok := errors.AsType[*LostError](err); ok {
			return Report{State: Lost, Reason: lost.Reason, Durability: m.cfg.Device.Durability(ctx)}, nil
		}
		if errors.Is(err, ErrAbsent) {
			return Report{State: Absent, Durability: m.cfg.Device.Durability(ctx)}, nil
		}
		if err != nil {
			return Report{}, err
		}
		r, err := v.report(ctx)
		if !first || !ledger.IsOver(err) {
			return r, err
		}
		m.Forget(ctx, v) // another tab has destroyed it, or storage was cleared: look again
	}
}

func (v *Vault) report(ctx context.Context) (Report, error) {
	var keys int
	var entries uint64
	err := v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		entries = tx.Size()
		keys, err = CountKeys(tx)
		return err
	})
	if err != nil {
		return Report{}, err
	}
	r := Report{
		State: Unlocked, Persistence: v.header.Persistence, Lock: v.header.Lock,
		CreatedAt: v.header.CreatedAt, Durability: v.store.Durability(ctx), Keys: keys, Entries: entries,
	}
	for _, s := range v.header.Slots {
		r.Slots = append(r.Slots, Slot{s.ID, s.Kind, s.Label, s.CreatedAt})
	}
	return r, nil
}
