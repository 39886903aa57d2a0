package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
)

// What the root record carries besides itself. It is written with every commit,
// so it is kept to a few kilobytes.
const (
	maxTail      = 16      // leaves
	maxTailBytes = 3 << 10 // of leaves
	maxRiders    = 8       // records
	maxRider     = 128     // bytes of one
)

// commit seals what the ops changed and writes it, with the leaves and the new
// root, in one batch. Without changes there is nothing to do. wait is called
// between sealing and writing: nothing is written if it fails.
func (tx *Tx) commit(ctx context.Context, wait func() error) error {
	if len(tx.writes) == 0 && len(tx.leaves) == 0 {
		return nil
	}
	l := tx.l
	p, err := tx.plan(ctx)
	if err != nil {
		return err
	}
	sealer, anchor := l.cfg.Sealer, l.cfg.Anchor
	if tx.renew != nil {
		sealer, anchor = tx.renew.Sealer, tx.renew.Anchor
	}
	sealed, err := sealer.Seal(ctx, p.items)
	if err != nil {
		return err
	}
	number := encodeCommit(anchor, tx.root.commit)
	batch := store.Batch{
		Vault:   l.cfg.Vault,
		Expect:  store.Record{Name: commitName, Value: l.state.commit},
		Put:     append(p.place(sealed), store.Record{Name: commitName, Value: number}),
		Handles: tx.kept(),
		Delete:  p.deleted,
		Urgent:  tx.urgent,
	}
	if err := wait(); err != nil {
		return err
	}
	if err := l.cfg.Store.Commit(ctx, batch); err != nil {
		return err
	}
	if l.cfg.Committed != nil {
		l.cfg.Committed(batch)
	}
	markStored(p.index.top)
	p.index.removed = nil
	l.state.commit = number
	l.state.root, l.state.index = tx.root, p.index
	l.remember(tx.writes, p.fingerprints)
	return nil
}

// kept returns the handles whose record no later op has deleted.
func (tx *Tx) kept() []store.Handle {
	return slices.DeleteFunc(slices.Clone(tx.handles), func(h store.Handle) bool {
		value, changed := tx.writes[h.Name]
		return changed && value == nil
	})
}

// plan is a commit before it is sealed.
type plan struct {
	items        []Item // to seal; the root comes last
	plain        []store.Record
	deleted      []store.Name
	index        index
	riders       []rider
	fingerprints map[store.Name]hash
}

func (tx *Tx) plan(ctx context.Context) (*plan, error) {
	p := &plan{index: tx.l.state.index, riders: slices.Clone(tx.l.state.root.riders), fingerprints: map[store.Name]hash{}}
	tx.root.commit++
	for _, name := range slices.SortedFunc(maps.Keys(tx.writes), compareName) {
		if err := tx.planRecord(ctx, p, name, tx.writes[name]); err != nil {
			return nil, err
		}
	}
	if err := tx.evict(ctx, p); err != nil {
		return nil, err
	}
	if err := tx.planTail(p); err != nil {
		return nil, err
	}
	top := p.planIndex()
	tx.root.top, tx.root.riders = p.index.top, p.riders
	_, err := tx.seal(p, rootName, appendRoot(nil, &tx.root, top))
	return p, err
}

// planRecord decides where a changed record goes.
func (tx *Tx) planRecord(ctx context.Context, p *plan, name store.Name, value []byte) error {
	at, rides := findRider(p.riders, name)
	if rides {
		p.riders = slices.Delete(p.riders, at, at+1)
	}
	if value == nil {
		p.deleted = append(p.deleted, name)
		return p.index.set(ctx, indexKey(name), nil)
	}
	if !tx.l.cfg.Sealer.Sealed(name.Kind) {
		p.plain = append(p.plain, store.Record{Name: name, Value: EncodePlain(value)})
		p.fingerprints[name] = plainFingerprint(value)
		return p.indexed(ctx, name)
	}
	if tx.l.cfg.Sealer.Rewritten(name.Kind) && len(value) <= maxRider {
		p.riders = slices.Insert(p.riders, at, rider{name: name, plain: value, age: tx.root.commit})
		return nil
	}
	return tx.planSealed(ctx, p, name, value)
}

func (tx *Tx) planSealed(ctx context.Context, p *plan, name store.Name, value []byte) error {
	nonce, err := tx.seal(p, name, value)
	if err != nil {
		return err
	}
	p.fingerprints[name] = sealedFingerprint(nonce)
	return p.indexed(ctx, name)
}

func (p *plan) indexed(ctx context.Context, name store.Name) error {
	fingerprint := p.fingerprints[name]
	return p.index.set(ctx, indexKey(name), &fingerprint)
}

// evict gives records that ride along a place of their own until few enough are
// left: the oldest first. One whose page of the index is damaged stays: using another
// key must not fail for it.
func (tx *Tx) evict(ctx context.Context, p *plan) error {
	order := slices.Clone(p.riders)
	slices.SortStableFunc(order, func(a, b rider) int { return cmp.Compare(a.age, b.age) })
	for _, r := range order {
		if len(p.riders) <= maxRiders {
			break
		}
		_, _, err := p.index.get(ctx, indexKey(r.name))
		if _, damaged := errors.AsType[*IntegrityError](err); damaged {
			continue
		}
		at, _ := findRider(p.riders, r.name)
		p.riders = slices.Delete(p.riders, at, at+1)
		if err := tx.planSealed(ctx, p, r.name, r.plain); err != nil {
			return err
		}
	}
	return nil
}

// planTail keeps the newest leaves in the root, or, if they have become many,
// moves all of them to a log record.
func (tx *Tx) planTail(p *plan) error {
	tail := append(slices.Clip(tx.root.tail), tx.leaves...)
	size := 0
	for _, leaf := range tail {
		size += len(leaf)
	}
	if len(tail) <= maxTail && size <= maxTailBytes {
		tx.root.tail = tail
		return nil
	}
	first := tx.root.size() - uint64(len(tail))
	tx.root.tail = nil
	_, err := tx.seal(p, store.Name{Kind: KindLog, ID: audit.BatchID(first)}, audit.EncodeBatch(tail))
	return err
}

// planIndex writes the pages that have changed, and returns the top one.
func (p *plan) planIndex() (top []byte) {
	kept := map[string]bool{}
	top = encodePages(p.index.top, "", func(prefix string, encoded []byte) {
		kept[prefix] = true
		p.plain = append(p.plain, store.Record{Kind: KindIndex, ID: prefix, Value: EncodePlain(encoded)})
	})
	for _, prefix := range p.index.removed {
		if !kept[prefix] {
			p.deleted = append(p.deleted, store.Name{Kind: KindIndex, ID: prefix})
		}
	}
	return top
}

// seal plans an item and returns the nonce that index and root know it by.
func (tx *Tx) seal(p *plan, name store.Name, plaintext []byte) (nonce [keyengine.NonceSize]byte, err error) {
	if _, err = io.ReadFull(tx.l.cfg.Rand, nonce[:]); err != nil {
		return nonce, fmt.Errorf("randomness: %w", err)
	}
	p.items = append(p.items, Item{Name: name, Nonce: nonce, AAD: recordAAD(name), Data: plaintext})
	return nonce, nil
}

// place says what is written: the sealed items under their names, the root last.
func (p *plan) place(sealed [][]byte) []store.Record {
	put := slices.Clip(p.plain)
	for i, s := range sealed {
		put = append(put, store.Record{Name: p.items[i].Name, Value: EncodePlain(s)})
	}
	return put
}
