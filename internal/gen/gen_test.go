package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave"
)

// TestUpToDate regenerates everything and compares with what is committed.
func TestUpToDate(t *testing.T) {
	const root = "../.."
	outputs, err := generate(root)
	if err != nil || len(outputs) == 0 {
		t.Fatalf("%d files: %v", len(outputs), err)
	}
	for _, o := range outputs {
		committed, err := os.ReadFile(filepath.Join(root, o.path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(committed, o.text) {
			t.Errorf("%s is out of date: run go generate ./...", o.path)
		}
	}
}

// TestContractMatchesPolicy holds the contract and the policy table together.
func TestContractMatchesPolicy(t *testing.T) {
	if len(api.Methods) == 0 || len(api.Methods) != len(enclave.Policy) {
		t.Fatalf("%d methods, %d rows", len(api.Methods), len(enclave.Policy))
	}
	for i, row := range enclave.Policy {
		if m := api.Methods[i]; m.Name != row.Method || reflect.TypeOf(m.Params) != row.Params() {
			t.Errorf("row %d is %s with %v, the contract says %s with %T", i, row.Method, row.Params(), m.Name, m.Params)
		}
	}
}
