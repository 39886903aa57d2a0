package enclave

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/vault"
)

// idle locks the vault when nobody has used it for a while. The timer may sleep
// with the machine, so the time of day is asked, too, before the vault is used again.
type idle struct {
	lock func()
	now  func() time.Time

	mu    sync.Mutex
	after time.Duration // 0: nothing is to be locked
	used  time.Time     // last
	held  int           // dialogs that the user has before them
	timer *time.Timer
}

// start begins to watch an unlocked vault.
func (i *idle) start(now time.Time, after time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.halt()
	if i.after = after; after > 0 {
		i.used = now
		i.timer = time.AfterFunc(after, i.ring)
	}
}

func (i *idle) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.halt()
}

func (i *idle) halt() {
	i.after = 0
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}

// touch says that the vault is used. The timer is not set anew each time: when it
// rings, it looks.
func (i *idle) touch(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.used = now
}

// hold says that the user has a dialog of the vault before them; release, that it has
// been answered.
func (i *idle) hold() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held++
}

func (i *idle) release(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held--
	i.used = now
}

// again has the timer ring once more: the vault could not be locked now.
func (i *idle) again() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer != nil {
		i.timer.Reset(retryLock)
	}
}

// retryLock is how soon an idle vault that could not be locked is tried again.
const retryLock = 10 * time.Second

// over reports whether the vault ought to have been locked by now.
func (i *idle) over(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.after > 0 && i.held == 0 && passed(i.used, now) >= i.after
}

// passed returns how much time has passed by the clock that says more. The monotonic
// one, which Sub takes where there is one, may stand still while the machine sleeps, and
// the time of day may be set back.
func passed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

func (i *idle) ring() {
	i.mu.Lock()
	left := i.after - passed(i.used, i.now())
	if i.held > 0 {
		left = i.after
	}
	if i.after > 0 && left > 0 {
		i.timer.Reset(left)
	}
	due := i.after > 0 && left <= 0
	i.mu.Unlock()
	if due {
		i.lock()
	}
}

// lockedEvent is the data of the event "locked".
type lockedEvent struct {
	State  string `json:"state"`           // what the vault is now: "locked" or "absent"
	Reason string `json:"reason,omitzero"` // "asked", "idle", "start" or "destroyed"
}

// lockIdle locks the vault because nobody has used it.
func (e *Enclave) lockIdle() {
	ctx, cancel := e.deadlines.WithTimeout(e.ctx, machineTime, errTimeout)
	defer cancel()
	if e.lockVault(ctx, "idle") != nil {
		e.idle.again()
	}
}

// lockVault locks the vault, and says so to the app. An error says that it is open, or
// that there is nothing to lock.
func (e *Enclave) lockVault(ctx context.Context, why string) error {
	err := e.vaults.Lock(ctx, audit.Entry{
		Method: "vault.lock", Origin: e.cfg.Origin, Outcome: "ok", Details: map[string]string{"why": why},
	})
	nothing := errors.Is(err, vault.ErrNoLock) || errors.Is(err, vault.ErrAbsent) || errors.Is(err, vault.ErrLost)
	if err == nil || nothing {
		e.idle.stop()
	}
	if err == nil {
		e.notify("locked", lockedEvent{State: vault.Locked, Reason: why})
	}
	return err
}

// watch begins to watch the vault, after it was opened or its ways in changed.
func (e *Enclave) watch(lock string, idle time.Duration) {
	if lock == vault.LockNone {
		e.idle.stop()
		return
	}
	e.idle.start(e.cfg.Now(), idle)
}
