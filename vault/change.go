package vault

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// Change is a change of the ways in. Removing one, or putting another secret in
// the place of one, makes a new vault key: whoever kept what a slot held, and its
// secret, must not open what is stored from then on. What they copied before, they
// have; that takes new application keys.
type Change struct {
	Way    *Way     // that the user has opened for this
	Add    *NewSlot //
	Remove string   // id of a slot; with Add, its successor
	Phrase *Phrase  // a recovery phrase, in place of the one before if there was one
	// Same: Add opens with the secret that the removed slot had, so the vault key stays.
	Same bool
}

// renews reports whether the vault key changes.
func (c *Change) renews(h *header) bool {
	return (c.Remove != "" && !c.Same) || (c.Phrase != nil && h.Recovery != nil)
}

// apply returns the header with the change, without the wrapped vault keys that are new.
func (c *Change) apply(b *builder, h *header) (*header, error) {
	next := h.clone()
	var gone *slot
	if c.Remove != "" {
		at := slices.IndexFunc(next.Slots, func(s slot) bool { return s.ID == c.Remove })
		switch {
		case at < 0:
			return nil, ErrNoSlot
		case len(next.Slots) == 1 && c.Add == nil:
			return nil, ErrLastSlot
		}
		gone = &h.Slots[at]
		next.Slots = slices.Delete(next.Slots, at, at+1)
	}
	if c.Add != nil {
		if err := next.admits(&c.Add.slot); err != nil {
			return nil, err
		}
		next.Slots = append(next.Slots, b.addressed(*c.Add))
		if added := &next.Slots[len(next.Slots)-1]; gone != nil && gone.Kind == added.Kind {
			added.ID, added.Label = gone.ID, gone.Label
		}
	}
	if c.Phrase != nil {
		next.Recovery = c.Phrase.seal(b.cfg.Now().Unix())
	}
	next.relock()
	return next, b.err
}

// admits returns an error unless one more slot may be added.
func (h *header) admits(s *slot) error {
	switch {
	case len(h.Slots) >= MaxSlots:
		return ErrManySlots
	case s.Kind != KindPasskey && h.byKind(s.Kind) != nil,
		s.Passkey != nil && h.byCredential(s.Passkey.Credential) != nil:
		return ErrSlotExists
	}
	return nil
}

// change commits a change with its leaf, and returns the vault as it is then. The
// vault that it is called on is of no further use if it succeeds.
func (v *Vault) change(ctx context.Context, c Change, entry audit.Entry) (*Vault, error) {
	if v.Locked() {
		return nil, ErrLocked
	}
	b := &builder{ctx: ctx, cfg: v.cfg, share: v.share}
	next, err := c.apply(b, v.header)
	if err != nil {
		return nil, err
	}
	ring := v.ring
	if c.renews(v.header) {
		ring = b.renew(v, next)
	} else {
		b.extend(v, next, c)
	}
	encoded := b.encoded(next, ring)
	next = do(b, func() (*header, error) { return parseHeader(encoded) }) // nothing is stored that does not read
	if b.err != nil {
		return nil, b.err
	}
	anchor := store.Record{Name: headerName, Value: encoded}
	err = v.Ledger.Submit(ctx, ledger.Op{
		Entry: entry, Reserved: true, Urgent: true, Renew: &ledger.Renewal{Sealer: ring, Anchor: anchor},
		Apply: func(tx *ledger.Tx) error {
			tx.Put(headerName, encoded)
			if ring != v.ring {
				if err := v.rewrap(tx, ring); err != nil {
					return err
				}
			}
			if c.Remove != "" {
				tx.Delete(markName(c.Remove))
			}
			if c.Add != nil && c.Add.secret != nil {
				if err := v.putMark(tx, next.Slots[len(next.Slots)-1].ID, c.Add.secret); err != nil {
					return err
				}
			}
			if c.Phrase != nil {
				if err := v.putMark(tx, "", c.Phrase.seed); err != nil {
					return err
				}
				return putJSON(tx, recoveryName, recoveryRecord{MAC: c.Phrase.mac})
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	changed, err := v.as(ctx, ring, next, encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrChanged, err) // what it is says nothing of what was done
	}
	return changed, nil
}

// ErrChanged: the ways in were changed, and the vault does not open again right away.
var ErrChanged = errors.New("vault: changed, and closed")

// renew makes a new vault key, wraps it for every way in, and wraps the ledger key
// under it.
func (b *builder) renew(v *Vault, next *header) *keyring {
	vaultKey := b.vaultKey(next, v.keks)
	wrap := b.ledgerWrap(next, vaultKey)
	next.LedgerKey.Vault = do(b, func() ([]byte, error) {
		wrapped, err := b.cfg.Engine.RewrapSecret(b.ctx, next.LedgerKey.Device, v.ledgerTarget(), wrap)
		if err != nil {
			return nil, err
		}
		return wrapped[0], nil
	})
	return do(b, func() (*keyring, error) { return v.ring.with(b.ctx, vaultKey) })
}

// extend wraps the vault key for what is new.
func (b *builder) extend(v *Vault, next *header, c Change) {
	var targets []keyengine.Target
	var places []*[]byte
	if c.Add != nil {
		s := &next.Slots[len(next.Slots)-1]
		targets, places = append(targets, b.target(next, s, v.keks)), append(places, &s.VaultKey)
	}
	if c.Phrase != nil {
		targets = append(targets, b.sealTo(next, &next.Recovery.recipient))
		places = append(places, &next.Recovery.VaultKey)
	}
	wrapped := do(b, func() ([][]byte, error) {
		if c.Way == nil {
			return nil, ErrWrongSecret
		}
		return b.cfg.Engine.RewrapSecret(b.ctx, c.Way.sealed, c.Way.under, targets...)
	})
	for i, w := range wrapped {
		*places[i] = w
	}
}

// rewrap puts every record that the vault key seals anew, and wraps every
// application key under the new one. A record that is damaged stays as it is: it must
// not keep its user from removing a way in.
func (v *Vault) rewrap(tx *ledger.Tx, ring *keyring) error {
	n, err := readCounts(tx)
	if err != nil {
		return err
	}
	keys, broken, err := v.rewrappedKeys(tx, ring)
	if err != nil {
		return err
	}
	metas, brokenMetas, err := tx.All(kindMeta)
	if err != nil {
		return err
	}
	if len(keys)+broken != n.Keys || len(metas)+len(brokenMetas) != n.Keys {
		return &ledger.IntegrityError{What: "list of keys: one is missing"}
	}
	others, err := v.recoveryRecords(tx)
	if err != nil {
		return err
	}
	for _, r := range slices.Concat(keys, metas, others) {
		tx.Put(r.Name, r.Value)
	}
	n.Epoch++
	return putJSON(tx, countsName, n)
}

// recoveryRecords returns what authenticates backups, and the marks of the ways in that the vault
// has, those that are not damaged. They are looked for by name: a record that nobody wrote must
// not keep a way in from being removed.
func (v *Vault) recoveryRecords(tx *ledger.Tx) (found []store.Record, err error) {
	names := []store.Name{recoveryName, markName("")}
	for _, s := range v.header.Slots {
		names = append(names, markName(s.ID))
	}
	for _, name := range names {
		value, err := tx.Get(name)
		if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged || err == nil && value == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, store.Record{Name: name, Value: value})
	}
	return found, nil
}

// rewrappedKeys returns every key record with its private half under the new key, and
// how many are damaged.
func (v *Vault) rewrappedKeys(tx *ledger.Tx, ring *keyring) (stored []store.Record, broken int, err error) {
	stored, damaged, err := tx.All(kindKey)
	if err != nil {
		return nil, 0, err
	}
	records := make([]KeyRecord, len(stored))
	for i, r := range stored {
		if err := unmarshal(r.Value, r.Name, &records[i]); err != nil {
			return nil, 0, err
		}
	}
	if err := rewrapKeys(tx.Context(), v.cfg.Engine, records, v.ring.wrap, ring.wrap); err != nil {
		return nil, 0, err
	}
	for i := range records {
		if stored[i].Value, err = json.Marshal(records[i], json.Deterministic(true)); err != nil {
			return nil, 0, err
		}
	}
	return stored, len(damaged), nil
}

// rewrapKeys wraps the private halves of keys anew; those that have ended have none.
func rewrapKeys(ctx context.Context, e keyengine.Engine, records []KeyRecord, from, to keyengine.AEADKey) error {
	var ops []keyengine.RewrapOp
	var places []int
	for i, k := range records {
		if len(k.Wrapped) == 0 {
			continue
		}
		aad, err := k.aad()
		if err != nil {
			return err
		}
		ops = append(ops, keyengine.RewrapOp{
			Alg: k.Alg, Wrapped: k.Wrapped,
			From: keyengine.Target{Key: from, AAD: aad}, To: keyengine.Target{Key: to, AAD: aad},
		})
		places = append(places, i)
	}
	wrapped, err := e.RewrapKeys(ctx, ops...)
	if failed, ok := errors.AsType[*keyengine.OpenError](err); ok {
		return &ledger.IntegrityError{What: "key record " + records[places[failed.Index]].KID}
	}
	if err != nil {
		return err
	}
	for i, w := range wrapped {
		records[places[i]].Wrapped = w
	}
	return nil
}

// recoveryRecord is what a vault keeps of its recovery phrase, beside the header's part.
type recoveryRecord struct {
	MAC []byte `json:"mac"` // authenticates backups, 32 bytes
}

var recoveryName = store.Name{Kind: kindRecovery, ID: "-"}
