//go:build kmstest && !js

package vectors

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
)

// TestCopies compares the files in testdata with those of the pinned module.
func TestCopies(t *testing.T) {
	entries, err := copies.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 5 {
		t.Errorf("%d files, wanted 5", len(entries))
	}
	for _, entry := range entries {
		got, err := copies.ReadFile("testdata/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := fs.ReadFile(wycheproof.TestVectors, entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, wanted) {
			t.Errorf("testdata/%s differs from the module's, wanted a copy", entry.Name())
		}
	}
}
