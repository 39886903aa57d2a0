package ledger

import (
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

// Tx is the state as an op sees it: the newest committed one, plus what the ops
// before it in the same batch changed. It is valid only inside Apply or Read.
type Tx struct {
	ctx    context.Context
	l      *Ledger
	writes map[store.Name][]byte // nil value: delete
	leaves [][]byte              // canonical entries, in order
	root   root

	op map[store.Name][]byte // of the op that runs now
}

func newTx(ctx context.Context, l *Ledger) *Tx {
	return &Tx{ctx: ctx, l: l, root: l.state.root, writes: map[store.Name][]byte{}}
}

// Context bounds what an Apply waits for.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Size returns the number of leaves in the log.
func (tx *Tx) Size() uint64 { return tx.root.frontier.Size() }

// Head returns the RFC 6962 tree head of the log.
func (tx *Tx) Head() [32]byte { return tx.root.frontier.Root() }

// Now returns the current time in seconds, never less than any time before it.
func (tx *Tx) Now() int64 { return max(tx.l.cfg.Now().Unix(), tx.root.time) }

// Get returns a record's plaintext, or nil if there is none. The caller must
// not change it.
func (tx *Tx) Get(name store.Name) ([]byte, error) {
	if value, ok := tx.op[name]; ok {
		return value, nil
	}
	if value, ok := tx.writes[name]; ok {
		return value, nil
	}
	found, err := tx.l.lookup(tx.ctx, name)
	if err != nil || found == nil {
		return nil, err
	}
	return found[0], nil
}

// Put stores a record when the batch commits.
func (tx *Tx) Put(name store.Name, plaintext []byte) { tx.op[name] = plaintext }

// Delete removes a record when the batch commits.
func (tx *Tx) Delete(name store.Name) { tx.op[name] = nil }

// Scan returns committed records of the vault's own kinds, opened and checked,
// in order of id. Changes of this batch are not seen.
func (tx *Tx) Scan(r store.Range) ([]store.Record, error) {
	stored, err := tx.l.cfg.Store.Scan(tx.ctx, tx.l.cfg.Vault, r)
	if err != nil {
		return nil, err
	}
	return tx.l.openChecked(tx.ctx, stored)
}

// Log returns up to limit leaves from seq on, as canonical entries.
func (tx *Tx) Log(from uint64, limit int) ([][]byte, error) {
	return tx.l.readLog(tx.ctx, from, min(uint64(limit), tx.Size()-min(from, tx.Size())))
}

// run applies one op; if it fails, nothing of it remains.
func (tx *Tx) run(op *Op) error {
	tx.op = map[store.Name][]byte{}
	if op.Apply != nil {
		if err := op.Apply(tx); err != nil {
			return err
		}
	}
	if op.Entry.Method != "" {
		if err := tx.appendLeaf(op.Entry); err != nil {
			return err
		}
	}
	maps.Copy(tx.writes, tx.op)
	return nil
}

func (tx *Tx) appendLeaf(e audit.Entry) error {
	now := tx.Now()
	if gained := (now - tx.root.refilled) * RefillPerSecond; gained > 0 {
		tx.root.allowance = uint32(min(int64(tx.root.allowance)+gained, Burst))
		tx.root.refilled = now
	}
	if tx.root.allowance == 0 {
		return ErrQuota
	}
	e.Seq, e.Time = tx.Size(), now
	leaf, err := e.Encode()
	if err != nil {
		return err
	}
	tx.root.allowance--
	tx.root.time = now
	tx.root.frontier.Append(audit.LeafHash(leaf))
	tx.leaves = append(tx.leaves, leaf)
	return nil
}

// commit seals what the ops changed and writes it, with the leaves and the new
// root, in one batch. Without changes there is nothing to do. wait is called
// between sealing and writing, and returns once the vault's lock is held.
func (tx *Tx) commit(ctx context.Context, handles []store.Handle, wait func() error) error {
	if len(tx.writes) == 0 && len(tx.leaves) == 0 {
		return nil
	}
	l := tx.l
	plan, err := tx.plan(ctx)
	if err != nil {
		return err
	}
	sealed, err := l.cfg.Sealer.Seal(ctx, plan.items)
	if err != nil {
		return err
	}
	batch := store.Batch{
		Vault:   l.cfg.Vault,
		Expect:  store.Record{Name: store.Name{Kind: KindRoot, ID: rootID}, Value: l.state.raw},
		Put:     plan.plain,
		Handles: handles,
		Delete:  plan.deleted,
	}
	for i, s := range sealed {
		batch.Put = append(batch.Put, store.Record{Name: plan.items[i].Name, Value: encodePlain(s)})
	}
	if err := wait(); err != nil {
		return err
	}
	if err := l.cfg.Store.Commit(ctx, batch); err != nil {
		return err
	}
	markStored(plan.index.top)
	plan.index.removed = nil
	l.state.raw = batch.Put[len(batch.Put)-1].Value // the root is sealed last
	l.state.root, l.state.index = tx.root, plan.index
	l.remember(tx.writes, plan.fingerprints)
	return nil
}

// plan is a commit before it is sealed.
type plan struct {
	items        []Item // to seal; the root comes last
	plain        []store.Record
	deleted      []store.Name
	index        index
	fingerprints map[store.Name]hash
}

func (tx *Tx) plan(ctx context.Context) (*plan, error) {
	p := &plan{index: tx.l.state.index, fingerprints: map[store.Name]hash{}}
	for _, name := range slices.SortedFunc(maps.Keys(tx.writes), compareName) {
		if err := tx.planRecord(ctx, p, name, tx.writes[name]); err != nil {
			return nil, err
		}
	}
	if len(tx.leaves) > 0 {
		first := tx.Size() - uint64(len(tx.leaves))
		name := store.Name{Kind: KindLog, ID: audit.BatchID(first)}
		if _, err := tx.seal(p, name, audit.EncodeBatch(tx.leaves)); err != nil {
			return nil, err
		}
	}
	kept := map[string]bool{}
	top := encodePages(p.index.top, "", func(prefix string, encoded []byte) {
		kept[prefix] = true
		p.plain = append(p.plain, store.Record{Name: store.Name{Kind: KindIndex, ID: prefix}, Value: encodePlain(encoded)})
	})
	for _, prefix := range p.index.removed {
		if !kept[prefix] {
			p.deleted = append(p.deleted, store.Name{Kind: KindIndex, ID: prefix})
		}
	}
	tx.root.commit++
	tx.root.top = p.index.top
	_, err := tx.seal(p, store.Name{Kind: KindRoot, ID: rootID}, appendRoot(nil, &tx.root, top))
	return p, err
}

func (tx *Tx) planRecord(ctx context.Context, p *plan, name store.Name, value []byte) error {
	key := indexKey(name)
	if value == nil {
		p.deleted = append(p.deleted, name)
		return p.index.set(ctx, key, nil)
	}
	var fingerprint hash
	if tx.l.cfg.Sealer.Sealed(name.Kind) {
		nonce, err := tx.seal(p, name, value)
		if err != nil {
			return err
		}
		fingerprint = sealedFingerprint(nonce)
	} else {
		fingerprint = plainFingerprint(value)
		p.plain = append(p.plain, store.Record{Name: name, Value: encodePlain(value)})
	}
	p.fingerprints[name] = fingerprint
	return p.index.set(ctx, key, &fingerprint)
}

func (tx *Tx) seal(p *plan, name store.Name, plaintext []byte) (nonce [keyengine.NonceSize]byte, err error) {
	if _, err = io.ReadFull(tx.l.cfg.Rand, nonce[:]); err != nil {
		return nonce, fmt.Errorf("randomness: %w", err)
	}
	p.items = append(p.items, Item{Name: name, Nonce: nonce, AAD: recordAAD(name), Data: plaintext})
	return nonce, nil
}

func compareName(a, b store.Name) int {
	if a.Kind != b.Kind {
		if a.Kind < b.Kind {
			return -1
		}
		return 1
	}
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}

// remember keeps what was committed, within bounds.
func (l *Ledger) remember(writes map[store.Name][]byte, fingerprints map[store.Name]hash) {
	for name, value := range writes {
		if value == nil {
			delete(l.state.cache, name)
			continue
		}
		l.cache(name, fingerprints[name], value)
	}
}

func (l *Ledger) cache(name store.Name, fingerprint hash, plain []byte) {
	for other := range l.state.cache {
		if len(l.state.cache) < maxCached {
			break
		}
		delete(l.state.cache, other)
	}
	l.state.cache[name] = cached{fingerprint, plain}
}

// lookup returns the committed plaintext of a record in a slice of one, or nil
// if the index says that there is none.
func (l *Ledger) lookup(ctx context.Context, name store.Name) ([][]byte, error) {
	fingerprint, found, err := l.state.index.get(ctx, indexKey(name))
	if err != nil || !found {
		return nil, err
	}
	if c, ok := l.state.cache[name]; ok && c.fingerprint == fingerprint {
		return [][]byte{c.plain}, nil
	}
	values, err := l.cfg.Store.Get(ctx, l.cfg.Vault, name)
	if err != nil {
		return nil, err
	}
	opened, err := l.openChecked(ctx, []store.Record{{Name: name, Value: values[0]}})
	if err != nil {
		return nil, err
	}
	l.cache(name, fingerprint, opened[0].Value)
	return [][]byte{opened[0].Value}, nil
}

// openChecked checks stored records against the index and opens them.
func (l *Ledger) openChecked(ctx context.Context, stored []store.Record) ([]store.Record, error) {
	opened := make([]store.Record, len(stored))
	var sealed []store.Record
	var at []int
	for i, r := range stored {
		body, err := DecodePlain(r.Value)
		if err != nil {
			return nil, &IntegrityError{What: describe(r.Name)}
		}
		isSealed := l.cfg.Sealer.Sealed(r.Kind)
		if err := l.checkFingerprint(ctx, r.Name, body, isSealed); err != nil {
			return nil, err
		}
		opened[i] = store.Record{Name: r.Name, Value: body}
		if isSealed {
			sealed, at = append(sealed, r), append(at, i)
		}
	}
	if len(sealed) == 0 {
		return opened, nil
	}
	plaintexts, err := l.openAll(ctx, sealed)
	if err != nil {
		return nil, err
	}
	for i, plaintext := range plaintexts {
		opened[at[i]].Value = plaintext
	}
	return opened, nil
}

func (l *Ledger) checkFingerprint(ctx context.Context, name store.Name, body []byte, sealed bool) error {
	want, found, err := l.state.index.get(ctx, indexKey(name))
	if err != nil {
		return err
	}
	var got hash
	switch {
	case !sealed:
		got = plainFingerprint(body)
	case len(body) >= keyengine.NonceSize:
		got = sealedFingerprint([keyengine.NonceSize]byte(body))
	}
	if !found || got != want {
		return &IntegrityError{What: describe(name)}
	}
	return nil
}

// readLog opens the batches that hold leaves from … from+count-1.
func (l *Ledger) readLog(ctx context.Context, from, count uint64) ([][]byte, error) {
	if count == 0 {
		return nil, nil
	}
	before, err := l.cfg.Store.Scan(ctx, l.cfg.Vault, store.Range{Kind: KindLog, Last: audit.BatchID(from), Reverse: true, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(before) == 0 {
		return nil, &IntegrityError{What: fmt.Sprintf("log: entry %d is missing", from)}
	}
	batches, err := l.cfg.Store.Scan(ctx, l.cfg.Vault, store.Range{Kind: KindLog, First: before[0].ID, Last: audit.BatchID(from + count - 1), Limit: int(count)})
	if err != nil {
		return nil, err
	}
	opened, err := l.openAll(ctx, batches)
	if err != nil {
		return nil, err
	}
	return joinBatches(batches, opened, from, count)
}

// joinBatches checks that the batches follow each other without a gap and cuts
// out the wanted leaves.
func joinBatches(batches []store.Record, opened [][]byte, from, count uint64) ([][]byte, error) {
	var leaves [][]byte
	next := uint64(0)
	for i, b := range batches {
		first, err := audit.ParseBatchID(b.ID)
		entries, err2 := audit.ParseBatch(opened[i])
		if err := errors.Join(err, err2); err != nil || (i > 0 && first != next) {
			return nil, &IntegrityError{What: describe(b.Name)}
		}
		for j, e := range entries {
			if seq := first + uint64(j); seq >= from && seq < from+count {
				leaves = append(leaves, e)
			}
		}
		next = first + uint64(len(entries))
	}
	if uint64(len(leaves)) != count {
		return nil, &IntegrityError{What: fmt.Sprintf("log: entry %d is missing", from+uint64(len(leaves)))}
	}
	return leaves, nil
}
