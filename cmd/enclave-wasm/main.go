//go:build js && wasm

// Command enclave-wasm is the program of the enclave's worker. It only wires;
// see package host.
package main

import (
	"context"
	"os"

	"github.com/kms-enclave/kms-enclave/internal/host"
)

func main() {
	if err := host.Run(context.Background()); err != nil {
		os.Stderr.WriteString(err.Error() + "\n") // the browser's console
		os.Exit(1)
	}
}
