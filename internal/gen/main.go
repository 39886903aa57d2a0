// Command gen writes what is derived from the contract (package api) and the
// policy table (package enclave):
//
//	sdk/types.d.ts     the SDK's types
//	sdk/methods.js     what the SDK needs to know about each method
//	docs/protocol.md   the table of methods, between its markers
//
// Run it from the repository's root: go generate ./...
// A test regenerates everything and compares.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen: error:", err)
		os.Exit(1)
	}
}

// output is one generated file.
type output struct {
	path string
	text []byte
}

func write(root string) error {
	outputs, err := generate(root)
	if err != nil {
		return err
	}
	for _, o := range outputs {
		if err := os.WriteFile(filepath.Join(root, o.path), o.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func generate(root string) ([]output, error) {
	docs, err := readComments(filepath.Join(root, "api"))
	if err != nil {
		return nil, err
	}
	protocol, err := withMethodTable(filepath.Join(root, "docs", "protocol.md"))
	if err != nil {
		return nil, err
	}
	return []output{
		{"sdk/types.d.ts", types(docs)},
		{"sdk/methods.js", methods()},
		{"docs/protocol.md", protocol},
	}, nil
}
