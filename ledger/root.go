package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/store"
)

// root is what the root record says when it is opened. Encoded:
//
//	version:u8=1 ‖ commit:u64 ‖ time:i64 ‖ allowance:u32 ‖ refilled:i64
//	‖ len:u16 ‖ frontier
//	‖ len:u16 ‖ tail (a batch, see package audit; no bytes if there is none)
//	‖ len:u16 ‖ top page of the index
//	‖ count:u8 ‖ count × (len:u8 ‖ kind ‖ len:u8 ‖ id ‖ len:u16 ‖ bytes), in order of name
//
// Integers are big-endian. The last row holds the records that ride along, see
// rider.
type root struct {
	commit    uint64         // commits so far, the first one included
	time      int64          // the largest time seen, seconds; the log never runs backwards
	allowance uint32         // audited operations that may still happen now
	refilled  int64          // when the allowance was last refilled, seconds
	frontier  audit.Frontier // of the log: size and right edge
	tail      [][]byte       // the newest leaves, not yet in a log record
	top       *page          // of the index
	riders    []rider        // in order of name
}

const (
	rootVersion    = 1
	rootHeaderSize = 1 + 8 + 8 + 4 + 8
)

// size returns the number of leaves in the log.
func (r *root) size() uint64 { return r.frontier.Size() }

// flushed returns how many leaves lie in log records; the others are the tail.
func (r *root) flushed() uint64 { return r.size() - uint64(len(r.tail)) }

func appendRoot(b []byte, r *root, topPage []byte) []byte {
	b = append(b, rootVersion)
	b = binary.BigEndian.AppendUint64(b, r.commit)
	b = binary.BigEndian.AppendUint64(b, uint64(r.time))
	b = binary.BigEndian.AppendUint32(b, r.allowance)
	b = binary.BigEndian.AppendUint64(b, uint64(r.refilled))
	b = appendPrefixed(b, r.frontier.AppendBinary(nil))
	var tail []byte
	if len(r.tail) > 0 {
		tail = audit.EncodeBatch(r.tail)
	}
	b = appendPrefixed(b, tail)
	b = appendPrefixed(b, topPage)
	b = append(b, byte(len(r.riders)))
	for i := range r.riders {
		n := &r.riders[i]
		b = append(append(b, byte(len(n.name.Kind))), n.name.Kind...)
		b = append(append(b, byte(len(n.name.ID))), n.name.ID...)
		b = appendPrefixed(b, n.plain)
	}
	return b
}

// parseRoot accepts exactly what appendRoot produces.
func parseRoot(b []byte) (*root, error) {
	if len(b) < rootHeaderSize {
		return nil, fmt.Errorf("%d bytes, at least %d wanted", len(b), rootHeaderSize)
	}
	if b[0] != rootVersion {
		return nil, fmt.Errorf("version %d, %d wanted", b[0], rootVersion)
	}
	r := &root{
		commit:    binary.BigEndian.Uint64(b[1:]),
		time:      int64(binary.BigEndian.Uint64(b[9:])),
		allowance: binary.BigEndian.Uint32(b[17:]),
		refilled:  int64(binary.BigEndian.Uint64(b[21:])),
	}
	frontier, b, err := cutPrefixed(b[rootHeaderSize:])
	if err != nil {
		return nil, err
	}
	if r.frontier, err = audit.ParseFrontier(frontier); err != nil {
		return nil, err
	}
	tail, b, err := cutPrefixed(b)
	if err != nil {
		return nil, err
	}
	if err := r.parseTail(tail); err != nil {
		return nil, err
	}
	top, b, err := cutPrefixed(b)
	if err != nil {
		return nil, err
	}
	if r.top, err = parsePage(top); err != nil {
		return nil, err
	}
	return r, r.parseRiders(b)
}

func (r *root) parseTail(b []byte) (err error) {
	if len(b) == 0 {
		return nil
	}
	if r.tail, err = audit.ParseBatch(b); err == nil && uint64(len(r.tail)) > r.size() {
		err = fmt.Errorf("tail of %d leaves in a log of %d", len(r.tail), r.size())
	}
	return err
}

func (r *root) parseRiders(b []byte) error {
	if len(b) == 0 {
		return errTruncated
	}
	count, b := int(b[0]), b[1:]
	for i := range count {
		var n rider
		var err error
		if n.name.Kind, b, err = cutText(b); err != nil {
			return err
		}
		if n.name.ID, b, err = cutText(b); err != nil {
			return err
		}
		if n.plain, b, err = cutPrefixed(b); err != nil {
			return err
		}
		if i > 0 && compareName(r.riders[i-1].name, n.name) >= 0 {
			return fmt.Errorf("record %d that rides along is out of order", i)
		}
		r.riders = append(r.riders, n)
	}
	if len(b) != 0 {
		return fmt.Errorf("%d bytes left over", len(b))
	}
	return nil
}

// rider is a record that rides along: it is kept in the root record instead of
// under its own name, and while it is, nothing that is stored, or that the index
// says, under its name counts.
//
// Small records that change again and again ride along, so that using a key
// writes one record. They must be of kinds that are sealed under the same key as
// the root (see Sealer).
type rider struct {
	name  store.Name
	plain []byte
	age   uint64 // commit that wrote it, as far as this tab knows
}

func findRider(riders []rider, name store.Name) (at int, found bool) {
	return slices.BinarySearchFunc(riders, name, func(r rider, name store.Name) int { return compareName(r.name, name) })
}

var errTruncated = errors.New("truncated")

func appendPrefixed(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

func cutPrefixed(b []byte) (field, rest []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errTruncated
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n:n], b[n:], nil
}

func cutText(b []byte) (text string, rest []byte, err error) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, errTruncated
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}
