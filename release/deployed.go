package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Deployed is a release as one operator serves it: its files, the manifest that
// describes them, and the text of that manifest.
type Deployed struct {
	Release      *Release
	Manifest     Manifest
	ManifestText []byte
}

// Deploy makes the manifest of r for a deployment.
func (r *Release) Deploy(d Deployment) (*Deployed, error) {
	m, err := r.Manifest(d)
	if err != nil {
		return nil, err
	}
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	// What this package writes, it reads.
	if _, err := ParseManifest(text); err != nil {
		return nil, err
	}
	return &Deployed{r, m, text}, nil
}

// files returns everything in the directory of the release.
func (d *Deployed) files() []File {
	return append(d.Release.Contents(), File{ManifestName, d.ManifestText})
}

// ErrNoRelease means that a directory does not hold what Write writes.
var ErrNoRelease = errors.New("no release here")

// Load reads every release of a directory that [Write] wrote, the newest first,
// and compares each file with its manifest. A release that is not whole is an
// error that names it.
func Load(dir string) ([]*Deployed, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return load(root)
}

func load(root *os.Root) ([]*Deployed, error) {
	newest, err := ReadFile(root, ManifestName, MaxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrNoRelease, ManifestName)
	}
	if err != nil {
		return nil, err
	}
	names, _, err := Directories(root)
	if err != nil {
		return nil, err
	}
	var all []*Deployed
	for _, name := range names {
		d, err := loadOne(root, path.Join("r", name))
		if err != nil {
			return nil, fmt.Errorf("r/%s: %w", name, err)
		}
		all = append(all, d)
	}
	at := slices.IndexFunc(all, func(d *Deployed) bool { return string(d.ManifestText) == string(newest) })
	if at < 0 {
		return nil, fmt.Errorf("%w: %s is that of none of the %d releases in r/", ErrNoRelease, ManifestName, len(all))
	}
	return slices.Concat(all[at:at+1], all[:at], all[at+1:]), nil
}

// directoryForm is what the directory of a release is called, in r/.
var directoryForm = regexp.MustCompile(`\A[0-9a-f]{32}\z`)

// Directories lists r/ in a directory that [Write] wrote: the releases, and what
// else lies there. r must be a directory: anything else could block.
func Directories(root *os.Root) (releases, others []string, err error) {
	info, err := root.Lstat("r")
	switch {
	case err != nil:
		return nil, nil, err
	case !info.IsDir():
		return nil, nil, fmt.Errorf("%w: r is not a directory", ErrNoRelease)
	}
	entries, err := fs.ReadDir(root.FS(), "r")
	for _, e := range entries {
		if e.IsDir() && directoryForm.MatchString(e.Name()) {
			releases = append(releases, e.Name())
		} else {
			others = append(others, e.Name())
		}
	}
	return releases, others, err
}

func loadOne(root *os.Root, dir string) (*Deployed, error) {
	text, err := ReadFile(root, path.Join(dir, ManifestName), MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return nil, err
	}
	if m.Release.Path != "/"+dir+"/" {
		return nil, fmt.Errorf("%w: it is the manifest of %s", ErrManifestPath, m.Release.Path)
	}
	r := &Release{Description: m.Release}
	for _, f := range m.Release.Files {
		content, err := ReadFile(root, path.Join(dir, f.Name), MaxFile)
		if err != nil {
			return nil, err
		}
		if got := describe(f.Name, content); got != f {
			return nil, fmt.Errorf("%s: got %d bytes with %s, wanted %d with %s", f.Name, got.Size, got.SHA384, f.Size, f.SHA384)
		}
		r.contents = append(r.contents, content)
	}
	return &Deployed{r, m, text}, nil
}

// SizeError means that a file is larger than it may be.
type SizeError struct {
	Name       string
	Size, Most int64 // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s: got %d bytes, wanted at most %d", e.Name, e.Size, e.Most)
}

// ReadFile reads a regular file of at most so many bytes. A larger one is a
// [SizeError].
func ReadFile(root *os.Root, name string, most int64) ([]byte, error) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", name)
	case info.Size() > most:
		return nil, &SizeError{name, info.Size(), most}
	}
	return root.ReadFile(name)
}

// Write writes a deployment into a directory, which it makes if it must:
//
//	r/<hex>/              the release's files, each also compressed, and its manifest
//	manifest.json         the newest release's manifest: this one's
//	_headers, nginx.conf, Caddyfile, 404.html    for web servers, see [HostFiles]
//
// Other releases in the directory stay. The manifests come last: where one is,
// the rest is. compress is asked for the compressed forms of a file; nil makes none.
func Write(dir string, d *Deployed, compress func(File) ([]File, error)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	all, err := load(root)
	if err != nil && !errors.Is(err, ErrNoRelease) {
		return fmt.Errorf("release: what is there already: %w", err)
	}
	if err := writeRelease(root, d, compress); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if err := replaceFile(root, ManifestName, d.ManifestText); err != nil {
		return err
	}
	others := slices.DeleteFunc(all, func(other *Deployed) bool { return other.Release.Path == d.Release.Path })
	return writeHostFiles(root, append([]*Deployed{d}, others...))
}

func writeRelease(root *os.Root, d *Deployed, compress func(File) ([]File, error)) error {
	at := strings.Trim(d.Release.Path, "/")
	if err := root.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for _, f := range d.files() {
		var forms []File
		if compress != nil && f.Name != ManifestName {
			var err error
			if forms, err = compress(f); err != nil {
				return err
			}
		}
		// What an earlier build left compressed would no longer be the same.
		for _, suffix := range encodings {
			if err := root.Remove(path.Join(at, f.Name+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		for _, form := range append(forms, f) {
			if err := replaceFile(root, path.Join(at, form.Name), form.Content); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeHostFiles(root *os.Root, all []*Deployed) error {
	manifests := make([]Manifest, len(all))
	for i, d := range all {
		manifests[i] = d.Manifest
	}
	for _, f := range HostFiles(manifests) {
		if err := replaceFile(root, f.Name, f.Content); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile puts a whole file in the place of another, which somebody may be
// serving at this moment.
func replaceFile(root *os.Root, name string, content []byte) error {
	temporary := name + ".new"
	if err := root.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return root.Rename(temporary, name)
}

// ErrNewest means that the newest release cannot be withdrawn: build another one first.
var ErrNewest = errors.New("the newest release cannot be withdrawn")

// Withdraw removes a release from a directory that [Write] wrote: from then on
// apps that pin it do not start. release is the name of its directory, 32 hex
// digits, or its measurement.
func Withdraw(dir, release string) error {
	if measurementForm.MatchString(release) {
		release = release[:nameLength]
	}
	if !directoryForm.MatchString(release) {
		return fmt.Errorf("release: got %q, wanted the 32 hex digits of its directory, or the 96 of its measurement", release)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	text, err := ReadFile(root, ManifestName, MaxManifest)
	if err != nil {
		return err
	}
	newest, err := ParseManifest(text)
	if err != nil {
		return err
	}
	if newest.Release.Path == "/r/"+release+"/" {
		return fmt.Errorf("%w: r/%s", ErrNewest, release)
	}
	// One that is not whole is a good reason to withdraw it.
	if _, err := root.Lstat(path.Join("r", release)); err != nil {
		return fmt.Errorf("%w: r/%s", ErrNoRelease, release)
	}
	if err := root.RemoveAll(path.Join("r", release)); err != nil {
		return err
	}
	all, err := load(root)
	if err != nil {
		return err
	}
	return writeHostFiles(root, all)
}
