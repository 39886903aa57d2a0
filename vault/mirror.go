package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// A mirror is what an app keeps of a vault on the device: every record as it is
// stored, sealed and opaque to the app, so that a vault whose storage is cleared comes
// back by a passphrase, a passkey or the recovery phrase (see return.go). The device's
// AES handle is not in it, so a vault that only the device opens has none.
//
// It is fed with changes: what the commits of this worker wrote since it was last
// asked. Who has missed some reads everything once, page by page, while changes go on:
// a change from commit f to commit t brings any state that is at least f to t, because
// it holds the value at t of all that was written after f.

// MirrorChange is what happened to a vault's records from one commit to another.
type MirrorChange struct {
	From, To uint64         // numbers of commits; 0 is before the first
	Put      []store.Record // as they are stored, in order of name
	Removed  []store.Name
}

// Mirroring says where a vault stands.
type Mirroring struct {
	Instance string // of the vault, and of its life on this device; another one has other records
	Commit   uint64 // number of its newest commit
	Opens    bool   // whether somebody could open a mirror of it
}

// ErrNoMirror: the vault has no records that an app may keep: it ends with its worker,
// or only the device opens it.
var ErrNoMirror = errors.New("vault: it has no mirror")

// mostRecorded bounds the changes that wait to be asked for, in bytes. What is more is
// forgotten: the mirror then reads everything once more.
const mostRecorded = 4 << 20

// recorder remembers what the commits of one worker wrote.
type recorder struct {
	mu      sync.Mutex
	changes []change
	size    int // of changes, in bytes
}

// change is a MirrorChange that may still grow.
type change struct {
	from, to uint64
	values   map[store.Name][]byte // nil: removed
}

// committed takes a batch in; see ledger.Config.
func (r *recorder) committed(b store.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to := commitNumber(b.Expect.Value), uint64(0)
	for _, p := range b.Put {
		if p.Kind == ledger.KindCommit {
			to = commitNumber(p.Value)
		}
	}
	if n := len(r.changes); n == 0 || r.changes[n-1].to != from {
		r.changes = append(r.changes, change{from: from, values: map[store.Name][]byte{}})
	}
	c := &r.changes[len(r.changes)-1]
	c.to = to
	for _, n := range b.Delete {
		r.set(c, n, nil)
	}
	for _, p := range b.Put {
		r.set(c, p.Name, p.Value)
	}
	if r.size > mostRecorded {
		r.changes, r.size = nil, 0
	}
}

func (r *recorder) set(c *change, name store.Name, value []byte) {
	before, known := c.values[name]
	if !known {
		r.size += nameSize(name)
	}
	r.size += len(value) - len(before)
	c.values[name] = value
}

// take returns the oldest changes, of about most bytes, and whether there are more. One
// that is larger is dropped: it cannot be told in parts.
func (r *recorder) take(most int) (changes []MirrorChange, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for size := 0; len(r.changes) > 0; {
		c := r.changes[0]
		n := c.size()
		if size > 0 && size+n > most {
			break
		}
		r.changes, r.size = r.changes[1:], r.size-n
		if n > most {
			continue
		}
		size += n
		changed := MirrorChange{From: c.from, To: c.to}
		for _, name := range slices.SortedFunc(maps.Keys(c.values), compareNames) {
			if value := c.values[name]; value == nil {
				changed.Removed = append(changed.Removed, name)
			} else {
				changed.Put = append(changed.Put, store.Record{Name: name, Value: value})
			}
		}
		changes = append(changes, changed)
	}
	return changes, len(r.changes) > 0
}

// size returns how much room a change takes, in bytes of its values and names.
func (c *change) size() (n int) {
	for name, value := range c.values {
		n += nameSize(name) + len(value)
	}
	return n
}

func nameSize(n store.Name) int { return len(n.Kind) + len(n.ID) }

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes, r.size = nil, 0
}

// commitNumber returns the number in a stored commit record: its last eight bytes.
func commitNumber(stored []byte) uint64 {
	if len(stored) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(stored[len(stored)-8:])
}

func compareNames(a, b store.Name) int {
	if byKind := strings.Compare(a.Kind, b.Kind); byKind != 0 {
		return byKind
	}
	return strings.Compare(a.ID, b.ID)
}

// Changes returns what the commits of this worker wrote since it was last called,
// about most bytes of it, where the vault stands, and whether there is more. It works
// while the vault is locked. ErrNoMirror, or as Current.
func (m *Manager) Changes(ctx context.Context, most int) (now Mirroring, changes []MirrorChange, more bool, err error) {
	if now, err = m.mirroring(ctx); err != nil {
		return now, nil, false, err
	}
	if !now.Opens {
		m.recorder.forget()
		return now, nil, false, nil
	}
	changes, more = m.recorder.take(most)
	return now, changes, more, nil
}

// mirroring looks at the vault, which makes sure that its root is what was written.
func (m *Manager) mirroring(ctx context.Context) (now Mirroring, err error) {
	for first := true; ; first = false {
		v, err := m.Current(ctx)
		if err != nil {
			return now, err
		}
		if v.header.Persistence != PersistDevice {
			return now, ErrNoMirror
		}
		now = Mirroring{Instance: encodeID(v.header.life()), Opens: v.header.returns()}
		err = v.Ledger.Read(ctx, func(tx *ledger.Tx) error {
			now.Commit = tx.Commit()
			return nil
		})
		if !first || !ledger.IsOver(err) {
			return now, err
		}
		m.Forget(ctx, v)
	}
}

// life names a vault's life on a device: it is another one when the vault comes back from a
// mirror, whose commits count on from an older one. The device's secret is new then, and only then.
func (h *header) life() []byte {
	sum := sha256.Sum256(append(bytes.Clone(h.Instance), h.Device...))
	return sum[:len(h.Instance)]
}

// returns reports whether a person could open a mirror of this vault.
func (h *header) returns() bool {
	return h.Recovery != nil || h.find(func(s *slot) bool { return s.Sealed != nil }) != nil
}

// mirrorKinds are the kinds of records that a mirror holds, in order: all of a vault's.
var mirrorKinds = slices.Sorted(slices.Values(append([]string{
	headerName.Kind, ledger.KindCommit, ledger.KindIndex, ledger.KindRoot, ledger.KindLog, kindUse, kindLeases, kindLeaseKey,
}, vaultKinds...)))

// scanAtOnce is how many records one look at the store brings.
const scanAtOnce = 64

// Records returns the stored records that come after a name, about most bytes of them,
// and whether there are more. Commits may land between two pages: what they wrote is
// among Changes. An empty name begins. ErrNoMirror, or as Current.
func (m *Manager) Records(ctx context.Context, after store.Name, most int) (now Mirroring, page []store.Record, more bool, err error) {
	now, err = m.mirroring(ctx)
	if err == nil && !now.Opens {
		err = ErrNoMirror
	}
	if err != nil {
		return now, nil, false, err
	}
	size := 0
	for _, kind := range mirrorKinds {
		if kind < after.Kind {
			continue
		}
		r := store.Range{Kind: kind, Limit: scanAtOnce}
		if kind == after.Kind {
			r.First = after.ID + " " // the next id there can be
		}
		for {
			found, err := m.cfg.Device.Scan(ctx, m.cfg.ID, r)
			if err != nil {
				return now, nil, false, err
			}
			for _, f := range found {
				if size += nameSize(f.Name) + len(f.Value); size > most && len(page) > 0 {
					return now, page, true, nil
				}
				page = append(page, f)
			}
			if len(found) < scanAtOnce {
				break
			}
			r.First = found[len(found)-1].ID + " "
		}
	}
	return now, page, false, nil
}
