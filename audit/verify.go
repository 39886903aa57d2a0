package audit

import (
	"errors"
	"fmt"
	"iter"
)

// What can be wrong with one entry. An [*EntryError] wraps one of them, or
// ErrNotCanonical.
var (
	ErrSequence = errors.New("wrong sequence number")
	ErrTime     = errors.New("earlier than the entry before it")
	ErrLeafHash = errors.New("does not have the hash that was recorded for it")
	ErrMissing  = errors.New("missing")
	ErrExtra    = errors.New("beyond the size that the head says")
)

// What can be wrong with a log as a whole.
var (
	// ErrRoot: every entry is well-formed and in its place, but together they
	// are not those that the head was computed from.
	ErrRoot = errors.New("audit: the entries do not have the head that was recorded for them")
	// ErrEmpty: there is nothing to verify. A log is never empty: making a vault
	// is its first entry.
	ErrEmpty = errors.New("audit: the log is empty")
)

// EntryError names the first bad entry of a log.
type EntryError struct {
	Seq uint64 // the sequence number that the entry should have
	Err error
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %d: %v", e.Seq, e.Err) }

func (e *EntryError) Unwrap() error { return e.Err }

// Verify checks that entries are exactly the log of this size and root: each
// one canonical, in its place, no earlier than the one before it. It returns an
// [*EntryError], ErrRoot, ErrEmpty, or the error that entries yielded.
func Verify(entries iter.Seq2[[]byte, error], size uint64, root [32]byte) error {
	c := checker{size: size}
	for entry, err := range entries {
		if err != nil {
			return err
		}
		if err := c.add(entry, LeafHash(entry)); err != nil {
			return err
		}
	}
	return c.finish(root)
}

// checker walks a log from its first entry to its last.
type checker struct {
	size     uint64 // that the head says
	frontier Frontier
	heads    []Head // kept ones that were not reached yet, in ascending order
	first    int64  // time of the first entry
	last     int64  // time of the newest entry
}

// add checks the next entry, which hashes to leaf.
func (c *checker) add(entry []byte, leaf [32]byte) error {
	seq := c.frontier.Size()
	e, err := ParseEntry(entry)
	switch {
	case err != nil:
		return &EntryError{seq, err}
	case seq >= c.size:
		return &EntryError{seq, ErrExtra}
	case e.Seq != seq:
		return &EntryError{seq, fmt.Errorf("%w: got %d", ErrSequence, e.Seq)}
	case seq > 0 && e.Time < c.last:
		return &EntryError{seq, fmt.Errorf("%w: %d after %d", ErrTime, e.Time, c.last)}
	case seq == 0:
		c.first = e.Time
	}
	c.last = e.Time
	c.frontier.Append(leaf)
	return nil
}

// finish checks that nothing is missing and that the head is the one wanted.
func (c *checker) finish(root [32]byte) error {
	if c.size == 0 {
		return ErrEmpty
	}
	if seen := c.frontier.Size(); seen < c.size {
		return &EntryError{seen, ErrMissing}
	}
	if c.frontier.Root() != root {
		return ErrRoot
	}
	if len(c.heads) > 0 {
		return &HeadError{c.heads[0].Size, ErrTakenBack}
	}
	return nil
}
