package ledger

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/kms-enclave/kms-enclave/audit"
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
	known  fingerprints // of all committed records, once All has read them
	renew  *Renewal     // what the vault becomes with this commit, if not nil
	urgent bool         // all that is in it is (see Op)

	handles []store.Handle // that the ops before stored

	op        map[store.Name][]byte // of the op that runs now
	opHandles []store.Handle
}

func newTx(ctx context.Context, l *Ledger) *Tx {
	return &Tx{ctx: ctx, l: l, root: l.state.root, writes: map[store.Name][]byte{}}
}

// Context bounds what an Apply waits for.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Size returns the number of leaves in the log.
func (tx *Tx) Size() uint64 { return tx.root.size() }

// Time returns the time of the newest leaf, in seconds.
func (tx *Tx) Time() int64 { return tx.root.time }

// Commit returns the number of the newest commit.
func (tx *Tx) Commit() uint64 { return tx.root.commit }

// Head returns the RFC 6962 tree head of the log.
func (tx *Tx) Head() [32]byte { return tx.root.frontier.Root() }

// Frontier returns the head with what it takes to append to it.
func (tx *Tx) Frontier() audit.Frontier { return tx.root.frontier }

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

// PutHandle stores a handle when the batch commits, beside the record of its name.
func (tx *Tx) PutHandle(h store.Handle) { tx.opHandles = append(tx.opHandles, h) }

// Writable reports whether the page of the index that a record is in is what was written. If not, putting or
// deleting that record fails the whole batch.
func (tx *Tx) Writable(name store.Name) bool {
	_, _, err := tx.l.state.index.get(tx.ctx, indexKey(name))
	return err == nil
}

// Delete removes a record when the batch commits, and the handle of its name.
func (tx *Tx) Delete(name store.Name) { tx.op[name] = nil }

// Names returns the ids of all records of one of the vault's own kinds that is not
// often rewritten (see Sealer), in order. Each is one that was written; the caller
// knows how many there ought to be, and must not change them.
func (tx *Tx) Names(kind string) ([]string, error) {
	ids, err := tx.l.names(tx.ctx, kind)
	if err != nil {
		return nil, err
	}
	ids = slices.Clip(ids)
	for _, changes := range []map[store.Name][]byte{tx.writes, tx.op} {
		for name, value := range changes {
			if name.Kind != kind {
				continue
			}
			at, found := slices.BinarySearch(ids, name.ID)
			switch {
			case value != nil && !found:
				ids = slices.Insert(ids, at, name.ID)
			case value == nil && found:
				ids = slices.Concat(ids[:at], ids[at+1:])
			}
		}
	}
	return ids, nil
}

// Stored returns the ids of all records of a kind that are in storage now or that this batch
// puts, also of those that nobody wrote: for who deletes them, and for nothing else.
func (tx *Tx) Stored(kind string) (ids []string, err error) {
	err = tx.l.scanAll(tx.ctx, kind, func(r store.Record) error {
		ids = append(ids, r.ID)
		return nil
	})
	for _, changes := range []map[store.Name][]byte{tx.writes, tx.op} {
		for name, value := range changes {
			if name.Kind == kind && value != nil && !slices.Contains(ids, name.ID) {
				ids = append(ids, name.ID)
			}
		}
	}
	return ids, err
}

// All returns the records of one of the vault's own kinds that is not often
// rewritten (see Sealer), opened, in order of id, and the names of those that are not
// as they were written. The caller knows how many there ought to be, and must not
// change their values. An IntegrityError if there is one that nobody wrote.
func (tx *Tx) All(kind string) (records []store.Record, damaged []store.Name, err error) {
	known, err := tx.index()
	if err != nil {
		return nil, nil, err
	}
	if records, damaged, err = tx.l.all(tx.ctx, kind, known); err != nil {
		return nil, nil, err
	}
	for _, changes := range []map[store.Name][]byte{tx.writes, tx.op} {
		for name, value := range changes {
			if name.Kind != kind {
				continue
			}
			at, found := slices.BinarySearchFunc(records, name, func(r store.Record, name store.Name) int { return compareName(r.Name, name) })
			switch {
			case value == nil && found:
				records = slices.Delete(records, at, at+1)
			case found:
				records[at].Value = value
			case value != nil:
				records = slices.Insert(records, at, store.Record{Name: name, Value: value})
			}
		}
	}
	return records, damaged, nil
}

// index returns the whole index, which is read once.
func (tx *Tx) index() (fingerprints, error) {
	if tx.known == nil {
		known, err := tx.l.wholeIndex(tx.ctx)
		if err != nil {
			return nil, err
		}
		tx.known = known
	}
	return tx.known, nil
}

// Foreign looks for records that nobody wrote: of these kinds, which the index has, and of the
// log, at its end or behind it. An IntegrityError if there is one: records that come later would
// stand among them. All looks for those of its own kind.
func (tx *Tx) Foreign(kinds ...string) error {
	known, err := tx.index()
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		if err := tx.l.scanAll(tx.ctx, kind, func(r store.Record) error {
			_, err := known(tx.ctx, r.Name)
			return err
		}); err != nil {
			return err
		}
	}
	end := tx.l.state.root.flushed()
	return tx.l.scanAll(tx.ctx, KindLog, func(r store.Record) error {
		if first, err := audit.ParseBatchID(r.ID); err != nil || first >= end {
			return &IntegrityError{What: describe(r.Name)}
		}
		return nil
	})
}

// Log returns up to limit leaves from seq on, as canonical entries.
func (tx *Tx) Log(from uint64, limit int) ([][]byte, error) {
	committed := tx.l.state.root.size()
	var leaves [][]byte
	if from < committed {
		var err error
		if leaves, err = tx.l.readLog(tx.ctx, from, min(uint64(limit), committed-from)); err != nil {
			return nil, err
		}
		from = committed
	}
	// What the ops before this one added is answered only if it lands.
	if skip := from - committed; skip < uint64(len(tx.leaves)) && len(leaves) < limit {
		fresh := tx.leaves[skip:]
		leaves = append(leaves, fresh[:min(limit-len(leaves), len(fresh))]...)
	}
	return leaves, nil
}

// run applies one op; if it fails, nothing of it remains.
func (tx *Tx) run(op *Op) error {
	tx.op, tx.opHandles = map[store.Name][]byte{}, nil
	defer func() { tx.op, tx.opHandles = nil, nil }()
	if op.Apply != nil {
		if err := op.Apply(tx); err != nil {
			return err
		}
	}
	if op.Entry.Method != "" {
		if err := tx.appendLeaf(op.Entry, op.Reserved); err != nil {
			return err
		}
	}
	maps.Copy(tx.writes, tx.op)
	tx.handles = append(tx.handles, tx.opHandles...)
	return nil
}

func (tx *Tx) appendLeaf(e audit.Entry, reserved bool) error {
	now := tx.Now()
	// By the clock as it is: one that was ahead for a moment, and was set back, must not
	// stop the refilling for as long as it was ahead.
	clock := tx.l.cfg.Now().Unix()
	if gained := (clock - tx.root.refilled) * RefillPerSecond; gained > 0 {
		tx.root.allowance = uint32(min(int64(tx.root.allowance)+gained, Burst))
	}
	tx.root.refilled = clock
	if tx.root.allowance == 0 && !reserved {
		return ErrQuota
	}
	e.Seq, e.Time = tx.Size(), now
	leaf, err := e.Encode()
	if err != nil {
		return err
	}
	tx.root.allowance -= min(tx.root.allowance, 1)
	tx.root.time = now
	tx.root.frontier.Append(audit.LeafHash(leaf))
	tx.leaves = append(tx.leaves, leaf)
	return nil
}

func compareName(a, b store.Name) int {
	if byKind := strings.Compare(a.Kind, b.Kind); byKind != 0 {
		return byKind
	}
	return strings.Compare(a.ID, b.ID)
}
