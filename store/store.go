// Package store keeps the records of vaults, and commits them in atomic batches.
//
// A record is named by (vault, kind, id) and holds bytes that the store never
// looks into. A handle is an opaque, platform-specific value (in a browser a
// CryptoKey) kept beside the records under a name of the same form.
//
// A [Batch] lands whole or not at all, is durable before Commit returns, and
// carries a precondition on one record, which is checked inside the same
// transaction: two writers that both believe they are first cannot both win.
//
// Package indexeddb implements Store in a browser; package memstore keeps
// everything in memory, for session vaults and, with faults injected, for tests.
//
// No implementation may hold a transaction open across an await.
package store

import (
	"context"
	"errors"
)

// SchemaVersion is the version of the storage schema (the IndexedDB version).
// Each security release that must lock out older code raises it.
const SchemaVersion = 3

// Errors that callers branch on. Implementations wrap them with the platform's
// own words.
var (
	// ErrConflict: the precondition did not hold; nothing was written.
	ErrConflict = errors.New("store: changed by somebody else")
	// ErrFull: the quota is exhausted; nothing was written.
	ErrFull = errors.New("store: no space left")
	// ErrUnavailable: storage is blocked, closed, or refuses (private or
	// lockdown mode, a deleted database); nothing was written.
	ErrUnavailable = errors.New("store: storage is not available")
	// ErrNewer: a newer release has migrated the database; it was not touched.
	ErrNewer = errors.New("store: written by a newer release")
	// ErrHandleLost: a handle was stored but reads back as nothing, as some
	// engines do with keys they cannot clone.
	ErrHandleLost = errors.New("store: key handle did not survive storage")
)

// Name is the name of a record or handle inside a vault.
type Name struct {
	Kind string // 1–32 characters of a–z and -
	ID   string // at most 128 characters of printable ASCII; ordered bytewise
}

// Record is one stored value.
type Record struct {
	Name
	Value []byte
}

// Handle is one stored platform value.
type Handle struct {
	Name
	Value any
}

// Batch is one atomic change of one vault.
type Batch struct {
	Vault string // the vault id: 43 characters, base64url

	// Expect is the record that must hold exactly these bytes for the batch to
	// land; a nil Value says that the record must be absent.
	Expect Record

	// Clear removes every record and handle of the vault before anything is put.
	Clear   bool
	Put     []Record
	Handles []Handle
	Delete  []Name

	// Urgent batches may use the space that a store keeps back for them, if it does:
	// what its user has asked for, such as ending a key, lands although others have
	// filled the storage. They must be few and small.
	Urgent bool
}

// Range selects records of one kind by id, inclusive at both ends. An empty
// First or Last is open.
type Range struct {
	Kind    string
	First   string
	Last    string
	Reverse bool // from the last id down
	Limit   int  // at most this many records; 0 means 1,000
}

// Durability says how long a store keeps what it committed.
type Durability string

// The values of Durability, in the words of the contract (vault.status).
const (
	Persistent     Durability = "persistent"      // survives restarts, and the browser promised not to evict it
	BestEffort     Durability = "best-effort"     // survives restarts; may be evicted under storage pressure
	BrowserSession Durability = "browser-session" // gone when the browser closes
	Memory         Durability = "memory"          // gone with the worker
)

// Store keeps records. Methods are safe for concurrent use; those that take
// a context return its cause when it is done first.
type Store interface {
	// Get returns the values of the named records from one snapshot, in order;
	// nil where there is no record. The slices belong to the caller.
	Get(ctx context.Context, vault string, names ...Name) ([][]byte, error)
	// Scan returns the records in r, in order of id.
	Scan(ctx context.Context, vault string, r Range) ([]Record, error)
	// Handle returns a stored handle, nil if there is none, or ErrHandleLost.
	Handle(ctx context.Context, vault string, name Name) (any, error)
	// Commit applies a batch. A nil error means that it is durable.
	Commit(ctx context.Context, b Batch) error
	// Lock waits for the exclusive right to commit to a vault, across all tabs.
	// It is there to avoid conflicts; correctness rests on Batch.Expect.
	// The returned function gives the right back and may be called twice.
	Lock(ctx context.Context, vault string) (unlock func(), err error)
	// Durability says how long this store keeps things.
	Durability(ctx context.Context) Durability
	// Close releases what the store holds. Later calls return ErrUnavailable.
	Close()
}
