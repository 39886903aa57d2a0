//go:build !kmstest

package vectors

import "testing"

// TestNeedsTag keeps a run without the tag from passing by testing nothing.
func TestNeedsTag(t *testing.T) {
	t.Fatal("build tag is missing, wanted go test -tags kmstest")
}
