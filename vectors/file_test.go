//go:build kmstest

package vectors

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
)

// The five files that are used, out of a module of 107 MB: a test binary for a
// browser cannot carry them all. TestCopies keeps them as they are in the module.
//
//go:embed testdata/*.json
var copies embed.FS

// hexBytes is a byte string of a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// result is what a vector expects of an implementation.
type result string

const (
	valid      result = "valid"
	invalid    result = "invalid"
	acceptable result = "acceptable" // up to the implementation
)

// head is what every vector has.
type head struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Result  result   `json:"result"`
}

func (h head) String() string { return fmt.Sprintf("vector %d (%s, %q)", h.ID, h.Result, h.Comment) }

// file is a vector file with groups of type G.
type file[G any] struct {
	Tests  int `json:"numberOfTests"`
	Groups []G `json:"testGroups"`
}

// run reads a file and calls each for every group; each returns how many of
// the group's vectors it ran. A count that is not wanted fails: vectors that
// quietly disappear would pass.
func run[G any](t *testing.T, name string, wanted int, each func(t *testing.T, group G) int) {
	data, err := copies.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var f file[G]
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	ran := 0
	for _, group := range f.Groups {
		ran += each(t, group)
	}
	t.Logf("%s: %d of %d vectors ran", name, ran, f.Tests)
	if ran == 0 || ran != wanted {
		t.Errorf("%s: %d vectors ran, wanted %d", name, ran, wanted)
	}
}
