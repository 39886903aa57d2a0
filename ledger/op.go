package ledger

import (
	"context"
	"iter"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/store"
)

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
	// Urgent ops may use the space that the store keeps back. Their user has asked for
	// them, and an app that fills the storage must not keep them from landing.
	Urgent bool
	// Renew, if not nil, makes this op's commit the last one of this Ledger: from
	// then on the vault has another anchor, and its records are sealed by another
	// Sealer. Apply puts the new anchor, and puts anew every record that only the
	// old Sealer opens. Such an op commits alone.
	Renew *Renewal
	// Entry becomes a leaf unless its Method is empty. Seq and Time are set by
	// the ledger.
	Entry audit.Entry
}

// Renewal is what a vault becomes with a commit: see Op.
type Renewal struct {
	Sealer Sealer
	Anchor store.Record
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

// PageSize is how many leaves Page reads at most.
const PageSize = 500

// Page returns the log's leaves from … size-1 as canonical entries, PageSize at most.
func (l *Ledger) Page(ctx context.Context, from, size uint64) (leaves [][]byte, err error) {
	err = l.Read(ctx, func(tx *Tx) (err error) {
		leaves, err = tx.Log(from, int(min(PageSize, size-from)))
		return err
	})
	if err != nil {
		return nil, err // they may be about to be written
	}
	return leaves, nil
}

// Leaves yields the log's leaves from … size-1 as canonical entries, page by page so
// that others get their turn, or an error.
func (l *Ledger) Leaves(ctx context.Context, from, size uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for from < size {
			page, err := l.Page(ctx, from, size)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, leaf := range page {
				if !yield(leaf, nil) {
					return
				}
			}
			from += uint64(len(page))
		}
	}
}

// enqueue waits for room; if there is none before a context ends, Wait says so.
func (l *Ledger) enqueue(s *Submission) {
	select {
	case l.queue <- s:
	case <-s.ctx.Done():
	case <-l.ctx.Done():
	}
}
