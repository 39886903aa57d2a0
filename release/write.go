package release

import (
	"fmt"
	"os"
	"path"
)

// Write writes a release and its manifest into a directory, which it makes if
// it must: manifest.json, and r/<hex>/ with the three files. Other releases in
// the directory stay. The manifest comes last: where it is, the rest is.
func (r *Release) Write(dir string, d Deployment) error {
	m, err := r.Manifest(d)
	if err != nil {
		return err
	}
	text, err := m.Encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	at := r.Dir()[1:]
	if err := root.MkdirAll(path.Clean(at), 0o755); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	for _, f := range r.files {
		if err := root.WriteFile(at+f.Name, f.Content, 0o644); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	return root.WriteFile("manifest.json", text, 0o644)
}
