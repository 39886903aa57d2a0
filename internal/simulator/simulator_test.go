//go:build !js

package simulator

import (
	"context"
	"encoding/json/v2"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

var (
	schedules = flag.Int("schedules", 100_000, "how many schedules TestSchedules runs")
	from      = flag.Uint64("from", 1, "the seed of the first one")
	every     = flag.Uint64("every", 1, "run every nth of them")
	tallies   = flag.String("tallies", "", "run them in this process, and write to this file what happened in them")
	only      = flag.Uint64("seed", 0, "run this one alone, and tell each of its steps")
)

// begin makes the vault that schedules begin with. What is stored of one with many keys
// has every kind of record: pages of the index, and leaves that left the root.
func begin(t testing.TB, keys int, passkey *prompttest.Authenticator) beginning {
	b := beginning{store: memstore.New(), share: [32]byte{1}, passkey: passkey}
	e := enclave.New(t.Context(), enclave.Config{
		Engine: native.New(nil), Device: b.store.Tab(), Session: memstore.New(), Prompter: &prompttest.User{Willing: true, Passkey: passkey},
		Strength: passphrase.Fixed(passphrase.Floor), Now: func() time.Time { return time.Unix(946684800, 0) }, Rand: newSource(0),
		Self: self, Origin: origin, Account: account, Share: b.share, Notify: func([]byte) {},
	})
	defer e.Close()
	id := 0
	call := func(method string, params any) {
		id++
		text, err := json.Marshal(map[string]any{"v": 1, "id": id, "method": method, "params": params})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan string, 1)
		e.Handle(text, func(reply []byte) { done <- string(reply) })
		if reply := <-done; strings.Contains(reply, `"error"`) {
			t.Fatal(reply)
		}
	}
	lock := "none"
	if passkey != nil {
		lock = "passkey"
	}
	call("vault.create", api.CreateVaultParams{Persistence: "device", Lock: lock})
	for range keys {
		call("keys.create", api.CreateKeyParams{Purpose: "signing"})
	}
	if passkey != nil {
		call("slots.add", api.AddSlotParams{Kind: "passkey", Label: "second"})
	}
	return b
}

// beginnings returns those that schedules choose from: most are of few keys without a
// lock, because those get further in the same time.
func beginnings(t testing.TB) func(number uint64) beginning {
	open, locked, large := begin(t, 3, nil), begin(t, 3, &prompttest.Authenticator{Origin: self}), begin(t, 20, nil)
	return func(number uint64) beginning {
		switch number % 41 { // a prime, so that every process has some of each
		case 1, 21:
			return locked
		case 3:
			return large
		}
		return open
	}
}

// try runs one schedule.
func try(t *testing.T, number uint64, b beginning, trace func(string, ...any)) (tally map[string]int, err error) {
	synctest.Test(t, func(*testing.T) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		tally, err = run(number, b, trace)
	})
	return tally, err
}

func silent(string, ...any) {}

// TestMain leaves one processor to the goroutines: on two, which of a tab's goroutines
// is faster differs from run to run.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// TestSchedules has one process for each processor run its part of the schedules.
func TestSchedules(t *testing.T) {
	switch {
	case *only != 0:
		replay(t, *only, beginnings(t)(*only))
		return
	case *tallies != "":
		runPart(t)
		return
	}
	dir := t.TempDir()
	sum := map[string]int{}
	var mu sync.Mutex
	var done sync.WaitGroup
	for part := range runtime.NumCPU() {
		done.Go(func() {
			tally, err := startPart(t.Context(), part, runtime.NumCPU(), filepath.Join(dir, strconv.Itoa(part)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			for what, n := range tally {
				sum[what] += n
			}
		})
	}
	done.Wait()
	for _, what := range slices.Sorted(maps.Keys(sum)) {
		t.Logf("%7d  %s", sum[what], what)
	}
	if t.Failed() || *schedules < 50_000 {
		return
	}
	for _, what := range must {
		if sum[what] == 0 {
			t.Errorf("in %d schedules it never came to: %s", *schedules, what)
		}
	}
}

// startPart runs every nth schedule in a process of its own, and returns what happened
// in them.
func startPart(ctx context.Context, part, of int, file string) (tally map[string]int, err error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestSchedules$", "-test.timeout", "10m", "-tallies", file,
		"-schedules", strconv.Itoa(*schedules-part), "-from", strconv.FormatUint(*from+uint64(part), 10), "-every", strconv.Itoa(of))
	// What a schedule leaves behind is many small things that live as long as it does, and its many
	// goroutines grow their stacks.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1,adaptivestackstart=1", "GOGC=1600")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &tally)
	}
	return tally, err
}

// runPart is what such a process does.
func runPart(t *testing.T) {
	beginning := beginnings(t)
	sum := map[string]int{}
	ran := 0
	last := *from + uint64(*schedules)
	for number := *from; number < last; number += *every {
		tally, err := try(t, number, beginning(number), silent)
		if err != nil {
			t.Fatalf("seed %d: %v\nto see its steps: go test ./internal/simulator -run TestSchedules -v -seed %d", number, err, number)
		}
		for what, n := range tally {
			sum[what] += n
		}
		ran++
	}
	if ran == 0 {
		t.Fatal("no schedule ran")
	}
	b, err := json.Marshal(sum)
	if err == nil {
		err = os.WriteFile(*tallies, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// must have happened, or the schedules show less than they say.
var must = []string{
	"open", "kill", "close", "wait", "clock", "off", "torn", "evicted", "rolled back",
	"commit: no answer", "commit: " + store.ErrFull.Error(), "commit: " + store.ErrConflict.Error(), "commit: " + store.ErrUnavailable.Error(),
	"get: no answer", "get: " + store.ErrUnavailable.Error(), "scan: " + store.ErrUnavailable.Error(), "lock: no answer", "lock: " + store.ErrUnavailable.Error(), "handle: " + store.ErrUnavailable.Error(),
	"root: flipped", "root: rolled back", "root: dropped", "commit: flipped", "commit: dropped", "commit: rolled back", "vault: flipped", "vault: dropped", "vault: rolled back",
	"key: flipped", "key: dropped", "key: swapped", "key: rolled back", "meta: flipped", "meta: dropped", "meta: swapped", "meta: rolled back",
	"log: flipped", "log: dropped", "index: flipped", "index: dropped", "index: swapped", "index: rolled back", "counts: flipped", "counts: dropped", "counts: rolled back",
	"keys.create: done", "keys.rotate: done", "keys.rotate: denied", "keys.rotate: timeout", "keys.revoke: done", "keys.revoke: denied",
	"jwt.sign: done", "jwt.sign: denied", "jwt.sign: timeout", "jwt.sign: cancelled", "jwt.sign: locked", "jwt.sign: storage_full", "jwt.sign: storage_unavailable",
	"mirror: newest", "mirror: older", "back: newest", "back: older", "dies coming back", "mirror.changes: done", "mirror.records: done",
	"vault.unlock: done", "vault.lock: done", "slots.add: done", "slots.remove: done", "slots.remove: timeout",
}

// replay runs one schedule until it fails, and tells its steps.
func replay(t *testing.T, number uint64, b beginning) {
	var steps string
	for range 100 {
		text, err := told(t, number, b)
		if steps = text; err != nil {
			t.Fatalf("seed %d:\n%s%v", number, steps, err)
		}
	}
	t.Logf("seed %d holds, 100 times:\n%s", number, steps)
}

func told(t *testing.T, number uint64, b beginning) (string, error) {
	var text strings.Builder
	_, err := try(t, number, b, func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) })
	return text.String(), err
}

// TestRepeats: a seed is what it takes to see a schedule again. What it decides is the
// same each time. Which of two goroutines of a tab goes first that become ready at one
// instant is Go's to say, so a few schedules go another way; replay tries several times.
func TestRepeats(t *testing.T) {
	const schedules = 200
	beginning := beginnings(t)
	same := 0
	for number := range uint64(schedules) {
		first, err := told(t, number+1, beginning(number+1))
		if err != nil {
			t.Fatalf("seed %d: %v", number+1, err)
		}
		if again, _ := told(t, number+1, beginning(number+1)); again == first {
			same++
		}
	}
	t.Logf("%d of %d schedules went the same way twice", same, schedules)
	if same < schedules*9/10 {
		t.Errorf("%d of %d schedules went the same way twice", same, schedules)
	}
}
