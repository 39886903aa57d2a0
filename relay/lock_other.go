//go:build !unix

package relay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrLocked means that another process has the data directory.
var ErrLocked = errors.New("relay: another process uses the data directory")

// lockData keeps others out of a directory: here a file that is open cannot be removed.
func lockData(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "lock")
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
}
