package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Frontier is what must be known of a tree to append to it and to compute its
// head: the heads of the complete subtrees that its size is the sum of, one per
// bit set in the size, from the largest (leftmost) to the smallest.
//
// The zero value is the empty tree. A Frontier is a value: appending to a copy
// leaves the original as it was.
type Frontier struct {
	size uint64
	edge []tlog.Hash
}

// Size returns how many leaves the tree has.
func (f *Frontier) Size() uint64 { return f.size }

// Append adds a leaf. It takes as many hashes as there are trailing ones in the
// size: one on average, and never more than log2 of the size.
func (f *Frontier) Append(leaf [32]byte) {
	node := tlog.Hash(leaf)
	merged := bits.TrailingZeros64(f.size + 1)
	kept := len(f.edge) - merged
	for _, left := range slices.Backward(f.edge[kept:]) {
		node = tlog.NodeHash(left, node)
	}
	// Clipped, so that append never writes into what a copy shares.
	f.edge = append(slices.Clip(f.edge[:kept]), node)
	f.size++
}

// Root returns the head: the Merkle Tree Hash of RFC 6962 section 2.1.
func (f *Frontier) Root() [32]byte {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	last := len(f.edge) - 1
	node := f.edge[last]
	for _, left := range slices.Backward(f.edge[:last]) {
		node = tlog.NodeHash(left, node)
	}
	return node
}

// AppendBinary appends size:u64 ‖ edge to b.
func (f *Frontier) AppendBinary(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, f.size)
	for i := range f.edge {
		b = append(b, f.edge[i][:]...)
	}
	return b
}

// ParseFrontier accepts exactly what AppendBinary produces.
func ParseFrontier(b []byte) (Frontier, error) {
	if len(b) < 8 {
		return Frontier{}, fmt.Errorf("audit frontier: %d bytes, at least 8 wanted", len(b))
	}
	f := Frontier{size: binary.BigEndian.Uint64(b)}
	if f.size > MaxSize {
		return Frontier{}, fmt.Errorf("audit frontier: size %d, at most %d wanted", f.size, uint64(MaxSize))
	}
	edge := b[8:]
	if want := bits.OnesCount64(f.size) * tlog.HashSize; len(edge) != want {
		return Frontier{}, fmt.Errorf("audit frontier: %d bytes of hashes for size %d, %d wanted", len(edge), f.size, want)
	}
	for hash := range slices.Chunk(edge, tlog.HashSize) {
		f.edge = append(f.edge, tlog.Hash(hash))
	}
	return f, nil
}
