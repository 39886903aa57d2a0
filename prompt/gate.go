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
// has shown them. One that ends with a yes, or that nobody answers, starts the count
// anew; the latter takes Timeout.
const (
	firstBackoff = 30 * time.Second
	maxBackoff   = 15 * time.Minute

	// Dialogs that only show something: so many within the time, and no more.
	shownMost   = 4
	shownWithin = 2 * time.Minute

	// atOnce is how soon a dialog that only shows something has to be closed to
	// count as one that nobody wanted.
	atOnce = 3 * time.Second
)

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
	vain  int         // dialogs in a row without a yes
	until time.Time   // nothing is shown before
	shown []time.Time // when dialogs that only showed something were closed, the newest last
}

// NewGate returns a Gate in front of a screen.
func NewGate(screen Prompter) *Gate { return &Gate{screen: screen} }

// Open implements Prompter. Besides what the screen says it returns ErrBusy and ErrBackoff.
func (g *Gate) Open(ctx context.Context) (Dialog, error) {
	if err := g.enter(); err != nil {
		return nil, err
	}
	d, err := g.screen.Open(ctx)
	if err != nil {
		g.leave(err)
		return nil, err
	}
	return &gated{Dialog: d, gate: g, until: time.Now().Add(Timeout)}, nil
}

// gated is a dialog that the gate has let through.
type gated struct {
	Dialog
	gate  *Gate
	until time.Time
	shown time.Time // first
	once  sync.Once
}

// Ask implements Dialog. Besides what the screen answers it returns ErrExpired,
// or ctx's cause when ctx is done first.
func (d *gated) Ask(ctx context.Context, screen Screen) (Answer, error) {
	if d.shown.IsZero() {
		d.shown = time.Now()
	}
	ctx, cancel := context.WithDeadlineCause(ctx, d.until, ErrExpired)
	defer cancel()
	return d.Dialog.Ask(ctx, screen)
}

// Close implements Dialog. A dialog that showed nothing counts for nothing.
func (d *gated) Close(outcome error) {
	d.once.Do(func() {
		defer d.free(outcome) // also if the screen panics
		d.Dialog.Close(outcome)
	})
}

func (d *gated) free(outcome error) {
	if d.shown.IsZero() || (errors.Is(outcome, ErrClosed) && time.Since(d.shown) >= atOnce) {
		d.gate.free(!d.shown.IsZero())
		return
	}
	d.gate.leave(outcome)
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

func (g *Gate) free(shown bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
	if !shown {
		return
	}
	now := time.Now()
	g.shown = append(g.shown, now)
	if len(g.shown) < shownMost {
		return
	}
	if now.Sub(g.shown[0]) < shownWithin {
		g.until = now.Add(firstBackoff)
	}
	g.shown = g.shown[1:]
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
