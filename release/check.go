package release

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kms-enclave/kms-enclave/web"
)

// CheckLoader returns an error unless a loader says of itself what d says: its
// first statements name version, commit and module. The module's hash in it is
// why the measurement covers the module.
func (d Description) CheckLoader(loader []byte) error {
	want := loaderHead(constants{Version: d.Version, Commit: d.Commit, Wasm: d.Wasm})
	if !bytes.HasPrefix(loader, []byte(want)) {
		return fmt.Errorf("it does not begin with the constants of this release: %s", firstDifference(loader, []byte(want)))
	}
	return checkText("loader", loader)
}

// CheckPage returns an error unless a page is the one text that a release's page
// can be: markup is not measured, so nothing in it is left to whoever serves it.
func (d Description) CheckPage(page []byte) error {
	loader, err := ParsePolicy(d.Policy)
	if err != nil {
		return err
	}
	template, err := web.Files.ReadFile(pageName)
	if err != nil {
		return err
	}
	if want := pageOf(string(template), d.Files[1].Name, loader); string(page) != want {
		return fmt.Errorf("it is not the page that starts the loader, and nothing else: %s", firstDifference(page, []byte(want)))
	}
	return nil
}

// pageOf fills in the template of the page.
func pageOf(template, script, integrity string) string {
	return strings.NewReplacer("{{script}}", script, "{{integrity}}", integrity).Replace(template)
}
