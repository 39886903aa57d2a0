package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A file is compared with heads that were kept when the log was shorter.
func TestKeptHeads(t *testing.T) {
	full := newLog(t, 12)
	var kept []Head
	for size := 1; size <= 12; size++ {
		l := newLog(t, size)
		signed, err := ParseHead(l.checkpoint(t))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := ParseHead(fmt.Sprintf("%d:%s", size, tlog.Hash(l.frontier.Root())))
		if err != nil || plain.Size != signed.Size || plain.Root != signed.Root {
			t.Fatalf("%+v, %+v: %v", plain, signed, err)
		}
		kept = append(kept, signed, plain)
	}
	if _, err := VerifyFileOf(bytes.NewReader(full.file(t)), "", kept...); err != nil {
		t.Errorf("every head of it: %v", err)
	}

	// Put back to five entries, and used again: whole, signed, and not what it was.
	forked := newLog(t, 5)
	for range 7 {
		forked.append(t, Entry{Time: 1800000009, Method: "jwt.sign", Outcome: "ok"})
	}
	if _, err := VerifyFile(bytes.NewReader(forked.file(t))); err != nil {
		t.Fatal(err)
	}
	for i, h := range kept {
		_, err := VerifyFileOf(bytes.NewReader(forked.file(t)), "", kept[len(kept)-1], h)
		failure, ok := errors.AsType[*HeadError](err)
		if want := max(h.Size, 6); !ok || !errors.Is(err, ErrForked) || (h.Size > 5 && failure.Size != want) || (h.Size <= 5 && failure.Size != 12) {
			t.Errorf("head %d of %d entries: %v", i, h.Size, err)
		}
		_, err = VerifyFileOf(bytes.NewReader(newLog(t, 5).file(t)), "", h)
		if (h.Size > 5) != errors.Is(err, ErrTakenBack) {
			t.Errorf("five entries left, head of %d: %v", h.Size, err)
		}
	}

	// An entry that was edited is named before any head.
	edited := bytes.Replace(full.file(t), []byte("kid-3"), []byte("kid-2"), 1)
	_, err := VerifyFileOf(bytes.NewReader(edited), "", kept...)
	if bad, ok := errors.AsType[*EntryError](err); !ok || bad.Seq != 3 {
		t.Errorf("an edited entry: %v", err)
	}
	_, err = VerifyFileOf(bytes.NewReader(full.file(t)), "", Head{12, full.frontier.Root(), strings.Replace(full.checkpoint(t), "\n12\n", "\n11\n", 1)})
	if !errors.Is(err, ErrOtherHead) {
		t.Errorf("a checkpoint that was changed: %v", err)
	}
}

func TestParseHead(t *testing.T) {
	root := newLog(t, 3).frontier.Root()
	standard, url := base64.StdEncoding.EncodeToString(root[:]), base64.RawURLEncoding.EncodeToString(root[:])
	for _, text := range []string{"3:" + standard, "3:" + url} {
		if h, err := ParseHead(text); err != nil || h.Size != 3 || h.Root != root {
			t.Errorf("%q: %+v, %v", text, h, err)
		}
	}
	for _, text := range []string{"", "3", "3:", ":" + standard, "0:" + standard, "03:" + standard, "-3:" + standard, "3:" + standard + "\n", "3:" + url[1:], "3:" + url + "=", "1e3:" + url, "99999999999999999999:" + url} {
		if h, err := ParseHead(text); err == nil {
			t.Errorf("%q is %+v", text, h)
		}
	}
}
