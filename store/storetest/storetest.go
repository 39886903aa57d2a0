// Package storetest holds what every implementation of store.Store must do. It
// runs in ordinary tests on memstore, and in real browsers on indexeddb.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/store"
)

// Platform is what the tests need of an implementation.
type Platform struct {
	// Open opens a connection to the database of that name, and makes it if
	// there is none. Two connections are two tabs. The tests close them.
	Open func(ctx context.Context, database string) (store.Store, error)

	// NewHandle makes a platform value, and Same compares one with what a store
	// returned for it.
	NewHandle func(t *testing.T) any
	Same      func(t *testing.T, stored, made any) bool

	// Destroy deletes a database as a user does who clears the site's data, and
	// Upgrade migrates it as a newer release would, keeping what it holds.
	Destroy func(t *testing.T, database string)
	Upgrade func(t *testing.T, database string)
}

// Test runs the whole suite.
func Test(t *testing.T, p Platform) {
	tests := map[string]func(*suite){
		"get":           testGet,
		"values":        testValuesAreCopies,
		"names":         testNames,
		"precondition":  testPrecondition,
		"batch order":   testBatchOrder,
		"vaults":        testVaultsAreApart,
		"clear":         testClear,
		"handles":       testHandles,
		"delete":        testDelete,
		"range":         testRange,
		"many":          testManyRecords,
		"two tabs":      testTwoTabs,
		"racing":        testRacingWriters,
		"lock":          testLock,
		"lock waits":    testLockHonoursContext,
		"context":       testContextDone,
		"closed":        testClosed,
		"reopened":      testReopened,
		"destroyed":     testDestroyed,
		"newer version": testNewerVersion,
		"durability":    testDurability,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test(&suite{t, p, "storetest-" + rand.Text()})
		})
	}
}

// suite is one test's database.
type suite struct {
	*testing.T
	Platform
	database string
}

const vault = "kpZ2ycWbXq1v4n0T8mN3rS5uV7wX9yZ1aB3cD5eF7gH" // 43 characters, like a real one

var errGivenUp = errors.New("given up")

func name(kind, id string) store.Name { return store.Name{Kind: kind, ID: id} }

func record(kind, id, value string) store.Record {
	return store.Record{Name: name(kind, id), Value: []byte(value)}
}

func absent(kind, id string) store.Record { return store.Record{Name: name(kind, id)} }

// tab opens a connection that lasts as long as the test.
func (s *suite) tab() store.Store {
	s.Helper()
	opened, err := s.Open(s.Context(), s.database)
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.Cleanup(opened.Close)
	return opened
}

func (s *suite) commit(to store.Store, b store.Batch) {
	s.Helper()
	if b.Vault == "" {
		b.Vault = vault
	}
	if err := to.Commit(s.Context(), b); err != nil {
		s.Fatalf("commit: %v", err)
	}
}

// put writes records without any condition that could fail.
func (s *suite) put(to store.Store, records ...store.Record) {
	s.Helper()
	s.commit(to, store.Batch{Expect: absent("none", "-"), Put: records})
}

// want checks what a record holds; "" stands for no record.
func (s *suite) want(in store.Store, n store.Name, value string) {
	s.Helper()
	values, err := in.Get(s.Context(), vault, n)
	switch {
	case err != nil:
		s.Fatalf("get %v: %v", n, err)
	case len(values) != 1:
		s.Fatalf("get %v: %d values", n, len(values))
	case (values[0] == nil) != (value == "") || string(values[0]) != value:
		s.Errorf("get %v: %q, %q wanted", n, values[0], value)
	}
}

func (s *suite) wantError(what string, got, want error) {
	s.Helper()
	if !errors.Is(got, want) {
		s.Errorf("%s: %v, %v wanted", what, got, want)
	}
}
