// Enclaves with one fault each, of the kind that only kills, a comparison with what was acknowledged, or
// long load bring to light. The long tests must notice every one of them: a test that notices nothing
// proves nothing. Each is a change of the checkout's text; see tree.mjs.

// A change that finds nothing to change would make an enclave without a fault.
const swap = (old, now) => (text) => {
  if (text.split(old).length !== 2) throw new Error(`a fault that is no longer in the source once: ${old}`);
  return text.replace(old, () => now);
};
const both = (first, second) => (text) => second(first(text));
const append = (more) => (text) => text + more;

/** Faults that kills must bring to light. */
export const FAULTS = [
  {
    name: "answers before it has committed",
    changes: {
      "ledger/batch.go": swap("\treturn l.held.wait()\n}\n\nfunc (s *Submission) ask", `\terr := l.held.wait()
	if err == nil && renewalOf(batch, outcome) == nil {
		finish(batch, outcome, nil)
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (s *Submission) ask`),
      "ledger/op.go": swap("\ts.err = err\n\tclose(s.done)", "\tselect {\n\tcase <-s.done:\n\t\treturn\n\tdefault:\n\t}\n\ts.err = err\n\tclose(s.done)"),
    },
  },
  {
    name: "makes keys without a leaf of the log",
    changes: { "ledger/tx.go": swap('if op.Entry.Method != "" {', 'if op.Entry.Method != "" && op.Entry.Method != "keys.create" {') },
  },
  {
    name: "leaves a key active that was replaced",
    changes: { "vault/key.go": swap("now.State, now.Successor = Retired, key.KID", "now.Successor = key.KID") },
  },
  {
    name: "commits in two transactions",
    changes: {
      "store/indexeddb/commit.go": both(
        swap("\treturn db.anew(func() error { return db.commitOnce(ctx, b) })\n", `\tif n := len(b.Put); n > 2 && len(b.Handles) == 0 {
		half := *b
		half.Put, half.Delete = b.Put[:n-2], nil
		if err := db.commitOnce(ctx, &half); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return db.anew(func() error { return db.commitOnce(ctx, b) })
`),
        swap('\t"syscall/js"\n', '\t"syscall/js"\n\t"time"\n'),
      ),
    },
  },
];

/** Faults that load must bring to light, in words like these. */
export const LEAKS = [
  {
    name: "keeps the callbacks of every lock",
    changes: { "store/indexeddb/lock.go": swap("release := func() { granted.Release(); refused.Release() }", "release := func() {}") },
    wanted: /^callbacks/,
  },
  {
    name: "leaves a goroutine behind with every lock",
    changes: { "ledger/lock.go": swap("\treturn h\n", "\tgo func() { <-make(chan struct{}) }()\n\treturn h\n") },
    wanted: /^goroutines/,
  },
  {
    name: "keeps every leaf in memory",
    changes: { "ledger/tx.go": both(swap("\ttx.leaves = append(tx.leaves, leaf)\n", "\ttx.leaves = append(tx.leaves, leaf)\n\tkept = append(kept, append(make([]byte, 0, 16<<10), leaf...))\n"), append("\nvar kept [][]byte\n")) },
    wanted: /^Go heap/,
  },
  {
    name: "slows down with its log",
    changes: { "ledger/tx.go": both(swap("\ttx.leaves = append(tx.leaves, leaf)\n", "\ttx.leaves = append(tx.leaves, leaf)\n\tentries++\n\tfor i := range max(0, entries-300) * 1_000_000 {\n\t\twork += i\n\t}\n"), append("\nvar entries, work int\n")) },
    wanted: /^at rest the median/,
  },
];
