package main

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"strings"
	"testing"
)

// TestNothingReachesTheTerminal: what a server or a directory says is printed,
// and does nothing.
func TestNothingReachesTheTerminal(t *testing.T) {
	const hostile = "x\x1b[2J\x1b[1;1HVERIFIED\r\u009b\u202e\xff\ta"
	var stdout, stderr bytes.Buffer
	u := newUI(&stdout, &stderr)
	u.watched = true
	u.print("%s\n", hostile)
	u.warn("%s", hostile)
	u.progress(hostile)
	u.exit(t.Context(), withHint(errors.New(hostile), hostile))
	u.printJSON(map[string]string{"x": hostile})
	for _, text := range []string{stdout.String(), stderr.String()} {
		for _, bad := range []string{"\x1b", "\r", "\u009b", "\u202e", "\t", "\xff"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q is in %q", bad, text)
			}
		}
		if !strings.Contains(text, "VERIFIED") {
			t.Errorf("%q", text)
		}
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var back map[string]string
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &back); err != nil || !strings.HasPrefix(back["x"], "x\x1b[2J") {
		t.Errorf("%v: %s", err, lines[len(lines)-1])
	}
}
