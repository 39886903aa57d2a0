package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
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
	newest, err := release.ReadFile(root, release.ManifestName, release.MaxManifest)
	if err != nil {
		return missing(release.ManifestName, err)
	}
	var last *verified
	var older []release.Manifest
	for _, at := range releases {
		r.Progress("comparing " + at)
		v, err := r.verifyRelease(root, at)
		if err != nil {
			return err
		}
		if bytes.Equal(v.text, newest) {
			last = v
		} else {
			older = append(older, v.manifest)
		}
	}
	if last == nil {
		return &Difference{File: release.ManifestName, What: "manifest", Got: "that of no release in r", Want: "that of the newest"}
	}
	if err := r.checkMeasurements(); err != nil {
		return err
	}
	configured, err := verifyHostFiles(root, append([]release.Manifest{last.manifest}, older...))
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

// releasesIn names the directories of releases; nothing else may be beside them.
func releasesIn(root *os.Root) ([]string, error) {
	releases, others, err := release.Directories(root)
	switch {
	case errors.Is(err, release.ErrNoRelease):
		return nil, &Difference{File: "r", What: "file", Got: "no directory", Want: "the directory of the releases"}
	case errors.Is(err, fs.ErrNotExist):
		return nil, uncheckedf("there is no release: give the directory that holds r/ and %s", release.ManifestName)
	case err != nil:
		return nil, &unchecked{err}
	case len(others) > 0:
		return nil, &Difference{File: fmt.Sprintf("r/%q", others[0]), What: "file", Got: "one that is no release", Want: "directories named by 32 hex digits"}
	}
	for i, name := range releases {
		releases[i] = path.Join("r", name)
	}
	return releases, nil
}

// verified is a release that is as its manifest says.
type verified struct {
	manifest release.Manifest
	text     []byte
	contents map[string][]byte
}

func (r *run) verifyRelease(root *os.Root, at string) (*verified, error) {
	name := path.Join(at, release.ManifestName)
	text, err := release.ReadFile(root, name, release.MaxManifest)
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
	if content, err = release.ReadFile(root, file, int64(f.Size)); err != nil {
		return nil, nil, missing(file, err)
	}
	if err := compareFile(file, "", content, f); err != nil {
		return nil, nil, err
	}
	names = []string{f.Name}
	for coding, suffix := range map[string]string{"br": ".br", "gzip": ".gz"} {
		packed, err := release.ReadFile(root, file+suffix, release.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, missing(file+suffix, err)
		}
		names = append(names, f.Name+suffix)
		unpacked, err := readDecoded(coding, bytes.NewReader(packed), f.Size)
		if err != nil {
			return nil, nil, &Difference{File: file + suffix, What: "compression", Got: fmt.Sprintf("%q", Clip(err.Error())), Want: "a form of " + f.Name}
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
func verifyHostFiles(root *os.Root, all []release.Manifest) (there []string, err error) {
	known := []string{"r", release.ManifestName}
	for _, f := range release.HostFiles(all) {
		known = append(known, f.Name)
		got, err := release.ReadFile(root, f.Name, 8<<20)
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
	if e, ok := errors.AsType[*release.SizeError](err); ok {
		return &Difference{File: file, What: "size", Got: fmt.Sprintf("%d bytes", e.Size), Want: fmt.Sprintf("at most %d bytes", e.Most)}
	}
	return uncheckedf("%s: %w", file, err)
}
