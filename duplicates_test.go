package kmsenclave

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/release"
)

// The pinned policy and the end of the response header are written out in
// three places: package release serves them, the loader runs under
// them or not at all, and the SDK, which no file of a host may be imported
// into, demands them. Each must hold its own copy; these tests hold them alike.

const someHash = "sha384-" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// taken returns what the one match of a pattern has in its group.
func taken(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1)
	if len(found) != 1 {
		t.Fatalf("%s: got %d matches of %s, wanted the one", file, len(found), pattern)
	}
	return found[0][1]
}

// TestPolicyIsTheSameEverywhere: what release writes is what web/loader.js
// compares with and what sdk/pin.js accepts.
func TestPolicyIsTheSameEverywhere(t *testing.T) {
	want, err := release.Policy(someHash)
	if err != nil {
		t.Fatal(err)
	}
	copies := map[string]string{
		"web/loader.js": strings.Replace(taken(t, "web/loader.js", "pinOf = \\(hash\\) =>\\s*`([^`]*)`"), "${hash}", someHash, 1),
		"sdk/pin.js":    strings.Replace(taken(t, "sdk/pin.js", "POLICY = new RegExp\\(\\s*`\\^([^`]*)\\$`"), "(${HASH})", someHash, 1),
	}
	for file, got := range copies {
		if got != want {
			t.Errorf("%s: policy\n got %s\nwant %s", file, got, want)
		}
	}
	if form := taken(t, "sdk/pin.js", `HASH = "(.*)"`); !regexp.MustCompile(`\A` + form + `\z`).MatchString(someHash) {
		t.Errorf("sdk/pin.js: a hash has the form %s, which %s has not", form, someHash)
	}
}

// TestHeaderTailIsTheSameEverywhere: what stands behind the pin and the
// deployment's frame-ancestors.
func TestHeaderTailIsTheSameEverywhere(t *testing.T) {
	want := taken(t, "web/loader.js", `TRUSTED_TYPES = "(.*)"`)
	if !strings.HasPrefix(want, "; require-trusted-types-for ") {
		t.Fatalf("web/loader.js: got %q, wanted trusted types", want)
	}
	const before = `; frame-ancestors [^;,]+`
	if got := taken(t, "sdk/check.js", `HEADER_TAIL = /\^(.*)\$/`); got != before+want {
		t.Errorf("sdk/check.js: header tail\n got %s\nwant %s", got, before+want)
	}
	files, err := filepath.Glob("release/*.go")
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			written += strings.Count(string(text), `"`+want+`"`)
		}
	}
	if written != 1 {
		t.Errorf("release: writes %q in %d places, wanted one", want, written)
	}
}

// TestLargestFileIsTheSameEverywhere: the SDK takes every module that a release may have.
func TestLargestFileIsTheSameEverywhere(t *testing.T) {
	want := strconv.Itoa(release.MaxFile >> 20)
	if got := taken(t, "sdk/body.js", `MAX_MODULE = (\d+) << 20;`); got != want {
		t.Errorf("sdk/body.js: got %s MiB, wanted %s", got, want)
	}
}
