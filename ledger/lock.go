package ledger

import (
	"context"
	"time"
)

// heldLock is the vault's lock, held or asked for. A nil *heldLock is no lock.
type heldLock struct {
	since  time.Time
	done   chan struct{} // closed once unlock and err are set
	unlock func()
	err    error
}

// lock asks for the vault's lock without waiting for it.
func (l *Ledger) lock() *heldLock {
	h := &heldLock{since: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		ctx, cancel := context.WithTimeoutCause(l.ctx, commitTimeout, ErrTimeout)
		defer cancel()
		h.unlock, h.err = l.cfg.Store.Lock(ctx, l.cfg.Vault)
	}()
	return h
}

// wait returns once the lock is held, or cannot be had.
func (h *heldLock) wait() error {
	<-h.done
	return h.err
}

// stale reports whether the lock has to be asked for anew: it was never had, or
// others have waited for it long enough.
func (h *heldLock) stale() bool {
	if h == nil || time.Since(h.since) > lockHold {
		return true
	}
	select {
	case <-h.done:
		return h.err != nil
	default:
		return false
	}
}

func (h *heldLock) release() {
	if h != nil && h.wait() == nil {
		h.unlock()
	}
}
