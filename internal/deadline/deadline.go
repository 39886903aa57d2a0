// Package deadline ends work that takes far too long, at next to no cost for
// work that does not.
//
// context.WithTimeout sets a timer for each call. In a browser that is several
// crossings into JavaScript, for a timer that practically never fires. A [Group]
// has one timer for all, which runs only while there is something to watch.
package deadline

import (
	"context"
	"sync"
	"time"
)

// tick is how exact a Group is: it counts whole ticks.
const tick = time.Second

// Group watches contexts. The zero value is ready for use.
type Group struct {
	mu      sync.Mutex
	ticking bool
	watched map[*watch]struct{}
}

type watch struct {
	ticks  int // left
	cause  error
	cancel context.CancelCauseFunc
}

// WithTimeout returns a copy of parent that is cancelled with the cause not
// before d, rounded up to whole seconds, has passed, and at the latest one second
// after that. The returned function must be called as soon as the work is done.
func (g *Group) WithTimeout(parent context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	// The first tick may come at once.
	w := &watch{ticks: int((d+tick-1)/tick) + 1, cause: cause, cancel: cancel}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watched == nil {
		g.watched = map[*watch]struct{}{}
	}
	g.watched[w] = struct{}{}
	if !g.ticking {
		g.ticking = true
		time.AfterFunc(tick, g.tick)
	}
	return ctx, func() {
		g.mu.Lock()
		delete(g.watched, w)
		g.mu.Unlock()
		cancel(nil)
	}
}

func (g *Group) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range g.watched {
		if w.ticks--; w.ticks <= 0 {
			w.cancel(w.cause)
			delete(g.watched, w)
		}
	}
	if g.ticking = len(g.watched) > 0; g.ticking {
		time.AfterFunc(tick, g.tick)
	}
}
