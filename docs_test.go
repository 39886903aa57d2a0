package kmsenclave

import (
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
)

// reference is how the threat model names a test: `file#name`.
var reference = regexp.MustCompile("`([A-Za-z0-9_./-]+)#([^`]+)`")

// TestThreatModelNamesTests: every promise names tests, and they exist.
func TestThreatModelNamesTests(t *testing.T) {
	promises := 0
	for line := range lines(t, "docs/threat-model.md") {
		if strings.HasPrefix(line, "| ") && strings.Count(line, " | ") == 2 && !strings.Contains(line, "---") && !strings.HasSuffix(line, "tests |\n") {
			promises++
			if !reference.MatchString(line) {
				t.Errorf("names no test: %s", line)
			}
		}
		checkReferences(t, line)
	}
	if promises < 50 {
		t.Errorf("%d promises found; the page is not read as it should be", promises)
	}
}

// TestFaultsNameTests: so does every fault of storage.
func TestFaultsNameTests(t *testing.T) {
	faults, within := 0, false
	for line := range lines(t, "docs/storage.md") {
		switch {
		case line == "| fault | told | tests |\n":
			within = true
		case line == "\n":
			within = false
		case within && !strings.Contains(line, "---"):
			if faults++; !reference.MatchString(line) {
				t.Errorf("names no test: %s", line)
			}
		}
		checkReferences(t, line)
	}
	if faults < 12 {
		t.Errorf("%d faults found; the page is not read as it should be", faults)
	}
}

// TestPushNamesTests: so does everything that a browser was seen to do with a push.
func TestPushNamesTests(t *testing.T) {
	rows := 0
	for line := range lines(t, "docs/push.md") {
		if strings.HasPrefix(line, "| ") && !strings.Contains(line, "---") && !strings.HasSuffix(line, "tests |\n") {
			if rows++; !reference.MatchString(line) {
				t.Errorf("names no test: %s", line)
			}
		}
		checkReferences(t, line)
	}
	if rows < 10 {
		t.Errorf("%d rows found; the page is not read as it should be", rows)
	}
}

func lines(t *testing.T, file string) iter.Seq[string] {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Lines(string(text))
}

// checkReferences checks that the tests which a line names are there.
func checkReferences(t *testing.T, line string) {
	t.Helper()
	for _, r := range reference.FindAllStringSubmatch(line, -1) {
		if names := testNames(t, r[1]); !slices.ContainsFunc(names, func(name string) bool { return name == r[2] || isScript(r[1]) && strings.Contains(name, r[2]) }) {
			t.Errorf("%s has no test %q, it has %q", r[1], r[2], names)
		}
	}
}

func isScript(file string) bool { return !strings.HasSuffix(file, ".go") }

// scriptTest is how a test in JavaScript begins, or a row of a table of them
// (e2e/lib/lies.mjs). Its name can be long: the threat model may quote a part of it.
var scriptTest = regexp.MustCompile("(?m)^\\s*(?:(?:if \\(.*\\) )?(?:it|test|describe)\\(|\\[)(?:\"((?:[^\"\\\\]|\\\\.)+)\"|`([^`]+)`)")

// testNames returns the names of the tests in a file: functions that go test runs,
// the rows of a table of tests, or what node --test runs.
func testNames(t *testing.T, file string) (names []string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return nil
	}
	if isScript(file) {
		for _, found := range scriptTest.FindAllStringSubmatch(string(source), -1) {
			names = append(names, found[1]+found[2])
		}
		return names
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	if !strings.HasSuffix(file, "_test.go") {
		return rowNames(parsed)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && goTest.MatchString(f.Name.Name) {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

var goTest = regexp.MustCompile(`^(Test|Benchmark|Fuzz)[A-Z0-9]`)

// rowNames returns each X of rows {"X", testX}.
func rowNames(file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		row, ok := n.(*ast.CompositeLit)
		if !ok || len(row.Elts) != 2 {
			return true
		}
		text, isText := row.Elts[0].(*ast.BasicLit)
		run, isName := row.Elts[1].(*ast.Ident)
		if isText && isName && text.Value == strconv.Quote(strings.TrimPrefix(run.Name, "test")) {
			names = append(names, strings.Trim(text.Value, `"`))
		}
		return true
	})
	return names
}

// link is a link of Markdown to something in the repository.
var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// TestLinks: what the documentation points to is there.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, page := range append(pages, "README.md", "CONTRIBUTING.md", "SECURITY.md", "NEWS.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s points to %s: %v", page, l[1], err)
			}
		}
	}
	if links == 0 {
		t.Error("no link found")
	}
}

// errorRow is a row of the table of errors in docs/protocol.md.
var errorRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [^|]+ \\| (not done|unknown)[^|]*\\|$")

// TestErrorTable: every code of the contract is explained, in its order, and what
// the SDK may always repeat was not done.
func TestErrorTable(t *testing.T) {
	text, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## 6. Errors\n")
	var codes []api.Code
	for _, row := range errorRow.FindAllStringSubmatch(table, -1) {
		code := api.Code(row[1])
		codes = append(codes, code)
		if repeated := code == api.Busy || code == api.Conflict; repeated && row[2] != "not done" {
			t.Errorf("%s is repeated by the SDK, but its outcome is %s", code, row[2])
		}
	}
	if !slices.Equal(codes, api.Codes) {
		t.Errorf("the table explains %v\nthe contract has %v", codes, api.Codes)
	}
}
