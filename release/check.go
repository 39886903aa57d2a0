package release

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// CheckLoader returns an error unless a loader says of itself what d says: its
// first statements name version, commit and module. The module's hash in it is
// why the measurement covers the module.
func (d Description) CheckLoader(loader []byte) error {
	want := loaderHead(constants{Version: d.Version, Commit: d.Commit, Wasm: d.Wasm})
	if !bytes.HasPrefix(loader, []byte(want)) {
		return fmt.Errorf("it does not begin with the constants of this release: %s", firstDifference(loader, []byte(want)))
	}
	return CheckText("loader", loader)
}

// CheckPage returns an error unless a page starts the loader, and nothing else.
func (d Description) CheckPage(page []byte) error {
	text := string(page)
	loader, err := ParsePolicy(d.Policy)
	if err != nil {
		return err
	}
	script := fmt.Sprintf(`<script src="%s" integrity="%s"></script>`, d.Files[1].Name, loader)
	switch {
	case !strings.Contains(text, script):
		return errors.New("it does not start the loader")
	case strings.Count(strings.ToLower(text), "<script") != 1:
		return errors.New("it has more scripts than the loader")
	}
	return CheckText("page", page)
}
