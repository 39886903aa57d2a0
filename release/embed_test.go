package release

import (
	"encoding/json/v2"
	"os"
	"strings"
	"testing"
)

// TestIframeAttributes compares what is printed with what the SDK does.
func TestIframeAttributes(t *testing.T) {
	r := fake(t, "m")
	got := r.IframeAttributes("https://kms.example")
	for _, want := range []string{`src="https://kms.example` + r.Page() + `"`, `csp="` + r.Policy + `"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	sdk, err := os.ReadFile("../sdk/dialog.js")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name != "src" && name != "csp" && !strings.Contains(string(sdk), value) {
			t.Errorf("the SDK's frame has not %s=%s", name, value)
		}
	}
}

func TestImportMap(t *testing.T) {
	r := fake(t, "m")
	var got struct {
		Integrity map[string]string `json:"integrity"`
	}
	if err := json.Unmarshal(r.ImportMap("/sdk/"), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Integrity) != 1 || got.Integrity["/sdk/kms.js"] != Integrity([]byte("export {};\n")) {
		t.Errorf("%v", got)
	}
}

func TestChanges(t *testing.T) {
	old := fake(t, "old").Description
	if got := old.Changes(old); len(got) != 0 {
		t.Errorf("the same release: %q", got)
	}
	sdk := old
	sdk.SDK = []FileInfo{describe("kms.js", []byte("new")), describe("more.js", []byte("more"))}
	if got := sdk.Changes(old); len(got) != 1 || !strings.Contains(got[0], "kms.js, more.js") {
		t.Errorf("another SDK: %q", got)
	}
	newer := fake(t, "new").Description
	newer.Storage, newer.Toolchain, newer.Version = old.Storage+1, "go1.28", "2.0.0"
	got := strings.Join(newer.Changes(old), "\n")
	for _, want := range []string{"Pin the new policy", "Pin the new module", newer.Page(), "Version 2.0.0, was 1.2.3", "cannot open their vault", "go1.28"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if got := strings.Join(old.Changes(newer), "\n"); !strings.Contains(got, "older release") {
		t.Errorf("downgrade: %s", got)
	}
}
