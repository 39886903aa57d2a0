package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
)

// remember keeps what was committed, within bounds.
func (l *Ledger) remember(writes map[store.Name][]byte, fingerprints map[store.Name]hash) {
	for name, value := range writes {
		delete(l.state.names, name.Kind)
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
	plain, err := l.openChecked(ctx, store.Record{Name: name, Value: values[0]}, fingerprint)
	if err != nil {
		return nil, err
	}
	l.cache(name, fingerprint, plain)
	return [][]byte{plain}, nil
}

// openChecked opens a stored record that the index knows by this fingerprint.
func (l *Ledger) openChecked(ctx context.Context, r store.Record, fingerprint hash) ([]byte, error) {
	body, err := DecodePlain(r.Value)
	sealed := l.cfg.Sealer.Sealed(r.Kind)
	var got hash
	switch {
	case !sealed:
		got = plainFingerprint(body)
	case len(body) >= keyengine.NonceSize:
		got = sealedFingerprint([keyengine.NonceSize]byte(body))
	}
	if err != nil || got != fingerprint {
		return nil, &IntegrityError{What: describe(r.Name)}
	}
	if !sealed {
		return body, nil
	}
	opened, err := l.openAll(ctx, []store.Record{r})
	if err != nil {
		return nil, err
	}
	return opened[0], nil
}

// names returns the ids of the stored records of a kind that never rides along, in
// order, all of which the index knows. Reading many names is done once for as long as they are the same.
func (l *Ledger) names(ctx context.Context, kind string) ([]string, error) {
	if ids, known := l.state.names[kind]; known {
		return ids, nil
	}
	known, err := l.wholeIndex(ctx)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	err = l.scanAll(ctx, kind, func(r store.Record) error {
		ids = append(ids, r.ID)
		_, err := known(ctx, r.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.state.names[kind] = ids
	return ids, nil
}

// fingerprints gives the fingerprint of a stored record. That there is none is an
// IntegrityError.
type fingerprints func(context.Context, store.Name) (hash, error)

// wholeIndex reads the committed index at once instead of page by page.
func (l *Ledger) wholeIndex(ctx context.Context) (fingerprints, error) {
	pages := map[string][]byte{}
	if err := l.scanAll(ctx, KindIndex, func(r store.Record) error { pages[r.ID] = r.Value; return nil }); err != nil {
		return nil, err
	}
	x := l.state.index
	x.load = func(ctx context.Context, prefix string) ([]byte, error) { return decodePage(prefix, pages[prefix]) }
	return func(ctx context.Context, name store.Name) (hash, error) {
		fingerprint, found, err := x.get(ctx, indexKey(name))
		if err == nil && !found {
			err = &IntegrityError{What: describe(name)}
		}
		return fingerprint, err
	}, nil
}

// all returns the records of a sealed kind that never rides along, opened, and the
// names of those that are not as they were written. They are not kept.
func (l *Ledger) all(ctx context.Context, kind string, known fingerprints) (records []store.Record, damaged []store.Name, err error) {
	err = l.scanAll(ctx, kind, func(r store.Record) error {
		fingerprint, err := known(ctx, r.Name)
		if err != nil {
			return err
		}
		if len(r.Value) < 1+overhead || sealedFingerprint([keyengine.NonceSize]byte(r.Value[1:])) != fingerprint {
			damaged = append(damaged, r.Name)
			return nil
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	whole := records[:0]
	for chunk := range slices.Chunk(records, openAtOnce) {
		good, bad, err := l.openEach(ctx, chunk)
		if err != nil {
			return nil, nil, err
		}
		whole, damaged = append(whole, good...), append(damaged, bad...)
	}
	return whole, damaged, nil
}

// openEach opens records in one round trip, or, if one of them is damaged, one by one.
func (l *Ledger) openEach(ctx context.Context, records []store.Record) (good []store.Record, damaged []store.Name, err error) {
	opened, err := l.openAll(ctx, records)
	if err == nil {
		for i := range records {
			records[i].Value = opened[i]
		}
		return records, nil, nil
	}
	if _, broken := errors.AsType[*IntegrityError](err); !broken {
		return nil, nil, err
	}
	if len(records) == 1 {
		return nil, []store.Name{records[0].Name}, nil
	}
	for i := range records {
		one, bad, err := l.openEach(ctx, records[i:i+1])
		if err != nil {
			return nil, nil, err
		}
		good, damaged = append(good, one...), append(damaged, bad...)
	}
	return good, damaged, nil
}

// openAtOnce is how many records one round trip opens.
const openAtOnce = 500

// scanAll calls found for every stored record of a kind, in order.
func (l *Ledger) scanAll(ctx context.Context, kind string, found func(store.Record) error) error {
	r := store.Range{Kind: kind, Limit: store.MaxRecords}
	for {
		records, err := l.cfg.Store.Scan(ctx, l.cfg.Vault, r)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := found(r); err != nil {
				return err
			}
		}
		if len(records) < r.Limit {
			return nil
		}
		r.First = records[len(records)-1].ID + " " // the next id there can be
	}
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
