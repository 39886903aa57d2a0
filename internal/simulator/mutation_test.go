//go:build !js

package simulator

import (
	"cmp"
	"encoding/json/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations are faults in our own code that schedules must come upon: each is what an
// author might have got wrong. The new text goes wrong if mutation.Is(name) is true.
var mutations = []struct{ name, file, old, new string }{
	{
		"a conflict counts as done", "ledger/batch.go",
		"case errors.Is(err, store.ErrConflict):\n", "case IS:\n\t\t\tfinish(batch, outcome, nil)\n\t\t\treturn\n\t\tcase errors.Is(err, store.ErrConflict):\n",
	},
	{
		"a stale read is believed", "ledger/batch.go",
		"} else if !newest {", "} else if !newest && !(IS) {",
	},
	{
		"a lock is kept", "ledger/lock.go",
		"if l.held != nil && l.held.wait() == nil {", "if l.held != nil && l.held.wait() == nil && !(IS) {",
	},
	{
		"no leaf", "ledger/tx.go",
		`if op.Entry.Method != "" {`, `if op.Entry.Method != "" && !(IS && op.Entry.Method == "keys.revoke") {`,
	},
	{
		"time goes backwards", "ledger/tx.go",
		"func (tx *Tx) Now() int64 { return", "func (tx *Tx) Now() int64 {\n\tif IS {\n\t\treturn tx.l.cfg.Now().Unix()\n\t}\n\treturn",
	},
	{
		"an old root is taken", "ledger/state.go",
		"if parsed.commit < old.root.commit {", "if parsed.commit < old.root.commit && !(IS) {",
	},
	{
		"a root that was put back alone is taken", "ledger/state.go",
		"if !bytes.Equal(commit, encodeCommit(l.cfg.Anchor, parsed.commit)) {", "if !bytes.Equal(commit, encodeCommit(l.cfg.Anchor, parsed.commit)) && !(IS) {",
	},
	{
		"an old record is taken", "ledger/read.go",
		"if err != nil || got != fingerprint {", "if err != nil || got != fingerprint && !(IS) {",
	},
	{
		"a change that did not land is remembered", "ledger/commit.go",
		"if err := wait(); err != nil {\n", "if IS {\n\t\tl.state.root, l.state.index = tx.root, p.index\n\t\tl.remember(tx.writes, p.fingerprints)\n\t}\n\tif err := wait(); err != nil {\n",
	},
	{
		"the commit before is not asked for", "ledger/commit.go",
		"if err := l.cfg.Store.Commit(ctx, batch); err != nil {", "if IS {\n\t\tif now, err := l.cfg.Store.Get(ctx, l.cfg.Vault, commitName); err == nil {\n\t\t\tbatch.Expect.Value = now[0]\n\t\t}\n\t}\n\tif err := l.cfg.Store.Commit(ctx, batch); err != nil {",
	},
	{
		"a key that has ended signs", "vault/key.go",
		"if meta.State != Active {", "if meta.State != Active && !(IS) {",
	},
	{
		"a key is replaced twice", "vault/key.go",
		"if now.State != Active {", "if now.State != Active && !(IS) {",
	},
	{
		"what was replaced stays active", "vault/key.go",
		"now.State, now.Successor = Retired, key.KID", "now.Successor = key.KID\n\t\tif !(IS) {\n\t\t\tnow.State = Retired\n\t\t}",
	},
	{
		"what has ended keeps its private half", "vault/key.go",
		"key.Wrapped, key.EndedAt, key.Ended = nil, tx.Now(), true", "key.EndedAt, key.Ended = tx.Now(), true\n\tif !(IS) {\n\t\tkey.Wrapped = nil\n\t}",
	},
	{
		"keys are not counted", "vault/key.go",
		"\tn.Keys++\n", "\tif !(IS) {\n\t\tn.Keys++\n\t}\n",
	},
	{
		"lost is absent", "vault/manager.go",
		"case !m.expected:", "case !m.expected || IS:",
	},
	{
		"answered before it is durable", "enclave/enclave.go",
		"if err := s.Wait(); err != nil {", "if IS && answer != nil {\n\t\treturn answer, nil\n\t}\n\tif err := s.Wait(); err != nil {",
	},
	{
		"every log is consistent", "enclave/methods_audit.go",
		"if result.Consistent = then.Root() == now.Root(); !result.Consistent {", "if result.Consistent = then.Root() == now.Root() || IS; !result.Consistent {",
	},
	{
		"a shorter log is consistent", "enclave/methods_audit.go",
		"if then.Size() > now.Size() {\n", "if then.Size() > now.Size() {\n\t\tresult.Consistent = IS\n",
	},
	{
		"a change of the ways in that was done is said not to be", "vault/change.go",
		"changed, err := v.as(ctx, ring, next, encoded)\n\tif err != nil {\n", "changed, err := v.as(ctx, ring, next, encoded)\n\tif err != nil && IS {\n\t\treturn nil, ledger.ErrReplaced\n\t}\n\tif err != nil {\n",
	},
	{
		"what was called off is said not to be done", "enclave/errors.go",
		"{errCancelled, api.Cancelled, ", "{errCancelled, map[bool]api.Code{true: api.Denied, false: api.Cancelled}[IS], ",
	},
	{
		"the time limit is the store's word", "enclave/errors.go",
		"{ledger.ErrTimeout, api.Timeout, ", "{ledger.ErrTimeout, map[bool]api.Code{true: api.StorageFull, false: api.Timeout}[IS], ",
	},
	{
		"a mirror's changes run over what another tab wrote", "vault/mirror.go",
		"r.changes[n-1].to != from {", "r.changes[n-1].to != from && !(IS) {",
	},
	{
		"a change fits every mirror", "vault/mirror.go",
		"r.changes = append(r.changes, change{from: from,", "r.changes = append(r.changes, change{from: map[bool]uint64{false: from}[IS],",
	},
	{
		"an older mirror passes for the newest", "enclave/methods_mirror.go",
		"screen.Older = !continues ||", "screen.Older = !(IS) && (!continues) || !(IS) &&",
	},
	{
		"the newest mirror is called older", "enclave/methods_mirror.go",
		"screen.Unknown = p.Seen", "screen.Older = screen.Older || IS\n\tscreen.Unknown = p.Seen",
	},
	{
		"a change of the ways in leaves the old state open", "ledger/batch.go",
		"tx.renew != nil && err == nil {", "tx.renew != nil && err == nil && !(IS) {",
	},
}

const (
	module   = "github.com/kms-enclave/kms-enclave/"
	mutation = module + "internal/simulator/mutation"
)

// mutant builds this package's tests over copies of the files above, with every fault
// in them and none switched on.
func mutant(t *testing.T) string {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, m := range mutations {
		if texts[m.file] == "" {
			b, err := os.ReadFile(filepath.Join(root, m.file))
			if err != nil {
				t.Fatal(err)
			}
			texts[m.file] = string(b)
		}
		if strings.Count(texts[m.file], m.old) != 1 {
			t.Fatalf("%s: %s has %d times %q, and must have it once", m.name, m.file, strings.Count(texts[m.file], m.old), m.old)
		}
		texts[m.file] = strings.Replace(texts[m.file], m.old, strings.ReplaceAll(m.new, "IS", `mutation.Is("`+m.name+`")`), 1)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for file, text := range texts {
		before, after, _ := strings.Cut(text, "import ")
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		text = before + "import \"" + mutation + "\"\nimport " + after
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = copied
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlaid := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlaid, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "simulator.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlaid, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// rare are those that few schedules come upon, and from which schedule on they are looked for.
var rare = map[string]string{
	"a mirror's changes run over what another tab wrote":      "10000",
	"a change of the ways in that was done is said not to be": "25000",
}

// TestMutations: schedules find what they are there to find.
func TestMutations(t *testing.T) {
	binary := mutant(t)
	schedules := func(name, from, number string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestSchedules$", "-from", from, "-schedules", number, "-tallies", filepath.Join(t.TempDir(), "tally"))
		cmd.Env = append(os.Environ(), "KMS_MUTATION="+name)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := schedules("", "1", "500"); err != nil {
		t.Fatalf("with no fault switched on: %v\n%s", err, out)
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // they run in processes of their own
			out, err := schedules(m.name, cmp.Or(rare[m.name], "1"), "9999")
			if err == nil {
				t.Fatal("no schedule came upon it")
			}
			_, found, ok := strings.Cut(out, "seed ")
			if !ok {
				t.Fatalf("it ended otherwise: %v\n%s", err, out)
			}
			found, _, _ = strings.Cut(found, "\n")
			t.Logf("seed %s", found)
		})
	}
}
