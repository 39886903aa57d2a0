package prompt

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Back-off: after the second refusal in a row nothing is shown for
// firstBackoff, and twice as long after each further one, up to maxBackoff.
// A dialog that the user confirms, or lets expire, starts the count anew.
const (
	firstBackoff = 30 * time.Second
	maxBackoff   = 15 * time.Minute
)

// errBroken stands for the answer of a screen that panicked.
var errBroken = errors.New("prompt: the screen is broken")

// Gate is a Prompter that lets one dialog through at a time, ends it after
// Timeout, and holds back an app that keeps asking a user who says no.
//
// It remembers in memory: an app that starts the enclave anew starts the count
// anew, at the price of a launch each time.
type Gate struct {
	screen Prompter

	mu       sync.Mutex
	open     bool
	refusals int       // in a row
	until    time.Time // nothing is shown before
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
	ctx, cancel := context.WithTimeoutCause(ctx, Timeout, ErrExpired)
	defer cancel()
	outcome := errBroken
	defer func() { g.leave(outcome) }()
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
	switch {
	case errors.Is(outcome, ErrCancelled):
		g.refusals++
	case outcome == nil, errors.Is(outcome, ErrExpired):
		g.refusals = 0
	}
	if g.refusals >= 2 {
		g.until = time.Now().Add(backoff(g.refusals))
	}
}

// backoff returns how long nothing is shown after n refusals in a row, n ≥ 2.
func backoff(n int) time.Duration {
	d := firstBackoff
	for range n - 2 {
		if d *= 2; d >= maxBackoff {
			return maxBackoff
		}
	}
	return d
}
