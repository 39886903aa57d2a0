package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// writeTime bounds how long a vault takes to be written and read back, and how
// long to be cleared away if that fails.
const writeTime = 10 * time.Second

// restoreTime is the same for a vault that comes with all its keys.
const restoreTime = 2 * time.Minute

// Create makes a vault, and opens it from what was stored: a nil error means that it
// was read back, and that the ways in lead to it. It is unlocked then. first is its
// first log entry.
//
// A vault that is lost because its storage is empty makes room for one that comes
// from a backup.
//
// Once it is being written, ctx no longer matters: there is a vault and a report
// of it, or an error and no vault. Only storage that does not answer at all leaves
// that open.
func (m *Manager) Create(ctx context.Context, c Creation, first audit.Entry) (Report, error) {
	if err := m.lock(ctx); err != nil {
		return Report{}, err
	}
	defer m.unlock()
	if err := m.room(ctx, c); err != nil {
		return Report{}, err
	}
	o := m.onDevice()
	if c.Persistence == PersistSession {
		o.store, o.committed = m.cfg.Session, nil
		if _, err := io.ReadFull(m.cfg.Rand, o.share[:]); err != nil {
			return Report{}, err
		}
	}
	n, err := build(ctx, o, c)
	if err != nil {
		return Report{}, err
	}
	r, err := m.write(context.WithoutCancel(ctx), o, n, first)
	if errors.Is(err, ErrExists) {
		return Report{}, err // another tab was first
	}
	if err != nil {
		// What was not answered with success must not look like a vault.
		err = errors.Join(err, m.clear(context.WithoutCancel(ctx), o.store, n))
	}
	return r, err
}

// Room reports whether a vault could be made now: a nil error means yes.
func (m *Manager) Room(ctx context.Context, c Creation) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	return m.room(ctx, c)
}

func (m *Manager) room(ctx context.Context, c Creation) error {
	_, err := m.current(ctx)
	lost, isLost := errors.AsType[*LostError](err)
	switch {
	case err == nil:
		return ErrExists
	case errors.Is(err, ErrAbsent):
		return nil
	case isLost && lost.Reason == LostStorage && c.From != nil:
		return nil
	case c.Persistence == PersistSession && errors.Is(err, store.ErrUnavailable) && !m.expected:
		return nil // a browser that stores nothing can still hold a vault in memory
	}
	return err
}

// write stores a new vault and opens it from the store alone.
func (m *Manager) write(ctx context.Context, o opening, n *newVault, first audit.Entry) (r Report, err error) {
	most := writeTime
	if len(n.records) > 0 {
		most = restoreTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, ledger.ErrTimeout)
	defer cancel()
	err = n.commit(ctx, m.cfg.Config, o.store, m.cfg.ID, first)
	if errors.Is(err, store.ErrConflict) {
		return r, ErrExists
	}
	if err != nil {
		return r, err
	}
	return m.readBack(ctx, o, n)
}

// readBack opens a vault that was just written from the store alone, and keeps it.
func (m *Manager) readBack(ctx context.Context, o opening, n *newVault) (r Report, err error) {
	values, err := o.store.Get(ctx, m.cfg.ID, headerName)
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
	v, err := o.open(ctx, h, encoded)
	if err != nil {
		return r, err
	}
	if v.Locked() {
		locked := v
		v, err = locked.as(ctx, n.ring, h, encoded)
		locked.close()
		if err != nil {
			return r, err
		}
	}
	if r, err = v.report(ctx); err != nil {
		v.close()
		return r, err
	}
	if h.Persistence == PersistSession {
		m.session = &o.share
	}
	m.keep(v)
	return r, nil
}

// clear removes what write may have stored, if it is still the vault there.
func (m *Manager) clear(ctx context.Context, s store.Store, n *newVault) error {
	ctx, cancel := context.WithTimeoutCause(ctx, writeTime, ledger.ErrTimeout)
	defer cancel()
	// A tombstone of the vault before it stays: other tabs go by it.
	var left []store.Record
	values, err := s.Get(ctx, m.cfg.ID, tombstoneName)
	if err != nil {
		return err
	}
	if values[0] != nil {
		left = append(left, store.Record{Name: tombstoneName, Value: values[0]})
	}
	err = ledger.Wipe(ctx, s, m.cfg.ID, store.Record{Name: headerName, Value: ledger.EncodePlain(n.encoded)}, left...)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}
