package relay

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// guide is docs/relay.md.
func guide(t *testing.T) string {
	return string(must.Get[[]byte](t)(os.ReadFile("../docs/relay.md")))
}

// TestGuideHasEveryProblem: the table of problems is that of the code, no more and no less.
func TestGuideHasEveryProblem(t *testing.T) {
	t.Parallel()
	var got, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\d{3}) \\|").FindAllStringSubmatch(guide(t), -1) {
		got = append(got, row[1]+" "+row[2])
	}
	for _, p := range problems {
		want = append(want, p.code+" "+strconv.Itoa(p.status))
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/relay.md has\n%q, the code\n%q", got, want)
	}
	for _, file := range must.Get[[]string](t)(sourceFiles()) {
		for _, made := range regexp.MustCompile(`&problem\{code: "([^"]+)"`).FindAllStringSubmatch(string(must.Get[[]byte](t)(os.ReadFile(file))), -1) {
			if !slices.ContainsFunc(problems, func(p *problem) bool { return p.code == made[1] }) {
				t.Errorf("%s: %s is not in the list of problems", file, made[1])
			}
		}
	}
}

func sourceFiles() (files []string, err error) {
	entries, err := os.ReadDir(".")
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			files = append(files, e.Name())
		}
	}
	return files, err
}

// TestGuideHasEveryOutcome: so is that of outcomes, and every setting and metric is named.
func TestGuideHasEveryOutcome(t *testing.T) {
	t.Parallel()
	text := guide(t)
	for _, outcome := range []string{outcomeSent, outcomeExpired, outcomeGone, outcomeRefused, outcomeTooLarge, outcomeUnauthorized} {
		if !strings.Contains(text, "\n| `"+outcome+"` | ") {
			t.Errorf("outcome %s", outcome)
		}
	}
	for _, s := range Settings {
		if !strings.Contains(text, "\n| `--"+s.Name+"` | `"+s.Variable()+"` | ") {
			t.Errorf("--%s", s.Name)
		}
	}
	g := newRig(t, nil)
	g.do("GET", "/v1/subscriptions/a", "", "")
	for _, name := range regexp.MustCompile(`(?m)^# HELP (\S+)`).FindAllStringSubmatch(g.do("GET", "/metrics", "", "").body, -1) {
		if !strings.Contains(text, "`"+name[1]+"`") {
			t.Errorf("metric %s", name[1])
		}
	}
}

// TestGuideExample: the configuration in the guide is one.
func TestGuideExample(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(guide(t), "```json\n")
	example, _, _ := strings.Cut(rest, "```")
	c := Default()
	if err := c.Merge([]byte(example)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if c.Limits != Default().Limits {
		t.Error("the limits in the guide are not the default ones")
	}
}
