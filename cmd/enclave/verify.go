package main

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/release"
	"github.com/kms-enclave/kms-enclave/verify"
)

// Exit codes of "enclave verify" and "enclave doctor". They are the same as
// elsewhere, with one more for "nobody knows".
const exitUnchecked = 3

func runVerify(ctx context.Context, u *ui, args []string) error {
	var o verify.Options
	f := u.flags("verify")
	asJSON := f.Bool("json", false, "")
	f.StringVar(&o.Rebuild, "rebuild", "", "")
	f.StringVar(&o.Measurement, "measurement", "", "")
	f.DurationVar(&o.Timeout, "timeout", time.Minute, "")
	target, err := u.parseWithTarget(f, args, "a URL or a directory")
	if err != nil {
		return err
	}
	if err := checkVerifyOptions(&o); err != nil {
		return err
	}
	if !*asJSON {
		o.Progress = u.progress
	}
	report, err := verifyTarget(ctx, target, o)
	u.done()
	switch {
	case err != nil:
		return &failure{err: err, hint: "give the address that an app embeds, as its source says it, or a directory that enclave build wrote", usage: true}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if *asJSON {
		u.printJSON(report)
	} else {
		u.print("%s", verifyText(report))
	}
	return verdictError(report)
}

func checkVerifyOptions(o *verify.Options) error {
	o.Measurement = strings.ToLower(strings.Join(strings.Fields(o.Measurement), ""))
	switch {
	case o.Measurement != "" && (len(o.Measurement) != 96 || strings.Trim(o.Measurement, "0123456789abcdef") != ""):
		return &failure{err: fmt.Errorf("--measurement: got %q, wanted 96 hex digits", o.Measurement), hint: "spaces between groups are fine; the app's verification screen shows it in full", usage: true}
	case o.Timeout <= 0:
		return &failure{err: fmt.Errorf("--timeout: got %v, wanted a time such as 30s", o.Timeout), hint: "enclave verify --help shows the flags", usage: true}
	case o.Rebuild == "":
		return nil
	}
	if info, err := os.Stat(o.Rebuild); err != nil || !info.IsDir() {
		return &failure{err: fmt.Errorf("--rebuild: %q is not a directory", o.Rebuild), hint: "give the root of a checkout of the source, for instance --rebuild .", usage: true}
	}
	return nil
}

// verifyTarget tells a URL from a directory by its scheme.
func verifyTarget(ctx context.Context, target string, o verify.Options) (verify.Report, error) {
	if strings.Contains(target, "://") {
		return verify.URL(ctx, target, o)
	}
	info, err := os.Stat(target)
	switch {
	case err != nil && !strings.Contains(target, "/"):
		return verify.Report{}, fmt.Errorf("verify: %q is no directory here; a host wants its scheme: https://%s", target, target)
	case err == nil && !info.IsDir():
		return verify.Report{}, fmt.Errorf("verify: %q is a file, wanted the directory that holds r and %s", target, release.ManifestName)
	}
	return verify.Dir(ctx, target, o), nil
}

// verifyText is the report for people. Everything in it that a host sent was
// quoted by package verify.
func verifyText(r verify.Report) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	for _, f := range r.Releases {
		say("release      %s\nversion      %s\ncommit       %s\nmeasurement  %s\n", f.Path, f.Version, f.Commit, f.Measurement)
		say("pin          %s\n", pinText(f.Pin))
		say("embedders    %s\n\n", strings.Join(append([]string{}, orNobody(f.Embedders)...), " "))
	}
	list := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		say("%s\n", title)
		for _, line := range lines {
			say("  - %s\n", line)
		}
	}
	list("Proved", r.Proved)
	list("Not proved", r.NotProved)
	list("Notes", r.Notes)
	switch r.Verdict {
	case verify.Verified:
		say("\nVERIFIED: %s is what its manifest says (%d ms).\n", quoteTarget(r.Target), r.Millis)
	case verify.Different:
		say("\nDIFFERENT: %s is NOT what its manifest says. The first difference:\n\n  file   %s\n", quoteTarget(r.Target), r.Difference.File)
		if r.Difference.Shape != "" {
			say("  asked  %s\n", r.Difference.Shape)
		}
		say("  what   %s\n  got    %s\n  wanted %s\n", r.Difference.What, r.Difference.Got, r.Difference.Want)
	case verify.Unchecked:
		say("\nNOT CHECKED: %s\n", r.Problem)
	}
	return b.String()
}

func orNobody(origins []string) []string {
	if len(origins) == 0 {
		return []string{"nobody"}
	}
	return origins
}

func quoteTarget(s string) string { return fmt.Sprintf("%q", s) }

// verdictError turns a verdict into the exit code.
func verdictError(r verify.Report) error {
	here := !strings.Contains(r.Target, "://")
	switch {
	case r.Verdict == verify.Verified:
		return nil
	case r.Verdict == verify.Different && r.Difference.What == "measurement":
		return &failure{err: r.Difference, hint: "this is not the release with the measurement that you gave; compare the digits, and the address"}
	case r.Verdict == verify.Different && here:
		return &failure{err: r.Difference, hint: "do not deploy this directory; build it anew into an empty one"}
	case r.Verdict == verify.Different:
		return &failure{err: r.Difference, hint: "do not rely on this host; tell its operator and the app's developer what is printed above"}
	case strings.HasPrefix(r.Problem, "rebuild:"):
		return &failure{err: errors.New(r.Problem), hint: "--rebuild wants the root of a checkout of the release's own commit, and what enclave build needs", code: exitUnchecked}
	case here:
		return &failure{err: errors.New(r.Problem), hint: "give a directory that enclave build wrote, or a URL", code: exitUnchecked}
	}
	return &failure{err: errors.New(r.Problem), hint: "nothing is known about this release; see whether address and scheme are right, or try from another network", code: exitUnchecked}
}

// printJSON writes one line.
func (u *ui) printJSON(v any) {
	text, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true)) // a path can be anything
	if err != nil {
		panic(err) // strings and numbers have a form in JSON
	}
	u.print("%s\n", text)
}
