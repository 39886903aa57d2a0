package main

import (
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kms-enclave/kms-enclave/audit"
)

const auditUsage = `usage: enclave audit verify [--json] [--key KEY] [--head HEAD]... [--earlier FILE]... FILE

Checks an audit log that was exported from an enclave (audit.export): every
entry, every sequence number, the size, the head and its signature. It names the
first entry that is not as it should be. FILE may be "-" for standard input.

  --key KEY   the log's verifier key, NAME+HASH+KEY, as you noted it earlier.
              Without it any key will do: then the check proves that the file is
              whole, not whose log it is.
  --head HEAD a head that you kept earlier: SIZE:ROOT, or the path of a file with
              the checkpoint that audit.head returned. The first SIZE entries must
              have that root, and there must be as many. May be given several times.
              Without one, or an earlier file, nothing shows whether entries were
              taken back, or replaced, by whoever holds the log's key.
  --earlier FILE
              a file that was exported earlier from the same log: it is verified as
              well, and all of its entries must be the first ones of the log. May be
              given several times.
  --json      print one line of JSON instead of text

Exit codes: 0 verified, 1 not verified, 2 wrong usage, 3 a file cannot be read.
`

// Exit codes of "enclave audit".
const (
	auditVerified   = 0
	auditUnverified = 1
	auditMisused    = 2
	auditUnreadable = 3
)

// runAudit is the command "enclave audit". Nothing that it prints comes from the
// file unless it has been parsed, so a file cannot write to the terminal.
func runAudit(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseAuditArgs(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, auditUsage)
		return auditVerified
	}
	if err != nil {
		auditError(stderr, err, "enclave audit --help shows how")
		return auditMisused
	}
	if o.key != "" {
		if _, err := note.NewVerifier(o.key); err != nil {
			auditError(stderr, fmt.Errorf("--key: got %q, wanted NAME+HASH+KEY, whole", o.key), "it is the second line of an exported log")
			return auditMisused
		}
	}
	heads, code := keptHeads(o.heads, stderr)
	if code != auditVerified {
		return code
	}
	key, earlier, code := earlierHeads(o, stderr)
	if code != auditVerified {
		return code
	}
	heads = append(heads, earlier...)
	file, err := openAuditFile(o.file, stdin)
	if err != nil {
		auditError(stderr, err, `give the path of an exported log, or "-" for standard input`)
		return auditUnreadable
	}
	defer file.Close()
	source := &source{r: file}
	report, err := audit.VerifyFileOf(source, key, heads...)
	if source.err != nil {
		auditError(stderr, fmt.Errorf("%q: %w", o.file, withoutPath(source.err)), "nothing is known about the log; FILE must be a file that can be read to its end")
		return auditUnreadable
	}
	if o.json {
		return printAuditJSON(stdout, len(heads), report, err)
	}
	return printAudit(stdout, stderr, o, report, err)
}

type auditOptions struct {
	file    string
	key     string
	heads   texts
	earlier texts
	json    bool
}

// earlierHeads verifies the files that were exported earlier, and returns their heads and
// the key that they have in common with the log.
func earlierHeads(o auditOptions, stderr io.Writer) (key string, heads []audit.Head, code int) {
	key = o.key
	for _, path := range o.earlier {
		f, err := openAuditFile(path, nil)
		if err != nil {
			auditError(stderr, fmt.Errorf("--earlier %w", err), "give the path of a log that was exported earlier")
			return "", nil, auditUnreadable
		}
		source := &source{r: f}
		report, err := audit.VerifyFileOf(source, key)
		_ = f.Close()
		if source.err != nil {
			auditError(stderr, fmt.Errorf("--earlier %q: %w", path, withoutPath(source.err)), "it must be a file that can be read to its end")
			return "", nil, auditUnreadable
		}
		if err != nil {
			auditError(stderr, fmt.Errorf("--earlier %q is not verified: %w", path, err), auditHint(err))
			return "", nil, auditUnverified
		}
		key = report.Key
		heads = append(heads, audit.Head{Size: report.Checkpoint.Size, Root: report.Checkpoint.Root})
	}
	return key, heads, auditVerified
}

// keptHeads reads the heads that the log is compared with; a code other than
// auditVerified ends the command, and why has been said.
func keptHeads(args []string, stderr io.Writer) (heads []audit.Head, code int) {
	for _, arg := range args {
		head, err := audit.ParseHead(arg)
		if err != nil {
			var text []byte
			if text, err = readHead(arg); err != nil {
				auditError(stderr, fmt.Errorf("--head %q: %w", arg, withoutPath(err)), "give SIZE:ROOT, or the path of a file with a checkpoint")
				return nil, auditUnreadable
			}
			head, err = audit.ParseHead(string(text))
		}
		if err != nil {
			auditError(stderr, fmt.Errorf("--head %q: %w", arg, err), "the file must hold a checkpoint as audit.head returns it, without changes to its line ends")
			return nil, auditMisused
		}
		heads = append(heads, head)
	}
	return heads, auditVerified
}

// readHead reads a checkpoint's file, or as much of it as no checkpoint has.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<16))
}

// parseAuditArgs takes flags before and after the file.
func parseAuditArgs(args []string) (o auditOptions, err error) {
	set := flag.NewFlagSet("audit", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.BoolVar(&o.json, "json", false, "")
	set.StringVar(&o.key, "key", "", "")
	set.Var(&o.heads, "head", "")
	set.Var(&o.earlier, "earlier", "")
	var words []string
	for rest := args; ; rest = set.Args()[1:] {
		if err := set.Parse(rest); err != nil {
			return o, err
		}
		if set.NArg() == 0 {
			break
		}
		words = append(words, set.Arg(0))
	}
	switch {
	case len(words) == 0:
		return o, errors.New("audit: a subcommand is wanted: verify")
	case words[0] != "verify":
		return o, fmt.Errorf("audit: unknown subcommand %q, verify is the only one", words[0])
	case len(words) != 2:
		return o, fmt.Errorf("audit verify: %d files given, 1 wanted", len(words)-1)
	}
	o.file = words[1]
	if slices.Contains(o.earlier, "-") {
		return o, errors.New("audit verify: --earlier takes the path of a file")
	}
	return o, nil
}

func openAuditFile(path string, stdin io.Reader) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", path, withoutPath(err))
	}
	return f, nil
}

// withoutPath drops the path, which is printed in quotes instead.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// source remembers why reading failed, to tell that from a bad file.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func printAudit(stdout, stderr io.Writer, o auditOptions, report audit.Report, err error) int {
	if err != nil {
		auditError(stderr, fmt.Errorf("%q is not verified: %w", o.file, err), auditHint(err))
		return auditUnverified
	}
	fmt.Fprintf(stdout, "verified: %d entries, from %s to %s\n", report.Checked, date(report.First), date(report.Last))
	fmt.Fprintf(stdout, "log:      %s\n", report.Checkpoint.Origin)
	fmt.Fprintf(stdout, "root:     %s\n", tlog.Hash(report.Checkpoint.Root))
	fmt.Fprintf(stdout, "key:      %s\n", report.Key)
	if o.key == "" {
		fmt.Fprintln(stdout, "note:     the key is the one in the file; --key compares it with the one you noted earlier")
	}
	if n := len(o.heads); n > 0 {
		fmt.Fprintf(stdout, "heads:    %d kept, all of them of this log\n", n)
	}
	if n := len(o.earlier); n > 0 {
		fmt.Fprintf(stdout, "earlier:  %d verified, and continued by this one\n", n)
	}
	if len(o.heads)+len(o.earlier) == 0 {
		fmt.Fprintln(stdout, "note:     nothing shows whether entries were taken back; --head compares the log with a head you kept earlier, --earlier with a file")
	}
	return auditVerified
}

func date(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// auditJSON is what --json prints. Members that the file did not get as far as
// are left out.
type auditJSON struct {
	Verified bool    `json:"verified"`
	Reason   string  `json:"reason,omitzero"`   // why not
	FirstBad *uint64 `json:"firstBad,omitzero"` // sequence number of the first bad entry
	Checked  uint64  `json:"checked"`           // entries before that
	Log      string  `json:"log,omitzero"`      // name of the log
	Size     uint64  `json:"size,omitzero"`     // that the signed head says
	Root     string  `json:"root,omitzero"`     // of the signed head, base64
	Key      string  `json:"key,omitzero"`      // verifier key in the file
	First    int64   `json:"first,omitzero"`    // time of the first entry, seconds since 1970
	Last     int64   `json:"last,omitzero"`     // time of the last entry checked
	Heads    int     `json:"heads,omitzero"`    // kept heads that it was compared with, if it is verified
}

func printAuditJSON(stdout io.Writer, heads int, report audit.Report, err error) int {
	out := auditJSON{Verified: err == nil, Checked: report.Checked, Key: report.Key, First: report.First, Last: report.Last}
	if c := report.Checkpoint; c.Origin != "" {
		out.Log, out.Size, out.Root = c.Origin, c.Size, tlog.Hash(c.Root).String()
	}
	code := auditVerified
	if err != nil {
		out.Reason, code = err.Error(), auditUnverified
	} else {
		out.Heads = heads
	}
	if bad, ok := errors.AsType[*audit.EntryError](err); ok {
		out.FirstBad = &bad.Seq
	}
	text, err := json.Marshal(out)
	if err != nil {
		return auditUnreadable // of strings and numbers: cannot happen
	}
	fmt.Fprintf(stdout, "%s\n", text)
	return code
}

// auditHint says what to do about a log that does not verify.
func auditHint(err error) string {
	for _, h := range auditHints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return "get another copy of the file"
}

var auditHints = []struct {
	err  error
	hint string
}{
	{audit.ErrLineEnds, "something on the way made Windows line ends of them: copy the file as binary, or turn them back (dos2unix)"},
	{audit.ErrFormat, "the file must be what audit.export returns, all pages one after the other, without changes to its line ends"},
	{audit.ErrVersion, "use a newer version of this command"},
	{audit.ErrOtherKey, "this is another log than the one whose key you gave; ask whoever gave you the file"},
	{audit.ErrKey, "line 2 was changed or damaged; get another copy"},
	{audit.ErrCheckpoint, "the lines after the key were changed or damaged; get another copy"},
	{audit.ErrSignature, "the head was not signed by the log's key: the header was changed; do not rely on this file"},
	{audit.ErrTakenBack, "the vault was put back to an older state, or the file is an older export; export it again and compare"},
	{audit.ErrForked, "the log's past was replaced since you kept that head: the vault was put back to an older state and used again; do not rely on this file alone"},
	{audit.ErrOtherHead, "the head is of another log, or was changed; for SIZE:ROOT no signature is compared"},
	{audit.ErrEmpty, "a log has at least the entry that made the vault; export it again"},
	{audit.ErrTruncated, "the file is not whole; export it again and keep all pages"},
	{audit.ErrMissing, "entries at the end are missing: the file is not whole, or they were deleted; export it again and keep all pages"},
	{audit.ErrTrailing, "something was added at the end; get another copy"},
	{audit.ErrExtra, "entries were added after the head was signed; do not rely on this file"},
	{audit.ErrSequence, "an entry was deleted, inserted or moved there; compare it with another copy"},
	{audit.ErrLeafHash, "that entry, or the hash beside it, was edited; compare it with another copy"},
	{audit.ErrNotCanonical, "that line was edited or damaged; compare it with another copy"},
	{audit.ErrTime, "that entry, or the one before it, was edited; compare them with another copy"},
	{audit.ErrRoot, "an entry was replaced together with the hash beside it; only a comparison with another copy shows which"},
}

func auditError(stderr io.Writer, err error, hint string) {
	fmt.Fprintf(stderr, "enclave: error: %v\nenclave: hint: %s\n", err, hint)
}
