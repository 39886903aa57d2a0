package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// How this tool speaks. Results go to stdout, and only results. Everything else
// goes to stderr: progress if a person watches, and for each failure a line
// "enclave: error: …" and what to do about it, "enclave: hint: …".

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// failure is an error with what to do about it.
type failure struct {
	err   error
	hint  string
	usage bool // the command was called wrongly
	code  int  // exit code, if it is another one
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// withHint says what to do about an error.
func withHint(err error, hint string) error { return &failure{err: err, hint: hint} }

func usageErrorf(format string, args ...any) error {
	return &failure{err: fmt.Errorf(format, args...), hint: "enclave help shows what there is", usage: true}
}

type ui struct {
	stdout, stderr io.Writer
	watched        bool // a person sees stderr

	mu      sync.Mutex
	step    string
	started time.Time
}

func newUI(stdout, stderr io.Writer) *ui {
	return &ui{stdout: stdout, stderr: stderr, watched: isTerminal(stderr)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// print writes a result.
func (u *ui) print(format string, args ...any) {
	fmt.Fprint(u.stdout, plain(fmt.Sprintf(format, args...)))
}

// plain escapes what could move a terminal's cursor, change its colours or turn
// the direction of text: some of what is printed was sent by somebody.
func plain(text string) string {
	var b strings.Builder
	for _, c := range text {
		if c == '\n' || strconv.IsPrint(c) && c != utf8.RuneError {
			b.WriteRune(c)
		} else {
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, "\\u%04x", unit) // as JSON writes it
			}
		}
	}
	return b.String()
}

// warn says what a person will want to know, though nothing failed.
func (u *ui) warn(format string, args ...any) {
	fmt.Fprint(u.stderr, plain(fmt.Sprintf("enclave: warning: "+format+"\n", args...)))
}

// progress says what takes a while now; the step before is done.
func (u *ui) progress(step string) {
	if !u.watched {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endStep()
	u.step, u.started = step, time.Now()
	fmt.Fprintf(u.stderr, "%s ...", plain(step))
}

// done ends the last step of a progress.
func (u *ui) done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endStep()
}

func (u *ui) endStep() {
	if u.step != "" {
		fmt.Fprintf(u.stderr, " %.1f s\n", time.Since(u.started).Seconds())
	}
	u.step = ""
}

// exit reports an error and returns the exit code. Being told to stop is not an error.
func (u *ui) exit(ctx context.Context, err error) int {
	if u.interrupted() && err != nil {
		fmt.Fprintln(u.stderr)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitDone
	}
	fmt.Fprintf(u.stderr, "enclave: error: %s\n", plain(strings.TrimSpace(err.Error())))
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return exitFailed
	}
	fmt.Fprintf(u.stderr, "enclave: hint: %s\n", plain(f.hint))
	switch {
	case f.code != 0:
		return f.code
	case f.usage:
		return exitUsage
	}
	return exitFailed
}

// interrupted forgets a step that did not come to its end, and reports whether there was one.
func (u *ui) interrupted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.step != ""
	u.step = ""
	return was
}

// flags returns an empty flag set that speaks like this tool.
func (u *ui) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// parse parses the arguments of a subcommand that takes flags only.
func (u *ui) parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		u.print("%s", help[f.Name()])
		return err
	case err != nil:
		return &failure{err: fmt.Errorf("%s: %w", f.Name(), err), hint: "enclave " + f.Name() + " --help shows the flags", usage: true}
	case f.NArg() > 0:
		return &failure{err: fmt.Errorf("%s: got argument %q, wanted flags only", f.Name(), f.Arg(0)), hint: "enclave " + f.Name() + " --help shows the flags", usage: true}
	}
	return nil
}

// parseWithTarget parses the arguments of a subcommand that takes flags and one
// more word, before or behind them.
func (u *ui) parseWithTarget(f *flag.FlagSet, args []string, what string) (string, error) {
	var words []string
	for rest := args; ; rest = f.Args()[1:] {
		err := f.Parse(rest)
		switch {
		case errors.Is(err, flag.ErrHelp):
			u.print("%s", help[f.Name()])
			return "", err
		case err != nil:
			return "", &failure{err: fmt.Errorf("%s: %w", f.Name(), err), hint: "enclave " + f.Name() + " --help shows the flags", usage: true}
		}
		if f.NArg() == 0 {
			break
		}
		words = append(words, f.Arg(0))
	}
	if len(words) != 1 || words[0] == "" {
		return "", &failure{err: fmt.Errorf("%s: got %d arguments, wanted %s", f.Name(), len(words), what), hint: "enclave " + f.Name() + " --help shows how", usage: true}
	}
	return words[0], nil
}

// texts is a flag that may be given several times.
type texts []string

func (t *texts) String() string { return strings.Join(*t, " ") }

// Set implements flag.Value.
func (t *texts) Set(s string) error {
	*t = append(*t, s)
	return nil
}
