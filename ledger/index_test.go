package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/kms-enclave/kms-enclave/store"
)

// pages is a store of index pages for tests.
type pages map[string][]byte

func (p pages) load(_ context.Context, prefix string) ([]byte, error) {
	if encoded, ok := p[prefix]; ok {
		return encoded, nil
	}
	return nil, errors.New("no page at " + prefix)
}

// flush does what a commit does to the index, and returns the top page.
func (p pages) flush(x *index) []byte {
	kept := map[string]bool{}
	top := encodePages(x.top, "", func(prefix string, encoded []byte) {
		p[prefix] = encoded
		kept[prefix] = true
	})
	for _, prefix := range x.removed {
		if !kept[prefix] {
			delete(p, prefix)
		}
	}
	markStored(x.top)
	x.removed = nil
	return top
}

func keyOf(n int) hash { return sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(n))) }

// TestIndexAgainstMap runs random changes on the index and on a map, with
// reloads in between, and compares.
func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		disk, model := pages{}, map[int]hash{}
		x := newIndex(disk.load)
		for step := range 60 {
			for range rng.IntN(40) {
				n := rng.IntN(600)
				if rng.IntN(3) == 0 {
					delete(model, n)
					must(t, x.set(t.Context(), keyOf(n), nil))
					continue
				}
				model[n] = hash{byte(rng.IntN(256)), byte(step)}
				fp := model[n]
				must(t, x.set(t.Context(), keyOf(n), &fp))
			}
			top := disk.flush(&x)
			if rng.IntN(4) == 0 { // another tab
				parsed, err := parsePage(top)
				must(t, err)
				x = index{top: parsed, load: disk.load}
			}
			compare(t, &x, model)
			if want := canonical(t, model); !bytes.Equal(top, want) {
				t.Fatalf("seed %d, step %d: the head depends on history", seed, step)
			}
		}
		checkNoGarbage(t, &x, disk)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, x *index, model map[int]hash) {
	t.Helper()
	if x.count() != len(model) {
		t.Fatalf("%d entries, %d wanted", x.count(), len(model))
	}
	for n := range 600 {
		fp, found, err := x.get(t.Context(), keyOf(n))
		want, wanted := model[n]
		if err != nil || found != wanted || fp != want {
			t.Fatalf("entry %d: %x %t %v, %x %t wanted", n, fp, found, err, want, wanted)
		}
	}
}

// canonical builds the same contents in order of insertion and returns the top page.
func canonical(t *testing.T, model map[int]hash) []byte {
	disk := pages{}
	x := newIndex(disk.load)
	for n, fp := range model {
		must(t, x.set(t.Context(), keyOf(n), &fp))
	}
	return disk.flush(&x)
}

// checkNoGarbage makes sure that removed pages are gone: what is stored is
// exactly what can be reached.
func checkNoGarbage(t *testing.T, x *index, disk pages) {
	t.Helper()
	reached := 0
	var walk func(p *page, prefix string)
	walk = func(p *page, prefix string) {
		if p.children == nil {
			return
		}
		for i := range p.children {
			if c := &p.children[i]; c.count > 0 {
				below := prefix + hexDigits[i:i+1]
				opened, err := x.open(t.Context(), c, below)
				must(t, err)
				reached++
				walk(opened, below)
			}
		}
	}
	walk(x.top, "")
	if reached != len(disk) {
		t.Errorf("%d pages stored, %d reached", len(disk), reached)
	}
}

// TestIndexPageTampered: a page that is not what its parent says is refused.
func TestIndexPageTampered(t *testing.T) {
	disk := pages{}
	x := newIndex(disk.load)
	for n := range 200 {
		fp := hash{1}
		must(t, x.set(t.Context(), keyOf(n), &fp))
	}
	top := disk.flush(&x)
	if len(disk) < 10 {
		t.Fatalf("%d pages: nothing to tamper with", len(disk))
	}
	for prefix, encoded := range disk {
		disk[prefix] = append(bytes.Clone(encoded[:len(encoded)-1]), encoded[len(encoded)-1]^1)
		parsed, err := parsePage(top)
		must(t, err)
		fresh := index{top: parsed, load: disk.load}
		failed := false
		for n := range 200 {
			if _, _, err := fresh.get(t.Context(), keyOf(n)); err != nil {
				if _, ok := errors.AsType[*IntegrityError](err); !ok {
					t.Fatal(err)
				}
				failed = true
			}
		}
		if !failed {
			t.Errorf("page %s: nobody noticed", prefix)
		}
		disk[prefix] = encoded
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte{tagLeaf, 0})
	f.Add(appendLeaf(nil, []indexEntry{{hash{1}, hash{2}}, {hash{3}, hash{4}}}))
	branch := [16]child{2: {count: 20, hash: hash{5}}, 9: {count: 1, hash: hash{6}}}
	f.Add(appendBranch(nil, &branch))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			return
		}
		if again := encodePages(p, "", func(string, []byte) { t.Fatal("emitted a page that was not loaded") }); !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x", b, again)
		}
	})
}

func FuzzRoot(f *testing.F) {
	f.Add(appendRoot(nil, &root{commit: 3, time: 4, allowance: 5, refilled: 6}, appendLeaf(nil, nil)))
	full := &root{commit: 3, time: 4, tail: [][]byte{[]byte("leaf"), []byte("another")}}
	full.frontier.Append([32]byte{1})
	full.frontier.Append([32]byte{2})
	full.frontier.Append([32]byte{3})
	full.riders = []rider{{name: store.Name{Kind: "use", ID: "a"}, plain: []byte{1}}, {name: store.Name{Kind: "use", ID: "b"}, plain: []byte{2}}}
	f.Add(appendRoot(nil, full, appendLeaf(nil, []indexEntry{{hash{1}, hash{2}}})))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRoot(b)
		if err != nil {
			return
		}
		top := encodePages(r.top, "", func(string, []byte) { t.Fatal("emitted a page that was not loaded") })
		if again := appendRoot(nil, r, top); !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x", b, again)
		}
	})
}

// TestIndexDeep: branches that lie deeper above each other than a key has digits are damage, not a panic.
func TestIndexDeep(t *testing.T) {
	bottom := &page{}
	for range 2 * maxDepth {
		children := [16]child{}
		for i := range children {
			children[i] = child{count: maxLeaf + 1, page: bottom}
		}
		bottom = &page{children: &children}
	}
	x := newIndex(pages{}.load)
	x.top = bottom
	key := indexKey(store.Name{Kind: "key", ID: "a"})
	if _, _, err := x.get(t.Context(), key); err != errDeep {
		t.Errorf("get: %v", err)
	}
	for _, fp := range []*hash{nil, {1}} {
		if err := x.set(t.Context(), key, fp); err != errDeep {
			t.Errorf("set: %v", err)
		}
	}
}
