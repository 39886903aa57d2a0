package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errLate = errors.New("late")

// TestDeadline: it passes when it should, for each context by itself.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		type late struct {
			d  time.Duration
			at time.Duration
		}
		ended := make(chan late, 4)
		start := time.Now()
		for _, d := range []time.Duration{time.Millisecond, time.Second, 2500 * time.Millisecond, 30 * time.Second} {
			time.Sleep(300 * time.Millisecond)
			begun := time.Now()
			ctx, cancel := g.WithTimeout(t.Context(), d, errLate)
			defer cancel()
			go func() {
				<-ctx.Done()
				if context.Cause(ctx) != errLate {
					t.Errorf("cause %v", context.Cause(ctx))
				}
				ended <- late{d, time.Since(begun)}
			}()
		}
		for range 4 {
			if l := <-ended; l.at < l.d || l.at > l.d+2*tick {
				t.Errorf("deadline of %v passed after %v", l.d, l.at)
			}
		}
		if time.Since(start) > 34*time.Second {
			t.Errorf("took %v", time.Since(start))
		}
	})
}

// TestDone: what is done in time is let alone, and then nothing ticks.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		ctx, cancel := g.WithTimeout(t.Context(), time.Second, errLate)
		cancel()
		if !errors.Is(ctx.Err(), context.Canceled) || context.Cause(ctx) == errLate {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		time.Sleep(10 * time.Second)
		if g.ticking || len(g.watched) != 0 {
			t.Errorf("ticking %t with %d contexts", g.ticking, len(g.watched))
		}
		parent, stop := context.WithCancelCause(t.Context())
		ctx, cancel = g.WithTimeout(parent, time.Hour, errLate)
		defer cancel()
		stop(errors.New("parent"))
		if err := context.Cause(ctx); err == nil || err.Error() != "parent" {
			t.Errorf("cause %v", err)
		}
	})
}
