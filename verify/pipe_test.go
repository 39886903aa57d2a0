//go:build unix

package verify

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPipe: a file that blocks whoever opens it does not block the check.
func TestPipe(t *testing.T) {
	dir, _ := directory(t)
	r := filepath.Join(dir, "r")
	if err := os.RemoveAll(r); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(r, 0o600); err != nil {
		t.Fatal(err)
	}
	if report := Dir(t.Context(), dir, Options{}); report.Verdict != Different || report.Difference.File != "r" {
		t.Errorf("%+v", report)
	}
}
