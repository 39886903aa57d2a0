package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// A lease (package lease) works while the vault is locked, so its key is there once more:
//
//	lease handle (AES, in the store) ─unwraps─> lease secret
//	lease secret + share ─HKDF─> lease KEK ─unwraps─> the private key, once more
//
// Whoever copies the profile and the share can therefore use it without a way in, until the lease
// ends. Then handle, secret and copy are deleted, in the commit that ends it. All leases are in one
// record, the book, so that none can be taken out while its key is revoked and be put back later;
// the index knows which copies there are. None of it leaves in a backup, and a vault that comes
// back from a mirror has no handle of them: its leases have ended.
const (
	infoLeaseKEK   = "kms-enclave/kek/lease/v1"
	aadLeaseSecret = "kms-enclave/wrap/lease-secret/v1"
	aadLeaseKey    = "kms-enclave/wrap/lease-key/v1"
)

// ErrNoLeases: a vault that ends with its worker has none.
var ErrNoLeases = errors.New("vault: it ends with its worker, and has no leases")

var bookName = store.Name{Kind: kindLeases, ID: "-"}

// leaseName is the name of a lease's copy of its key, and of the AES handle that opens it.
func leaseName(id string) store.Name { return store.Name{Kind: kindLeaseKey, ID: id} }

// leaseKey is a lease's copy of its key.
type leaseKey struct {
	Secret []byte    `json:"secret"` // the lease secret, wrapped under the AES handle
	Key    KeyRecord `json:"key"`    // with the private key wrapped under the lease KEK
}

// Leases returns the book. It works while the vault is locked.
func (v *Vault) Leases(ctx context.Context) (b *lease.Book, now int64, err error) {
	err = v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		b, err = readBook(tx)
		now = tx.Now()
		return err
	})
	return b, now, err
}

func readBook(tx *ledger.Tx) (*lease.Book, error) {
	b := new(lease.Book)
	raw, err := tx.Get(bookName)
	if err != nil || raw == nil {
		return b, err
	}
	return b, unmarshal(raw, bookName, b)
}

// ChangeLeases returns the Apply that changes the book. change may run more than once.
func ChangeLeases(change func(b *lease.Book, now int64) error) func(*ledger.Tx) error {
	return func(tx *ledger.Tx) error {
		b, err := readBook(tx)
		if err != nil {
			return err
		}
		if err := change(b, tx.Now()); err != nil {
			return err
		}
		return putJSON(tx, bookName, b)
	}
}

// KeepsLeases reports whether the vault outlives its worker: without that a lease is of no use.
func (v *Vault) KeepsLeases() bool { return v.header.Persistence == PersistDevice }

// GrantLease returns what has to be committed to give a lease: a new id, and the Apply. ErrInactive unless the
// key is active; ErrNoLeases; and as lease.Book.Grant.
func (v *Vault) GrantLease(ctx context.Context, t lease.Terms, life int64, granted *lease.Lease) (id string, apply func(*ledger.Tx) error, err error) {
	if !v.KeepsLeases() {
		return "", nil, ErrNoLeases
	}
	key, err := v.Key(ctx, t.KID)
	if err != nil {
		return "", nil, err
	}
	if key.State != Active {
		return "", nil, ErrInactive
	}
	random, err := v.cfg.random(16)
	if err != nil {
		return "", nil, err
	}
	id = encodeID(random)
	copied, handle, err := v.copyForLease(ctx, id, key.KeyRecord)
	if err != nil {
		return "", nil, err
	}
	return id, func(tx *ledger.Tx) error {
		meta, err := readMeta(tx, t.KID)
		if err == nil && meta.State != Active {
			err = ErrInactive
		}
		if err != nil {
			return err
		}
		b, err := readBook(tx)
		if err != nil {
			return err
		}
		had := slices.Clone(b.Leases)
		l, err := b.Grant(id, t, life, tx.Now())
		if err != nil {
			return err
		}
		*granted = *l
		for _, old := range had { // the one that made room is among them
			if old.Runs(tx.Now()) != nil {
				if err := dropCopy(tx, old.ID); err != nil {
					return err
				}
			}
		}
		tx.PutHandle(store.Handle{Name: leaseName(id), Value: handle})
		return errors.Join(putJSON(tx, bookName, b), putJSON(tx, leaseName(id), copied))
	}, nil
}

func dropCopy(tx *ledger.Tx, id string) error {
	if !tx.Writable(leaseName(id)) {
		return nil
	}
	raw, err := tx.Get(leaseName(id))
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged || raw != nil {
		tx.Delete(leaseName(id)) // what is damaged has to go all the more
		return nil
	}
	return err
}

// copyForLease wraps a key once more, for a lease.
func (v *Vault) copyForLease(ctx context.Context, id string, record KeyRecord) (copied leaseKey, handle any, err error) {
	b := &builder{ctx: ctx, cfg: v.cfg, share: v.share}
	device := do(b, func() (keyengine.AEADKey, error) { return v.cfg.Engine.GenerateDeviceKey(ctx) })
	handle = do(b, func() (any, error) { return v.cfg.Engine.Export(device) })
	under := keyengine.Target{Key: device, AAD: v.leaseAAD(aadLeaseSecret, id)}
	secret := b.secret(under)[0]
	opened := b.unwrapSecret(secret, under)
	to := do(b, func() (keyengine.Target, error) { return v.leaseTarget(ctx, id, opened, record) })
	wrapped := do(b, func() ([][]byte, error) {
		aad, err := record.aad()
		if err != nil {
			return nil, err
		}
		return v.cfg.Engine.RewrapKeys(ctx, keyengine.RewrapOp{
			Alg: record.Alg, Wrapped: record.Wrapped, From: keyengine.Target{Key: v.ring.wrap, AAD: aad}, To: to,
		})
	})
	if errors.Is(b.err, keyengine.ErrOpen) {
		return leaseKey{}, nil, &ledger.IntegrityError{What: "key record " + record.KID}
	}
	if b.err != nil {
		return leaseKey{}, nil, b.err
	}
	record.Wrapped = wrapped[0]
	return leaseKey{Secret: secret, Key: record}, handle, nil
}

func (v *Vault) leaseAAD(what, id string) []byte {
	return append(append(label(what, v.header.Instance), 0), id...)
}

// leaseTarget returns what the key of a lease is wrapped under.
func (v *Vault) leaseTarget(ctx context.Context, id string, secret keyengine.SecretKey, record KeyRecord) (keyengine.Target, error) {
	aad, err := record.aad()
	if err != nil {
		return keyengine.Target{}, err
	}
	key, err := v.cfg.Engine.DeriveAEAD(ctx, secret, v.share[:], []byte(infoLeaseKEK))
	return keyengine.Target{Key: key, AAD: append(append(v.leaseAAD(aadLeaseKey, id), 0), aad...)}, err
}

// LeaseSigner returns a lease, its key ready for use, and the time to go by. It works while the vault
// is locked. Whether the lease covers what is to be signed is decided when that is committed.
func (v *Vault) LeaseSigner(ctx context.Context, id string) (l lease.Lease, s *Signer, now int64, err error) {
	var copied *leaseKey
	err = v.Ledger.Read(ctx, func(tx *ledger.Tx) error {
		copied = nil
		b, err := readBook(tx)
		if err != nil {
			return err
		}
		found, err := b.Find(id)
		if err != nil {
			return err
		}
		l, now = *found, b.Now(tx.Now())
		if err := l.Runs(now); err != nil {
			return err
		}
		if _, err := usable(tx, l.KID); err != nil {
			return err
		}
		raw, err := tx.Get(leaseName(id))
		if err != nil {
			return err
		}
		copied = new(leaseKey)
		return unmarshal(raw, leaseName(id), copied)
	})
	if err != nil {
		return l, nil, 0, err
	}
	v.mu.Lock()
	s = v.leased[id]
	v.mu.Unlock()
	if s != nil {
		return l, s, now, nil
	}
	if s, err = v.openLease(ctx, id, copied); err != nil {
		return l, nil, 0, err
	}
	v.mu.Lock()
	v.leased[id] = s
	v.mu.Unlock()
	return l, s, now, nil
}

func (v *Vault) openLease(ctx context.Context, id string, copied *leaseKey) (*Signer, error) {
	damaged := &ledger.IntegrityError{What: "lease " + id}
	stored, err := v.store.Handle(ctx, v.id, leaseName(id))
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, damaged
	}
	device, err := v.cfg.Engine.Import(stored)
	if err != nil {
		return nil, damaged
	}
	secret, err := v.cfg.Engine.UnwrapSecret(ctx, copied.Secret, keyengine.Target{Key: device, AAD: v.leaseAAD(aadLeaseSecret, id)})
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, damaged
	}
	if err != nil {
		return nil, err
	}
	under, err := v.leaseTarget(ctx, id, secret, copied.Key)
	if err != nil {
		return nil, err
	}
	private, err := v.cfg.Engine.UnwrapKey(ctx, copied.Key.Alg, copied.Key.Wrapped, under.Key, under.AAD)
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, damaged
	}
	return &Signer{copied.Key, private}, err
}

// UseLease returns the Apply that counts tokens of a lease, and the use of its key. It fails as lease.Book.Issue does.
func UseLease(id string, u lease.Use) func(*ledger.Tx) error {
	return func(tx *ledger.Tx) error {
		var kid string
		err := ChangeLeases(func(b *lease.Book, now int64) error {
			l, err := b.Issue(id, u, now)
			if err == nil {
				kid = l.KID
			}
			return err
		})(tx)
		if err != nil {
			return err
		}
		use, err := usable(tx, kid)
		if err != nil {
			return err
		}
		tx.Put(useName(kid), encodeUse(KeyUse{Uses: use.Uses + uint64(u.Count), LastUsedAt: tx.Now()}))
		return nil
	}
}

// usable returns the use of a lease's key; lease.ErrEnded if the key has ended, whatever the book says.
func usable(tx *ledger.Tx, kid string) (KeyUse, error) {
	use, err := readUse(tx, kid)
	if err == nil && use.Ended {
		err = lease.ErrEnded
	}
	return use, err
}

// RevokeLease returns the Apply that ends a lease and revokes its key, if that has not ended, and fills in what
// became of the lease. lease.ErrEnded if both have ended.
func RevokeLease(id string, ended *lease.Lease) func(*ledger.Tx) error {
	return func(tx *ledger.Tx) error {
		before, err := findLease(tx, id)
		if err != nil {
			return err
		}
		err = revoke(before.KID, "", lease.Revoked, new(Key))(tx)
		if errors.Is(err, ErrRevoked) {
			err = lease.ErrEnded
		}
		if err != nil {
			return err
		}
		after, err := findLease(tx, id)
		if err == nil {
			*ended = *after
		}
		return err
	}
}

func findLease(tx *ledger.Tx, id string) (*lease.Lease, error) {
	b, err := readBook(tx)
	if err != nil {
		return nil, err
	}
	return b.Find(id)
}

// endLeases ends the leases of a key and deletes their copies of it.
func endLeases(tx *ledger.Tx, kid string, why lease.Why) error {
	return endSome(tx, func(b *lease.Book, now int64) []string { return b.EndKey(kid, why, now) })
}

// endSome ends leases. A book that is not what was written must not keep a key from being revoked, nor may what was
// written come back later: an empty one takes its place, and no lease is left. Where not even that can be written, because of
// a damaged page of the index, the book is left as it is: nothing reads it, and a lease whose key has ended gives nothing (see usable).
func endSome(tx *ledger.Tx, end func(*lease.Book, int64) []string) error {
	b, err := readBook(tx)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged {
		return dropAll(tx)
	}
	if err != nil {
		return err
	}
	ids := end(b, tx.Now())
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		if err := dropCopy(tx, id); err != nil {
			return err
		}
	}
	return putJSON(tx, bookName, b)
}

// dropAll deletes every copy, also one that nobody wrote, and begins an empty book.
func dropAll(tx *ledger.Tx) error {
	if !tx.Writable(bookName) {
		return nil
	}
	ids, err := tx.Stored(kindLeaseKey)
	for _, id := range ids {
		if tx.Writable(leaseName(id)) {
			tx.Delete(leaseName(id))
		}
	}
	return errors.Join(err, putJSON(tx, bookName, new(lease.Book)))
}

// SweepLeases deletes the copies that leases have left which run no more.
func (v *Vault) SweepLeases(ctx context.Context) error {
	return v.Ledger.Submit(ctx, ledger.Op{Apply: func(tx *ledger.Tx) error {
		b, err := readBook(tx)
		if err != nil {
			return err
		}
		ids, err := tx.Stored(kindLeaseKey)
		if err != nil {
			return err
		}
		for _, id := range ids { // one that nobody wrote belongs to no lease either
			if l, err := b.Find(id); (err != nil || l.Runs(b.Now(tx.Now())) != nil) && tx.Writable(leaseName(id)) {
				tx.Delete(leaseName(id))
			}
		}
		return nil
	}})
}
