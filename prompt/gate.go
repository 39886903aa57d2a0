package prompt

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Back-off: after the second dialog in a row that ended without a yes nothing is
// shown for firstBackoff, and twice as long after each further one, up to
// maxBackoff. It does not matter who ended it: an app that calls its dialogs off
// has shown them. One that the user confirms, or lets expire, starts the count
// anew; the latter takes Timeout.
const (
	firstBackoff = 30 * time.Second
	maxBackoff   = 15 * time.Minute
)

// errBroken stands for the answer of a screen that panicked.
var errBroken = errors.New("prompt: the screen is broken")

// Gate is a Prompter that lets one dialog through at a time, ends it after
// Timeout, and holds back an app that keeps asking.
//
// It remembers in memory, and for one vault: an app that starts the enclave
// anew, or for another account, starts the count anew, at the price of a launch
// each time.
type Gate struct {
	screen Prompter

	mu    sync.Mutex
	open  bool
	vain  int       // dialogs in a row without a yes
	until time.Time // nothing is shown before
}

// NewGate returns a Gate in front of a screen.
func NewGate(screen Prompter) *Gate { return &Gate{screen: screen} }

// Destroy implements Prompter. Besides what the screen answers it returns
// ErrBusy, ErrBackoff and ErrExpired, or ctx's cause when ctx is done first.
func (g *Gate) Destroy(ctx context.Context, request Destroy) error {
	return g.pass(ctx, func(ctx context.Context) error { return g.screen.Destroy(ctx, request) })
}

func (g *Gate) pass(ctx context.Context, show func(context.Context) error) error {
	if err := g.enter(); err != nil {
		return err
	}
	outcome := errBroken
	defer func() { g.leave(outcome) }()
	ctx, cancel := context.WithTimeoutCause(ctx, Timeout, ErrExpired)
	defer cancel()
	outcome = show(ctx)
	return outcome
}

func (g *Gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open:
		return ErrBusy
	case time.Now().Before(g.until):
		return ErrBackoff
	}
	g.open = true
	return nil
}

func (g *Gate) leave(outcome error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
	if outcome == nil || errors.Is(outcome, ErrExpired) {
		g.vain = 0
		return
	}
	g.vain++
	if g.vain >= 2 {
		g.until = time.Now().Add(backoff(g.vain))
	}
}

// backoff returns how long nothing is shown after n dialogs in a row without a yes, n ≥ 2.
func backoff(n int) time.Duration {
	d := firstBackoff
	for range n - 2 {
		if d *= 2; d >= maxBackoff {
			return maxBackoff
		}
	}
	return d
}
