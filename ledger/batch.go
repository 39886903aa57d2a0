package ledger

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/store"
)

func (l *Ledger) run() {
	defer func() { l.release() }()
	idle := time.NewTimer(lockIdle)
	defer idle.Stop()
	// Behind a renewal nothing more is served, though there may be something in the
	// queue: the state is that of another vault then.
	for l.ctx.Err() == nil {
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
	batch, renewal := l.gather(first)
	l.renewLock()
	if len(batch) > 0 {
		l.commitBatch(ctx, batch)
	}
	if renewal != nil {
		l.renew(renewal)
	}
}

// gather takes what waits, up to an op that has to commit alone.
func (l *Ledger) gather(first *Submission) (batch []*Submission, renewal *Submission) {
	for s := first; ; {
		if s.op.Renew != nil {
			return dropEnded(batch), s
		}
		if batch = append(batch, s); len(batch) == maxBatch {
			return dropEnded(batch), nil
		}
		select {
		case s = <-l.queue:
		default:
			return dropEnded(batch), nil
		}
	}
}

// renew commits an op after which this ledger is over.
func (l *Ledger) renew(s *Submission) {
	ctx, cancel := l.deadlines.WithTimeout(context.Background(), renewTimeout, ErrTimeout)
	defer cancel()
	if alone := dropEnded([]*Submission{s}); len(alone) == 1 {
		l.commitBatch(ctx, alone)
	}
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
		tx.renew = renewalOf(batch, outcome)
		tx.urgent = len(waiting(batch, outcome, false)) == 0
		switch err := tx.commit(ctx, func() error { return l.mayWrite(ctx, batch, outcome) }); {
		case errors.Is(err, errNotReady):
		case errors.Is(err, store.ErrConflict):
			if err := l.reload(ctx); err != nil {
				fail(batch, err)
				return
			}
		case errors.Is(err, store.ErrFull) && !tx.urgent && len(waiting(batch, outcome, true)) > 0:
			for _, s := range waiting(batch, outcome, false) {
				s.failed = err // what is urgent goes without it, and what only reads sees nothing of it
			}
		default:
			again, err := l.outdated(ctx, err)
			if again {
				continue
			}
			finish(batch, outcome, err)
			if tx.renew != nil && err == nil {
				l.stop(ErrReplaced)
			}
			return
		}
	}
	fail(batch, store.ErrConflict)
}

// waiting returns those that have not failed and write nothing unless it is urgent, or all others.
func waiting(batch []*Submission, outcome []error, spared bool) (some []*Submission) {
	for i, s := range batch {
		if outcome[i] == nil && (s.op.Urgent || s.readOnly) == spared {
			some = append(some, s)
		}
	}
	return some
}

// outdated reports whether what looks damaged is only of another state than this tab
// knows, because another one has committed since; the state has been read again then. It
// returns the error to answer with otherwise.
func (l *Ledger) outdated(ctx context.Context, err error) (again bool, answer error) {
	if _, damaged := errors.AsType[*IntegrityError](err); !damaged {
		return false, err
	}
	if err := l.held.wait(); err != nil {
		return false, err
	}
	newest, failed := l.refresh(ctx)
	if failed != nil {
		return false, failed
	}
	return !newest, err
}

// renewalOf returns what the vault becomes with this batch, if it succeeds.
func renewalOf(batch []*Submission, outcome []error) *Renewal {
	if len(batch) == 1 && outcome[0] == nil {
		return batch[0].op.Renew
	}
	return nil
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
