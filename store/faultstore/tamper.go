package faultstore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/kms-enclave/kms-enclave/store"
)

// The functions below change what a store holds behind its owner's back, as
// somebody who can write to the disk does. They work on any store.

// Corrupt flips the lowest bit of one byte of a record. An offset below 0 counts
// from the end.
func Corrupt(ctx context.Context, s store.Store, vault string, name store.Name, offset int) error {
	value, err := read(ctx, s, vault, name)
	if err != nil {
		return err
	}
	changed := bytes.Clone(value)
	if offset < 0 {
		offset += len(changed)
	}
	if offset < 0 || offset >= len(changed) {
		return fmt.Errorf("record %s/%s: %d bytes, no offset %d", name.Kind, name.ID, len(changed), offset)
	}
	changed[offset] ^= 1
	return Replace(ctx, s, vault, name, changed)
}

// Replace writes other bytes into a record.
func Replace(ctx context.Context, s store.Store, vault string, name store.Name, value []byte) error {
	held, err := s.Get(ctx, vault, name)
	if err != nil {
		return err
	}
	return s.Commit(ctx, store.Batch{
		Vault:  vault,
		Expect: store.Record{Name: name, Value: held[0]},
		Put:    []store.Record{{Name: name, Value: value}},
	})
}

// Drop deletes a record, and a handle of the same name.
func Drop(ctx context.Context, s store.Store, vault string, name store.Name) error {
	held, err := s.Get(ctx, vault, name)
	if err != nil {
		return err
	}
	return s.Commit(ctx, store.Batch{
		Vault:  vault,
		Expect: store.Record{Name: name, Value: held[0]},
		Delete: []store.Name{name},
	})
}

// Duplicate writes a record's bytes under another name too.
func Duplicate(ctx context.Context, s store.Store, vault string, from, to store.Name) error {
	value, err := read(ctx, s, vault, from)
	if err != nil {
		return err
	}
	return Replace(ctx, s, vault, to, value)
}

// Remember keeps the bytes of a record, and returns a function that rolls the
// record back to them.
func Remember(ctx context.Context, s store.Store, vault string, name store.Name) (rollBack func(context.Context) error, err error) {
	value, err := read(ctx, s, vault, name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return Replace(ctx, s, vault, name, value) }, nil
}

func read(ctx context.Context, s store.Store, vault string, name store.Name) ([]byte, error) {
	held, err := s.Get(ctx, vault, name)
	if err != nil {
		return nil, err
	}
	if held[0] == nil {
		return nil, fmt.Errorf("record %s/%s: there is none", name.Kind, name.ID)
	}
	return held[0], nil
}
