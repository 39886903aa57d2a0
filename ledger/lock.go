package ledger

import "time"

// heldLock is the vault's lock, held or asked for. A nil *heldLock is no lock.
type heldLock struct {
	done   chan struct{} // closed once the rest is set
	since  time.Time
	unlock func()
	err    error
}

// renewLock asks for the vault's lock, without waiting for it, unless this tab
// has it; one that has been held long enough is given back first.
func (l *Ledger) renewLock() {
	if l.held.stale() {
		l.release()
	}
	if l.held == nil {
		l.held = l.lock()
	}
}

func (l *Ledger) lock() *heldLock {
	h := &heldLock{done: make(chan struct{})}
	go func() {
		defer close(h.done)
		ctx, cancel := l.deadlines.WithTimeout(l.ctx, commitTimeout, ErrTimeout)
		defer cancel()
		h.unlock, h.err = l.cfg.Store.Lock(ctx, l.cfg.Vault)
		h.since = time.Now()
	}()
	return h
}

func (l *Ledger) release() {
	if l.held != nil && l.held.wait() == nil {
		l.held.unlock()
	}
	l.held = nil
}

// wait returns once the lock is held, or cannot be had.
func (h *heldLock) wait() error {
	if h == nil {
		return nil
	}
	<-h.done
	return h.err
}

// stale reports whether the lock was not had, or has been held long enough.
func (h *heldLock) stale() bool {
	if h == nil {
		return false
	}
	select {
	case <-h.done:
		return h.err != nil || time.Since(h.since) > lockHold
	default:
		return false
	}
}
