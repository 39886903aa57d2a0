package relay

import (
	"context"
	"sync"
	"time"
)

// space watches how full the storage is. Messages are refused while something is left, because receipts, stashes and erasure need
// to write as well: what is full to the brim could never be emptied.
type space struct {
	store *store
	limit uint64

	mu      sync.Mutex
	looked  time.Time
	used    uint64 // as of then, and what was written since
	pending uint64 // was let in, and is not written yet
}

const (
	lookEvery  = 250 * time.Millisecond
	recordSize = 1 << 10 // bytes, beside the body; rather too many than too few
)

func newSpace(s *store, maxStore int64) *space {
	return &space{store: s, limit: uint64(maxStore / 10 * 9)}
}

// take reports whether there is room for one more message, and keeps it until give.
func (s *space) take(ctx context.Context, body int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) >= lookEvery {
		s.looked = time.Now()
		if bytes, err := s.store.bytes(ctx); err == nil {
			s.used = bytes
		}
	}
	size := uint64(body + recordSize)
	if s.used+s.pending+size > s.limit {
		return false
	}
	s.pending += size
	return true
}

// give says that a message for which room was taken is written, or will not be.
func (s *space) give(body int, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := uint64(body + recordSize)
	s.pending -= size
	if written {
		s.used += size
	}
}
