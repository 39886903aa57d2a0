//go:build !js

// Package simulator runs the whole enclave through schedules: several tabs of an app
// on one profile's storage, where what happens next is drawn from a seed. Between two
// steps everything stands still, so that a tab can be killed, storage can refuse, be
// slow or lie, and the clock can jump, at each of them; and after each of them the
// vault is compared with what its log says (see model.go).
//
// What must hold in every schedule:
//
//   - What was answered as done is in the log and in the vault, and stays there.
//   - What was answered as not done is in neither, then and later; no call is done twice. New keys and
//     ways in are counted: there are no more than calls that may have made them.
//   - The vault is what its log says, entry for entry: nothing half-done, nothing unrecorded.
//   - The log only grows: every head that was ever seen is a head of it.
//   - No key signs once the log says that it has ended.
//   - Every call is answered once storage answers again, and a tab that is opened then works.
//   - A mirror that an app keeps (see mirror.go) is what was stored at some commit, whole; from it the vault comes
//     back as it was then, whatever dies meanwhile, and says what is missing.
//   - What storage was made to lie about is noticed, touches nothing else, and heals when it is put back.
//
// It is for tests only. It must not know more of a vault than its callers and its
// storage do.
package simulator

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave/mirrortest"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/vault"
)

// Who simulated calls come from.
const (
	self    = "https://enclave.example"
	origin  = "https://app.example"
	account = "alice"
)

var vaultID = vault.ID(origin, account)

// world is a browser profile and what an observer outside it knows.
type world struct {
	rng     *rand.Rand // decides what happens
	random  *source    // of the enclaves
	engine  keyengine.Engine
	user    *prompttest.User
	share   [32]byte
	offset  time.Duration // of the device's clock
	locks   bool          // the vault has a lock
	profile *memstore.Store

	tabs     []*tab
	tabsMade int
	calls    int
	open     []*call  // not answered, or with an answer that leaves the outcome open
	slots    []string // ids of ways in, as the app was told last
	denied   map[string]*call
	// What can be done once only, and a call was told that it had done it.
	answered map[string]bool
	since    []byte            // what the app knows of the log
	added    int               // ways in, as calls were told
	mirror   mirrortest.Mirror // what the app keeps of a vault with a lock; at the beginning all of it
	readBy   int               // number of calls when all records had come, until the mirror takes them; 0 otherwise
	newest   int64             // number of the newest commit that was seen
	states   map[int64]state   // by number of commit

	witness *vault.Manager
	commit  []byte // that the witness has seen last
	model   *model
	blind   bool // storage was made to lie: it is not compared with the log

	past  *memstore.Store // storage as it was at some step
	tell  func(format string, args ...any)
	tally map[string]int // how often each kind of thing has happened
}

// trace tells what happens.
func (w *world) trace(format string, args ...any) { w.tell(format, args...) }

// count counts it.
func (w *world) count(what string) { w.tally[what]++ }

// source is randomness that repeats.
type source struct{ *rand.ChaCha8 }

func newSource(seed uint64) *source {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &source{rand.NewChaCha8(key)}
}

func (w *world) now() time.Time { return time.Now().Add(w.offset) }

// beginning is what schedules begin with: a vault with some keys.
type beginning struct {
	store   *memstore.Store
	share   [32]byte
	passkey *prompttest.Authenticator // nil: the vault has no lock, and no mirror
}

// lockless is a store for somebody who only looks.
type lockless struct{ *memstore.Store }

func (lockless) Lock(context.Context, string) (func(), error) { return func() {}, nil }

func newWorld(number uint64, begin beginning, trace func(string, ...any)) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(number, 0)), random: newSource(number), share: begin.share,
		user: &prompttest.User{Willing: true}, profile: begin.store.Copy(), locks: begin.passkey != nil,
		denied: map[string]*call{}, answered: map[string]bool{}, model: newModel(), tell: trace, tally: map[string]int{},
	}
	w.past = w.profile
	if w.locks {
		w.user.Passkey = begin.passkey.Copy()
	}
	w.engine = native.New(newSource(^number))
	w.lookAnew()
	return w
}

// lookAnew lets somebody look who knows nothing yet, as after a restart.
func (w *world) lookAnew() {
	if w.witness != nil {
		w.witness.Close()
	}
	w.commit = nil
	w.witness = vault.NewManager(vault.ManagerConfig{
		Engine: w.engine, Rand: w.random, Now: w.now,
		Device: lockless{w.profile}, ID: vaultID, Share: w.share, Marker: true,
	})
}

var commitName = store.Name{Kind: ledger.KindCommit, ID: "-"}

// look compares the stored vault with its log, if it has changed.
func (w *world) look() error {
	ctx := context.Background()
	commit, err := w.profile.Get(ctx, vaultID, commitName)
	if err != nil || bytes.Equal(commit[0], w.commit) {
		return err
	}
	number, size, head, leaves, err := w.read(ctx)
	if err != nil {
		return fmt.Errorf("the stored vault cannot be read: %w", err)
	}
	first := w.commit == nil && w.model.size() == 0
	w.commit = commit[0]
	touched := map[string]bool{}
	for _, leaf := range leaves {
		kids, err := w.model.add(leaf)
		if err != nil {
			return err
		}
		for _, kid := range kids {
			touched[kid] = true
		}
	}
	if w.model.size() != size || w.model.frontier.Root() != head {
		return fmt.Errorf("the log has %d entries, and is not the one that was seen, of %d", size, w.model.size())
	}
	w.note(number, size)
	if err := w.compareKeys(ctx, touched); err != nil {
		return err
	}
	if first { // nobody in this world has made them
		w.model.made = nil
		w.model.added = 0
		clear(w.model.once)
	}
	return w.compareCalls()
}

// read returns the number of the newest commit, the log's size and head, and the leaves that the model does not have. The
// keys that these are about are compared, if the vault has no lock.
func (w *world) read(ctx context.Context) (commit, size uint64, head [32]byte, leaves [][]byte, err error) {
	v, err := w.witness.Current(ctx)
	if err != nil {
		return 0, 0, head, nil, err
	}
	err = v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		commit, size, head, leaves = tx.Commit(), tx.Size(), tx.Head(), nil
		for have := w.model.size(); have < size; have = w.model.size() + uint64(len(leaves)) {
			more, err := tx.Log(have, 1000)
			if err != nil {
				return err
			}
			leaves = append(leaves, more...)
		}
		return nil
	})
	if ledger.IsOver(err) { // its ways in were changed
		w.witness.Forget(ctx, v)
		return w.read(ctx)
	}
	return commit, size, head, leaves, err
}

// compareKeys compares the keys that leaves are about with what the log says of them.
func (w *world) compareKeys(ctx context.Context, touched map[string]bool) error {
	v, err := w.witness.Current(ctx)
	if err != nil || v.Locked() {
		return err // whoever opens it at the end compares them
	}
	return v.Ledger.Read(ctx, func(tx *ledger.Tx) error {
		for kid := range touched {
			k, err := vault.ReadKey(tx, kid)
			if err != nil {
				return err
			}
			if err := w.model.compare(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// compareCalls checks that nothing is in the log that is not of a call that may have
// happened, and nothing twice.
func (w *world) compareCalls() error {
	for tag, n := range w.model.byTag {
		if n > 1 {
			return fmt.Errorf("%s is in the log %d times", tag, n)
		}
		if c := w.denied[tag]; c != nil {
			return fmt.Errorf("%s was answered with %v, and is in the log", c, c.failure)
		}
	}
	creating, adding := 0, w.added
	may := maps.Clone(w.answered)
	for _, c := range w.open {
		switch c.method {
		case "keys.create":
			creating++
		case "slots.add":
			adding++
		}
		may[c.subject()] = true
	}
	if w.model.added > adding {
		return fmt.Errorf("%d ways in were added, by %d calls that may have", w.model.added, adding)
	}
	for subject := range w.model.once {
		if !may[subject] {
			return fmt.Errorf("%s is in the log, and every call that asked for it was told that it was not done", subject)
		}
	}
	if len(w.model.made) > creating {
		return fmt.Errorf("%d keys were made that nobody was told of, by %d calls that may have", len(w.model.made), creating)
	}
	return nil
}

// unknown are the codes that leave open what has become of a call (docs/protocol.md section 6).
var unknown = []api.Code{api.Cancelled, api.Interrupted, api.Timeout, api.Internal}

// hear looks at the answers that have come, after the vault was looked at.
func (w *world) hear(t *tab) error {
	for _, c := range t.heard() {
		w.trace("      %s: %s", c, outcome(c))
		w.count(c.method + ": " + outcome(c))
		switch {
		case c.failure == nil:
			w.close(c)
			if err := w.done(c); err != nil {
				return fmt.Errorf("%s was answered as done: %w", c, err)
			}
		case slices.Contains(unknown, c.failure.Code):
			if c.failure.Code == api.Internal {
				return fmt.Errorf("%s: %v", c, c.failure)
			}
		case c.failure.Code == api.Exists:
			return fmt.Errorf("%s, though every key is another one: %v", c, c.failure)
		case c.failure.Code == api.Integrity:
			return fmt.Errorf("%s, though nothing stored is damaged: %v", c, c.failure)
		default:
			w.close(c)
			if w.model.byTag[c.tag] > 0 {
				return fmt.Errorf("%s was answered with %v, and is in the log", c, c.failure)
			}
			w.denied[c.tag] = c
		}
	}
	return w.compareCalls()
}

func outcome(c *call) string {
	if c.failure != nil {
		return string(c.failure.Code)
	}
	return "done"
}

func (w *world) close(c *call) {
	w.open = slices.DeleteFunc(w.open, func(other *call) bool { return other == c })
}

// step lets what has been begun go on until it waits for the schedule, and looks at
// what has become of everything.
func (w *world) step() error {
	synctest.Wait()
	if w.blind {
		return nil
	}
	if err := w.look(); err != nil {
		return err
	}
	for _, t := range w.tabs {
		if err := w.hear(t); err != nil {
			return err
		}
	}
	return nil
}
