package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kms-enclave/kms-enclave/audit"
)

// root is what the root record says when it is opened. Encoded:
//
//	version:u8=1 ‖ commit:u64 ‖ time:i64 ‖ allowance:u32 ‖ refilled:i64
//	‖ len:u16 ‖ frontier ‖ len:u16 ‖ top page of the index
//
// Integers are big-endian.
type root struct {
	commit    uint64         // commits so far, the first one included
	time      int64          // the largest time seen, seconds; the log never runs backwards
	allowance uint32         // audited operations that may still happen now
	refilled  int64          // when the allowance was last refilled, seconds
	frontier  audit.Frontier // of the log: size and right edge
	top       *page          // of the index
}

const (
	rootVersion    = 1
	rootHeaderSize = 1 + 8 + 8 + 4 + 8
)

func appendRoot(b []byte, r *root, topPage []byte) []byte {
	b = append(b, rootVersion)
	b = binary.BigEndian.AppendUint64(b, r.commit)
	b = binary.BigEndian.AppendUint64(b, uint64(r.time))
	b = binary.BigEndian.AppendUint32(b, r.allowance)
	b = binary.BigEndian.AppendUint64(b, uint64(r.refilled))
	frontier := r.frontier.AppendBinary(nil)
	b = binary.BigEndian.AppendUint16(b, uint16(len(frontier)))
	b = append(b, frontier...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topPage)))
	return append(b, topPage...)
}

// parseRoot accepts exactly what appendRoot produces.
func parseRoot(b []byte) (*root, error) {
	if len(b) < rootHeaderSize {
		return nil, fmt.Errorf("root record: %d bytes, at least %d wanted", len(b), rootHeaderSize)
	}
	if b[0] != rootVersion {
		return nil, fmt.Errorf("root record: version %d, %d wanted", b[0], rootVersion)
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
	top, b, err := cutPrefixed(b)
	if err != nil {
		return nil, err
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("root record: %d bytes left over", len(b))
	}
	r.top, err = parsePage(top)
	return r, err
}

func cutPrefixed(b []byte) (field, rest []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errors.New("root record: truncated")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}
