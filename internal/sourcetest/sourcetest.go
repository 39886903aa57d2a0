// Package sourcetest copies the checkout, for tests that build a changed one. It
// is for tests only.
package sourcetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Copy copies what a release is built from, and the rest of the checkout's
// source, from the checkout's root to a new directory. Test data, modules of
// Node.js and what git keeps stay behind.
func Copy(t *testing.T, root, dir string) {
	t.Helper()
	source := os.DirFS(root)
	copied := 0
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "dist" || d.Name() == "bin" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		copied++
		return os.WriteFile(filepath.Join(dir, name), text, 0o600)
	})
	if err != nil || copied == 0 {
		t.Fatalf("%d files copied, %v", copied, err)
	}
}
