package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
)

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
// if neither root nor index knows one.
func (l *Ledger) lookup(ctx context.Context, name store.Name) ([][]byte, error) {
	if at, rides := findRider(l.state.root.riders, name); rides {
		return [][]byte{l.state.root.riders[at].plain}, nil
	}
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

// readLog returns committed leaves from … from+count-1: those in log records,
// then those in the root's tail.
func (l *Ledger) readLog(ctx context.Context, from, count uint64) ([][]byte, error) {
	flushed := l.state.root.flushed()
	var leaves [][]byte
	if from < flushed {
		var err error
		if leaves, err = l.readBatches(ctx, from, min(count, flushed-from)); err != nil {
			return nil, err
		}
		from, count = flushed, count-uint64(len(leaves))
	}
	tail := l.state.root.tail[from-flushed:]
	return append(leaves, tail[:min(count, uint64(len(tail)))]...), nil
}

// readBatches opens the log records that hold leaves from … from+count-1.
func (l *Ledger) readBatches(ctx context.Context, from, count uint64) ([][]byte, error) {
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
