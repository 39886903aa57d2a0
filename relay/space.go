package relay

import (
	"context"
	"sync"
	"time"
)

// space watches how full the storage is. Messages are refused while something is left, because receipts, stashes and erasure need
// to write as well.
type space struct {
	store *store
	limit uint64

	mu     sync.Mutex
	looked time.Time
	isFull bool
}

const lookEvery = 250 * time.Millisecond

func newSpace(s *store, maxStore int64) *space {
	return &space{store: s, limit: uint64(maxStore / 10 * 9)}
}

// full reports whether there is no room for messages.
func (s *space) full(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < lookEvery {
		return s.isFull
	}
	s.looked = time.Now()
	if bytes, err := s.store.bytes(ctx); err == nil {
		s.isFull = bytes > s.limit
	}
	return s.isFull
}
