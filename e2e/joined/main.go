// Command joined writes the dialogs to a file as they stand in every loader, for the
// suite that shows them without an enclave.
package main

import (
	"fmt"
	"os"

	"github.com/kms-enclave/kms-enclave/release"
	"github.com/kms-enclave/kms-enclave/web"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "joined:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("got %d arguments, wanted the name of a file", len(args))
	}
	text, err := release.Screens(web.Files)
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], []byte(text), 0o600)
}
