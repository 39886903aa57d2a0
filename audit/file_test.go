package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestVerifyFile(t *testing.T) {
	for _, size := range []int{1, 2, 7, 8, 100} {
		l := newLog(t, size)
		got, err := VerifyFile(iotest.OneByteReader(bytes.NewReader(l.file(t))))
		if err != nil {
			t.Errorf("%d entries: %v", size, err)
		}
		want := Report{Key: l.key(t), Checked: uint64(size), First: 1800000000, Last: 1800000000 + int64(size-1)/3}
		want.Checkpoint, _ = OpenCheckpoint(l.checkpoint(t), l.key(t))
		if got != want {
			t.Errorf("%d entries: %+v, %+v wanted", size, got, want)
		}
	}
}

// fileLines splits a file; the entries begin at line headerLines.
func fileLines(file []byte) []string { return strings.Split(string(file), "\n") }

const headerLines = 8

// line returns the line of an entry.
func line(t *testing.T, entry []byte) string {
	t.Helper()
	b, err := AppendEntries(nil, [][]byte{entry})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

// Each way to break a file, and what is said of it. A seq of -1: no entry is named.
func TestVerifyFileNamesFirstBad(t *testing.T) {
	const size = 20
	l := newLog(t, size)
	good := fileLines(l.file(t))
	longer := newLog(t, size+1)
	extra := line(t, longer.entries[size])
	edited := func(seq int, old, new string) []byte {
		return bytes.Replace(l.entries[seq], []byte(old), []byte(new), 1)
	}
	tests := map[string]struct {
		spoil func(lines []string) []string
		seq   int
		want  error
	}{
		"deleted first":      {func(s []string) []string { return slices.Delete(s, headerLines, headerLines+1) }, 0, ErrSequence},
		"deleted in between": {func(s []string) []string { return slices.Delete(s, headerLines+9, headerLines+10) }, 9, ErrSequence},
		"deleted at the end": {func(s []string) []string { return slices.Delete(s, headerLines+size-1, headerLines+size) }, size - 1, ErrMissing},
		"all deleted":        {func(s []string) []string { return slices.Delete(s, headerLines, headerLines+size) }, 0, ErrMissing},
		"swapped": {func(s []string) []string {
			s[headerLines+3], s[headerLines+4] = s[headerLines+4], s[headerLines+3]
			return s
		}, 3, ErrSequence},
		"duplicated":      {func(s []string) []string { return slices.Insert(s, headerLines+3, s[headerLines+3]) }, 4, ErrSequence},
		"duplicated last": {func(s []string) []string { return slices.Insert(s, headerLines+size, s[headerLines+size-1]) }, size, ErrExtra},
		"appended":        {func(s []string) []string { return slices.Insert(s, headerLines+size, extra) }, size, ErrExtra},
		"edited": {func(s []string) []string {
			s[headerLines+5] = strings.Replace(s[headerLines+5], "jwt", "key", 1)
			return s
		}, 5, ErrLeafHash},
		"two edited": {func(s []string) []string {
			for _, i := range []int{12, 6} {
				s[headerLines+i] = strings.Replace(s[headerLines+i], "jwt", "key", 1)
			}
			return s
		}, 6, ErrLeafHash},
		"hash edited": {func(s []string) []string {
			s[headerLines+5] = line(t, l.entries[6])[:hashLength] + s[headerLines+5][hashLength:]
			return s
		}, 5, ErrLeafHash},
		"hash misspelled":   {func(s []string) []string { s[headerLines+5] = misspell(s[headerLines+5]); return s }, 5, ErrLeafHash},
		"no hash":           {func(s []string) []string { s[headerLines+5] = string(l.entries[5]); return s }, 5, ErrNotCanonical},
		"edited with hash":  {func(s []string) []string { s[headerLines+5] = line(t, edited(5, "jwt", "key")); return s }, -1, ErrRoot},
		"earlier with hash": {func(s []string) []string { s[headerLines+5] = line(t, edited(5, "18000", "17000")); return s }, 5, ErrTime},
		"reordered members": {func(s []string) []string {
			s[headerLines+5] = line(t, edited(5, `"seq":5,"time":1800000001`, `"time":1800000001,"seq":5`))
			return s
		}, 5, ErrNotCanonical},
		"blank line":         {func(s []string) []string { return slices.Insert(s, headerLines+5, "") }, 5, ErrNotCanonical},
		"carriage return":    {func(s []string) []string { s[headerLines+5] += "\r"; return s }, 5, ErrNotCanonical},
		"long line":          {func(s []string) []string { s[headerLines+5] += strings.Repeat(" ", MaxEntry); return s }, 5, errLongLine},
		"cut inside a line":  {func(s []string) []string { s = s[:headerLines+6]; s[headerLines+5] = s[headerLines+5][:60]; return s }, 5, ErrTruncated},
		"cut before a line":  {func(s []string) []string { return append(s[:headerLines+5], "") }, 5, ErrMissing},
		"cut before the end": {func(s []string) []string { return s[:len(s)-1] }, size - 1, ErrTruncated},
		"garbage at the end": {func(s []string) []string { return append(s[:len(s)-1], "garbage", "") }, -1, ErrTrailing},
		"blank line at end":  {func(s []string) []string { return append(s, "") }, -1, ErrTrailing},
		"part line at end":   {func(s []string) []string { s[len(s)-1] = "x"; return s }, -1, ErrTrailing},
		"long line at end":   {func(s []string) []string { s[len(s)-1] = strings.Repeat("x", 2*maxLine); return s }, -1, ErrTrailing},
		"empty":              {func([]string) []string { return nil }, -1, ErrFormat},
		"cut in line one":    {func(s []string) []string { return []string{s[0][:10]} }, -1, ErrFormat},
		"something else":     {func([]string) []string { return []string{"hello", "world"} }, -1, ErrFormat},
		"one long line":      {func([]string) []string { return []string{strings.Repeat("x", 2*maxLine)} }, -1, ErrFormat},
		"version 2":          {func(s []string) []string { s[0] = fileMagic + "2"; return s }, -1, ErrVersion},
		"version 10":         {func(s []string) []string { s[0] = fileMagic + "10"; return s }, -1, ErrVersion},
		"Windows line ends": {func(s []string) []string {
			for i := range s {
				s[i] += "\r"
			}
			return s
		}, -1, ErrLineEnds},
		"version 01":          {func(s []string) []string { s[0] = fileMagic + "01"; return s }, -1, ErrFormat},
		"version 0":           {func(s []string) []string { s[0] = fileMagic + "0"; return s }, -1, ErrFormat},
		"no version":          {func(s []string) []string { s[0] = fileMagic; return s }, -1, ErrFormat},
		"header only":         {func(s []string) []string { return []string{s[0], ""} }, -1, ErrTruncated},
		"no key":              {func(s []string) []string { return slices.Delete(s, 1, 2) }, -1, ErrKey},
		"key edited":          {func(s []string) []string { s[1] = s[1][:len(s[1])-2] + "A="; return s }, -1, ErrKey},
		"another key":         {func(s []string) []string { s[1] = otherKey(t); return s }, -1, ErrSignature},
		"size edited":         {func(s []string) []string { s[3] = "19"; return s }, -1, ErrSignature},
		"no checkpoint":       {func(s []string) []string { return slices.Delete(s, 2, 7) }, -1, ErrCheckpoint},
		"no signature":        {func(s []string) []string { return slices.Delete(s, 6, 7) }, -1, ErrCheckpoint},
		"no blank line":       {func(s []string) []string { return slices.Delete(s, 7, 8) }, -1, ErrCheckpoint},
		"another's signature": {func(s []string) []string { s[6] = fileLines(longer.file(t))[6]; return s }, -1, ErrSignature},
		"many signatures":     {func(s []string) []string { return slices.Insert(s, 7, slices.Repeat(s[6:7], 17)...) }, -1, ErrCheckpoint},
		"cut in checkpoint":   {func(s []string) []string { return append(s[:4], "") }, -1, ErrTruncated},
		"cut in signature":    {func(s []string) []string { return append(s[:6], s[6][:20]) }, -1, ErrTruncated},
	}
	for name, test := range tests {
		spoiled := strings.Join(test.spoil(slices.Clone(good)), "\n")
		_, err := VerifyFile(strings.NewReader(spoiled))
		bad, named := errors.AsType[*EntryError](err)
		switch {
		case !errors.Is(err, test.want):
			t.Errorf("%s: %v; %v wanted", name, err, test.want)
		case named != (test.seq >= 0) || named && bad.Seq != uint64(test.seq):
			t.Errorf("%s: %v; entry %d wanted", name, err, test.seq)
		}
	}
}

// misspell changes the bits of a hash's base64 that do not count.
func misspell(line string) string {
	b := []byte(line)
	b[hashLength-2]++
	return string(b)
}

func otherKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := VerifierKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Whatever single byte of a file is changed, lost or added, it does not verify.
func TestEveryByteCounts(t *testing.T) {
	file := newLog(t, 4).file(t)
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		lost := slices.Delete(bytes.Clone(file), i, i+1)
		added := slices.Insert(bytes.Clone(file), i, file[i])
		for _, spoiled := range [][]byte{changed, lost, added, file[:i]} {
			if _, err := VerifyFile(bytes.NewReader(spoiled)); err == nil {
				t.Fatalf("byte %d of %d (%q): verified:\n%s", i, len(file), file[i], spoiled)
			}
		}
	}
}

func TestVerifyFileOf(t *testing.T) {
	l := newLog(t, 3)
	if _, err := VerifyFileOf(bytes.NewReader(l.file(t)), l.key(t)); err != nil {
		t.Error(err)
	}
	if _, err := VerifyFileOf(bytes.NewReader(l.file(t)), otherKey(t)); !errors.Is(err, ErrOtherKey) {
		t.Error(err)
	}
}

// A signed head of no entries is still no log.
func TestVerifyFileEmptyLog(t *testing.T) {
	if _, err := VerifyFile(bytes.NewReader(newLog(t, 0).file(t))); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
}

func TestVerifyFileReadError(t *testing.T) {
	gone := errors.New("the disk is gone")
	file := newLog(t, 3).file(t)
	for _, n := range []int{0, 30, 300, 600} {
		r := iotest.TimeoutReader(bytes.NewReader(file[:n]))
		if n == 0 {
			r = iotest.ErrReader(gone)
		}
		if _, err := VerifyFile(iotest.OneByteReader(r)); !errors.Is(err, gone) && !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	l := newLog(t, 3)
	for name, pair := range map[string][2]string{
		"key":        {"x", l.checkpoint(t)},
		"checkpoint": {l.key(t), "x"},
		"other log":  {otherKey(t), l.checkpoint(t)},
		"cut":        {l.key(t), strings.TrimSuffix(l.checkpoint(t), "\n")},
	} {
		if b, err := AppendHeader(nil, pair[0], pair[1]); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
	for _, entry := range []string{"", "a\nb", strings.Repeat("x", MaxEntry+1)} {
		if b, err := AppendEntries(nil, [][]byte{[]byte(entry)}); err == nil {
			t.Errorf("%.20q: %.40s", entry, b)
		}
	}
}

func BenchmarkVerifyFile(b *testing.B) {
	const size = 100_000
	file := newLog(b, size).file(b)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if report, err := VerifyFile(bytes.NewReader(file)); err != nil || report.Checked != size {
			b.Fatalf("%+v, %v", report, err)
		}
	}
}

func FuzzVerifyFile(f *testing.F) {
	l := newLog(f, 3)
	good := l.file(f)
	f.Add(good)
	f.Add([]byte(FileHeader + "\n"))
	f.Add(bytes.Replace(good, []byte("jwt"), []byte("key"), 1))
	f.Add(append(bytes.Clone(good), "\n"...))
	f.Fuzz(func(t *testing.T, file []byte) {
		report, err := VerifyFile(bytes.NewReader(file))
		if err != nil {
			return
		}
		// The signature covers the rest: what verifies is the log itself. Only
		// lines of other signers may have been added to its header.
		if report.Checked != 3 || !bytes.HasSuffix(file, good[bytes.Index(good, []byte("\n\n"+base64Of(l.entries[0]))):]) {
			t.Errorf("verified: %q", file)
		}
	})
}

func base64Of(entry []byte) string {
	leaf := LeafHash(entry)
	return base64.StdEncoding.EncodeToString(leaf[:])
}
