package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kms-enclave/kms-enclave/release"
)

// Dir verifies a directory that enclave build wrote, offline: every release in
// it, their compressed forms, and the configuration for web servers.
func Dir(ctx context.Context, dir string, o Options) Report {
	r := newRun(dir, o)
	return r.end(r.verifyDir(ctx, dir))
}

func (r *run) verifyDir(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &unchecked{err}
	}
	defer root.Close()
	releases, err := releasesIn(root)
	if err != nil {
		return err
	}
	if len(releases) == 0 {
		return uncheckedf("%q holds no release: r is empty", dir)
	}
	newest, err := readAtMost(root, release.ManifestName, release.MaxManifest)
	if err != nil {
		return missing(release.ManifestName, err)
	}
	var last *verified
	for _, at := range releases {
		r.Progress("comparing " + at)
		v, err := r.verifyRelease(root, at)
		if err != nil {
			return err
		}
		if bytes.Equal(v.text, newest) {
			last = v
		}
	}
	if last == nil {
		return &Difference{File: release.ManifestName, What: "manifest", Got: "that of no release in r", Want: "that of the newest"}
	}
	if err := r.checkMeasurements(); err != nil {
		return err
	}
	configured, err := verifyHostFiles(dir, root)
	if err != nil {
		return err
	}
	r.proved("Every file of %d release(s) is byte for byte as its manifest says, raw and compressed, and no other file lies beside them.", len(releases))
	r.proved("Each loader has the measurement that its manifest names, and names the hash of its module; each page is the one text that starts that loader.")
	if len(configured) > 0 {
		r.proved("%s send the headers of the manifests.", strings.Join(configured, ", "))
	}
	if r.Rebuild != "" && len(releases) > 1 {
		r.notProved("That the older releases here come from the published source: only the newest, %s, is rebuilt.", last.manifest.Release.Path)
	}
	r.notProved("What a host makes of this directory: give its URL.")
	return r.rebuild(ctx, last.manifest, last.contents)
}

// releasesIn names the directories of releases, and nothing else may be there.
func releasesIn(root *os.Root) ([]string, error) {
	info, err := root.Lstat("r")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, uncheckedf("there is no release: give the directory that holds r/ and %s", release.ManifestName)
	case err != nil:
		return nil, &unchecked{err}
	case !info.IsDir():
		return nil, &Difference{File: "r", What: "file", Got: "no directory", Want: "the directory of the releases"}
	}
	entries, err := fs.ReadDir(root.FS(), "r")
	if err != nil {
		return nil, &unchecked{err}
	}
	var releases []string
	for _, e := range entries {
		if !e.IsDir() || !directoryForm.MatchString(e.Name()) {
			return nil, &Difference{File: fmt.Sprintf("r/%q", e.Name()), What: "file", Got: "one that is no release", Want: "directories named by 32 hex digits"}
		}
		releases = append(releases, path.Join("r", e.Name()))
	}
	return releases, nil
}

var directoryForm = regexp.MustCompile(`\A[0-9a-f]{32}\z`)

// verified is a release that is as its manifest says.
type verified struct {
	manifest release.Manifest
	text     []byte
	contents map[string][]byte
}

func (r *run) verifyRelease(root *os.Root, at string) (*verified, error) {
	name := path.Join(at, release.ManifestName)
	text, err := readAtMost(root, name, release.MaxManifest)
	if err != nil {
		return nil, missing(name, err)
	}
	m, err := parse(name, "", text)
	if err != nil {
		return nil, err
	}
	r.found(m)
	if m.Release.Path != "/"+at+"/" {
		return nil, &Difference{File: name, What: "path", Got: m.Release.Path, Want: "/" + at + "/"}
	}
	v := &verified{m, text, map[string][]byte{}}
	known := []string{release.ManifestName}
	for _, f := range m.Release.Files {
		content, forms, err := readForms(root, at, f)
		if err != nil {
			return nil, err
		}
		v.contents[f.Name] = content
		known = append(known, forms...)
	}
	if err := onlyThese(root, at, known); err != nil {
		return nil, err
	}
	return v, checkLoader(path.Join(at, m.Release.Files[1].Name), m, v.contents[m.Release.Files[1].Name], v.contents[m.Release.Files[0].Name])
}

// readForms reads a file and its compressed forms, which must decode to it. It
// returns the names of those that are there.
func readForms(root *os.Root, at string, f release.FileInfo) (content []byte, names []string, err error) {
	file := path.Join(at, f.Name)
	if content, err = readAtMost(root, file, f.Size); err != nil {
		return nil, nil, missing(file, err)
	}
	if err := compareFile(file, "", content, f); err != nil {
		return nil, nil, err
	}
	names = []string{f.Name}
	for coding, suffix := range map[string]string{"br": ".br", "gzip": ".gz"} {
		packed, err := readAtMost(root, file+suffix, release.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, missing(file+suffix, err)
		}
		names = append(names, f.Name+suffix)
		unpacked, err := readDecoded(coding, bytes.NewReader(packed), f.Size)
		if err != nil {
			return nil, nil, &Difference{File: file + suffix, What: "compression", Got: fmt.Sprintf("%q", clip(err.Error())), Want: "a form of " + f.Name}
		}
		if err := compareFile(file+suffix, "", unpacked, f); err != nil {
			return nil, nil, err
		}
	}
	return content, names, nil
}

func onlyThese(root *os.Root, at string, known []string) error {
	entries, err := fs.ReadDir(root.FS(), at)
	if err != nil {
		return &unchecked{err}
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			return &Difference{File: fmt.Sprintf("%q", path.Join(at, e.Name())), What: "file", Got: "one that no manifest lists", Want: "none"}
		}
	}
	return nil
}

// verifyHostFiles compares the configuration for web servers with what the
// releases need, and returns which of it is there. Other files may not be.
func verifyHostFiles(dir string, root *os.Root) (there []string, err error) {
	all, err := release.Load(dir)
	if err != nil {
		return nil, uncheckedf("%w", err)
	}
	known := []string{"r", release.ManifestName}
	for _, f := range release.HostFiles(all) {
		known = append(known, f.Name)
		got, err := readAtMost(root, f.Name, 8<<20)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a host that needs none of them
		}
		if err != nil {
			return nil, missing(f.Name, err)
		}
		if !bytes.Equal(got, f.Content) {
			_, gotBytes, wantBytes := firstDifference(got, f.Content)
			return nil, &Difference{File: f.Name, What: "bytes", Got: gotBytes, Want: wantBytes + ", as the manifests say"}
		}
		there = append(there, f.Name)
	}
	return there, onlyThese(root, ".", known)
}

// missing tells a file that is not there from one that cannot be read.
func missing(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Difference{File: file, What: "file", Got: "none", Want: "a file that the manifest lists"}
	}
	if e, ok := errors.AsType[*tooLarge](err); ok {
		return &Difference{File: file, What: "size", Got: fmt.Sprintf("%d bytes", e.size), Want: fmt.Sprintf("at most %d bytes", e.limit)}
	}
	return uncheckedf("%s: %w", file, err)
}

type tooLarge struct{ size, limit int64 }

func (e *tooLarge) Error() string { return fmt.Sprintf("%d bytes, at most %d wanted", e.size, e.limit) }

// readAtMost reads a regular file inside root.
func readAtMost(root *os.Root, name string, limit int) ([]byte, error) {
	info, err := root.Stat(strings.TrimPrefix(name, "./"))
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", name)
	case info.Size() > int64(limit):
		return nil, &tooLarge{info.Size(), int64(limit)}
	}
	return root.ReadFile(name)
}
