package enclave

import (
	"context"
	"sync"
)

// maxFollowers is how many goroutines stay without work.
const maxFollowers = 16

// crew serves requests on goroutines that stay. A new goroutine starts with a
// small stack, and decoding makes it grow by copying, several times; in a browser
// that costs more than the request. One of the crew leads: it admits requests in
// the order in which they came. Having admitted one it lets another lead, and
// serves it.
type crew[T any] struct {
	admit func(T) (job func()) // nil: there is nothing more to do

	wake    chan struct{} // of capacity 1; full while something may be waiting
	lead    chan struct{} // of capacity 1; full while nobody leads, closed at the end
	running sync.WaitGroup

	mu        sync.Mutex
	waiting   []T
	followers int  // who wait to lead
	ended     bool // nobody leads any more
}

func newCrew[T any](admit func(T) func()) *crew[T] {
	c := &crew[T]{admit: admit, wake: make(chan struct{}, 1), lead: make(chan struct{}, 1)}
	c.lead <- struct{}{}
	return c
}

// start begins to serve, until ctx is done and nothing waits.
func (c *crew[T]) start(ctx context.Context) {
	c.running.Go(func() { c.work(ctx) })
}

// put returns at once, unless the crew has ended; then what is left to do about
// an item is done here.
func (c *crew[T]) put(item T) {
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.waiting = append(c.waiting, item)
	}
	c.mu.Unlock()
	if ended {
		if job := c.admit(item); job != nil {
			job()
		}
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *crew[T]) work(ctx context.Context) {
	for {
		if _, ok := <-c.lead; !ok {
			return
		}
		job := c.next(ctx)
		if job == nil {
			close(c.lead)
			return
		}
		c.letLead(ctx)
		job()
		if !c.follow() {
			return
		}
	}
}

// follow reports whether to stay. After a rush most go: stacks that nobody uses
// would only be work for the garbage collector.
func (c *crew[T]) follow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	stay := c.followers < maxFollowers
	if stay {
		c.followers++
	}
	return stay
}

// next returns the next job, or nil at the end.
func (c *crew[T]) next(ctx context.Context) func() {
	for {
		item, some, over := c.take(ctx)
		if over {
			return nil
		}
		if some {
			if job := c.admit(item); job != nil {
				return job
			}
			continue
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// take returns the oldest item; that there is none when ctx is done is the end.
func (c *crew[T]) take(ctx context.Context) (item T, some, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.waiting = nil
		c.ended = ctx.Err() != nil
		return item, false, c.ended
	}
	item = c.waiting[0]
	c.waiting = c.waiting[1:]
	return item, true, false
}

func (c *crew[T]) letLead(ctx context.Context) {
	c.mu.Lock()
	hire := c.followers == 0
	if !hire {
		c.followers--
	}
	c.mu.Unlock()
	if hire {
		c.start(ctx)
	}
	c.lead <- struct{}{}
}
