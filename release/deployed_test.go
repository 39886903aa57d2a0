package release

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// written returns a directory with two releases; the second is the newest.
func written(t *testing.T) (dir string, first, second *Deployed) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "new", "dist with spaces")
	for i, module := range []string{"first", "second"} {
		d, err := fake(t, module).Deploy(Deployment{FrameAncestors: []string{"https://app.example"}, Origin: "https://kms.example"})
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, d, Compress); err != nil {
			t.Fatal(err)
		}
		*[]**Deployed{&first, &second}[i] = d
	}
	return dir, first, second
}

// TestWrite: what lies in the directory is the release; other releases stay.
func TestWrite(t *testing.T) {
	dir, first, second := written(t)
	all, err := Load(dir)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d releases, %v", len(all), err)
	}
	for i, want := range []*Deployed{second, first} {
		if got := all[i]; got.Release.Measurement != want.Release.Measurement || !bytes.Equal(got.ManifestText, want.ManifestText) {
			t.Errorf("release %d is %s, wanted %s", i, got.Release.Measurement, want.Release.Measurement)
		}
	}
	// The same again changes nothing.
	before := tree(t, dir)
	if err := Write(dir, second, Compress); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); !equalTrees(before, after) {
		t.Error("writing the same release again changed the directory")
	}
	// Without compression no stale forms stay.
	if err := Write(dir, second, nil); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(second.Release.Path), "*.br")); len(found) != 0 {
		t.Errorf("stale %q", found)
	}
}

func TestCompress(t *testing.T) {
	content := []byte(strings.Repeat("wasm", 1000))
	forms, err := Compress(File{"x.wasm", content})
	if err != nil || len(forms) != 2 || forms[0].Name != "x.wasm.br" || forms[1].Name != "x.wasm.gz" {
		t.Fatalf("%d forms, %v", len(forms), err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(forms[1].Content))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"br": brotli.NewReader(bytes.NewReader(forms[0].Content)), "gz": gz} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, spoil := range map[string]func(dir, release string) error{
		"no manifest": func(dir, _ string) error { return os.Remove(filepath.Join(dir, "manifest.json")) },
		"manifest of none": func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{}"), 0o600)
		},
		"no page": func(_, release string) error { return os.Remove(filepath.Join(release, "kms.html")) },
		"another page": func(_, release string) error {
			return os.WriteFile(filepath.Join(release, "kms.html"), []byte("x"), 0o600)
		},
		"truncated manifest": func(_, release string) error { return os.Truncate(filepath.Join(release, "manifest.json"), 100) },
		"another directory": func(_, release string) error {
			return os.Rename(release, filepath.Join(filepath.Dir(release), strings.Repeat("0", 32)))
		},
		"link out of the directory": func(dir, release string) error {
			outside := filepath.Join(t.TempDir(), "page")
			page := filepath.Join(release, "kms.html")
			if err := os.Rename(page, outside); err != nil {
				return err
			}
			return os.Symlink(outside, page)
		},
	} {
		dir, first, _ := written(t)
		if err := spoil(dir, filepath.Join(dir, filepath.FromSlash(first.Release.Path))); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrNoRelease) {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestWithdraw: the release is gone, from the files of web servers too.
func TestWithdraw(t *testing.T) {
	dir, first, second := written(t)
	for bad, want := range map[string]error{
		second.Release.Measurement: ErrNewest, strings.Repeat("0", 32): ErrNoRelease, "": nil, "..": nil, "r/" + first.Release.Measurement[:32]: nil,
	} {
		if err := Withdraw(dir, bad); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := Withdraw(dir, first.Release.Measurement); err != nil {
		t.Fatal(err)
	}
	all, err := Load(dir)
	if err != nil || len(all) != 1 || all[0].Release.Measurement != second.Release.Measurement {
		t.Fatalf("%d releases, %v", len(all), err)
	}
	for _, name := range []string{"_headers", "nginx.conf", "Caddyfile"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || bytes.Contains(text, []byte(first.Release.Path)) || !bytes.Contains(text, []byte(second.Release.Path)) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// TestBrokenRelease: one that is not whole can be withdrawn, and nothing is
// written beside it before.
func TestBrokenRelease(t *testing.T) {
	dir, first, second := written(t)
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(first.Release.Path), "kms.html")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	third, err := fake(t, "third").Deploy(Deployment{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, third, nil); err == nil {
		t.Error("written beside a broken release")
	}
	if !equalTrees(before, tree(t, dir)) {
		t.Error("something was written all the same")
	}
	if err := Withdraw(dir, first.Release.Measurement); err != nil {
		t.Error(err)
	}
	if all, err := Load(dir); err != nil || len(all) != 1 || all[0].Release.Measurement != second.Release.Measurement {
		t.Errorf("%d releases, %v", len(all), err)
	}
}

// TestUnderscoreHeaders reads the file as its hosts do: paths at the margin,
// headers indented; every file of every release has all of its headers, once.
func TestUnderscoreHeaders(t *testing.T) {
	_, first, second := written(t)
	got, at := map[string]map[string]string{}, ""
	for line := range strings.Lines(string(HostFiles([]Manifest{second.Manifest, first.Manifest})[0].Content)) {
		line = strings.TrimRight(line, "\n")
		name, value, isHeader := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, " "):
			if at = line; got[at] != nil {
				t.Errorf("%s: twice", at)
			}
			got[at] = map[string]string{}
		case !isHeader || got[at][name] != "":
			t.Errorf("%s: %q", at, line)
		default:
			got[at][name] = value
		}
	}
	for _, d := range []*Deployed{first, second} {
		for file, headers := range d.Manifest.Deployment.Headers {
			for name, value := range headers {
				if got[d.Release.Path+file][name] != value {
					t.Errorf("%s%s: %s: %q, %q wanted", d.Release.Path, file, name, got[d.Release.Path+file][name], value)
				}
			}
		}
	}
	if len(got) != 2*5+2 {
		t.Errorf("%d paths", len(got))
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// equalTrees reports whether two trees hold the same files; nothing equals nothing.
func equalTrees(a, b map[string]string) bool {
	if len(a) == 0 || len(a) != len(b) {
		return false
	}
	for name, text := range a {
		if other, ok := b[name]; !ok || other != text || text == "" {
			return false
		}
	}
	return true
}
