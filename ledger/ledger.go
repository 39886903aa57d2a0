// Package ledger is the only writer of a vault's storage.
//
// Everything that happens to a vault goes through one goroutine: a handler
// submits an [Op], whose Apply changes records and whose Entry is the leaf that
// the audit log will carry. The ledger takes the vault's lock, runs the waiting
// Applies in order on the newest state, and commits their records, their leaves
// and a new root record as one batch. Only then do the submitters get their
// answer. So nothing happens unrecorded, nothing is recorded that did not
// happen, and nothing is answered before it is durable.
//
// # What lies in the store
//
//	root   -          sealed: commit number, the largest time seen, the log's frontier and newest leaves,
//	                  the index's top page, records that ride along (see root.go)
//	commit -          which vault this is and the number of its newest commit: the precondition of the next
//	                  one. A root that was put back alone is not of that commit
//	index  <prefix>   the other pages of the index (see index.go)
//	log    <seq>      sealed: a batch of consecutive leaves (see package audit); seq is its first, 16 hex digits
//	other             the vault's records, sealed or plain as the Sealer says
//
// Using a key changes its counters and adds a leaf. Both are in the root, so that
// one record is sealed and written; every few leaves move to a log record.
//
// A stored value is a format byte (1), then for a sealed record nonce ‖
// ciphertext ‖ tag, and for a plain one its bytes. The additional data of a
// sealed record is
//
//	"kms-enclave/record/v1" ‖ 0 ‖ kind ‖ 0 ‖ id
//
// The index maps SHA-256(kind ‖ 0 ‖ id) of every record of the last row to its
// fingerprint: SHA-256(1 ‖ nonce) of a sealed record, SHA-256(0 ‖ bytes) of a
// plain one. A nonce names one ciphertext, because nobody without the key makes
// another one that opens under it; so the index can be computed before anything
// is sealed, and a commit needs a single round trip to the cryptography.
// One record that is changed, moved, dropped or rolled back alone no longer
// matches. Rolling back the whole database shows only against an audit head
// that somebody else has kept.
//
// # Crash windows
//
// A batch lands whole or not at all. Between landing and the reply a crash
// loses the reply, not the operation. There is no other window.
//
// The ledger must not sign, decide, or know methods.
package ledger

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/internal/deadline"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
)

// The ledger's own kinds.
const (
	KindRoot   = "root"
	KindCommit = "commit"
	KindIndex  = "index"
	KindLog    = "log"
)

// Bounds.
const (
	maxBatch      = 256              // ops in one commit
	maxAttempts   = 8                // runs of one batch while others are faster
	maxCached     = 4096             // opened records kept in memory
	commitTimeout = 10 * time.Second // machine time for one commit
	renewTimeout  = 2 * time.Minute  // machine time for one that seals a whole vault anew

	// Asking for the lock costs about as much as a commit's requests, so it is
	// kept while work follows work, but never so long that another tab notices.
	lockIdle = 15 * time.Millisecond
	lockHold = 60 * time.Millisecond

	// Burst and RefillPerSecond bound how fast an app can grow the log: the
	// allowance starts at Burst, every leaf takes one, and it refills slowly.
	Burst           = 200_000
	RefillPerSecond = 10
)

// Errors that callers branch on.
var (
	// ErrGone: the vault has been destroyed, by this tab or another one.
	ErrGone = errors.New("ledger: the vault is gone")
	// ErrReplaced: the vault was destroyed and another one made in its place,
	// or its ways in have changed; whoever holds keys of it must open it anew.
	ErrReplaced = errors.New("ledger: the vault is not the one that was opened")
	// ErrQuota: the log's allowance is used up.
	ErrQuota = errors.New("ledger: too many operations")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("ledger: closed")
	// ErrTimeout: the platform did not answer in time; the outcome is unknown.
	ErrTimeout = errors.New("ledger: storage did not answer in time")
)

// IsOver reports whether an error says that a ledger is of no further use: the
// vault is to be looked for anew.
func IsOver(err error) bool {
	return errors.Is(err, ErrGone) || errors.Is(err, ErrReplaced) || errors.Is(err, ErrClosed)
}

// IntegrityError says that something stored is not what was written.
type IntegrityError struct {
	What string // the record, by kind and id; never its content
}

func (e *IntegrityError) Error() string {
	return "stored " + e.What + " is not what was written"
}

// Item is one record to seal or open.
type Item struct {
	Name  store.Name
	Nonce [keyengine.NonceSize]byte // to seal with; unused when opening
	AAD   []byte
	Data  []byte
}

// Sealer holds the keys of one vault. Package vault implements it.
type Sealer interface {
	// Sealed reports whether records of this kind are encrypted.
	Sealed(kind string) bool
	// Rewritten reports whether sealed records of this kind are small and change
	// often, so that they are best kept in the root (see rider). Their key must be
	// available whenever the root's is.
	Rewritten(kind string) bool
	// Seal returns nonce ‖ ciphertext ‖ tag per item, in one round trip.
	Seal(ctx context.Context, items []Item) ([][]byte, error)
	// Open returns the plaintexts; a *keyengine.OpenError says which item failed.
	Open(ctx context.Context, items []Item) ([][]byte, error)
}

// Config is what a Ledger works with.
type Config struct {
	Store  store.Store
	Sealer Sealer
	Vault  string // the vault id
	Rand   io.Reader
	Now    func() time.Time

	// Anchor is the plain record that tells this vault from another one made
	// under the same id. If its bytes change, operations fail with ErrReplaced.
	Anchor store.Record

	// Committed, if not nil, is told of every batch once it is durable, in order. It
	// must not block, and must not change what it is given.
	Committed func(store.Batch)
}

// Ledger serialises the operations on one vault.
type Ledger struct {
	cfg   Config
	queue chan *Submission
	stop  context.CancelCauseFunc
	ctx   context.Context
	done  sync.WaitGroup

	deadlines deadline.Group

	// Of the worker goroutine only.
	state *state
	held  *heldLock // nil while there is nothing to do
}

// Create commits the first state of a vault: its records (the anchor among
// them; a nil value removes one), its handles, and the first leaf. store.ErrConflict if there is one.
func Create(ctx context.Context, cfg Config, records []store.Record, handles []store.Handle, entry audit.Entry) (*Ledger, error) {
	l := newLedger(cfg)
	l.state = &state{index: newIndex(l.loadPage), cache: map[store.Name]cached{}, names: map[string][]string{}}
	l.state.root = root{allowance: Burst, refilled: cfg.Now().Unix(), top: l.state.index.top}
	tx := newTx(ctx, l)
	err := tx.run(&Op{Entry: entry, Apply: func(tx *Tx) error {
		for _, r := range records {
			tx.Put(r.Name, r.Value)
		}
		for _, h := range handles {
			tx.PutHandle(h)
		}
		return nil
	}})
	if err == nil {
		err = tx.commit(ctx, func() error { return nil })
	}
	if err != nil {
		l.stop(ErrClosed)
		return nil, err
	}
	l.start()
	return l, nil
}

// Open reads the root record of an existing vault. ErrGone if there is none.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	l := newLedger(cfg)
	if err := l.reload(ctx); err != nil {
		l.stop(ErrClosed)
		return nil, err
	}
	l.start()
	return l, nil
}

func newLedger(cfg Config) *Ledger {
	l := &Ledger{cfg: cfg, queue: make(chan *Submission, maxBatch)}
	l.ctx, l.stop = context.WithCancelCause(context.Background())
	return l
}

func (l *Ledger) start() {
	l.done.Go(func() {
		l.run()
	})
}

// Close ends the ledger. Operations that wait get ErrClosed; a commit under
// way is finished first.
func (l *Ledger) Close() {
	l.stop(ErrClosed)
	l.done.Wait()
}

// Wipe removes every record and handle of a vault, whatever state it is in, and
// leaves the given records in their place; store.ErrConflict unless anchor is
// stored as it is given. Its nil value stands for no record.
func Wipe(ctx context.Context, s store.Store, vault string, anchor store.Record, left ...store.Record) error {
	unlock, err := s.Lock(ctx, vault)
	if err != nil {
		return err
	}
	defer unlock()
	return s.Commit(ctx, store.Batch{Vault: vault, Expect: anchor, Clear: true, Put: left, Urgent: true})
}
