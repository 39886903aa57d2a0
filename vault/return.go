package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// How a vault comes back from a mirror. What the app hands in is believed nothing of
// until a way in has opened it and has found its mark (see marks.go), which nobody can have
// put there who has not had the vault open, for this app and account. The vault key
// vouches for the header and gives the ledger key, which opens the root, and the root
// authenticates every record. All that happens in memory. Then the device gets a new handle and a new secret, and everything
// is written in one commit. It is the same vault: same keys, same ways in, same log.

// MaxMirror is how large a mirror may be that comes back, in bytes of its records.
const MaxMirror = 32 << 20

// MirrorRecord is about what a record takes in memory beside its name and value, in bytes.
const MirrorRecord = 128

// Errors about mirrors.
var (
	// ErrNothingOffered: there is no vault's header among what was handed in.
	ErrNothingOffered = errors.New("vault: no mirror was handed in")
	// ErrMirrorLarge: it is larger than MaxMirror.
	ErrMirrorLarge = errors.New("vault: the mirror is too large")
	// ErrNotMirrored: a record of a kind that no mirror has.
	ErrNotMirrored = errors.New("vault: no record of a mirror")
)

// single are the kinds of which there is one record.
var single = []string{headerName.Kind, ledger.KindCommit, ledger.KindRoot, kindCounts}

// offer is a mirror that is being handed in. It lies in the session store under an id
// of its own, which whoever opens it takes along: what is handed in later is another one.
type offer struct {
	number int // of the offer
	open   bool
	size   int // bytes
}

// unrelated is a record that no vault has: the precondition of a batch that has none.
var unrelated = store.Record{Kind: "none", ID: "-"}

func (m *Manager) scratch() string { return fmt.Sprintf("%s mirror %d", m.cfg.ID, m.offer.number) }

// Offer takes in records of a mirror; first begins a new one. ErrNothingOffered if none
// was begun; ErrMirrorLarge drops it.
func (m *Manager) Offer(ctx context.Context, first bool, records []store.Record) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if first {
		if m.offer.open {
			wipe(ctx, m.cfg.Session, m.scratch())
		}
		m.offer = offer{number: m.offer.number + 1, open: true}
	}
	if !m.offer.open {
		return ErrNothingOffered
	}
	for _, r := range records {
		if !slices.Contains(mirrorKinds, r.Kind) || slices.Contains(single, r.Kind) && r.ID != "-" {
			return ErrNotMirrored
		}
		m.offer.size += nameSize(r.Name) + len(r.Value) + MirrorRecord
	}
	if m.offer.size > MaxMirror {
		m.offer.open = false
		wipe(ctx, m.cfg.Session, m.scratch())
		return ErrMirrorLarge
	}
	return m.cfg.Session.Commit(ctx, store.Batch{Vault: m.scratch(), Expect: unrelated, Put: records})
}

func wipe(ctx context.Context, s store.Store, vault string) {
	_ = s.Commit(context.WithoutCancel(ctx), store.Batch{Vault: vault, Expect: unrelated, Clear: true}) // memory does not fail
}

// Return is a vault on its way back from a mirror.
type Return struct {
	*Vault // locked, and without a ledger, until Open
	way    *Way
}

// OpenReturn reads the header of the mirror that was offered. Close the Return in any case.
// ErrNothingOffered, ErrNoMirror if nothing that a person has could open it, a *LostError if
// it is of another share, store.ErrNewer.
func (m *Manager) OpenReturn(ctx context.Context) (*Return, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.unlock()
	if !m.offer.open {
		return nil, ErrNothingOffered
	}
	m.offer.open = false
	r := &Return{Vault: &Vault{
		cfg: m.cfg.Config, store: m.cfg.Session, id: m.scratch(), home: m.cfg.ID, share: m.cfg.Share,
		ring:    &keyring{engine: m.cfg.Engine, byKind: map[string]keyengine.AEADKey{}},
		signers: map[string]*Signer{}, leased: map[string]*Signer{},
	}}
	if err := r.readHeader(ctx); err != nil {
		r.Close(ctx)
		return nil, err
	}
	return r, nil
}

func (r *Return) readHeader(ctx context.Context) error {
	values, err := r.store.Get(ctx, r.id, headerName)
	if err != nil {
		return err
	}
	if values[0] == nil {
		return ErrNothingOffered
	}
	if r.header, r.encoded, err = readHeader(values[0], r.share); err != nil {
		return err
	}
	if !r.header.returns() || r.header.Persistence != PersistDevice || r.header.Format == 1 { // format 1 has no vouch
		return ErrNoMirror
	}
	return nil
}

// Close drops what is in memory.
func (r *Return) Close(ctx context.Context) {
	if r.Ledger != nil {
		r.close()
	}
	wipe(ctx, r.store, r.id)
}

// Returned is what a mirror holds.
type Returned struct {
	Lineage string
	Epoch   uint64
	Keys    int    // that are whole
	Damaged int    // keys that are not; they stay so
	Entries uint64 // in the log
	At      int64  // of the newest entry, in seconds
	Gap     error  // of what the log has that cannot be read; nil if it is whole
}

// Open opens the vault with a way that it gave, and checks all of it.
func (r *Return) Open(ctx context.Context, way *Way) (found Returned, err error) {
	if err = r.unlock(ctx, way); err != nil {
		return found, err
	}
	found.Lineage = encodeID(r.header.Lineage)
	var head [32]byte
	err = r.Ledger.Read(ctx, func(tx *ledger.Tx) error {
		if err := checkMark(tx, way); err != nil {
			return err
		}
		if err := tx.Foreign(kindUse, kindRecovery, kindLeases, kindLeaseKey); err != nil {
			return err
		}
		n, err := readCounts(tx)
		if err != nil {
			return err
		}
		keys, damaged, err := backupKeys(tx)
		if err != nil {
			return err
		}
		if len(keys)+damaged != n.Keys { // nobody could administer the rest
			return &ledger.IntegrityError{What: fmt.Sprintf("list of keys: %d of %d", len(keys)+damaged, n.Keys)}
		}
		found.Epoch, found.Keys, found.Damaged = n.Epoch, len(keys), damaged
		found.Entries, found.At, head = tx.Size(), tx.Time(), tx.Head()
		return nil
	})
	if err != nil {
		return found, err
	}
	found.Gap = audit.Verify(r.Ledger.Leaves(ctx, 0, found.Entries), found.Entries, head)
	return found, ctx.Err()
}

// Head returns the head of its log. Only after Open.
func (r *Return) Head(ctx context.Context) (head [32]byte, err error) {
	err = r.Ledger.Read(ctx, func(tx *ledger.Tx) error {
		head = tx.Head()
		return nil
	})
	return head, err
}

// unlock opens keyring and ledger.
func (r *Return) unlock(ctx context.Context, way *Way) error {
	e, h := r.cfg.Engine, r.header
	vaultKey, err := e.UnwrapSecret(ctx, way.sealed, way.under)
	if err != nil {
		return err
	}
	b := &builder{ctx: ctx, cfg: r.cfg, share: r.share}
	ledgerKey := b.unwrapSecret(h.LedgerKey.Vault, b.ledgerWrap(h, vaultKey))
	locked := do(b, func() (*keyring, error) { return newKeyring(ctx, e, ledgerKey) })
	r.ring = do(b, func() (*keyring, error) { return locked.with(ctx, vaultKey) })
	if errors.Is(b.err, keyengine.ErrOpen) {
		return &ledger.IntegrityError{What: "ledger key"}
	}
	if b.err != nil {
		return b.err
	}
	r.way = way
	return r.openLedger(ctx)
}

// Deleted reports whether the vault that comes back is the one that was destroyed here last.
func (m *Manager) Deleted(ctx context.Context, r *Return) (bool, error) {
	values, err := m.cfg.Device.Get(ctx, m.cfg.ID, tombstoneName)
	if err != nil {
		return false, err
	}
	return m.isTombstone(values[0], r.header.Instance)
}

// Return writes a vault that was opened to the device, with a log entry that says so,
// and opens it from there. ErrExists if there is one by now. Once it is being written, ctx
// no longer matters, as with Create.
func (m *Manager) Return(ctx context.Context, r *Return, entry audit.Entry) (Report, error) {
	if err := m.lock(ctx); err != nil {
		return Report{}, err
	}
	defer m.unlock()
	if err := m.room(ctx, Creation{Persistence: PersistDevice, From: &Backup{}}); err != nil {
		return Report{}, err
	}
	encoded, handle, err := r.settle(ctx, entry)
	if err != nil {
		return Report{}, err
	}
	ctx = context.WithoutCancel(ctx)
	n := &newVault{encoded: encoded, ring: r.ring, handle: handle}
	report, err := m.writeBack(ctx, r, n)
	if err != nil && !errors.Is(err, ErrExists) {
		err = errors.Join(err, m.clear(ctx, m.cfg.Device, n)) // what was not answered with success must not look like a vault
	}
	return report, err
}

// settle gives the vault a new handle and device secret, in memory, and logs that it
// comes back.
func (r *Return) settle(ctx context.Context, entry audit.Entry) (encoded []byte, handle any, err error) {
	b := &builder{ctx: ctx, cfg: r.cfg, share: r.share}
	h := r.header.clone()
	keks, handle := b.device(h)
	move := func(wrapped []byte, from, to keyengine.Target) []byte {
		return do(b, func() ([]byte, error) {
			moved, err := b.cfg.Engine.RewrapSecret(b.ctx, wrapped, from, to)
			if err != nil {
				return nil, err
			}
			return moved[0], nil
		})
	}
	h.LedgerKey.Device = move(h.LedgerKey.Vault, b.ledgerWrap(h, r.ring.vaultKey), keyengine.Target{Key: keks.ledger, AAD: label(aadLedger, h.Instance)})
	if s := h.byKind(KindDevice); s != nil {
		s.VaultKey = move(r.way.sealed, r.way.under, b.target(h, s, keks))
	}
	encoded = b.encoded(h, r.ring)
	if b.err != nil {
		return nil, nil, b.err
	}
	err = r.Ledger.Submit(ctx, ledger.Op{
		Entry: entry, Reserved: true,
		Renew: &ledger.Renewal{Sealer: r.ring, Anchor: store.Record{Name: headerName, Value: encoded}},
		Apply: func(tx *ledger.Tx) error {
			tx.Put(headerName, encoded)
			return endSome(tx, func(b *lease.Book, now int64) []string { return b.EndAll(lease.Moved, now) })
		},
	})
	r.Ledger.Close()
	return encoded, handle, err
}

// writeBack copies what lies in memory to the device, and opens it from there.
func (m *Manager) writeBack(ctx context.Context, r *Return, n *newVault) (Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, restoreTime, ledger.ErrTimeout)
	defer cancel()
	batch := store.Batch{
		Vault: m.cfg.ID, Expect: store.Record{Name: headerName}, Clear: true, // a tombstone, or parts that nothing belongs to
		Handles: []store.Handle{{Name: deviceName, Value: n.handle}},
	}
	for _, kind := range mirrorKinds {
		records, err := scanAll(ctx, r.store, r.id, kind)
		if err != nil {
			return Report{}, err
		}
		batch.Put = append(batch.Put, records...)
	}
	unlock, err := m.cfg.Device.Lock(ctx, m.cfg.ID)
	if err != nil {
		return Report{}, err
	}
	err = m.cfg.Device.Commit(ctx, batch)
	unlock()
	if errors.Is(err, store.ErrConflict) {
		return Report{}, ErrExists
	}
	if err != nil {
		return Report{}, err
	}
	return m.readBack(ctx, m.onDevice(), n)
}

func scanAll(ctx context.Context, s store.Store, vault, kind string) (all []store.Record, err error) {
	r := store.Range{Kind: kind, Limit: store.MaxRecords}
	for {
		found, err := s.Scan(ctx, vault, r)
		if err != nil {
			return nil, fmt.Errorf("records of kind %s: %w", kind, err)
		}
		if all = append(all, found...); len(found) < r.Limit {
			return all, nil
		}
		r.First = found[len(found)-1].ID + " "
	}
}
