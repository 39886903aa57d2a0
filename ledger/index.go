package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// The index is an authenticated map from record names to fingerprints: a
// 16-way trie over SHA-256(name), cut into pages. Its shape depends only on
// what it holds, so equal contents have equal heads:
//
//	leaf    0x00 ‖ count:u8 ‖ count × (key:32 ‖ fingerprint:32), sorted by key
//	branch  0x01 ‖ bitmap:u16 ‖ for each bit set: (entries below:u32 ‖ SHA-256(page):32)
//
// A subtree of at most maxLeaf entries is one leaf; a larger one is a branch on
// the next four bits of the key. Integers are big-endian. Every page but the top
// one is stored under the hex digits that lead to it; the top page is part of
// the sealed root record, and with it authenticates all the others.
const (
	maxLeaf   = 16
	tagLeaf   = 0
	tagBranch = 1
	hashSize  = sha256.Size
)

type hash = [hashSize]byte

type indexEntry struct {
	key         hash
	fingerprint hash
}

// page is one immutable node. It is a branch if children is not nil.
type page struct {
	entries  []indexEntry // of a leaf
	children *[16]child   // of a branch
	stored   bool         // the store holds this page as it is
}

// child is an edge of a branch. A child with no entries is absent.
type child struct {
	count int
	hash  hash  // of the encoded page; only valid if the page is stored or encoded
	page  *page // nil until loaded
}

// pageLoader returns the stored bytes of the page at prefix.
type pageLoader func(ctx context.Context, prefix string) ([]byte, error)

// index is a value: set returns a changed copy and leaves the old one usable.
type index struct {
	top     *page
	load    pageLoader
	removed []string // prefixes of pages that set made obsolete
}

// maxDepth is how many branches can lie above each other: a nibble of the key for each. Pages
// that were forged can claim more.
const maxDepth = 2 * len(hash{})

var errDeep = &IntegrityError{What: "index: deeper than any key"}

func newIndex(load pageLoader) index { return index{top: &page{}, load: load} }

// get returns the fingerprint stored under key.
func (x *index) get(ctx context.Context, key hash) (fingerprint hash, found bool, err error) {
	p, depth := x.top, 0
	for p.children != nil {
		if depth == maxDepth {
			return hash{}, false, errDeep
		}
		c := &p.children[nibble(key, depth)]
		if c.count == 0 {
			return hash{}, false, nil
		}
		depth++
		if p, err = x.open(ctx, c, prefixOf(key, depth)); err != nil {
			return hash{}, false, err
		}
	}
	i, found := slices.BinarySearchFunc(p.entries, key, compareKey)
	if !found {
		return hash{}, false, nil
	}
	return p.entries[i].fingerprint, true, nil
}

// set stores a fingerprint under key, or removes the key if fingerprint is nil.
func (x *index) set(ctx context.Context, key hash, fingerprint *hash) error {
	top, err := x.update(ctx, x.top, key, fingerprint, 0)
	if err == nil {
		x.top = top
	}
	return err
}

// count returns how many entries the index holds.
func (x *index) count() int { return x.top.count() }

func (p *page) count() int {
	n := len(p.entries)
	if p.children != nil {
		for i := range p.children {
			n += p.children[i].count
		}
	}
	return n
}

func (x *index) update(ctx context.Context, p *page, key hash, fp *hash, depth int) (*page, error) {
	if p.children == nil {
		return updateLeaf(p, key, fp, depth), nil
	}
	if depth == maxDepth {
		return nil, errDeep
	}
	at := nibble(key, depth)
	c := p.children[at]
	below := &page{}
	if c.count > 0 {
		var err error
		if below, err = x.open(ctx, &p.children[at], prefixOf(key, depth+1)); err != nil {
			return nil, err
		}
	}
	changed, err := x.update(ctx, below, key, fp, depth+1)
	if err != nil || changed == below {
		return p, err
	}
	children := *p.children
	children[at] = child{count: changed.count(), page: changed}
	if children[at].count == 0 {
		x.removed = append(x.removed, prefixOf(key, depth+1))
	}
	branch := &page{children: &children}
	if branch.count() > maxLeaf {
		return branch, nil
	}
	return x.collapse(ctx, branch, key, depth)
}

// collapse turns a branch that has become small into a leaf.
func (x *index) collapse(ctx context.Context, p *page, key hash, depth int) (*page, error) {
	leaf := &page{}
	for i := range p.children {
		if p.children[i].count == 0 {
			continue
		}
		prefix := prefixOf(key, depth) + hexDigits[i:i+1]
		below, err := x.open(ctx, &p.children[i], prefix)
		if err != nil {
			return nil, err
		}
		// A child of a collapsing branch has at most maxLeaf entries, so it is a leaf.
		leaf.entries = append(leaf.entries, below.entries...)
		x.removed = append(x.removed, prefix)
	}
	return leaf, nil
}

func updateLeaf(p *page, key hash, fp *hash, depth int) *page {
	i, found := slices.BinarySearchFunc(p.entries, key, compareKey)
	switch {
	case fp == nil && !found:
		return p
	case fp == nil:
		return &page{entries: slices.Delete(slices.Clone(p.entries), i, i+1)}
	case found:
		entries := slices.Clone(p.entries)
		entries[i].fingerprint = *fp
		return &page{entries: entries}
	}
	entries := slices.Insert(slices.Clone(p.entries), i, indexEntry{key, *fp})
	return split(entries, depth)
}

// split builds the subtree of sorted entries that share depth digits.
func split(entries []indexEntry, depth int) *page {
	if len(entries) <= maxLeaf {
		return &page{entries: entries}
	}
	var children [16]child
	for start := 0; start < len(entries); {
		at := nibble(entries[start].key, depth)
		end := start
		for end < len(entries) && nibble(entries[end].key, depth) == at {
			end++
		}
		below := split(slices.Clone(entries[start:end]), depth+1)
		children[at] = child{count: end - start, page: below}
		start = end
	}
	return &page{children: &children}
}

// open returns the page behind an edge, loading and checking it if need be.
func (x *index) open(ctx context.Context, c *child, prefix string) (*page, error) {
	if c.page != nil {
		return c.page, nil
	}
	encoded, err := x.load(ctx, prefix)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(encoded) != c.hash {
		return nil, &IntegrityError{What: "index page " + prefix}
	}
	p, err := parsePage(encoded)
	if err != nil || p.count() != c.count {
		return nil, &IntegrityError{What: "index page " + prefix}
	}
	p.stored = true
	c.page = p
	return p, nil
}

// encodePages returns the encoding of p, and calls emit for every page below it
// that is not stored yet. Afterwards all edges carry their hashes.
func encodePages(p *page, prefix string, emit func(prefix string, encoded []byte)) []byte {
	if p.children == nil {
		return appendLeaf(nil, p.entries)
	}
	for i := range p.children {
		c := &p.children[i]
		if c.page == nil || c.page.stored || c.count == 0 {
			continue
		}
		below := prefix + hexDigits[i:i+1]
		encoded := encodePages(c.page, below, emit)
		c.hash = sha256.Sum256(encoded)
		emit(below, encoded)
	}
	return appendBranch(nil, p.children)
}

// markStored records that the store now holds every page.
func markStored(p *page) {
	if p.stored {
		return
	}
	p.stored = true
	if p.children != nil {
		for i := range p.children {
			if below := p.children[i].page; below != nil {
				markStored(below)
			}
		}
	}
}

// adopt lets a freshly parsed top page reuse pages of an older index whose
// hashes still hold.
func adopt(fresh, old *page) {
	if fresh.children == nil || old.children == nil {
		return
	}
	for i := range fresh.children {
		f, o := &fresh.children[i], &old.children[i]
		if f.page == nil && o.page != nil && o.page.stored && f.count > 0 && f.hash == o.hash {
			f.page = o.page
		}
	}
}

func appendLeaf(b []byte, entries []indexEntry) []byte {
	b = append(b, tagLeaf, byte(len(entries)))
	for i := range entries {
		b = append(b, entries[i].key[:]...)
		b = append(b, entries[i].fingerprint[:]...)
	}
	return b
}

func appendBranch(b []byte, children *[16]child) []byte {
	var bitmap uint16
	for i := range children {
		if children[i].count > 0 {
			bitmap |= 1 << i
		}
	}
	b = binary.BigEndian.AppendUint16(append(b, tagBranch), bitmap)
	for i := range children {
		if children[i].count > 0 {
			b = binary.BigEndian.AppendUint32(b, uint32(children[i].count))
			b = append(b, children[i].hash[:]...)
		}
	}
	return b
}

// parsePage accepts exactly what appendLeaf and appendBranch produce.
func parsePage(b []byte) (*page, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("index page: %d bytes, at least 2 wanted", len(b))
	}
	switch b[0] {
	case tagLeaf:
		return parseLeaf(b[1], b[2:])
	case tagBranch:
		return parseBranch(b[1:])
	}
	return nil, fmt.Errorf("index page: tag %d, 0 or 1 wanted", b[0])
}

func parseLeaf(count byte, b []byte) (*page, error) {
	if count > maxLeaf || len(b) != int(count)*2*hashSize {
		return nil, fmt.Errorf("index leaf: %d bytes for %d entries", len(b), count)
	}
	p := &page{entries: make([]indexEntry, count)}
	for i := range p.entries {
		e := &p.entries[i]
		copy(e.key[:], b)
		copy(e.fingerprint[:], b[hashSize:])
		b = b[2*hashSize:]
		if i > 0 && bytes.Compare(p.entries[i-1].key[:], e.key[:]) >= 0 {
			return nil, fmt.Errorf("index leaf: entry %d out of order", i)
		}
	}
	return p, nil
}

func parseBranch(b []byte) (*page, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("index branch: %d bytes, at least 2 wanted", len(b))
	}
	bitmap, b := binary.BigEndian.Uint16(b), b[2:]
	var children [16]child
	total := uint64(0)
	for i := range children {
		if bitmap&(1<<i) == 0 {
			continue
		}
		if len(b) < 4+hashSize {
			return nil, fmt.Errorf("index branch: truncated at child %d", i)
		}
		count := binary.BigEndian.Uint32(b)
		if count == 0 || count > 1<<30 {
			return nil, fmt.Errorf("index branch: child %d with %d entries", i, count)
		}
		children[i] = child{count: int(count), hash: hash(b[4 : 4+hashSize])}
		total += uint64(count)
		b = b[4+hashSize:]
	}
	if len(b) != 0 || total <= maxLeaf {
		return nil, fmt.Errorf("index branch: %d entries, %d bytes left over", total, len(b))
	}
	return &page{children: &children}, nil
}

const hexDigits = "0123456789abcdef"

func nibble(key hash, depth int) int {
	b := key[depth/2]
	if depth%2 == 0 {
		return int(b >> 4)
	}
	return int(b & 15)
}

func prefixOf(key hash, depth int) string {
	b := make([]byte, depth)
	for i := range b {
		b[i] = hexDigits[nibble(key, i)]
	}
	return string(b)
}

func compareKey(e indexEntry, key hash) int { return bytes.Compare(e.key[:], key[:]) }
