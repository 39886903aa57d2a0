// Package transcripts runs the command enclave as a person would, and compares
// what it says. Each file in testdata is one session; testscript describes the
// form (github.com/rogpeppe/go-internal/testscript).
package transcripts

import (
	"bufio"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// testMain builds the command once, from the checkout around this module.
func testMain(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "kms-transcripts-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "enclave"), "./cmd/enclave")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func TestTranscripts(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(found) == 0 {
		t.Fatalf("%d transcripts: %v", len(found), err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CHECKOUT", root)
			// The build finds its caches where the user has them.
			for _, name := range []string{"HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN"} {
				if value, ok := os.LookupEnv(name); ok {
					env.Setenv(name, value)
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serving": serving, "occupy": occupy},
	})
}

// announcement is the line that serve --json prints.
type announcement struct {
	URL string `json:"url"`
	Pin struct {
		Policy string `json:"policy"`
		Wasm   string `json:"wasm"`
	} `json:"pin"`
	Measurement string `json:"measurement"`
}

// serving runs "enclave serve ARGS… --json" until it is ready, checks that it
// serves what it says, on both loopback addresses, and ends it with the signal
// that a person's Ctrl-C sends.
//
//	serving SIGNAL ARGS…
func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serving SIGNAL ARGS…")
	}
	cmd := exec.Command("enclave", append([]string{"serve", "--json"}, args[1:]...)...)
	cmd.Dir = ts.Getenv("CHECKOUT")
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	defer cmd.Process.Kill()

	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		ts.Fatalf("nothing was printed: %v %s", cmd.Wait(), stderr.String())
	}
	line := lines.Text()
	ts.Logf("%s", line)
	var a announcement
	ts.Check(json.Unmarshal([]byte(line), &a, json.RejectUnknownMembers(true)))
	checkServed(ts, a)

	signal := map[string]os.Signal{"INT": os.Interrupt}[args[0]]
	if signal == nil {
		ts.Fatalf("signal %s: INT wanted", args[0])
	}
	ts.Check(cmd.Process.Signal(signal))
	for lines.Scan() {
		ts.Fatalf("a second line on stdout: %s", lines.Text())
	}
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			ts.Fatalf("after the signal: %v, exit code 0 wanted\n%s", err, stderr.String())
		}
	case <-time.After(5 * time.Second):
		ts.Fatalf("still running five seconds after the signal")
	}
	if stderr.Len() > 0 {
		ts.Fatalf("with --json it said on stderr: %s", stderr.String())
	}
}

func checkServed(ts *testscript.TestScript, a announcement) {
	page := fetch(ts, a.URL)
	if want := a.Pin.Policy + "; frame-ancestors "; !strings.HasPrefix(page.header.Get("Content-Security-Policy"), want) {
		ts.Fatalf("policy %q, wanted %q…", page.header.Get("Content-Security-Policy"), want)
	}
	// The public name may be another one; the bytes are the same at every address.
	directory := a.URL[:strings.LastIndex(a.URL, "/")+1]
	loader := fetch(ts, directory+a.Measurement[:32]+".js")
	if got := integrity(loader.body); !strings.Contains(a.Pin.Policy, "'"+got+"'") {
		ts.Fatalf("the loader is %s, the pin says %s", got, a.Pin.Policy)
	}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		other := fetch(ts, strings.Replace(a.URL, "localhost", host, 1))
		if string(other.body) != string(page.body) {
			ts.Fatalf("%s serves another page", host)
		}
	}
}

type answer struct {
	header http.Header
	body   []byte
}

func fetch(ts *testscript.TestScript, url string) answer {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(url)
	ts.Check(err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	ts.Check(err)
	if r.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s", url, r.Status)
	}
	return answer{r.Header, body}
}

func integrity(b []byte) string {
	sum := sha512.Sum384(b)
	return "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
}
