//go:build !js

package enclave

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestCrewOrder: items are admitted in the order in which they were put, and
// one whose job takes long holds up no other.
func TestCrewOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var admitted []int
	release := make(chan struct{})
	var done sync.WaitGroup
	c := newCrew(func(n int) func() {
		admitted = append(admitted, n)
		return func() {
			<-release
			done.Done()
		}
	})
	c.start(ctx)
	const items = 300
	done.Add(items)
	for n := range items {
		c.put(n)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		left := len(c.waiting)
		c.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d items are held up", left)
		}
	}
	close(release)
	done.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		followers := c.followers
		c.mu.Unlock()
		if followers >= maxFollowers && followers <= maxFollowers+1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines stay without work", followers)
		}
	}
	cancel()
	c.running.Wait()
	if len(admitted) != items {
		t.Fatalf("%d items admitted, %d wanted", len(admitted), items)
	}
	for n, got := range admitted {
		if got != n {
			t.Fatalf("item %d was admitted in place %d", got, n)
		}
	}
}

// TestCrewStays: goroutines are used again.
func TestCrewStays(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	c := newCrew(func(struct{}) func() { return func() { done <- struct{}{} } })
	c.start(ctx)
	for range 1000 {
		c.put(struct{}{})
		<-done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.followers > 3 {
		t.Errorf("%d goroutines for one request at a time", c.followers)
	}
}

// TestCrewEnd: whatever is put, before the end or after it, is admitted once.
func TestCrewEnd(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		var admitted, served atomic.Int64
		c := newCrew(func(int) func() {
			admitted.Add(1)
			return func() { served.Add(1) }
		})
		c.start(ctx)
		var putting sync.WaitGroup
		for n := range 20 {
			putting.Go(func() { c.put(n) })
		}
		cancel()
		putting.Wait()
		c.running.Wait()
		c.put(0)
		if admitted.Load() != 21 || served.Load() != 21 {
			t.Fatalf("%d admitted, %d served, 21 wanted", admitted.Load(), served.Load())
		}
	}
}
