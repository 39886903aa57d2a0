package vault

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

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

// States of a vault.
const (
	Absent   = "absent"
	Locked   = "locked"
	Unlocked = "unlocked"
	Lost     = "lost"
)

// Why a vault is lost.
const (
	LostStorage = "marker-without-vault" // one is remembered, by the app or by this tab, and the storage is empty
	LostShare   = "share-missing"        // the vault is there, but not for this share
)

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
	session  *Share // of the session vault that this worker has made, if it is the one that is meant
	expected bool   // a device vault ought to be there: the app's marker, or this tab has seen it
	seen     []byte // the instance of the device vault that this tab opened last
	life     []byte // of the device vault that the recorder is about
	recorder recorder
	offer    offer // of a mirror; see return.go
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
	State       string // Absent, Locked, Unlocked or Lost
	Reason      string // of Lost
	Persistence string
	Lock        string
	Idle        int64 // seconds; 0 for LockNone
	CreatedAt   int64 // seconds
	Durability  store.Durability
	Slots       []Slot
	Recovery    bool
	RecoveryAt  int64 // seconds
	Lineage     string
	Epoch       uint64 // 0 while locked
	Keys        int
	Entries     uint64
}

// Current returns the vault, locked or unlocked. ErrAbsent or a *LostError if there
// is none, and what storage says if that fails.
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
	for attempt := 1; ; attempt++ {
		h, encoded, err := m.find(ctx)
		if err != nil {
			return nil, err
		}
		v, err := m.opening().open(ctx, h, encoded)
		if err == nil {
			m.keep(v)
			return v, nil
		}
		if !m.moved(ctx, encoded, err) {
			return nil, err
		}
		if attempt == mostLooks {
			return nil, store.ErrConflict
		}
	}
}

// mostLooks is how often a vault is looked for that other tabs change all the time.
const mostLooks = 4

// moved reports whether a vault did not open because another tab has changed,
// destroyed or replaced it since its header was read: its parts are read one after the
// other, and may be of two vaults then.
func (m *Manager) moved(ctx context.Context, encoded []byte, err error) bool {
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged && !ledger.IsOver(err) {
		return false
	}
	now, err := m.opening().store.Get(ctx, m.cfg.ID, headerName)
	return err == nil && !bytes.Equal(now[0], ledger.EncodePlain(encoded))
}

// opening returns what it takes to open the vault that is meant now.
func (m *Manager) opening() opening {
	o := m.onDevice()
	if m.session != nil {
		o.store, o.share, o.committed = m.cfg.Session, *m.session, nil
	}
	return o
}

func (m *Manager) onDevice() opening {
	return opening{cfg: m.cfg.Config, store: m.cfg.Device, id: m.cfg.ID, home: m.cfg.ID, share: m.cfg.Share, committed: m.recorder.committed}
}

// keep remembers an opened vault. A device vault is not forgotten when it is
// gone: until it has been destroyed, its absence is a loss.
func (m *Manager) keep(v *Vault) {
	if m.open != nil && m.open != v {
		m.open.close()
	}
	m.open = v
	if v.header.Persistence == PersistDevice {
		if life := v.header.life(); !bytes.Equal(m.life, life) {
			m.recorder.forget() // what it knows is of another vault, or of what this one was before it was lost
			m.life = life
		}
		m.expected, m.seen = true, v.header.Instance
	}
}

// find reads the header of a vault and decides between there, absent
// and lost.
func (m *Manager) find(ctx context.Context) (*header, []byte, error) {
	root := store.Name{Kind: ledger.KindRoot, ID: "-"}
	o := m.opening()
	values, err := o.store.Get(ctx, m.cfg.ID, headerName, root, tombstoneName)
	switch {
	case err != nil:
		return nil, nil, err
	case values[0] != nil:
		return readHeader(values[0], o.share)
	case values[1] != nil:
		return nil, nil, &ledger.IntegrityError{What: "vault header: missing"}
	case !m.expected:
		return nil, nil, ErrAbsent
	}
	if destroyed, err := m.isTombstone(values[2], m.seen); err != nil {
		return nil, nil, err
	} else if !destroyed {
		return nil, nil, &LostError{LostStorage}
	}
	m.expected, m.seen = false, nil
	return nil, nil, ErrAbsent
}

// isTombstone reports whether a stored record says that this vault was destroyed. Without an
// instance, as of a tab that has opened none, it takes nobody's word.
func (m *Manager) isTombstone(stored, instance []byte) (bool, error) {
	if instance == nil || stored == nil {
		return false, nil
	}
	want, err := tombstone(m.cfg.Share, instance)
	return subtle.ConstantTimeCompare(want, stored) == 1, err
}

func readHeader(stored []byte, share Share) (*header, []byte, error) {
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
	ours, err := shareID(share)
	if err != nil {
		return nil, nil, err
	}
	if subtle.ConstantTimeCompare(ours, h.ShareID) != 1 {
		return nil, nil, &LostError{LostShare}
	}
	return h, encoded, nil
}

// Unlock opens the vault v with a way in that the user has opened, logs it, and
// returns the vault as it is then. v is what Current returned; ErrReplaced of package
// ledger if it is not the vault any more.
func (m *Manager) Unlock(ctx context.Context, v *Vault, way *Way, entry audit.Entry) (*Vault, error) {
	return m.replace(ctx, v, func() (*Vault, error) {
		ring, err := v.ringBy(ctx, way)
		if err != nil {
			return nil, err
		}
		open, err := v.as(ctx, ring, v.header, v.encoded)
		if err != nil {
			return nil, err
		}
		if err := open.Ledger.Submit(ctx, ledger.Op{
			Reserved: true, Urgent: true, Entry: entry,
			Apply: open.KeepMark(way),
		}); err != nil {
			open.close()
			return nil, err
		}
		return open, nil
	})
}

// Change changes the ways in of the vault v, logs it, and returns the vault as it is then.
func (m *Manager) Change(ctx context.Context, v *Vault, c Change, entry audit.Entry) (*Vault, error) {
	return m.replace(ctx, v, func() (*Vault, error) { return v.change(ctx, c, entry) })
}

// replace puts another Vault in the place of v.
func (m *Manager) replace(ctx context.Context, v *Vault, with func() (*Vault, error)) (*Vault, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
	if m.open != v {
		return nil, ledger.ErrReplaced
	}
	next, err := with()
	if ledger.IsOver(err) || errors.Is(err, ledger.ErrTimeout) || errors.Is(err, ErrChanged) {
		m.drop() // whoever asks next looks again
	}
	if err != nil {
		return nil, err
	}
	m.keep(next)
	return next, nil
}

// ErrNoLock: the vault has lock "none", so there is nothing to lock.
var ErrNoLock = errors.New("vault: it has no lock")

// Lock logs that the vault is locked, if it is unlocked, and drops every handle
// that takes a way in. Whatever becomes of the log entry, it is locked then: an error
// says that it is not, or that there is nothing to lock.
func (m *Manager) Lock(ctx context.Context, entry audit.Entry) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	v, err := m.current(ctx)
	switch {
	case err != nil:
		return err
	case v.Lock() == LockNone:
		return ErrNoLock
	case v.Locked():
		return nil
	}
	_ = v.Ledger.Submit(ctx, ledger.Op{Reserved: true, Entry: entry})
	m.drop()
	return nil
}

// Anchor returns what tells the vault that is there now from any other: its
// header as it is stored, nil if there is none.
func (m *Manager) Anchor(ctx context.Context) ([]byte, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
	values, err := m.opening().store.Get(ctx, m.cfg.ID, headerName)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// instanceOf returns which vault an anchor is of; otherwise, if that cannot be read.
func instanceOf(anchor, otherwise []byte) []byte {
	encoded, err := ledger.DecodePlain(anchor)
	if err != nil {
		return otherwise
	}
	h, err := parseHeader(encoded)
	if err != nil {
		return otherwise
	}
	return h.Instance
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
	s, device := m.opening().store, m.session == nil
	var left []store.Record
	if destroyed := instanceOf(anchor, m.seen); device && destroyed != nil {
		stone, err := tombstone(m.cfg.Share, destroyed)
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
	m.session = nil
	if device {
		m.expected, m.seen = false, nil
		m.recorder.forget()
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
	r := Report{
		State: Unlocked, Persistence: v.header.Persistence, Lock: v.header.Lock, CreatedAt: v.header.CreatedAt,
		Durability: v.store.Durability(ctx), Slots: v.Slots(), Lineage: encodeID(v.header.Lineage),
	}
	if v.Locked() {
		r.State = Locked
	}
	if r.Lock != LockNone {
		r.Idle = v.header.Idle
	}
	r.Recovery, r.RecoveryAt = v.Recovery()
	err := v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		r.Entries = tx.Size()
		r.Keys, r.Epoch, err = v.CountKeys(tx)
		return err
	})
	if err != nil {
		return Report{}, err // it may be about to be written
	}
	return r, nil
}
