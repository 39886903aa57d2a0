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
	"bytes"
	"context"
	"errors"
	"fmt"
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
}

// Op is one operation: a change, a leaf, or both.
type Op struct {
	// Apply reads and changes the state. It runs on the newest state, possibly
	// more than once, and must re-check what it relied on. If it fails, nothing
	// of the op happens and Submit returns its error. It may be nil.
	Apply func(tx *Tx) error
	// Ready, if not nil, waits for what the op records and was begun before, such
	// as a signature. It is called once the op is sealed; nothing is written until
	// it returns. If it fails, nothing of the op happens and Submit returns its
	// error. It must return when ctx is done.
	Ready func(ctx context.Context) error
	// Reserved ops are not held up by an allowance that is used up. They must be
	// rare of themselves: the log grows by them all the same.
	Reserved bool
	// Entry becomes a leaf unless its Method is empty. Seq and Time are set by
	// the ledger.
	Entry audit.Entry
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

// state is the newest committed state that this tab knows.
type state struct {
	commit []byte // the stored commit record: the precondition of the next commit
	root   root
	index  index
	cache  map[store.Name]cached
	names  map[string][]string // ids by kind, as far as they have been read
}

type cached struct {
	fingerprint hash
	plain       []byte
}

// Submission is an op on its way.
type Submission struct {
	l        *Ledger
	ctx      context.Context
	op       *Op
	readOnly bool
	asked    bool          // op.Ready has been called
	failed   error         // what it said
	ready    chan struct{} // closed once op.Ready has returned nil; nil if there is none
	done     chan struct{} // closed once err is set
	err      error
}

// AwaitReady returns true once the op's Ready has returned nil, when all that is
// left is writing; and false if it ends without coming to that.
func (s *Submission) AwaitReady() bool {
	select {
	case <-s.ready:
		return true
	case <-s.done:
	case <-s.ctx.Done():
	case <-s.l.ctx.Done():
	}
	return false
}

// Wait returns once the op is durable, or has failed and left nothing. When the
// context that Start was given ends first, its cause is returned and the outcome of an op
// already under way is unknown to the caller; what Apply and Ready write may still
// be written then.
func (s *Submission) Wait() (err error) {
	select {
	case <-s.done:
		return s.err
	case <-s.ctx.Done():
		err = context.Cause(s.ctx)
	case <-s.l.ctx.Done():
		err = context.Cause(s.l.ctx)
	}
	select {
	case <-s.done: // both at once: what has become of it is known
		err = s.err
	default:
	}
	return err
}

func (s *Submission) end(err error) {
	s.err = err
	close(s.done)
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
		return nil
	}})
	if err == nil {
		err = tx.commit(ctx, handles, func() error { return nil })
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

// Submit runs op; see Submission.Wait for when it returns.
func (l *Ledger) Submit(ctx context.Context, op Op) error { return l.Start(ctx, op).Wait() }

// Start begins to run op.
func (l *Ledger) Start(ctx context.Context, op Op) *Submission {
	s := &Submission{l: l, ctx: ctx, op: &op, done: make(chan struct{})}
	if op.Ready != nil {
		s.ready = make(chan struct{})
	}
	l.enqueue(s)
	return s
}

// Read runs read on the newest state; tx must not be changed by it.
func (l *Ledger) Read(ctx context.Context, read func(tx *Tx) error) error {
	s := &Submission{l: l, ctx: ctx, op: &Op{Apply: read}, readOnly: true, done: make(chan struct{})}
	l.enqueue(s)
	return s.Wait()
}

// enqueue waits for room; if there is none before a context ends, Wait says so.
func (l *Ledger) enqueue(s *Submission) {
	select {
	case l.queue <- s:
	case <-s.ctx.Done():
	case <-l.ctx.Done():
	}
}

func (l *Ledger) run() {
	defer func() { l.release() }()
	idle := time.NewTimer(lockIdle)
	defer idle.Stop()
	for {
		select {
		case first := <-l.queue:
			l.serve(first)
			idle.Reset(lockIdle)
		case <-idle.C:
			l.release()
		case <-l.ctx.Done():
			return
		}
	}
}

// serve runs everything that waits, and commits it under the vault's lock. The
// lock is asked for first and waited for last: meanwhile the batch is run and
// sealed on the state this tab knows, which is the newest unless another tab is
// at work, and then the commit notices.
func (l *Ledger) serve(first *Submission) {
	ctx, cancel := l.deadlines.WithTimeout(context.Background(), commitTimeout, ErrTimeout)
	defer cancel()
	batch := []*Submission{first}
	for len(batch) < maxBatch {
		select {
		case s := <-l.queue:
			batch = append(batch, s)
			continue
		default:
		}
		break
	}
	l.renewLock()
	l.commitBatch(ctx, dropEnded(batch))
}

// commitBatch runs the ops on the state this tab knows. If somebody else has
// committed since, the batch does not land; and what an op has read, or failed
// on, is believed only if the root is still the same afterwards. Either way the
// state is read again and everything runs once more. Under the lock that
// happens once; the bound is for browsers whose locks do not work.
func (l *Ledger) commitBatch(ctx context.Context, batch []*Submission) {
	outcome := make([]error, len(batch))
	for range maxAttempts {
		tx := newTx(ctx, l)
		suspect := false
		for i, s := range batch {
			if outcome[i] = s.failed; s.failed == nil {
				outcome[i] = tx.run(s.op)
				suspect = suspect || outcome[i] != nil || s.readOnly
			}
		}
		if suspect {
			if err := l.held.wait(); err != nil {
				fail(batch, err)
				return
			}
			if newest, err := l.refresh(ctx); err != nil {
				fail(batch, err)
				return
			} else if !newest {
				continue
			}
		}
		switch err := tx.commit(ctx, nil, func() error { return l.mayWrite(ctx, batch, outcome) }); {
		case errors.Is(err, errNotReady):
		case errors.Is(err, store.ErrConflict):
			if err := l.reload(ctx); err != nil {
				fail(batch, err)
				return
			}
		default:
			finish(batch, outcome, err)
			return
		}
	}
	fail(batch, store.ErrConflict)
}

// errNotReady: an op of the batch turned out to have failed; without it the
// batch has to be put together anew.
var errNotReady = errors.New("ledger: an op is not ready")

// mayWrite waits for what the ops record, and for the lock.
//
// What takes longer than patience fails. Its context is over then, so what comes
// behind it has one of its own, to show that it is done: one that is slow fails
// alone, and there is time left to write the others.
func (l *Ledger) mayWrite(ctx context.Context, batch []*Submission, outcome []error) error {
	patience, cancel := l.deadlines.WithTimeout(ctx, commitTimeout/2, ErrTimeout)
	defer cancel()
	grace := patience
	var late sync.WaitGroup
	for i, s := range batch {
		switch {
		case outcome[i] != nil || s.asked || s.op.Ready == nil:
		case patience.Err() == nil:
			s.ask(patience)
		default:
			if grace == patience {
				grace, cancel = l.deadlines.WithTimeout(ctx, commitTimeout/10, ErrTimeout)
				defer cancel()
			}
			late.Go(func() { s.ask(grace) })
		}
	}
	late.Wait()
	for i, s := range batch {
		if outcome[i] == nil && s.failed != nil {
			return errNotReady
		}
	}
	return l.held.wait()
}

func (s *Submission) ask(ctx context.Context) {
	s.asked = true
	if s.failed = s.op.Ready(ctx); s.failed == nil {
		close(s.ready)
	}
}

// fail answers everybody with one error.
func fail(batch []*Submission, err error) { finish(batch, make([]error, len(batch)), err) }

func dropEnded(batch []*Submission) []*Submission {
	kept := batch[:0]
	for _, s := range batch {
		if s.ctx.Err() != nil {
			s.end(context.Cause(s.ctx))
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

func finish(batch []*Submission, outcome []error, err error) {
	for i, s := range batch {
		if outcome[i] == nil {
			outcome[i] = err
		}
		s.end(outcome[i])
	}
}

// refresh reports whether the state is the newest; if not, it has been read again.
func (l *Ledger) refresh(ctx context.Context) (newest bool, err error) {
	commit, err := l.cfg.Store.Get(ctx, l.cfg.Vault, commitName)
	if err != nil {
		return false, err
	}
	if bytes.Equal(commit[0], l.state.commit) {
		return true, nil
	}
	return false, l.reload(ctx)
}

// reload reads the root record and what it authenticates anew.
func (l *Ledger) reload(ctx context.Context) error {
	values, err := l.cfg.Store.Get(ctx, l.cfg.Vault, l.cfg.Anchor.Name, rootName, commitName)
	if err != nil {
		return err
	}
	anchor, raw, commit := values[0], values[1], values[2]
	switch {
	case anchor == nil && raw == nil:
		return ErrGone
	case anchor == nil || raw == nil:
		return &IntegrityError{What: "root record: a part is missing"}
	case !bytes.Equal(anchor, EncodePlain(l.cfg.Anchor.Value)):
		return ErrReplaced
	}
	parsed, err := l.openRoot(ctx, raw)
	if err != nil {
		return err
	}
	if !bytes.Equal(commit, encodeCommit(l.cfg.Anchor, parsed.commit)) {
		return &IntegrityError{What: fmt.Sprintf("root record: it is of commit %d, which is not the newest", parsed.commit)}
	}
	next := &state{commit: commit, root: *parsed, index: index{top: parsed.top, load: l.loadPage}, cache: map[store.Name]cached{}, names: map[string][]string{}}
	if old := l.state; old != nil {
		if parsed.commit < old.root.commit {
			return &IntegrityError{What: fmt.Sprintf("root record: commit %d after %d was seen", parsed.commit, old.root.commit)}
		}
		adopt(next.index.top, old.index.top)
		next.cache = old.cache
	}
	if err := checkAnchor(ctx, next, l.cfg.Anchor); err != nil {
		return err
	}
	l.state = next
	return nil
}

// openRoot opens and parses a stored root record.
func (l *Ledger) openRoot(ctx context.Context, stored []byte) (*root, error) {
	opened, err := l.openAll(ctx, []store.Record{{Name: rootName, Value: stored}})
	if err != nil {
		return nil, err
	}
	parsed, err := parseRoot(opened[0])
	if err != nil {
		return nil, &IntegrityError{What: fmt.Sprintf("root record (%v)", err)}
	}
	return parsed, nil
}

// checkAnchor makes sure that the root belongs to the anchor it was found beside.
func checkAnchor(ctx context.Context, s *state, anchor store.Record) error {
	fingerprint, found, err := s.index.get(ctx, indexKey(anchor.Name))
	if err != nil {
		return err
	}
	if !found || fingerprint != plainFingerprint(anchor.Value) {
		return &IntegrityError{What: describe(anchor.Name)}
	}
	return nil
}

func (l *Ledger) loadPage(ctx context.Context, prefix string) ([]byte, error) {
	values, err := l.cfg.Store.Get(ctx, l.cfg.Vault, store.Name{Kind: KindIndex, ID: prefix})
	if err != nil {
		return nil, err
	}
	return decodePage(prefix, values[0])
}

func decodePage(prefix string, stored []byte) ([]byte, error) {
	page, err := DecodePlain(stored)
	if err != nil {
		return nil, &IntegrityError{What: "index page " + prefix}
	}
	return page, nil
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
	return s.Commit(ctx, store.Batch{Vault: vault, Expect: anchor, Clear: true, Put: left})
}
