package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// The committed icons are the ones that this program draws. Pictures are
// compared, not files: a later encoder may compress better.
func TestCommittedIconsAreCurrent(t *testing.T) {
	files, err := draw()
	if err != nil {
		t.Fatal(err)
	}
	directory := filepath.Join("..", "..", "static", "icons")
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(files) {
		t.Errorf("%s has %d files, wanted %d", directory, len(entries), len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) && !samePicture(got, want) {
			t.Errorf("%s is out of date: run go generate ./demo", name)
		}
	}
}

func samePicture(a, b []byte) bool {
	first, errFirst := png.Decode(bytes.NewReader(a))
	second, errSecond := png.Decode(bytes.NewReader(b))
	if errFirst != nil || errSecond != nil || first.Bounds() != second.Bounds() {
		return false
	}
	pixels := func(m image.Image) []byte {
		n, ok := m.(*image.NRGBA)
		if !ok {
			return nil
		}
		return n.Pix
	}
	return pixels(first) != nil && bytes.Equal(pixels(first), pixels(second))
}
