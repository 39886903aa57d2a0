package audit

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What can be wrong with a log in the light of a head that somebody kept. A
// [*HeadError] wraps one of them.
var (
	// ErrTakenBack: the log is shorter than it was.
	ErrTakenBack = errors.New("the log has fewer entries now")
	// ErrForked: the log's first entries are not those that it had.
	ErrForked = errors.New("the log had other entries then")
	// ErrOtherHead: the head is not signed by the key of this log.
	ErrOtherHead = errors.New("it was not signed by the key of this log")
	// ErrHead: a text that is not a head.
	ErrHead = errors.New("audit: not a head: SIZE:ROOT or a checkpoint wanted")
)

// HeadError says which kept head a log does not fit.
type HeadError struct {
	Size uint64
	Err  error
}

func (e *HeadError) Error() string { return fmt.Sprintf("kept head of %d entries: %v", e.Size, e.Err) }

func (e *HeadError) Unwrap() error { return e.Err }

// Head is a head of a log that somebody kept, to compare the log with it later.
type Head struct {
	Size   uint64
	Root   [32]byte
	signed string // the checkpoint that it was read from; empty if it was not
}

// ParseHead reads a head: "SIZE:ROOT", with the root in base64 as checkpoints
// have it or in base64url without padding as audit.head does; or the text of a
// checkpoint, whose signature is verified together with the log.
func ParseHead(text string) (Head, error) {
	if c, err := parseSigned(text); err == nil && c.Size > 0 {
		return Head{c.Size, c.Root, text}, nil
	}
	digits, root, _ := strings.Cut(text, ":")
	size, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || size == 0 || size > MaxSize || strconv.FormatUint(size, 10) != digits {
		return Head{}, ErrHead
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding.Strict(), base64.RawURLEncoding.Strict()} {
		// The decoder skips line breaks.
		if b, err := encoding.DecodeString(root); err == nil && len(b) == 32 && !strings.ContainsAny(root, "\r\n") {
			return Head{Size: size, Root: [32]byte(b)}, nil
		}
	}
	return Head{}, ErrHead
}

// checkHeads verifies the signatures of those heads that have one.
func checkHeads(heads []Head, key string) error {
	for _, h := range heads {
		if h.signed == "" {
			continue
		}
		if _, err := OpenCheckpoint(h.signed, key); err != nil {
			return &HeadError{h.Size, ErrOtherHead}
		}
	}
	return nil
}

// ascending returns the heads in the order in which the log reaches them.
func ascending(heads []Head) []Head {
	return slices.SortedFunc(slices.Values(heads), func(a, b Head) int { return cmp.Compare(a.Size, b.Size) })
}

// reached compares the heads of the present size; what is left is ahead.
func (c *checker) reached() error {
	for len(c.heads) > 0 && c.heads[0].Size == c.frontier.Size() {
		if c.heads[0].Root != c.frontier.Root() {
			return &HeadError{c.heads[0].Size, ErrForked}
		}
		c.heads = c.heads[1:]
	}
	return nil
}
